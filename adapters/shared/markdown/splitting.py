"""Cuts Markdown into messages of a platform's size, at its best borders."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from adapters.shared.markdown.scanner import Scanner
from adapters.shared.markdown.tree import Node, parse

Measure = Callable[[str], int]
"""The length of a text as a platform counts it: never less than its characters, and that of two texts together is
the sum of theirs."""

_WINDOW = 8
"""Limits of text that are looked at in one step; a part is settled once two limits follow its beginning."""


_STRUCTURE = re.compile(r"^[ \t]*(?:[-+*][ \t]|\d{1,9}[.)][ \t]|>|\||```|~~~)|^[ \t|:\-]+$", re.M)
"""A block without any such line is a run of text, and needs no tree."""


def utf16(text: str) -> int:
    """The length in UTF-16 units, as Slack and Teams count."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def split(text: str, limit: int, measure: Measure = len) -> list[str]:
    """Cut into parts of at most `limit`, as `measure` counts, at the best borders there are.

    Paragraphs first, then lines, sentences, words, and inside a word between two graphemes. A code fence
    stays whole where it fits, else every part of it is a fence with its language; a table's parts repeat
    its head. Nothing but white space at the borders is lost.
    """
    return Splitter(limit, measure).split(text.strip("\n"))


@dataclass(slots=True)
class _Piece:
    """A text that stays whole, and where in the source the rest begins behind `lead`; None: nothing begins there."""

    text: str
    end: int
    lead: str | None = ""


class Splitter:
    """Splits a text that may grow. Parts that later text cannot change are not looked at again."""

    def __init__(self, limit: int, measure: Measure = len) -> None:
        self._limit = limit
        self._measure = measure
        self._text = ""
        self._forget()

    def _forget(self) -> None:
        self._scanner = Scanner()
        self._borders: list[int] = []
        self._settled: list[str] = []
        self._at = 0
        self._lead = ""

    def split(self, text: str) -> list[str]:
        """The parts of the text so far; see `split`."""
        if not text.startswith(self._text):
            self._forget()
        self._text = text
        self._borders = [*self._scanner.borders_of(text), len(text)]
        size = _WINDOW * self._limit
        while True:
            end = self._at + size
            window = self._lead + text[self._at : end]
            whole = end >= len(text)
            if whole and self._measure(window) <= self._limit:
                return self._settled + ([window] if window.strip() else [])
            found = list(_pack(self._pieces(end), self._limit, self._measure))
            before = len(self._settled)
            settled = self._settle(found, window) or (
                len(window) >= size and self._settle(found, window, anywhere=True)
            )
            if whole:
                parts = self._settled[:before] + [part.text for part in found]
                return [part for part in parts if part.strip()]
            size = _WINDOW * self._limit if settled else 2 * size

    def _settle(self, found: Sequence[_Piece], window: str, anywhere: bool = False) -> bool:
        """Keep the parts that are followed by so much text that they stay as they are.

        With `anywhere` also those behind which the text does not mean the same.
        """
        last = -1
        for number, part in enumerate(found):
            if len(window) - part.end < 2 * self._limit:
                break
            if (anywhere or part.lead is not None) and part.end > len(self._lead):
                last = number
        if last < 0:
            return False
        self._settled += [part.text for part in found[: last + 1] if part.text.strip()]
        self._at += found[last].end - len(self._lead)
        self._lead = found[last].lead or ""
        while not self._lead and self._text[self._at : self._at + 1] == "\n":
            self._at += 1
        return True

    def _pieces(self, end: int) -> Iterator[_Piece]:
        """The blocks from the last settled part up to this place; what is too long is cut."""
        first = bisect_right(self._borders, self._at)
        at, start, lead = 0, self._at, self._lead
        for border in self._borders[first:]:
            stop = min(border, end)
            block = lead + self._text[start:stop]
            if self._measure(block.rstrip()) <= self._limit:
                yield _Piece(block, at + len(block))
            else:
                yield from _Cutter(block, at, self._limit, self._measure).pieces()
            at, start, lead = at + len(block), stop, ""
            if stop == end:
                break


def _pack(pieces: Iterable[_Piece], limit: int, measure: Measure) -> Iterator[_Piece]:
    """Join neighbours, whose joints are their own white space, while they fit."""
    gathered: list[str] = []
    size, end, lead = 0, 0, ""
    for piece in pieces:
        bare = measure(piece.text.rstrip())
        if gathered and bare and size + bare > limit:
            yield _Piece("".join(gathered).rstrip(), end, lead)
            gathered, size = [], 0
        text = piece.text if gathered else piece.text.lstrip("\n")
        gathered.append(text)
        size += measure(text)
        end, lead = piece.end, piece.lead
    yield _Piece("".join(gathered).rstrip(), end, lead)


