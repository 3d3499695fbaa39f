"""Half-finished Markdown without raw signs: what of a growing text may be shown."""

import re
from collections.abc import Sequence

from markdown_it.token import Token

from adapters.markdown.tree import loose

_FENCE_LINE = re.compile(r"^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}|~{3,})([^\n]*)$", re.M)
_ONLY_SIGNS = re.compile(r"[ \t>]*(?:[-+*_=#>`~|:]+|\d{1,9}[.)]|[-+*] \[[ xX]?\]?)[ \t]*$")
_HALF_LINK = re.compile(
    r"(?:!?\[[^\[\]\n]{0,200}(?:\](?:\([^()\n]{0,2000}(?:\([^()\n]*\)?)?)?)?|<https?:[^>\s]*|(?:^|(?<=[\s(\[|>*_~]))!)$"
)
_HALF_LINK_MAX = 2_500
"""Characters that a half link has at most; earlier ones need not be searched for its beginning."""
_SIGNS = "*_~`"
MOST_RUN = 2_000
"""Characters of a run of text in which open marks are looked for; what is longer is shown as it is written."""
_MOST_CUTS = 8
"""Parses that look for the last mark that is closed: from the fifth on, each leaves out half of what is left."""


def tidy(text: str) -> str:
    """Half-finished text without raw signs: fences and emphasis are closed, half links and tables wait."""
    text, fence = _open_fence(text)
    if fence:
        return f"{text.rstrip()}\n{fence}"
    start = _tail(text)
    tail = _without_halves(text[start:], rows=True)
    if len(tail) > MOST_RUN:
        return text[:start] + tail
    closers = _unmatched(tail)
    if closers:
        tail = tail.rstrip(_SIGNS + " \n")
        closers = _unmatched(tail)
    return text[:start] + (tail.rstrip() + closers if closers else tail)


def settled(text: str) -> str:
    """The part of a growing text that is sure not to look different later: always a prefix of `text`.

    An open code fence stays open, as CommonMark shows it; open emphasis, links, tables and headings wait.
    """
    shown, fence = _open_fence(text)
    if fence:
        return shown
    start = _tail(shown)
    tail = _without_halves(shown[start:], rows=False)
    if tail.rpartition("\n")[2].lstrip().startswith("#"):
        tail = tail.rpartition("\n")[0]
    if len(tail) <= MOST_RUN:
        tail = _closed(tail)
    return shown[:start] + _without_halves(tail, rows=False)


def _closed(tail: str) -> str:
    """The longest beginning of a run that was found, in a bounded number of steps, to leave no mark open."""
    for cut in range(_MOST_CUTS):
        if not tail or not _unmatched(tail):
            return tail
        until = len(tail) if cut < _MOST_CUTS // 2 else len(tail) // 2
        tail = tail[: max(0, max(tail.rfind(sign, 0, until) for sign in _SIGNS))].rstrip(_SIGNS)
    return ""


def _open_fence(text: str) -> tuple[str, str]:
    """The text without a fence line that is only half there, and the sign that would close an open fence."""
    fence, opened_at = "", 0
    for line in _FENCE_LINE.finditer(text):
        if not fence and not (line[1][0] == "`" and "`" in line[2]):
            fence, opened_at = line[1], line.start()
        elif fence and line[1].startswith(fence) and not line[2].strip():
            fence = ""
    if not fence:
        return text, ""
    if "\n" not in text[opened_at:]:
        return text[:opened_at].rstrip(), ""
    before, _, last = text.rpartition("\n")
    half_closed = last.strip() and not last.strip().strip(fence[0])
    return (before if half_closed else text), fence


def _tail(text: str) -> int:
    """Where the last block begins; what lies before it is finished, so only the rest needs parsing."""
    return max(text.rfind("\n\n"), *(line.end() for line in [*_FENCE_LINE.finditer(text)][-1:]), -1) + 1


def _without_halves(tail: str, rows: bool) -> str:
    """The last block without a line of signs, a link that isn't whole, or a table that may still grow.

    With `rows` a table's finished rows stay.
    """
    before, _, last = tail.rpartition("\n")
    if _ONLY_SIGNS.fullmatch(last):
        tail = before
    lines = tail.rstrip("\n").split("\n")
    table = 0
    while table < len(lines) and lines[-1 - table].lstrip(" >").startswith("|"):
        table += 1
    if table:
        finished = table - (not tail.endswith("\n"))
        return "\n".join(lines[: len(lines) - table + (finished if rows and finished > 2 else 0)])
    half = _HALF_LINK.search(tail, max(0, len(tail) - _HALF_LINK_MAX))
    return tail[: half.start()] if half else tail


def _unmatched(tail: str) -> str:
    """The signs that would close what is still open in the last line of text, innermost first."""
    inlines = [token for token in loose.parse(tail) if token.type == "inline"]
    if not inlines or not tail.strip():
        return ""
    closers: list[str] = []
    children = [child for child in inlines[-1].children or [] if child.content or child.type != "text"]
    for number, child in enumerate(children):
        if child.type != "text":
            continue
        before = children[number - 1].content[-1:] if number else ""
        after = _first_sign(children, number + 1)
        if child.content in ("*", "_", "~~", "~"):
            inside_word = child.content == "_" and before.isalnum()
            if not after.isspace() and not inside_word and not (child.content == "~" and after):
                closers.append(child.content)
        elif "`" in child.content:
            ticks = re.findall(r"`+", child.content)
            return "".join(reversed([*closers, ticks[0]]))
    return "".join(reversed(closers))


def _first_sign(children: Sequence[Token], start: int) -> str:
    """The first character after a run of emphasis signs: a space means that the run opens nothing."""
    for child in children[start:]:
        if child.type in ("softbreak", "hardbreak"):
            return "\n"
        if child.content not in ("*", "_", "~~"):
            return child.content[:1] or "x"
    return ""
