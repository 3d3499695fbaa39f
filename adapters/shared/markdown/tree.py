"""Parses Markdown into a tree of blocks, and inline Markdown into plain text."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pyromark

from adapters.shared.markdown.bounds import BREAK, MAX_NESTED, bounded

_OPTIONS = pyromark.Options.ENABLE_TABLES | pyromark.Options.ENABLE_STRIKETHROUGH
_BLOCKS = {
    "Paragraph": "paragraph",
    "HtmlBlock": "paragraph",
    "Item": "list_item",
    "TableHead": "tr",
    "TableRow": "tr",
    "TableCell": "cell",
    "BlockQuote": "blockquote",
    "Heading": "heading",
    "CodeBlock": "code_block",
    "Table": "table",
}
_MARKUP = re.compile(r"[^\w ,.;:?()/%'\"]|_")
"""Text without any of these is plain."""
_NO_BLOCK = "\xa0"
"""Before a text, it makes what looks like the beginning of a list, quote or heading the text that it is."""
_Event = str | dict[str, Any]
_DETAILED = ("heading", "table", "code_block")
_TEXT = ("Text", "Code", "InlineHtml", "Html")


def _no_nodes() -> list["Node"]:
    return []  # half as slow as `list["Node"]()`


@dataclass(slots=True)
class Node:
    """A block. `start` and `stop` are its range of lines, `content` its inline Markdown or code.

    `type` is root, paragraph, heading, fence, code_block, rule, blockquote, bullet_list, ordered_list, list_item,
    table, tr, cell or inline. `markup` is the marker of a heading or fence, `info` the info string of a fence,
    `right` whether each column of a table is right-aligned. Content and children of a `closed` one were not read.
    """

    type: str
    start: int = 0
    stop: int = 0
    content: str = ""
    markup: str = ""
    info: str = ""
    right: tuple[bool, ...] = ()
    children: list["Node"] = field(default_factory=_no_nodes)
    closed: bool = False

    def walk(self) -> Iterator["Node"]:
        """This node and its descendants, in the order of the text."""
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


def parse(text: str, smallest: int = 0) -> Node:
    """Parse CommonMark with tables, at most MAX_NESTED levels; HTML is text.

    Blocks of less than `smallest` bytes are closed, which takes less than half of the time.
    """
    return _Builder(bounded(text)).build(smallest)


def plain(markdown: str) -> str:
    """Inline Markdown as plain text."""
    if not _MARKUP.search(markdown):
        return markdown.strip()
    pieces: list[str] = []
    for event in pyromark.events(bounded(f"{_NO_BLOCK}{markdown}"), options=_OPTIONS):
        if isinstance(event, dict):
            name, value = next(iter(event.items()))
            if name in _TEXT:
                pieces.append(cast("str", value))
    return "".join(pieces).replace(BREAK, "").strip()


class _Builder:
    """Builds the tree from the parser's events, whose ranges are in UTF-8 bytes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._data = text.encode()
        self._starts = [0]
        while (end := self._data.find(b"\n", self._starts[-1])) >= 0:
            self._starts.append(end + 1)
        self._root = Node("root", 0, len(self._starts))
        self._open = [self._root]

    def build(self, smallest: int) -> Node:
        """Build the tree; see `parse`."""
        found = pyromark.events_with_range(self._text, options=_OPTIONS, merge_text=True)
        events = cast("Iterator[tuple[_Event, dict[str, int]]]", found)
        run, end = -1, 0  # the range of the inline text that is being read
        code: Node | None = None
        for event, place in events:
            start, stop = place["start"], place["end"]
            if isinstance(event, str):
                if event == "Rule":
                    run = self._end_run(run, end)
                    self._add("rule", start, stop)
                continue
            ((name, value),) = event.items()
            if name not in ("Start", "End"):
                type = ""
            elif isinstance(value, str):
                type = _BLOCKS.get(value, "")
            else:
                type = _type(value)
            if type:
                run, code = run if run < 0 else self._end_run(run, end), None
                if name == "End":
                    self._open.pop()
                elif (node := self._add(type, start, stop)) is None or stop - start < smallest:
                    _close(node, events)
                else:
                    self._open.append(node)
                    if type in _DETAILED:
                        self._describe(node, value, start, stop)
                        code = node if type == "code_block" else None
            elif code:
                code.content += value.replace(BREAK, "")
            elif name != "End":
                run, end = (run, max(end, stop)) if run >= 0 else (start, stop)
        return self._root

    def _describe(self, node: Node, value: Any, start: int, stop: int) -> None:
        if node.type == "heading":
            first = self._data[start : start + 1]
            last = self._data[self._starts[node.stop - 1] : stop].strip(b" \t>\n")
            node.markup = "#" * int(value["Heading"]["level"][1]) if first == b"#" else last[:1].decode()
        elif node.type == "table":
            node.right = tuple(side == "Right" for side in value["Table"])
        elif isinstance(kind := value["CodeBlock"], dict):
            line = self._data[start : self._end_of_line(start)].lstrip(b" \t")
            marker = line[:1]
            node.type, node.info = "fence", str(cast("dict[str, str]", kind)["Fenced"])
            node.markup = line[: len(line) - len(line.lstrip(marker))].decode()

    def _add(self, type: str, start: int, stop: int, content: str = "") -> Node | None:
        """Add a node for this range of bytes; None if it is nested too deeply."""
        if len(self._open) > 2 * MAX_NESTED:
            return None
        starts = self._starts
        first = bisect_right(starts, start)
        one_line = first == len(starts) or stop <= starts[first]
        node = Node(type, first - 1, first if one_line else bisect_right(starts, stop - 1), content)
        self._open[-1].children.append(node)
        return node

    def _end_of_line(self, start: int) -> int:
        end = self._data.find(b"\n", start)
        return len(self._data) if end < 0 else end

    def _end_run(self, start: int, stop: int) -> int:
        """Add the inline text in this range of bytes, if there is any (`start` is not -1). Returns -1."""
        if start >= 0:
            start -= self._data[start - 1 : start] == b"\\"
            content = self._data[start:stop].decode("utf-8", "ignore").replace(BREAK, "")
            if "\n" in content:
                first, *more = content.split("\n")
                content = "\n".join([first, *(line.lstrip(" \t>") for line in more)])
            self._add("inline", start, stop, content)
        return -1


def _close(node: Node | None, events: Iterator[tuple[_Event, object]]) -> None:
    """Skip everything within a block that has just begun."""
    if node:
        node.closed = True
    depth = 1
    for event, _ in events:
        depth += ("Start" in event) - ("End" in event)
        if not depth:
            break


def _type(value: str | dict[str, Any]) -> str:
    """The type of a block by its tag; empty for inline elements."""
    if isinstance(value, str):
        return _BLOCKS.get(value, "")
    ((name, data),) = value.items()
    if name == "List":
        return "bullet_list" if data in (None, False) else "ordered_list"
    return _BLOCKS.get(name, "")
