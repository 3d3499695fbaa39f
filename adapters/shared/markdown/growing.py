"""What may be shown of unfinished Markdown, without raw markup."""

import re

from adapters.shared.markdown.marks import open_marks
from adapters.shared.markdown.scanner import Scanner

MAX_RUN = 4_000
"""Characters of inline text (a paragraph, a list item) that are searched for open marks. Longer text is shown as it
is, and rendered when it is complete."""
_MAX_SIGNS = 200  # a longer line of only markup characters is shown
_MAX_LINK = 2_500  # characters at the end in which an unfinished link may begin

_ONLY_SIGNS = re.compile(r"[ \t>]*(?:[-+*_=#>`~|:]+|\d{1,9}[.)]|[-+*] \[[ xX]?\]?)[ \t]*$")
_HALF_FENCE = re.compile(r"[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*(?:`{3,}[^`]*|~{3,}.*)$")
_HALF_LINK = re.compile(  # every alternative begins with a different character, which keeps the search fast
    r"(?:\[(?:[^\[\]\n]{0,200}(?:\](?:\([^()\n]{0,2000}(?:\([^()\n]*\)?)?)?)?)"
    r"|!\[(?:[^\[\]\n]{0,200}(?:\](?:\([^()\n]{0,2000}(?:\([^()\n]*\)?)?)?)?)"
    r"|<https?:[^<>\s]*|!(?:(?<=[\s(\[|>*_~]!)|(?<![\s\S]!)))$"
)
_SIGNS = "*_~`"


class Growing:
    """A growing text. Each call reads only new text and the last inline text, never everything."""

    def __init__(self) -> None:
        self.scanner = Scanner()

    def tidied(self, text: str) -> str:
        """The text without raw markup: fences and emphasis are closed, unfinished links and tables left out."""
        end, fence = self._open_fence(text)
        if fence:
            return f"{text[:end].rstrip()}\n{fence}"
        start, end = self._without_halves(text, self._without_signs(text, end), rows=True)
        tail = text[start:end]
        if len(tail) > MAX_RUN:
            return text[:end]
        marks = open_marks(tail)
        if marks:
            tail = tail.rstrip(_SIGNS + " \n")
            marks = open_marks(tail)
        closers = "".join(sign for _, sign in reversed(marks))
        return text[: start + len(tail.rstrip())] + closers if closers else text[: start + len(tail)]

    def settled(self, text: str) -> str:
        """The part whose rendering can't change later: always a prefix of `text`.

        An open code fence is included, as CommonMark shows it; open emphasis, links, tables and headings are not.
        """
        end, fence = self._open_fence(text)
        if fence:
            return text[:end]
        start, end = self._without_halves(text, self._without_signs(text, end), rows=False)
        tail = text[start:end]
        before, _, last = tail.rpartition("\n")
        if last.lstrip().startswith("#"):
            tail = before
        if len(tail) <= MAX_RUN and (marks := open_marks(tail)):
            tail = tail[: marks[0][0]].rstrip(_SIGNS)
        before, _, last = tail.rpartition("\n")
        return text[: start + _before_half_link(before if _only_signs(last) else tail)]

    # What may be shown is a prefix of the text. These find its end, so that a long text is copied once.

    def _open_fence(self, text: str) -> tuple[int, str]:
        """The end without an unfinished fence line, and the marker that would close an open fence."""
        scanner = self.scanner
        scanner.read(text)
        last = text[scanner.at :]
        if not scanner.fence:
            return len(text[: scanner.at].rstrip() if _HALF_FENCE.match(last) else text), ""
        half_closed = last.strip() and not last.strip().strip(scanner.fence[0])
        return _before_break(text, scanner.at) if half_closed else len(text), scanner.fence

    def _run(self, last: str, end: int) -> int:
        """Where the last inline text before `end` begins; `last` is the unfinished line."""
        if last and self.scanner.begins_run(last):
            return self.scanner.at
        return min(self.scanner.run, end)

    def _without_signs(self, text: str, end: int) -> int:
        """The end without a last line that has only markup so far."""
        at = self.scanner.at
        return _before_break(text, at) if _only_signs(text[at:end]) else end

    def _without_halves(self, text: str, end: int, rows: bool) -> tuple[int, int]:
        """Where the last inline text begins, and the end without an unfinished link or table.

        With `rows`, complete rows of a table stay.
        """
        at, table = self.scanner.at, self.scanner.table
        last = text[at:end]
        start = self._run(last, end)
        if last.lstrip(" >").startswith("|"):
            table = at if table < 0 else table
        elif last:
            table = -1
        if table < 0:
            return start, start + _before_half_link(text[start:end])
        whole = text[table : min(at, end)].rstrip("\n") if rows else ""
        end = table + len(whole) if whole.count("\n") > 1 else _before_break(text, table)
        return min(start, end), end


def _before_break(text: str, at: int) -> int:
    """The position without the line break before it, if there is one."""
    return at - (text[at - 1 : at] == "\n")


def _only_signs(line: str) -> bool:
    return len(line) <= _MAX_SIGNS and _ONLY_SIGNS.fullmatch(line) is not None


def _before_half_link(tail: str) -> int:
    """The length of the text without an unfinished link."""
    half = _HALF_LINK.search(tail, max(len(tail) - _MAX_LINK, 0))
    return half.start() if half else len(tail)


def tidy(text: str) -> str:
    """Unfinished text without raw markup: fences and emphasis are closed, unfinished links and tables left out."""
    return Growing().tidied(text)


def settled(text: str) -> str:
    """The part of a growing text whose rendering can't change later: always a prefix of `text`."""
    return Growing().settled(text)
