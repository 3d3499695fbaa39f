"""What of an answer that is being written may be shown, and in which messages."""

from adapters.shared.markdown import Growing, Splitter
from adapters.slack.formatting.blocks import Defusing, growing, length


class GrowingMessages:
    """One growing text. What is finished in it is looked at once, however often the text is shown."""

    def __init__(self) -> None:
        self._defusing = Defusing()
        self._growing = Growing()
        self._lasting = ""
        self._limit = 0
        self._text = ""
        self._parts: list[str] = []
        self._splitter = Splitter(1)

    def safe(self, text: str) -> str:
        """The text so far, as it pages nobody.

        The whole reply has no white space around it either: its end goes on from here without an edit.
        """
        return self._defusing.defused(growing(text)).strip()

    def lasting(self, safe: str) -> str:
        """What a stream may show of it, since nothing can be taken back there: no half-open marks."""
        lasting = self._growing.settled(safe)
        if lasting.startswith(self._lasting):
            self._lasting = lasting.rstrip()
        return self._lasting

    def parts(self, text: str, limit: int) -> list[str]:
        """`text` as the messages that will hold it, in order: at most `limit` UTF-16 units each."""
        if limit != self._limit:
            self._limit, self._text, self._splitter = limit, "", Splitter(limit, length)
        if text != self._text:
            short = length(text) <= limit
            self._parts = [text] if short else self._splitter.split(text.strip("\n"))
            self._text = text
        return self._parts
