"""Reads growing Markdown line by line, and finds its finished blocks."""

import re
from collections.abc import Mapping
from copy import copy
from itertools import pairwise

_MARKER = re.compile(r" {0,3}(?:[-+*]|(\d{1,9})[.)])([ \t]+|$)")
_ANY_MARKER = re.compile(r"[ \t>]*(?:[-+*]|\d{1,9}[.)])[ \t]")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_RULE = re.compile(r"(?:\*[ \t]*){3,}$|(?:_[ \t]*){3,}$")
_DASHES = re.compile(r"(?:-[ \t]*){3,}$")
_MARKERS = frozenset("-+*0123456789")
_RUNS = _MARKERS | {"#", "|"}
"""First characters of lines that are list items, or begin inline text of their own."""
_FENCE = re.compile(r"[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*(`{3,}(?=[^`]*$)|~{3,})")
_WORDS = r"(?:[^\s>#+*\-\d`~_|]|\*\*[^\s*]|`[^\s`]|_[^\s_])[^\n]*+\n"
"""What is only text, up to the end of its line."""
_NESTED = r"(?:[-+*]|[0-9]{1,9}[.)])"
_USUAL = re.compile(
    rf"(?:(?P<text>(?:{_WORDS})++)"
    r"|(?P<whole>#{1,6}(?:[ \t][^\n]*+)?\n|```[^`\n]*+\n[^`]*+(?<=\n)```\n)"
    rf"|(?P<bullets>[-+*] {_WORDS}(?:(?:[-+*]| {{2,}}{_NESTED}) {_WORDS})*+)"
    rf"|(?P<numbers>1[.)] {_WORDS}(?:(?:[0-9][.)]| {{3,}}{_NESTED}) {_WORDS})*+)"
    r"|(?P<rows>(?:\|[^\n]*+\n)++)"
    rf"|(?P<quote>(?:> {_WORDS})++)"
    r"|\n)\n*+"
)
"""Lines of one kind in their usual form, and the blank lines after them: most of a text. Line by line, they take four
times as long. `whole` are headings and code, which no later line can continue."""
_WIDTHS: Mapping[str | None, int] = {"bullets": 2, "numbers": 3}
"""Columns of indentation that belong to such list items."""


