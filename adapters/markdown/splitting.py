"""Cuts Markdown into messages of a platform's size, at its best borders."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

from markdown_it.tree import SyntaxTreeNode

from adapters.markdown.tree import parse

Measure = Callable[[str], int]


def split(text: str, limit: int, measure: Measure = len) -> list[str]:
    """Cut into parts of at most `limit`, as `measure` counts, at the best borders there are.

    Paragraphs first, then lines, sentences, words, and inside a word between two graphemes. A code fence
    stays whole where it fits, else every part of it is a fence with its language; a table's parts repeat
    its head. Nothing but white space at the borders is lost.
    """
    text = text.strip("\n")
    if measure(text) <= limit:
        return [text] if text.strip() else []
    lines = text.split("\n")
    parts = _pack(_pieces(parse(text), lines, limit, measure), limit, measure)
    return [part for part in parts if part.strip()]


def _pack(pieces: Iterable[str], limit: int, measure: Measure) -> Iterator[str]:
    """Join neighbours, whose joints are their own white space, while they fit."""
    current = ""
    for piece in pieces:
        if current and measure((current + piece).rstrip()) > limit:
            yield current.rstrip()
            current = piece.lstrip("\n")
        else:
            current += piece
    yield current.rstrip()


def _pieces(node: SyntaxTreeNode, lines: Sequence[str], limit: int, measure: Measure) -> Iterator[str]:
    """The blocks of a node, each with the lines up to the next; together they are the node's text."""
    start, stop = (0, len(lines)) if node.is_root else _map(node)
    children = [child for child in node.children if not child.is_root and child.map]
    if not children or node.type in ("table", "paragraph", "heading"):
        yield from _cut_lines(lines[start:stop], limit, measure)
        return
    for child, after in zip(children, [*children[1:], None], strict=True):
        first = start if child is children[0] else _map(child)[0]
        end, until = _map(child)[1], _map(after)[0] if after else stop
        whole = "\n".join([*lines[first:until], ""])
        if measure(whole.rstrip()) <= limit:
            yield whole
            continue
        if child.type in ("fence", "code_block"):
            yield from _cut_fence(child, limit, measure)
        elif child.type == "table":
            yield from _cut_table(lines[first:end], limit, measure)
        else:
            yield from _pieces(child, lines, limit, measure)
        yield from _cut_lines(lines[end:until], limit, measure)


def _map(node: SyntaxTreeNode) -> tuple[int, int]:
    assert node.map is not None  # noqa: S101 - only nodes with a map come here
    return node.map


def _cut_fence(node: SyntaxTreeNode, limit: int, measure: Measure) -> Iterator[str]:
    """Fences of their own, outside of any list or quote that held the long one."""
    markup = node.markup or "```"
    head = f"{markup}{node.info}\n"
    room = max(limit - measure(f"{head}\n{markup}"), 1)
    for part in _pack(_cut_lines(node.content.rstrip("\n").split("\n"), room, measure), room, measure):
        yield f"{head}{part}\n{markup}\n"


def _cut_table(rows: Sequence[str], limit: int, measure: Measure) -> Iterator[str]:
    head = "\n".join(rows[:2]) + "\n"
    room = limit - measure(head)
    if room < limit // 4:
        yield from _cut_lines(rows, limit, measure)
        return
    for part in _pack(_cut_lines(rows[2:], room, measure), room, measure):
        yield f"{head}{part}\n\n"


def _cut_lines(lines: Iterable[str], limit: int, measure: Measure) -> Iterator[str]:
    for line in lines:
        rest = line + "\n"
        while measure(rest.rstrip()) > limit:
            end = _border(rest, _fitting(rest, limit, measure))
            yield rest[:end]
            rest = rest[end:]
        yield rest


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
