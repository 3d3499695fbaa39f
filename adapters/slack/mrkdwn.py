"""Slack's mrkdwn as a person wrote it, turned into plain text with names in place of ids."""

import html
import re
from collections.abc import Mapping

_SIGN = re.compile(r"<([^<>\n]+)>")
_USER = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^<>\n]*)?>")


def mentioned(text: str) -> set[str]:
    """The ids of the people (and bots) whom `text` mentions."""
    return set(_USER.findall(text))


def plain(text: str, bot: str, names: Mapping[str, str]) -> str:
    """`text` without the bot's mention, other mentions as names, links as Markdown, entities as signs."""

    def said(sign: re.Match[str]) -> str:
        return _said(sign.group(1), bot, names)

    return html.unescape(_SIGN.sub(said, text)).strip() if "<" in text or "&" in text else text.strip()


def _said(sign: str, bot: str, names: Mapping[str, str]) -> str:
    target, _, label = sign.partition("|")
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
