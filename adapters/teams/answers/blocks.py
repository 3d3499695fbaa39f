"""Blocks that Teams does not show as Markdown: headings as bold lines, tables as code or lists, tasks as boxes.

`from_plain_words` rewrites those of plain words without the parser: most of them, in a tenth of the time.
"""

import re
import unicodedata
from collections.abc import Sequence

from adapters.shared.markdown import Node, images, plain

TABLE_WIDTH = 64
"""Characters per line of a table in a code block, about what a chat shows without scrolling.

A wider table is transposed if it has few rows, else it becomes a list.
"""
_BOXES = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}
_PLAIN_HEADING = re.compile(r"#{1,6} +([^\W_](?:(?:[^\W_]|[ ,.;:?()/%'\"])*[^\W_])?)\n\n")
_PLAIN_TABLE = re.compile(r"(?:\|[^\n|\\`<!]*){1,50}\|\n\|(?: *:?-+:? *\|){1,50}\n(?:\|[^\n\\`<!]*\|\n)+\n")
"""Without what may hide a `|` or is not shown as it is written: escapes, code, HTML, images."""
_PLAIN_ITEMS = re.compile(r"[-+*] (?:[^\n|\\`<!]*\n {0,40}[-+*] )*[^\n|\\`<!]*\n\n")
_PLAIN_ITEM = re.compile(r"( *)[-+*] (\[[ xX]\] )?(?:\*\*?)?[^\W\d_]")
"""An item that begins with a word."""


def from_plain_words(block: str) -> str | None:
    """A heading, a table or a list with tasks that needs no parser, as Teams shows it; None for all others.

    The block ends with one empty line, and so does what is returned.
    """
    if heading := _PLAIN_HEADING.fullmatch(block):
        return f"{bold(heading[1])}\n\n"
    if block.startswith("|"):
        return _plain_table(block) if _PLAIN_TABLE.fullmatch(block) else None
    return _plain_tasks(block) if "] " in block and _PLAIN_ITEMS.fullmatch(block) else None


def bold(words: str) -> str:
    """A heading as a bold line."""
    return words if "**" in words or not words else f"**{words}**"


def tick(node: Node, lines: list[str | None]) -> None:
    """Put boxes in place of the signs with which tasks of a list begin, in the lines of the text."""
    for item in node.walk():
        line = lines[item.start] if item.type == "list_item" else None
        words = inline(item) if line and "] " in line else ""
        for sign, box in _BOXES.items():
            if line and words.startswith(sign):
                lines[item.start] = line.replace(sign, box, 1)


def inline(node: Node) -> str:
    """The Markdown of the inline text with which a block begins."""
    first = node.children[0] if node.children else node
    first = first.children[0] if first.type == "paragraph" and first.children else first
    return images.inline(first.content, images.ESCAPED) if first.type == "inline" else ""


def table(node: Node) -> list[str]:
    """The lines in place of a table."""
    return _table([[inline(cell) for cell in row.children] for row in node.children], node.right)


def _plain_table(block: str) -> str | None:
    head, sides, *others = block[:-2].split("\n")
    rows = [[cell.strip(" \t") for cell in line[1:-1].split("|")] for line in (head, *others)]
    right = [side.strip().endswith(":") and side.strip()[0] != ":" for side in sides[1:-1].split("|")]
    if any(len(row) != len(right) for row in rows):
        return None
    return "\n".join(_table(rows, right)) + "\n\n"


def _plain_tasks(block: str) -> str | None:
    shown: list[str] = []
    deepest = 0
    for line in block[:-2].split("\n"):
        item = _PLAIN_ITEM.match(line)
        # Only with steps of two spaces is each line certainly an item of its own.
        if item is None or (depth := len(item[1])) > deepest or depth % 2:
            return None
        deepest = depth + 2
        shown.append(line.replace(item[2], _BOXES[item[2]], 1) if item[2] else line)
    return "\n".join(shown) + "\n\n"


def _table(rows: list[list[str]], right: Sequence[bool]) -> list[str]:
    words = [[plain(cell) for cell in row] for row in rows]
    if block := _code(words, right):
        return block
    if len(words) < len(words[0]) and (block := _code([list(row) for row in zip(*words, strict=True)])):
        return block
    head, *others = rows
    return [
        "- "
        + "; ".join(f"**{name}:** {cell}" if name else cell for name, cell in zip(head, row, strict=False))
        for row in others
    ]


def _code(rows: list[list[str]], right: Sequence[bool] = ()) -> list[str]:
    """A table as a code block, with the columns `right` right-aligned; empty if it is too wide."""
    widths = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 3 * len(widths) > TABLE_WIDTH:
        return []
    rule = "-+-".join("-" * width for width in widths)
    sides = right or [False] * len(widths)
    body = [" | ".join(map(_padded, row, widths, sides)).rstrip() for row in rows]
    return ["```", body[0], rule, *body[1:], "```"]


def _columns(text: str) -> int:
    """The width of a text in a monospaced font."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _padded(text: str, width: int, right: bool) -> str:
    padding = " " * (width - _columns(text))
    return padding + text if right else text + padding
