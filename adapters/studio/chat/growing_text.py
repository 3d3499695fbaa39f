"""The HTML of an answer while it is streamed."""

from adapters.shared.markdown import Growing
from adapters.studio.chat.frames import rendered

SMALL = 8_000
"""Characters of an unfinished block up to which it is rendered each time. A longer one is rendered when it has grown
by a part of its length, so that the total time of rendering stays proportional to it."""
_GROWN = 8


class GrowingHtml:
    """One growing text. A finished block is rendered once, however often the text is shown."""

    def __init__(self) -> None:
        self._growing = Growing()
        self._text = ""
        self._done = 0
        self._html = ""
        self._tail = ""
        self._tail_length = 0

    async def html(self, text: str) -> tuple[str, int]:
        """Safe HTML of the text so far, and how many characters are certainly the same as last time."""
        if not text.startswith(self._text):
            self._done, self._html, self._tail, self._tail_length = 0, "", "", 0
        self._text = text
        same = len(self._html)
        tidied = self._growing.tidied(text)
        stable = self._growing.scanner.stable
        if stable > self._done:
            self._html += await rendered(text[self._done : stable])
            self._done, self._tail_length = stable, 0
        tail = tidied[self._done :]
        if len(tail) <= SMALL or len(tail) > self._tail_length + self._tail_length // _GROWN:
            self._tail = await rendered(tail, whole=False)
            self._tail_length = len(tail)
        return self._html + self._tail, same
