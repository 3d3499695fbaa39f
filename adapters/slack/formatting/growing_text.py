"""What may be shown of an unfinished answer, and in which messages."""

from adapters.shared.markdown import Growing, ImageRemover, Splitter
from adapters.slack.formatting.blocks import Defusing, growing, length


class GrowingMessages:
    """One growing text. Its finished parts are processed once, however often it is shown."""

    def __init__(self) -> None:
        self._defusing = Defusing()
        self._images = ImageRemover()
        self._growing = Growing()
        self._lasting = ""
        self._limit = 0
        self._text = ""
        self._parts: list[str] = []
        self._splitter = Splitter(1)

    def safe(self, text: str) -> str:
        """The text so far, defused, without images, and stripped.

        The complete reply is stripped, too, so it can continue this text without an edit.
        """
        return self._images.removed(self._defusing.defused(growing(text))).strip()

    def lasting(self, safe: str) -> str:
        """What a stream may show of it: no open Markdown, because a stream can't be edited."""
        lasting = self._growing.settled(safe)
        if lasting.startswith(self._lasting):
            self._lasting = lasting.rstrip()
        return self._lasting

    def parts(self, text: str, limit: int) -> list[str]:
        """Split `text` into messages of at most `limit` UTF-16 units, in order."""
        if limit != self._limit:
            self._limit, self._text, self._splitter = limit, "", Splitter(limit, length)
        if text != self._text:
            short = length(text) <= limit
            self._parts = [text] if short else self._splitter.split(text.strip("\n"))
            self._text = text
        return self._parts
