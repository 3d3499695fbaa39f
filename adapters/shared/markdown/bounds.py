"""Limits on what is handed to the Markdown parser, so that its work and its output stay linear in the text.

The parser itself (pulldown-cmark) is linear, but deep nesting is not cheap for what reads its output, and a table
header of a thousand columns makes a cell for every column in every row. Beyond these limits a marker is shown as
it is written.
"""

import re

MOST_NESTED = 20
"""Quotes and list items that one line may open inside each other."""
MOST_COLUMNS = 64
"""Columns of a table."""
MOST_PADDING = 4_096
"""Cells that a table may have beside those that are written down."""

LESS_THAN, TILDE, BREAK = "\ufdd0", "\ufdd1", "\ufdd2"
"""Unicode noncharacters that stand for signs which must mean nothing, and for nothing at all (BREAK)."""

_RESERVED = re.compile("[\ufdd0-\ufdd2]")
# Both begin with the end of the line before, a sign that is found quickly; `^` would be tried at every character.
_DEEP = re.compile(
    r"(\n(?=[ \t]*[-+*>\d])(?![ \t>]*(?:(?:-[ \t]*)+|(?:\*[ \t]*)+)$)"
    rf"(?:[ \t]*(?:>|(?:[-+*]|\d{{1,9}}[.)])(?=[ \t]))){{{MOST_NESTED}}}[ \t]*)(?=[-+*>\d])",
    re.M,
)
_DELIMITER_ROW = re.compile(r"\n([ \t>|:\-]+)$", re.M)


def bounded(text: str) -> str:
    """The text with at most this nesting and tables of at most this size; its lines stay the same lines.

    Characters that no UTF-8 text can hold become question marks.
    """
    if not text.isascii():
        text = _RESERVED.sub("", text)
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-8", "replace").decode()
    return _without_wide_tables(_DEEP.sub(rf"\1{BREAK}", f"\n{text}"))[1:]


def _without_wide_tables(text: str) -> str:
    """Every delimiter row of a table that is too large made a line of text; each line follows a line break."""
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
        if columns > MOST_COLUMNS or rows * columns - written > MOST_PADDING:
            pieces += [text[at : row.start(1)], BREAK]
            at = row.start(1)
    return "".join([*pieces, text[at:]]) if pieces else text
