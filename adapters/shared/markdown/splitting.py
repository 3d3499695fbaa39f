"""Splits Markdown into messages of limited size, at the best places."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from adapters.shared.markdown.scanner import Scanner
from adapters.shared.markdown.tree import Node, parse

Measure = Callable[[str], int]
"""The length of a text as a platform counts it: at least its number of characters, and additive."""

_WINDOW = 8
"""Text processed per step, in multiples of the limit; a part is final once two limits of text follow its start."""


_STRUCTURE = re.compile(r"^[ \t]*(?:[-+*][ \t]|\d{1,9}[.)][ \t]|>|\||```|~~~)|^[ \t|:\-]+$", re.M)
"""A block without any such line is inline text, and is not parsed."""


def utf16(text: str) -> int:
    """The length in UTF-16 units, which Slack and Teams count."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def split(text: str, limit: int, measure: Measure = len, borders: Sequence[int] | None = None) -> list[str]:
    """Split into parts of at most `limit`, counted by `measure`.

    Splits between paragraphs if possible, else between lines, sentences, words, or graphemes. A code fence
    stays whole if it fits, else each part is a fence with its language; parts of a table repeat its header.
    Only white space between parts is lost. `borders` are the positions at which blocks begin, if they are known
    already; those beyond the end of the text do not count.
    """
    bare = text.strip("\n")
    before = len(text) - len(text.lstrip("\n"))
    known = None if borders is None else [border - before for border in borders if border > before]
    return Splitter(limit, measure).split(bare, known)


@dataclass(slots=True)
class _Piece:
    """Text that is not split, and the position in the source after it. The rest begins with `lead`; if that is None,
    no part may begin there.
    """

    text: str
    end: int
    lead: str | None = ""


