"""Lays out the blocks of an answer in the direction of their text: Arabic and Hebrew from right to left."""

import re
import unicodedata

_PART = re.compile(r"<(?P<end>/?)(?P<tag>[a-z][a-z0-9]*)[^>]*>|[^<]+")
_OPENING = re.compile(r"<(p|h[1-6]|li|ul|ol|blockquote|table|t[hd])(?=[ >])")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_CONTAINERS = ("ul", "ol", "blockquote", "table")


def directed(html: str) -> str:
    """HTML whose blocks have `dir`. A browser takes the direction of a paragraph from its text.

    It ignores text in blocks that have a `dir` themselves, so that of a list, quote or table is found here.
    """
    html = html.replace("<pre>", '<pre dir="ltr">')
    if not _RIGHT_TO_LEFT.search(html):
        return _OPENING.sub(r'<\1 dir="auto"', html)
    found = iter(_of_containers(html))
    return _OPENING.sub(
        lambda tag: f'<{tag[1]} dir="{next(found) if tag[1] in _CONTAINERS else "auto"}"', html
    )


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