class _Cutter:
    """Cuts one block that is too long for a message. `at` is where it begins in the source."""

    def __init__(self, block: str, at: int, limit: int, measure: Measure) -> None:
        self._lines = block.removesuffix("\n").split("\n")
        self._starts = [at]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._starts[-1] = at + len(block)
        self._tree = parse(block) if _STRUCTURE.search(block) else Node("paragraph")
        self._limit = limit
        self._measure = measure

    def pieces(self) -> Iterator[_Piece]:
        """What stays whole in the block, in order."""
        yield from self._within(self._tree, 0, len(self._lines), top=True)

    def _within(self, node: Node, start: int, stop: int, top: bool = False) -> Iterator[_Piece]:
        """The blocks of a node, each with the lines up to the next; together they are the node's text."""
        children = node.children
        if not children or node.type in ("table", "paragraph", "heading"):
            yield from self._cut_lines(start, stop)
            return
        for child, after in zip(children, [*children[1:], None], strict=True):
            first = start if child is children[0] else child.start
            end, until = max(child.stop, first), after.start if after else stop
            whole = "\n".join([*self._lines[first:until], ""])
            if self._measure(whole.rstrip()) <= self._limit:
                yield self._piece(whole, until)
                continue
            if child.type != "fence" and not (child.type == "table" and self._rows_fit(child.start)):
                yield from self._within(child, first, until)
                continue
            yield from self._cut_lines(first, child.start)
            yield from self._cut_fence(child, top) if child.type == "fence" else self._cut_table(child, top)
            yield from self._cut_lines(end, until)

    def _cut_fence(self, node: Node, top: bool) -> Iterator[_Piece]:
        """Fences of their own, outside of any list or quote that held the long one."""
        markup = node.markup or "```"
        head = f"{markup}{node.info}\n"
        room = max(self._limit - self._measure(f"{head}\n{markup}"), 1)
        code = node.content.rstrip("\n").split("\n")
        found = list(_pack(self._cut(code, node.start + 1, room), room, self._measure))
        line = self._lines[node.start]
        indent = line[: len(line) - len(line.lstrip(" "))]
        again = indent + head if top or (line.startswith(indent + markup) and len(indent) < 4) else None
        for part in found:
            lead = None if part.lead is None else again
            end, lead = (self._starts[node.stop], "") if part is found[-1] else (part.end, lead)
            yield _Piece(f"{head}{part.text}\n{markup}\n", end, lead)

    def _rows_fit(self, first: int) -> bool:
        """Whether a table's head leaves room for its rows."""
        return self._limit - self._measure("\n".join(self._lines[first : first + 2])) > self._limit // 4

    def _cut_table(self, node: Node, top: bool) -> Iterator[_Piece]:
        head = "\n".join(self._lines[node.start : node.start + 2]) + "\n"
        room = self._limit - self._measure(head)
        rows = self._cut(self._lines[node.start + 2 : node.stop], node.start + 2, room)
        for part in _pack(rows, room, self._measure):
            last = part.end >= self._starts[node.stop]
            end = "\n" if last else "\n\n"
            yield _Piece(f"{head}{part.text}{end}", part.end, head if top and not last else part.lead)

    def _cut_lines(self, start: int, stop: int) -> Iterator[_Piece]:
        yield from self._cut(self._lines[start:stop], start, self._limit)

    def _cut(self, lines: Sequence[str], number: int, limit: int) -> Iterator[_Piece]:
        """Lines from this one of the source on, of which each may lack what the source has before it; a line that
        is too long is cut inside.
        """
        for line in lines:
            bare = len(line.rstrip())
            source = self._starts[number] + len(self._lines[number]) - len(line) if line else 0
            at = 0
            while bare - at > limit or self._measure(line[at:bare]) > limit:
                rest = line[at : at + limit + 2]
                end = at + _border(rest, _fitting(rest, limit, self._measure))
                fence = line[end:].lstrip().startswith(("```", "~~~"))  # would begin or end one, as a line
                yield _Piece(line[at:end], source + end, None if fence else "")
                at = end
            number += 1
            yield self._piece(line[at:] + "\n", number)

    def _piece(self, text: str, number: int) -> _Piece:
        """A piece that ends before this line, which would not mean the same without what it is indented under if
        it could be code.
        """
        indented = number < len(self._lines) and self._lines[number].startswith(("    ", "\t"))
        return _Piece(text, self._starts[min(number, len(self._starts) - 1)], None if indented else "")


def _fitting(text: str, limit: int, measure: Measure) -> int:
    """The length in characters of the longest prefix within `limit`, at least 1."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(text[:middle]) <= limit else (low, middle - 1)
    return low


def _border(text: str, end: int) -> int:
    """The best place to cut at or before `end`: a sentence's end, a word's end, or between graphemes."""
    for signs in (". ", "! ", "? ", "。", "！", "？", " "):
        at = text.rfind(signs, end // 2, end)
        if at > 0:
            return at + len(signs)
    at = end
    while at > 1 and _joined(text, at):
        at -= 1
    return at if at > 1 else end


def _joined(text: str, at: int) -> bool:
    """Whether the characters on both sides of `at` belong to one grapheme (the common cases of UAX 29)."""
    if at >= len(text):
        return False
    before, after = text[at - 1], text[at]
    if before == "\u200d" or after == "\u200d" or unicodedata.category(after) in ("Mn", "Me", "Mc"):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    flags = 0
    while at - flags > 0 and "\U0001f1e6" <= text[at - flags - 1] <= "\U0001f1ff":
        flags += 1
    return flags % 2 == 1 and "\U0001f1e6" <= after <= "\U0001f1ff"
