"""Line breaks as Teams needs them: it shows a single newline as a space."""

import re

_LIST = re.compile(r"(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)")
_ITEM = re.compile(r"(?:[-+*]|1[.)])[ \t]+\S")
"""A list item that can begin directly after text (CommonMark, "List items")."""
_RULE = re.compile(r"(?:=+|-+|(?:[-*_][ \t]*){3,})[ \t]*$")
_DASHES = re.compile(r" {0,3}(?:-[ \t]*){3,}$")
_HEADING = re.compile(r"#{1,6}(?:[ \t]|$)")
_FENCE = re.compile(r"`{3,}[^`]*$|~{3,}")
_KEPT = re.compile(
    r"    |\t|\||`{3,}[^`\n]*(?:\n|$)|~~~| {0,3}(?:[-+*]|\d{1,9}[.)])(?:[ \t](?![-* \t]*(?:\n|$))|\n)"
)
"""The beginning of a block that stays as it is: indented code, a table, a fence, a list."""
_SINGLE = re.compile(r"[^\n]\n(?!\n)")


def has_single_newlines(text: str) -> bool:
    """Whether a text has a newline that is not part of an empty line."""
    return _SINGLE.search(text) is not None


def with_line_breaks(block: str) -> str:
    """A block of Markdown whose lines stay apart in Teams, and after which an empty line follows.

    Lines of text end with two spaces, a hard break, if another line of text follows; lists, code and tables stay as
    they are. What is said of a line depends on nothing after its beginning, so that a growing text stays a prefix.
    """
    bare = block.rstrip("\n")
    newlines = block[len(bare) :]
    body = bare if "\n" not in bare or _KEPT.match(bare) else _apart(bare)
    return body + newlines + ("\n" if bare and newlines == "\n" else "")


def in_card(text: str) -> str:
    """A text for a `TextBlock` of a card, which needs an empty line between lines that are not items of a list."""
    first, *lines = text.split("\n")
    shown, before = [first], first
    for line in lines:
        apart = before.strip() and line.strip() and not line.startswith(" ") and not _LIST.match(line)
        shown += ["", line] if apart else [line]
        before = line
    return "\n".join(shown)


def _apart(body: str) -> str:
    lines = body.split("\n")
    # At the beginning of a block these are rules; further down they would underline a heading.
    rules = next((at for at, line in enumerate(lines) if not _DASHES.match(line)), len(lines))
    rest = "\n".join(lines[rules:])
    return "\n\n".join(
        [*lines[:rules], *([rest if _KEPT.match(rest) else _broken(lines[rules:])] if rest else [])]
    )


def _broken(lines: list[str]) -> str:
    fence, was_text, depth = "", False, 0
    for at, line in enumerate(lines):
        quotes, bare = _unquoted(line)
        if fence:
            fence = "" if bare.startswith(fence) and not bare.strip().strip(fence[0]) else fence
            is_text = False
        elif _FENCE.match(bare):
            fence, is_text = bare[: len(bare) - len(bare.lstrip(bare[0]))], False
        elif _ITEM.match(bare) or (not was_text and _LIST.match(bare)):
            return "\n".join(lines)  # the rest belongs to the list
        else:
            is_text = not (bare.startswith("|") or _RULE.match(bare) or _HEADING.match(bare)) and bool(bare)
        if is_text and was_text and (quotes == depth or not quotes):
            before = lines[at - 1]
            lines[at - 1] = before if before.endswith("\\") else f"{before.rstrip()}  "
        was_text, depth = is_text, quotes or depth
    return "\n".join(lines)


def _unquoted(line: str) -> tuple[int, str]:
    """How many quotes a line is in, and what it says."""
    bare = line.lstrip(" >")
    return line[: len(line) - len(bare)].count(">"), bare.rstrip()
