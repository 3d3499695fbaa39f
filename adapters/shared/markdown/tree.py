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
_MARKUP = re.compile(r"[^\w ,.;:?()/%'\"]|\d[.)]|^ {4}")
"""Text without any of these is plain."""
_TEXT = ("Text", "Code", "InlineHtml", "Html")


@dataclass(slots=True)
class Node:
    """A block. `start` and `stop` are its range of lines, `content` its inline Markdown or code.

    `type` is root, paragraph, heading, fence, code_block, rule, blockquote, bullet_list, ordered_list, list_item,
    table, tr, cell or inline. `markup` is the marker of a heading or fence, `info` the info string of a fence,
    `right` whether each column of a table is right-aligned.
    """

    type: str
    start: int = 0
    stop: int = 0
    content: str = ""
    markup: str = ""
    info: str = ""
    right: tuple[bool, ...] = ()
    children: list["Node"] = field(default_factory=list["Node"])

    def walk(self) -> Iterator["Node"]:
        """This node and its descendants, in the order of the text."""
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


def parse(text: str) -> Node:
    """Parse CommonMark with tables, at most MAX_NESTED levels; HTML is text."""
    return _Builder(bounded(text)).build()


def plain(markdown: str) -> str:
    """Inline Markdown as plain text."""
    if not _MARKUP.search(markdown):
        return markdown.strip()
    pieces: list[str] = []
    for event in pyromark.events(bounded(markdown), options=_OPTIONS):
        if isinstance(event, dict):
            name, value = next(iter(event.items()))
            if name in _TEXT:
                pieces.append(cast("str", value))
    return "".join(pieces).replace(BREAK, "")


class _Builder:
    """Builds the tree from the parser's events, whose ranges are in UTF-8 bytes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._data = text.encode()
        self._starts = [0]
        while (end := self._data.find(b"\n", self._starts[-1])) >= 0:
            self._starts.append(end + 1)
        self._root = Node("root", 0, len(self._starts))
        self._open: list[Node | None] = [self._root]
        self._run: tuple[int, int] | None = None

    def build(self) -> Node:
        """Build the tree."""
        events = pyromark.events_with_range(self._text, options=_OPTIONS, merge_text=True)
        for event, found in events:
            if isinstance(event, str):
                if event == "Rule":
                    self._end_run()
                    self._add(self._node("rule", found["start"], found["end"]))
                continue
            ((name, value),) = cast("dict[str, Any]", event).items()
            type = _type(value) if name in ("Start", "End") else ""
            if type:
                self._end_run()
                if name == "Start":
                    self._begin(type, value, found["start"], found["end"])
                else:
                    self._open.pop()
            elif (node := self._open[-1]) is not None and node.type in ("fence", "code_block"):
                node.content += cast("str", value).replace(BREAK, "")
            elif name != "End":
                start, stop = self._run or (found["start"], 0)
                self._run = start, max(stop, found["end"])
        return self._root

    def _begin(self, type: str, value: Any, start: int, stop: int) -> None:
        node = self._node(type, start, stop)
        if type == "heading":
            first = self._data[start : start + 1]
            last = self._data[self._starts[node.stop - 1] : stop].strip(b" \t>\n")
            node.markup = "#" * int(value["Heading"]["level"][1]) if first == b"#" else last[:1].decode()
        elif type == "code_block" and isinstance(kind := value["CodeBlock"], dict):
            line = self._data[start : self._end_of_line(start)].lstrip(b" \t")
            marker = line[:1]
            node.type, node.info = "fence", str(cast("dict[str, str]", kind)["Fenced"])
            node.markup = line[: len(line) - len(line.lstrip(marker))].decode()
        elif type == "table":
            node.right = tuple(side == "Right" for side in value["Table"])
        self._open.append(self._add(node))

    def _add(self, node: Node) -> Node | None:
        """Add a node to the tree; None if it is nested too deeply or has no parent."""
        parent = self._open[-1]
        if parent is None or len(self._open) > 2 * MAX_NESTED:
            return None
        parent.children.append(node)
        return node

    def _node(self, type: str, start: int, stop: int) -> Node:
        starts = self._starts
        first = bisect_right(starts, start) - 1
        one_line = first + 1 == len(starts) or stop <= starts[first + 1]
        return Node(type, first, first + 1 if one_line else bisect_right(starts, stop - 1))

    def _end_of_line(self, start: int) -> int:
        end = self._data.find(b"\n", start)
        return len(self._data) if end < 0 else end

    def _end_run(self) -> None:
        if self._run is None:
            return
        (start, stop), self._run = self._run, None
        start -= self._data[start - 1 : start] == b"\\"
        node = self._node("inline", start, stop)
        node.content = self._data[start:stop].decode("utf-8", "ignore").replace(BREAK, "")
        if "\n" in node.content:
            first, *more = node.content.split("\n")
            node.content = "\n".join([first, *(line.lstrip(" \t>") for line in more)])
        self._add(node)


def _type(value: str | dict[str, Any]) -> str:
    """The type of a block by its tag; empty for inline elements."""
    if isinstance(value, str):
        return _BLOCKS.get(value, "")
    ((name, data),) = value.items()
    if name == "List":
        return "bullet_list" if data in (None, False) else "ordered_list"
    return _BLOCKS.get(name, "")
