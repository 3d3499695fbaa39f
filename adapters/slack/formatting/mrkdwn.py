"""Converts Slack's mrkdwn to plain text, and Markdown to mrkdwn."""

import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from adapters.shared.markdown import Node, parse
from adapters.shared.markdown import plain as words

_ENTITY = re.compile(r"<([^<>\n]+)>")
_USER = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^<>\n]*)?>")
_UNLABELLED = re.compile(r"<(?:#|!subteam\^)([A-Z][A-Z0-9]+)\|?>")
_LABELLED = re.compile(r"<(?:#|!subteam\^)([A-Z][A-Z0-9]+)\|[#@]?([^<>\n]+)>")
NO_CHANNEL_NAME, NO_GROUP_NAME = "unknown-channel", "unknown-group"


def mentioned(text: str) -> set[str]:
    """The ids of the people and bots that `text` mentions."""
    return set(_USER.findall(text))


def unlabelled(text: str) -> set[str]:
    """The ids of the channels and user groups that `text` mentions without their names."""
    return set(_UNLABELLED.findall(text))


def labels(text: str) -> dict[str, str]:
    """The names of channels and user groups that `text` itself states, by id."""
    return dict(_LABELLED.findall(text))


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
        return "" if rest == bot else person(rest, names, label)
    if kind == "#":
        return channel(rest, names, label)
    if kind == "!":
        return _special(rest, label, names)
    return link(label, target)


def _special(rest: str, label: str, names: Mapping[str, str]) -> str:
    """A user group, a date, or a mention of everybody."""
    what, _, detail = rest.partition("^")
    if what == "subteam":
        return group(detail, names, label)
    if what == "date":
        return label or date(detail.partition("^")[0])
    return f"@{label or rest}".replace("@@", "@")


def person(user: str, names: Mapping[str, str], label: str = "") -> str:
    """A mention of a person, by name if it is known."""
    return f"@{names.get(user) or label or user}"


def channel(id: str, names: Mapping[str, str], label: str = "") -> str:
    """A mention of a channel; never its id, which means nothing to a reader."""
    return f"#{label or names.get(id) or NO_CHANNEL_NAME}"


def group(id: str, names: Mapping[str, str], label: str = "") -> str:
    """A mention of a user group; never its id."""
    return f"@{label.removeprefix('@') or names.get(id) or NO_GROUP_NAME}"


def date(timestamp: object) -> str:
    """A date of Slack in UTC; as it stands if it is not a timestamp."""
    try:
        return f"{datetime.fromtimestamp(float(str(timestamp)), UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return str(timestamp)


def link(label: str, target: str) -> str:
    """A link in Markdown, or only its address if the label adds nothing."""
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
