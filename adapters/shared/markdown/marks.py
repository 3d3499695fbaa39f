"""Finds the emphasis and code marks that inline Markdown leaves open, in one pass."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

_SIGNS = re.compile(
    r"\\[!-/:-@\[-`{-~]|`+|\*+|_+|~+|<[^\s<>]*>"
    r"|\]\([^()\s]{0,2000}(?:\([^()\s]{0,500}\)[^()\s]{0,500})?(?:[ \t]+\"[^\"\n]{0,500}\")?\)"
)
_TICKS = re.compile(r"`+")


@dataclass(slots=True)
class _Run:
    """A run of equal marks; `left` of them are not matched yet."""

    at: int
    sign: str
    length: int
    left: int
    opens: bool
    closes: bool


def open_marks(text: str) -> list[tuple[int, str]]:
    """The positions of unclosed marks, each with the text that would close it, outermost first.

    Follows CommonMark with `~~`; marks at the very end may still open something.
    """
    runs: list[_Run] = []
    floor: dict[tuple[str, bool, int], int] = {}
    ticks = _tick_runs(text)
    at = 0
    while found := _SIGNS.search(text, at):
        at, sign = found.end(), found[0][0]
        if sign == "`":
            length = at - found.start()
            places = ticks.get(length, [])
            after = bisect_right(places, found.start())
            if after == len(places):
                return [*_left(runs), (found.start(), found[0])]
            at = places[after] + length
        elif sign in "*_~":
            run = _run(text, found.start(), at)
            if run.closes:
                _close(runs, run, floor)
            if run.left and run.opens:
                runs.append(run)
    return _left(runs)


def code_spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each code span in inline text, including the backticks."""
    ticks = _tick_runs(text)
    at = 0
    while found := _TICKS.search(text, at):
        start, at = found.span()
        slashes = start
        while slashes and text[slashes - 1] == "\\":
            slashes -= 1
        start += (start - slashes) % 2  # a backslash escapes the first one
        places = ticks.get(at - start, [])
        after = bisect_right(places, start)
        if after < len(places):
            at = places[after] + at - start
            yield start, at


def _left(runs: list[_Run]) -> list[tuple[int, str]]:
    return [(run.at, run.sign * run.left) for run in runs]


def _tick_runs(text: str) -> dict[int, list[int]]:
    """The positions of runs of backticks, by length."""
    places: dict[int, list[int]] = {}
    for found in _TICKS.finditer(text):
        places.setdefault(len(found[0]), []).append(found.start())
    return places


def _run(text: str, start: int, stop: int) -> _Run:
    before, after = text[start - 1 : start] or " ", text[stop : stop + 1]
    ends = not after
    after = after or " "
    sign, length = text[start], stop - start
    left = not after.isspace() and (not _punctuation(after) or before.isspace() or _punctuation(before))
    right = not before.isspace() and (not _punctuation(before) or after.isspace() or _punctuation(after))
    opens, closes = left or ends, right
    if sign == "_":
        opens = ends or (left and (not right or _punctuation(before)))
        closes = right and (not left or _punctuation(after))
        opens = opens and not (ends and before.isalnum())
    if sign == "~" and length != 2:
        opens, closes = ends and length == 1, False
    return _Run(start, sign, length, length, opens, closes)


def _punctuation(char: str) -> bool:
    return unicodedata.category(char)[0] in "PS"


def _close(runs: list[_Run], closer: _Run, floor: dict[tuple[str, bool, int], int]) -> None:
    """Match a closing run with its openers; unmatched runs in between become text."""
    while closer.left:
        key = (closer.sign, closer.opens, closer.length % 3)
        lowest = min(floor.get(key, 0), len(runs))
        at = len(runs) - 1
        while at >= lowest and not _pair(runs[at], closer):
            at -= 1
        if at < lowest:
            floor[key] = len(runs)
            return
        opener = runs[at]
        taken = 2 if opener.left >= 2 and closer.left >= 2 else 1
        opener.left -= taken
        closer.left -= taken
        del runs[at + (opener.left > 0) :]


def _pair(opener: _Run, closer: _Run) -> bool:
    if opener.sign != closer.sign or (opener.sign == "~" and opener.left != closer.left):
        return False
    both = closer.opens or opener.closes
    return not (
        both and (opener.length + closer.length) % 3 == 0 and (opener.length % 3 or closer.length % 3)
    )
