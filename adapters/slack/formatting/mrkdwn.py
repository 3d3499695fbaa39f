"""Converts Slack's mrkdwn to plain text, and Markdown to mrkdwn."""

import html
import re
from collections.abc import Mapping

from adapters.shared.markdown import Node, parse
from adapters.shared.markdown import plain as words

_ENTITY = re.compile(r"<([^<>\n]+)>")
_USER = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^<>\n]*)?>")


def mentioned(text: str) -> set[str]:
    """The ids of the people and bots that `text` mentions."""
    return set(_USER.findall(text))


def plain(text: str, bot: str, names: Mapping[str, str]) -> str:
    """`text` without the bot's mention; other mentions as names, links as Markdown, entities unescaped."""

    def replacement(entity: re.Match[str]) -> str:
        return _readable(entity.group(1), bot, names)

    if "<" not in text and "&" not in text:
        return text.strip()
    return html.unescape(_ENTITY.sub(replacement, text)).strip()


def _readable(entity: str, bot: str, names: Mapping[str, str]) -> str:
    target, _, label = entity.partition("|")
    kind, rest = target[:1], target[1:]
    if kind == "@":
        return "" if rest == bot else f"@{names.get(rest) or label or rest}"
    if kind == "#":
        return f"#{label or rest}"
    if kind == "!":
        if rest.startswith(("subteam^", "date^")):
            return label or rest.partition("^")[2]
        return f"@{label or rest}".replace("@@", "@")
    bare = target.removeprefix("mailto:").removeprefix("tel:")
    if not label or label == bare or target in (f"http://{label}", f"https://{label}", f"{label}/"):
        return label or bare
    return f"[{label}]({target})"


# ------------------------------------------------------------------ from Markdown

_BOLD = re.compile(r"(\*\*|__)(?=\S)(.{1,300}?)(?<=\S)\1")
_LINK = re.compile(r"\[([^\[\]]*)\]\((https?://[^()\s]*)\)")
_HEADING = re.compile(r"#{1,6} +")


def escaped(text: str) -> str:
    """`text` with `&`, `<` and `>` escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def from_markdown(text: str) -> str:
    """Markdown as mrkdwn, for views; a table becomes one line per row."""
    lines = text.split("\n")
    shown: list[str] = []
    at = 0
    for node in parse(text).children:
        start, end = node.start, node.stop
        shown += lines[at:start] if at else []
        block = lines[start:end]
        shown += _rows(node) if node.type == "table" else [_line(line) for line in block]
        at = end
    return "\n".join(shown)


def _line(line: str) -> str:
    line = escaped(line)
    if heading := _HEADING.match(line):
        return f"*{line[heading.end() :].rstrip('#').rstrip()}*"
    return _LINK.sub(r"<\2|\1>", _BOLD.sub(r"*\2*", line))


def _rows(table: Node) -> list[str]:
    """One line per row, readable on a narrow screen, too: `*Today*: Answers 3 · Images 1`."""
    rows = [
        [escaped(words(cell.children[0].content)) if cell.children else "" for cell in row.children]
        for row in table.walk()
        if row.type == "tr"
    ]
    head, *body = rows
    return [
        f"*{row[0]}*: "
        + " · ".join(f"{name} {cell}".strip() for name, cell in zip(head[1:], row[1:], strict=False))
        for row in body
    ]
