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
        shown, fence = self._open_fence(text)
        if fence:
            return f"{shown.rstrip()}\n{fence}"
        start, shown = self._without_halves(self._without_signs(shown), rows=True)
        tail = shown[start:]
        if len(tail) > MAX_RUN:
            return shown[:start] + tail
        marks = open_marks(tail)
        if marks:
            tail = tail.rstrip(_SIGNS + " \n")
            marks = open_marks(tail)
        closers = "".join(sign for _, sign in reversed(marks))
        return shown[:start] + (tail.rstrip() + closers if closers else tail)

    def settled(self, text: str) -> str:
        """The part whose rendering can't change later: always a prefix of `text`.

        An open code fence is included, as CommonMark shows it; open emphasis, links, tables and headings are not.
        """
        shown, fence = self._open_fence(text)
        if fence:
            return shown
        start, shown = self._without_halves(self._without_signs(shown), rows=False)
        tail = shown[start:]
        before, _, last = tail.rpartition("\n")
        if last.lstrip().startswith("#"):
            tail = before
        if len(tail) <= MAX_RUN and (marks := open_marks(tail)):
            tail = tail[: marks[0][0]].rstrip(_SIGNS)
        before, _, last = tail.rpartition("\n")
        return shown[:start] + _without_half_link(before if _only_signs(last) else tail)

    def _open_fence(self, text: str) -> tuple[str, str]:
        """The text without an unfinished fence line, and the marker that would close an open fence."""
        scanner = self.scanner
        scanner.read(text)
        last = text[scanner.at :]
        if not scanner.fence:
            return (text[: scanner.at].rstrip() if _HALF_FENCE.match(last) else text), ""
        half_closed = last.strip() and not last.strip().strip(scanner.fence[0])
        return (text[: scanner.at].removesuffix("\n") if half_closed else text), scanner.fence

    def _run(self, text: str) -> int:
        """Where the last inline text begins."""
        scanner = self.scanner
        if len(text) > scanner.at and scanner.begins_run(text[scanner.at :]):
            return scanner.at
        return min(scanner.run, len(text))

    def _without_signs(self, text: str) -> str:
        """The text without a last line that has only markup so far."""
        at = self.scanner.at
        return text[:at].removesuffix("\n") if _only_signs(text[at:]) else text

    def _without_halves(self, text: str, rows: bool) -> tuple[int, str]:
        """Where the last inline text begins, and the text without an unfinished link or table.

        With `rows`, complete rows of a table stay.
        """
        start, at, table = self._run(text), self.scanner.at, self.scanner.table
        last = text[at:]
        if last.lstrip(" >").startswith("|"):
            table = at if table < 0 else table
        elif last:
            table = -1
        if table < 0:
            return start, text[:start] + _without_half_link(text[start:])
        whole = text[table:at].rstrip("\n") if rows else ""
        shown = text[:table] + whole if whole.count("\n") > 1 else text[:table].removesuffix("\n")
        return min(start, len(shown)), shown


def _only_signs(line: str) -> bool:
    return len(line) <= _MAX_SIGNS and _ONLY_SIGNS.fullmatch(line) is not None


def _without_half_link(tail: str) -> str:
    begin = max(len(tail) - _MAX_LINK, 0)
    half = _HALF_LINK.search(tail, begin)
    return tail[: half.start()] if half else tail


def tidy(text: str) -> str:
    """Unfinished text without raw markup: fences and emphasis are closed, unfinished links and tables left out."""
    return Growing().tidied(text)


def settled(text: str) -> str:
    """The part of a growing text whose rendering can't change later: always a prefix of `text`."""
    return Growing().settled(text)