class Scanner:
    """Reads every line once, however often it is given the growing text.

    `borders` are the positions between top-level blocks: text before the last one is finished and can't change,
    except for link definitions. `fence` is the marker of the code fence that is open after the last complete
    line, at any depth, and `fence_at` the start of its line. `run` is the start of the last inline text, `table`
    that of the table rows at the end, or -1. Positions are in characters.
    """

    def __init__(self) -> None:
        self._restart("")

    def _restart(self, text: str) -> None:
        self._text = text
        self._searched = 0
        self.at = 0
        self.borders = [0]
        self.fence, self.fence_at, self._within = "", 0, ""
        self.run, self.table = 0, -1
        self._item = 0  # columns of indentation that belong to the open top-level list item
        self._apart = True  # this line can't continue an earlier block

    @property
    def stable(self) -> int:
        """The length of the text that is finished."""
        return self.borders[-1]

    def read(self, text: str) -> None:
        """Read new complete lines. A text that does not continue the last one is read from the start."""
        if not text.startswith(self._text):
            self._restart("")
        self._text = text
        end = text.rfind("\n", self._searched)
        self._searched = len(text)
        while self.at <= end:
            self.at = self._next(text, self.at, end + 1)

    def borders_of(self, text: str) -> list[int]:
        """The borders of a text whose last line counts as complete; it may still be continued later."""
        self.read(text)
        if self.at == len(text):
            return self.borders
        last = copy(self)
        last.borders = [self.stable]
        last._line(text[self.at :], self.at, len(text) + 1)
        return self.borders + last.borders[1:]

    def begins_run(self, line: str) -> bool:
        """Whether an unfinished line begins inline text of its own."""
        return bool(line.lstrip(" >").startswith("|") or _ANY_MARKER.match(line) or _HEADING.match(line))

    def _next(self, text: str, start: int, end: int) -> int:
        """Read what begins at `start`, of the complete lines before `end`: usual lines, or any one. Returns its end."""
        if self.fence and self._within == "top":
            marker = text.find(self.fence, start, end)
            if marker < 0:
                return end
            start = max(text.rfind("\n", start, marker) + 1, start)
        elif not self.fence and (usual := _USUAL.match(text, start, end)):
            self._together(usual.lastgroup, text, start, usual.end())
            return usual.end()
        stop = text.index("\n", start) + 1
        self._line(text[start : stop - 1], start, stop)
        return stop

    def _together(self, kind: str | None, text: str, start: int, stop: int) -> None:
        """Read usual lines of one kind (None: blank ones), and the blank lines after them."""
        begins = self._apart and kind is not None
        if kind in _WIDTHS:
            begins = begins and not self._item
        elif kind == "quote":
            begins = begins or self._item > 0
        if begins or kind == "whole":
            self._item = 0
            self._border(start)
        self._item = _WIDTHS.get(kind, self._item)
        self._apart = kind in ("whole", None) or text.endswith("\n\n", start, stop)
        if self._apart:
            self.run = stop
        elif kind in _WIDTHS or kind == "rows":
            self.run = max(text.rfind("\n", start, stop - 1) + 1, start)
        if self._apart or kind != "rows":
            self.table = -1
        elif self.table < 0:
            self.table = start

    def _line(self, line: str, start: int, stop: int) -> None:
        if self.fence and not (self._within != "top" and self._leaves_fence(line)):
            if self.fence in line and not line.strip(" \t>").strip(self.fence[0]):
                self.fence, self.run = "", stop
                self._apart = self._within == "top"
        elif not (bare := line.strip(" \t>")):
            self.run, self.table = stop, -1
            self._apart = self._apart or not line.strip()
        else:
            self._marked(line, bare[0], start, stop)

    def _marked(self, line: str, sign: str, start: int, stop: int) -> None:
        """Read a line that may begin with markup. `sign` follows indentation and quotes."""
        self._place(line, sign, start)
        if sign == "|" and line.lstrip(" >").startswith("|"):
            self.table = start if self.table < 0 else self.table
        else:
            self.table = -1
        if ("```" in line or "~~~" in line) and (found := _FENCE.match(line)):
            self.fence, self.fence_at, self.run = found[1], start, stop
            self._within = self._where(line)
            self._item = 0 if self._within == "top" else self._item

    def _border(self, start: int) -> None:
        if start > self.borders[-1]:
            self.borders.append(start)

    def _place(self, line: str, sign: str, start: int) -> None:
        """Record a border before this line, or the list item that it begins. `sign` follows indentation and quotes."""
        rule = sign in "*_-" and (_RULE.match(line) or (self._item and _DASHES.match(line)))
        marker = _MARKER.match(line) if sign in _MARKERS and not rule else None
        if marker and not (self._apart or self._item):  # what can interrupt a paragraph
            marker = marker if marker.end() < len(line) and marker[1] in (None, "1") else None
        heading = bool(rule or (sign == "#" and _HEADING.match(line)))
        if line[0] not in " \t" and (
            (self._apart and not (marker and self._item))
            or heading
            or (sign in "`~" and _is_fence(line))
            or (self._item and line[0] == ">")
        ):
            self._item = 0
            self._border(start)
        if marker and not 0 < self._item <= len(line) - len(line.lstrip(" ")):
            gap = len(marker[2].expandtabs(4))
            self._item = marker.end() - len(marker[2]) + (gap if 0 < gap < 5 else 1)
        if heading:
            self.run = start + len(line) + 1
        elif sign in _RUNS and ((marker and marker[2]) or self.begins_run(line)):
            self.run = start
        self._apart = (heading and not self._item) or (marker is not None and marker.end() == len(line))

    def _where(self, line: str) -> str:
        """The block that contains a fence, whose end also ends the fence: top level, quote or list item."""
        if line.lstrip(" ").startswith(">"):
            return "quote"
        indent = len(line) - len(line.lstrip(" \t"))
        return "item" if self._item and (indent >= self._item or _MARKER.match(line)) else "top"

    def _leaves_fence(self, line: str) -> bool:
        """Whether the quote or list item with the open fence ends before this line."""
        left = (self._within == "quote" and not line.lstrip(" ").startswith(">")) or (
            self._within == "item" and line[:1] not in ("", " ", "\t")
        )
        if left:
            self.fence, self._apart = "", True
        return left


def _is_fence(line: str) -> bool:
    return line.startswith(("```", "~~~")) and _FENCE.match(line) is not None


def blocks(text: str) -> list[str]:
    """The top-level blocks of a complete text, each with the white space after it; joined, they are the text."""
    borders = Scanner().borders_of(text)
    return [text[start:end] for start, end in pairwise([*borders, len(text)])]