class Splitter:
    """Splits a text that may grow. Parts that later text can't change are not processed again."""

    def __init__(self, limit: int, measure: Measure = len) -> None:
        self._limit = limit
        self._measure = measure
        self._text = ""
        self._reset()

    def _reset(self) -> None:
        self._scanner = Scanner()
        self._borders: list[int] = []
        self._stable = 0  # the start of the first block that may grow
        self._settled: list[str] = []
        self._at = 0
        self._lead = ""

    def split(self, text: str, borders: Sequence[int] | None = None) -> list[str]:
        """The parts of the text so far; see `split`."""
        if not text.startswith(self._text):
            self._reset()
        self._text = text
        if borders is None:
            borders = self._scanner.borders_of(text)
            self._stable = self._scanner.stable
        else:
            self._stable = borders[-1] if borders else 0
        self._borders = [*borders[: bisect_left(borders, len(text))], len(text)]
        size = _WINDOW * self._limit
        while True:
            end = self._at + size
            window = self._lead + text[self._at : end]
            whole = end >= len(text)
            if whole and self._measure(window) <= self._limit:
                rest = window.rstrip() if self._settled else window
                return self._settled + ([rest] if rest.strip() else [])
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
        """Finalize the parts that are followed by enough text that they can't change, or by a whole block.

        With `anywhere`, also parts after which the rest may be parsed differently.
        """
        last = -1
        for number, part in enumerate(found):
            if len(window) - part.end < 2 * self._limit and not self._precedes_whole_block(part, window):
                continue
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

    def _precedes_whole_block(self, part: _Piece, window: str) -> bool:
        """Whether a part ends with a block, and the next one, which did not fit, is complete in the window, too."""
        shift = self._at - len(self._lead)
        at = bisect_left(self._borders, shift + part.end)
        start, stop = self._borders[at], self._borders[min(at + 1, len(self._borders) - 1)]
        complete = start < stop <= min(self._stable, shift + len(window))
        return start == shift + part.end and complete and not self._text[start:stop].isspace()

    def _pieces(self, end: int) -> Iterator[_Piece]:
        """The blocks from the last final part up to `end`; too long ones are cut."""
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
    """Join consecutive pieces while they fit; each ends with its own white space."""
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
    """Cuts one block that is too long for a message; `at` is its position in the source."""

    def __init__(self, block: str, at: int, limit: int, measure: Measure) -> None:
        self._lines = block.removesuffix("\n").split("\n")
        self._starts = [at]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._starts[-1] = at + len(block)
        self._block = block
        self._limit = limit
        self._measure = measure
        self._found: list[_Piece] = []
        self._too_coarse = False

    def pieces(self) -> list[_Piece]:
        """The pieces of the block, in order."""
        block = self._block
        tree = parse(block, self._limit // 2) if _STRUCTURE.search(block) else Node("paragraph")
        self._add_within(tree, 0, len(self._lines), top=True)
        if self._too_coarse:
            self._found = []
            self._add_within(parse(block), 0, len(self._lines), top=True)
        return self._found

    def _add_within(self, node: Node, start: int, stop: int, top: bool = False) -> None:
        """Add the blocks of a node, each with the lines up to the next."""
        children, found = node.children, self._found
        if not children or node.type in ("table", "paragraph", "heading"):
            found += self._cut_lines(start, stop)
            return
        for child, after in zip(children, [*children[1:], None], strict=True):
            first = start if child is children[0] else child.start
            end, until = max(child.stop, first), after.start if after else stop
            whole = "\n".join([*self._lines[first:until], ""])
            if self._measure(whole.rstrip()) <= self._limit:
                found.append(self._piece(whole, until))
                continue
            self._too_coarse |= child.closed
            if child.type != "fence" and not (child.type == "table" and self._rows_fit(child.start)):
                self._add_within(child, first, until)
                continue
            found += self._cut_lines(first, child.start)
            found += self._cut_fence(child, top) if child.type == "fence" else self._cut_table(child, top)
            found += self._cut_lines(end, until)

    def _cut_fence(self, node: Node, top: bool) -> Iterator[_Piece]:
        """Separate fences, outside of any list or quote around the long one."""
        markup = node.markup or "```"
        head = f"{markup}{node.info}\n"
        limit = max(self._limit - self._measure(f"{head}\n{markup}"), 1)
        code = node.content.rstrip("\n").split("\n")
        found = list(_pack(self._cut(code, node.start + 1, limit), limit, self._measure))
        line = self._lines[node.start]
        indent = line[: len(line) - len(line.lstrip(" "))]
        again = indent + head if top or (line.startswith(indent + markup) and len(indent) < 4) else None
        for part in found:
            lead = None if part.lead is None else again
            end, lead = (self._starts[node.stop], "") if part is found[-1] else (part.end, lead)
            yield _Piece(f"{head}{part.text}\n{markup}\n", end, lead)

    def _rows_fit(self, first: int) -> bool:
        """Whether a table's header leaves enough space for rows."""
        return self._limit - self._measure("\n".join(self._lines[first : first + 2])) > self._limit // 4

    def _cut_table(self, node: Node, top: bool) -> Iterator[_Piece]:
        head = "\n".join(self._lines[node.start : node.start + 2]) + "\n"
        limit = self._limit - self._measure(head)
        rows = self._cut(self._lines[node.start + 2 : node.stop], node.start + 2, limit)
        for part in _pack(rows, limit, self._measure):
            last = part.end >= self._starts[node.stop]
            end = "\n" if last else "\n\n"
            yield _Piece(f"{head}{part.text}{end}", part.end, head if top and not last else part.lead)

    def _cut_lines(self, start: int, stop: int) -> Iterator[_Piece]:
        return self._cut(self._lines[start:stop], start, self._limit)

    def _cut(self, lines: Sequence[str], number: int, limit: int) -> Iterator[_Piece]:
        """Lines, beginning with line `number` of the source, whose prefix may be removed. Long lines are cut."""
        for line in lines:
            bare = len(line.rstrip())
            source = self._starts[number] + len(self._lines[number]) - len(line) if line else 0
            at = 0
            while bare - at > limit or self._measure(line[at:bare]) > limit:
                rest = line[at : at + limit + 2]
                end = at + _border(rest, _fitting(rest, limit, self._measure))
                fence = (
                    line[end:].lstrip().startswith(("```", "~~~"))
                )  # as a line, it would begin or end a fence
                yield _Piece(line[at:end], source + end, None if fence else "")
                at = end
            number += 1
            yield self._piece(line[at:] + "\n", number)

    def _piece(self, text: str, number: int) -> _Piece:
        """A piece that ends before line `number`. No part may begin with an indented line, which would become code."""
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
    """The best place to cut at or before `end`: after a sentence, after a word, or between graphemes."""
    for separator in (". ", "! ", "? ", "。", "！", "？", " "):
        at = text.rfind(separator, end // 2, end)
        if at > 0:
            return at + len(separator)
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
