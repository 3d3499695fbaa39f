"""How Teams displays the Markdown of a message, as far as line breaks go."""

import re

from markdown_it import MarkdownIt

_markdown = MarkdownIt("commonmark").enable("table")
_BREAK = re.compile(r"(?P<hard> {2,}|\\\\)?\n[ \t>]*")


def as_shown(text: str) -> str:
    """The text with a space for each newline that is no line break in Markdown (msteams-docs#740, teams.py#162).

    A hard break is a newline; code, tables, lists and empty lines stay as they are.
    """
    lines = text.split("\n")
    for token in reversed(_markdown.parse(text)):
        if token.type == "inline" and token.map is not None and "\n" in token.content:
            start, stop = token.map
            joined = _BREAK.sub(lambda found: "\n" if found["hard"] else " ", "\n".join(lines[start:stop]))
            lines[start:stop] = joined.split("\n")
    return "\n".join(lines)
