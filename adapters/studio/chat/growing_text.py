"""The HTML of an answer while it is streamed."""

from adapters.shared.markdown import Growing, utf16
from adapters.studio.chat.frames import rendered_both

SMALL = 8_000
"""Characters of an unfinished block up to which it is rendered each time. A longer one is rendered when it has grown
by a part of its length, so that the total time of rendering stays proportional to it."""
_GROWN = 8


class GrowingHtml:
    """One growing text. A finished block is rendered once, however often the text is shown."""

    def __init__(self) -> None:
        self._growing = Growing()
        self._restart()

    def _restart(self) -> None:
        self._text = ""
        self._done = 0
        self._finished: list[str] = []  # the HTML of the first `_done` characters
        self._tail = ""  # and of the rest
        self._tail_length = 0
        self._kept = 0  # UTF-16 units of the finished blocks that the page has
        self._after = ""  # what it has after them

    async def html(self, text: str, whole: bool = False) -> tuple[int, str] | None:
        """Safe HTML of the text so far: how many UTF-16 units of the last one stay, and what follows them.

        None if it is the same as the last one. With `whole`, or if the text does not continue the last one, all of it.
        """
        if not text.startswith(self._text):
            self._restart()
            whole = True
        self._text = text
        tidied = self._growing.tidied(text)
        stable = self._growing.scanner.stable
        tail = tidied[stable:]
        length = self._tail_length if stable == self._done else 0
        again = len(tail) <= SMALL or len(tail) > length + length // _GROWN
        new, shown = await rendered_both(text[self._done : stable], tail if again else "")
        self._done = stable
        if again:
            self._tail, self._tail_length = shown, len(tail)
        return self._difference(new, whole)

    def _difference(self, new: str, whole: bool) -> tuple[int, str] | None:
        """What the page needs now that `new` is finished."""
        if new:
            self._finished.append(new)
        html, before = new + self._tail, self._after
        same = _common(before, html)
        keep = self._kept + utf16(html[:same])
        self._kept += utf16(new)
        self._after = self._tail
        if whole:
            return 0, "".join([*self._finished, self._tail])
        return None if html == before else (keep, html[same:])


def _common(one: str, other: str) -> int:
    """The length of what both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[low:middle], low):
            low = middle
        else:
            high = middle - 1
    return low
