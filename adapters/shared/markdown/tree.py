"""Markdown as a tree: its blocks, and the words of a run of text."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pyromark

from adapters.shared.markdown.bounds import BREAK, MOST_NESTED, bounded

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
_SIGNS = re.compile(r"[^\w ,.;:?()/%'\"]|\d[.)]|^ {4}")
"""Text without any of these is its own words."""
_TEXT = ("Text", "Code", "InlineHtml", "Html")


@dataclass(slots=True)
class Node:
    """A block. `start` and `stop` are its range of lines, `content` the Markdown of a run of text, or code.

    `type` is root, paragraph, heading, fence, code_block, rule, blockquote, bullet_list, ordered_list, list_item,
    table, tr, cell, or inline: a run of text. `markup` is the sign of a heading or fence, `info` what follows the
    sign of a fence, `right` tells of each column of a table whether it is set to the right.
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
        """This node and everything in it, in the order of the text."""
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


def parse(text: str) -> Node:
    """The blocks of CommonMark with tables, at most MOST_NESTED levels of them; HTML is text."""
    return _Builder(bounded(text)).build()


def plain(markdown: str) -> str:
    """The words of one run of text, without its signs."""
    if not _SIGNS.search(markdown):
        return markdown.strip()
    words: list[str] = []
    for event in pyromark.events(bounded(markdown), options=_OPTIONS):
        if isinstance(event, dict):
            name, value = next(iter(event.items()))
            if name in _TEXT:
                words.append(cast("str", value))
    return "".join(words).replace(BREAK, "")


class _Builder:
    """Builds the tree from the parser's events, whose ranges count bytes of UTF-8."""

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
        """The tree."""
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
            sign = line[:1]
            node.type, node.info = "fence", str(cast("dict[str, str]", kind)["Fenced"])
            node.markup = line[: len(line) - len(line.lstrip(sign))].decode()
        elif type == "table":
            node.right = tuple(side == "Right" for side in value["Table"])
        self._open.append(self._add(node))

    def _add(self, node: Node) -> Node | None:
        """The node with a place in the tree; None for what is nested too deep or has no parent."""
        parent = self._open[-1]
        if parent is None or len(self._open) > 2 * MOST_NESTED:
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
    """The type of a block by the name of its tag; nothing for what is a part of a run of text."""
    if isinstance(value, str):
        return _BLOCKS.get(value, "")
    ((name, data),) = value.items()
    if name == "List":
        return "bullet_list" if data in (None, False) else "ordered_list"
    return _BLOCKS.get(name, "")
