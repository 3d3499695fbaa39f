"""Slack's blocks as text: rich text, sections, tables, and whatever else carries words.

Nothing about a block is taken for granted: fields of another type count as missing, unknown blocks are read by the
fields that usually hold text, and depth, nodes and characters are limited.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from adapters.slack.formatting import mrkdwn
from adapters.slack.payloads import Payload, objects, part, string

CHARACTERS = 40_000  # Slack truncates the text of a message above this (docs.slack.dev, chat.postMessage)
NODES = 20_000
DEPTH = 12

# Fields that hold words, in the order in which Slack shows them.
_FIELDS = (
    *("title", "subtitle", "label", "header", "text", "body", "description", "details", "output", "fields"),
    *("elements", "element", "accessory", "children", "items", "cards", "blocks", "tasks", "sources"),
)
_TEXTS = frozenset({"mrkdwn", "plain_text", "raw_text", "raw_number", "markdown"})
_CHOICES = frozenset(
    {"checkboxes", "radio_buttons"}
)  # their options are shown at once; those of menus are not
TABLES = frozenset({"table", "data_table"})


class ReadBudget:
    """How much of one message is still read. `cut` is true once something was left out."""

    def __init__(self, characters: int = CHARACTERS, nodes: int = NODES) -> None:
        self._characters, self._nodes = characters, nodes
        self.cut = False

    def enter(self, depth: int) -> bool:
        """Count one more node; false if there were too many, or it is too deep."""
        self._nodes -= 1
        allowed = self._nodes >= 0 and depth <= DEPTH and self._characters > 0
        self.cut |= not allowed
        return allowed

    def take(self, text: str) -> str:
        """The text, or as much of it as may still be read."""
        taken = text[: max(self._characters, 0)]
        self._characters -= len(taken)
        self.cut |= len(taken) < len(text)
        return taken


class BlockReader:
    """Reads blocks within a budget. `names` are those of people, channels and user groups, by id."""

    def __init__(self, bot: str, names: Mapping[str, str], budget: ReadBudget) -> None:
        self._bot, self._names, self._budget = bot, names, budget

    def mrkdwn(self, text: object) -> str:
        """A text in Slack's mrkdwn, as plain text."""
        return mrkdwn.plain(self._budget.take(string(text)), self._bot, self._names)

    def blocks(self, blocks: object, depth: int = 0) -> str:
        """The text of blocks, one after the other."""
        return _lines([self._value(block, depth) for block in objects(blocks)])

    # -------------------------------------------------------------- blocks in general

    def _value(self, value: object, depth: int) -> str:
        """The text of a block, an element, or a list of them."""
        if isinstance(value, list):
            return _lines([self._value(item, depth + 1) for item in cast("list[object]", value)])
        if isinstance(value, str):
            return self._budget.take(value).strip()
        if not isinstance(value, dict) or not self._budget.enter(depth):
            return ""
        return self._object(cast("Payload", value), depth)

    def _object(self, block: Payload, depth: int) -> str:
        match string(block.get("type")):
            case "rich_text":
                return self._rich(block.get("elements"), depth + 1)
            case kind if kind in _TEXTS:
                return self._text(block)
            case kind if kind in TABLES:
                return self._table(block, depth)
            case "image":
                return self._image(block)
            case "button" | "workflow_button" | "feedback_buttons" | "icon_button":
                return self._button(block)
            case "call":
                call = part(part(block, "call"), "v1")
                words, url = string(call.get("name")), string(call.get("join_url"))
                return self._budget.take(f"[call: {mrkdwn.link(words, url) if url else words}]")
            case "context":
                return " ".join(self._value(item, depth + 1) for item in objects(block.get("elements")))
            case kind if kind in _CHOICES:
                return self._value(block.get("options"), depth + 1)
            case _:
                return _lines([self._value(block[name], depth + 1) for name in _FIELDS if name in block])

    def _text(self, block: Payload) -> str:
        text = block.get("text", block.get("value"))
        if block.get("type") == "mrkdwn":
            return self.mrkdwn(text)
        return self._budget.take(string(text) if not isinstance(text, int | float) else str(text)).strip()

    def _image(self, block: Payload) -> str:
        title = part(block, "title").get("text") or block.get("title")
        words = string(title) or string(block.get("alt_text"))
        return self._budget.take(f"[image: {words}]" if words else "[image]")

    def _button(self, block: Payload) -> str:
        words, url = string(part(block, "text").get("text")), string(block.get("url"))
        return self._budget.take(mrkdwn.link(words, url) if url else f"[{words}]" if words else "")

    # -------------------------------------------------------------- tables

    def _table(self, table: Payload, depth: int) -> str:
        """A table in Markdown; its first row is the heading."""
        rows = table.get("rows")
        lines: list[str] = []
        for row in cast("list[object]", rows) if isinstance(rows, list) else []:
            cells = cast("Payload", row).get("cells") if isinstance(row, dict) else row
            if not isinstance(cells, list) or not self._budget.enter(depth):
                continue
            shown = [_cell(self._value(cell, depth + 1)) for cell in cast("list[object]", cells)]
            lines.append(f"| {' | '.join(shown)} |")
            if len(lines) == 1:
                lines.append("|" + "---|" * len(shown))
        return "\n".join([*self._caption(table), *lines])

    def _caption(self, table: Payload) -> list[str]:
        caption = table.get("caption") or table.get("title")
        words = string(caption) or string(
            cast("Payload", caption).get("text") if isinstance(caption, dict) else ""
        )
        return [self._budget.take(words)] if words else []

    # -------------------------------------------------------------- rich text

    def _rich(self, elements: object, depth: int) -> str:
        """Sections, lists, quotes and code, each on its own lines."""
        return _lines([self._rich_block(element, depth) for element in objects(elements)])

    def _rich_block(self, element: Payload, depth: int) -> str:
        if not self._budget.enter(depth):
            return ""
        match string(element.get("type")):
            case "rich_text_list":
                return self._list(element, depth)
            case "rich_text_quote":
                return "> " + self._inline(element, depth).rstrip("\n").replace("\n", "\n> ")
            case "rich_text_preformatted":
                code = self._inline(element, depth, code=True).strip("\n")
                return f"```\n{code}\n```" if code else ""
            case "rich_text_section" | "rich_text_header" | "":
                return self._inline(element, depth)
            case _:
                return self._object(element, depth + 1)

    def _list(self, element: Payload, depth: int) -> str:
        indent, offset = element.get("indent"), element.get("offset")
        margin = "   " * min(indent, DEPTH) if isinstance(indent, int) else ""
        number = offset if isinstance(offset, int) else 0
        lines: list[str] = []
        for item in objects(element.get("elements")):
            text = self._rich_block(item, depth + 1).strip("\n")
            number += 1
            mark = f"{number}." if element.get("style") == "ordered" else "•"
            lines.append(f"{margin}{mark} {text}")
        return "\n".join(lines)

    def _inline(self, element: Payload, depth: int, *, code: bool = False) -> str:
        pieces: list[str] = []
        for piece in objects(element.get("elements")):
            if not self._budget.enter(depth):
                break
            pieces.append(self._budget.take(self._piece(piece, depth, code=code)))
        return "".join(pieces)

    def _piece(self, piece: Payload, depth: int, *, code: bool) -> str:
        """A part of a line: text, link, mention, emoji, date."""
        kind, names = string(piece.get("type")), self._names
        text = string(piece.get("text"))
        if kind == "text":
            return text if code else _styled(text, part(piece, "style"))
        if kind == "user":
            user = string(piece.get("user_id"))
            return "" if user == self._bot else mrkdwn.person(user, names)
        if kind == "channel":
            return mrkdwn.channel(string(piece.get("channel_id")), names)
        if kind == "usergroup":
            return mrkdwn.group(string(piece.get("usergroup_id")), names)
        if kind == "broadcast":
            return f"@{string(piece.get('range')) or 'channel'}"
        if kind == "emoji":
            return f":{string(piece.get('name'))}:"
        if kind == "date":
            return string(piece.get("fallback")) or mrkdwn.date(piece.get("timestamp"))
        if kind == "color":
            return string(piece.get("value"))
        if kind.startswith("rich_text"):
            return self._rich_block(piece, depth + 1)
        url = string(piece.get("url"))
        return mrkdwn.link(text, url) if url else text or string(piece.get("fallback"))


def _styled(text: str, style: Payload) -> str:
    """With the marks that change the meaning: code, and text that is struck out."""
    if not text.strip():
        return text
    marked = f"`{text}`" if style.get("code") is True else text
    return f"~~{marked}~~" if style.get("strike") is True else marked


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _lines(texts: Sequence[str]) -> str:
    """Texts with a line break between them, and without empty ones."""
    return "\n".join(text.removesuffix("\n") for text in texts if text.strip())
