"""Lays out the blocks of an answer in the direction of their text: Arabic and Hebrew from right to left."""

import re
import unicodedata

_PART = re.compile(r"<(?P<end>/?)(?P<tag>[a-z][a-z0-9]*)[^>]*>|[^<]+")
_BLOCK = re.compile(r"<(?:p|h[1-6]|li|t[hd])(?=[ >])")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_SLICE = 100_000
_CONTAINERS = ("ul", "ol", "blockquote", "table")
_CONTAINER = re.compile(r"<(?:ul|ol|blockquote|table)(?=[ >])")
_EITHER = re.compile(rf"{_BLOCK.pattern}|{_CONTAINER.pattern}")


def directed(html: str) -> str:
    """HTML whose blocks have `dir`. A browser takes the direction of a paragraph from its text.

    It ignores text in blocks that have a `dir` themselves, so that of a list, quote or table is found here.
    """
    html = html.replace("<pre>", '<pre dir="ltr">')
    if _has_right_to_left(html):
        found = iter(_of_containers(html))
        html = _CONTAINER.sub(lambda tag: f'{tag[0]} dir="{next(found)}"', html)
        return _BLOCK.sub(_automatic, html)
    return _EITHER.sub(_automatic, html)


def _has_right_to_left(html: str) -> bool:
    """Searched in slices, because a regular expression lets no other thread run before it ends."""
    slices = range(0, 0 if html.isascii() else len(html), _SLICE)
    return any(_RIGHT_TO_LEFT.search(html, at, at + _SLICE) for at in slices)


def _automatic(tag: re.Match[str]) -> str:
    return f'{tag[0]} dir="auto"'


def _of_containers(html: str) -> list[str]:
    """The directions of lists, quotes and tables in the order of their start: that of their first letter."""
    found: list[str] = []
    waiting: list[int] = []
    for part in _PART.finditer(html):
        if part["tag"] in _CONTAINERS:
            if not part["end"]:
                waiting.append(len(found))
                found.append("auto")
            elif waiting and waiting[-1] == len(found) - 1:
                waiting.pop()
        elif waiting and not part["tag"] and (direction := _direction(part[0])):
            for at in waiting:
                found[at] = direction
            waiting = []
    return found


def _direction(text: str) -> str:
    """`rtl` or `ltr` by the first letter; empty without one."""
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return ""
