"""Limits the input of the Markdown parser, so that its work and output stay linear in the text.

The parser (pulldown-cmark) is linear, but deep nesting is expensive for consumers of its output, and a table
header of a thousand columns adds a cell for every column to every row. Beyond the limits, markup is shown as text.
"""

import re

MAX_NESTED = 20
"""Nested quotes and list items that one line may open."""
MAX_COLUMNS = 64
"""Columns of a table."""
MAX_PADDING = 4_096
"""Cells that the parser may add to a table."""

LESS_THAN, TILDE, BREAK = "\ufdd0", "\ufdd1", "\ufdd2"
"""Unicode noncharacters that replace `<` and `~` where they are text, or separate markup (BREAK)."""

_RESERVED = re.compile("[\ufdd0-\ufdef]")
# Both begin with a line break, which is found quickly; `^` would be tried at every character.
_DEEP = re.compile(
    r"(\n(?=[ \t]*[-+*>\d])(?![ \t>]*(?:(?:-[ \t]*)+|(?:\*[ \t]*)+)$)"
    rf"(?:[ \t]*(?:>|(?:[-+*]|\d{{1,9}}[.)])(?=[ \t]))){{{MAX_NESTED}}}[ \t]*)(?=[-+*>\d])",
    re.M,
)
_SLICE = 50_000
"""Characters that are searched at once: a regular expression lets no other thread run before it ends."""
_DELIMITER_ROW = re.compile(r"\n([ \t>|:\-]+)$", re.M)


def bounded(text: str) -> str:
    """The text with nesting and tables limited; the number of lines stays the same.

    Characters that can't be encoded as UTF-8 become question marks.
    """
    if not text.isascii():
        text = _RESERVED.sub("", text)
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-8", "replace").decode()
    return _without_wide_tables(_without_deep_nesting(f"\n{text}"))[1:]


def _without_deep_nesting(text: str) -> str:
    """The text with markup that is nested too deeply turned into text. It begins with a line break."""
    pieces: list[str] = []
    at = 0
    while at < len(text):
        end = text.find("\n", at + _SLICE)
        end = len(text) if end < 0 else end
        pieces.append(_DEEP.sub(rf"\1{BREAK}", text[at:end]))
        at = end
    return "".join(pieces)


def _without_wide_tables(text: str) -> str:
    """The text with the delimiter rows of too large tables turned into text. It begins with a line break."""
    if "|" not in text:
        return text
    pieces: list[str] = []
    at = end = rows = written = 0
    for row in _DELIMITER_ROW.finditer(text):
        columns = row[1].count("|") + 1
        if columns < 2 or "-" not in row[1]:
            continue
        if row.start(1) >= end:
            end = text.find("\n\n", row.end())
            end = len(text) if end < 0 else end
            rows, written = text.count("\n", row.end(), end), text.count("|", row.end(), end)
        if columns > MAX_COLUMNS or rows * columns - written > MAX_PADDING:
            pieces += [text[at : row.start(1)], BREAK]
            at = row.start(1)
    return "".join([*pieces, text[at:]]) if pieces else text
