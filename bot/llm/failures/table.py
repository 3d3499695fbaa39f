"""Loads the table of errors, checks it, and finds the row of an error."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from bot.domain.errors import ConfigError
from bot.llm import bundled_files
from bot.llm.failures.lessons import Learn
from bot.llm.failures.reply import ErrorReply, reply_of
from bot.llm.failures.waits import LONGEST_REST_S

Fault = Literal["request", "parameter", "deployment", "credential", "service"]
Next = Literal["without_parameter", "fresh_token", "next_deployment", "nowhere"]
Meaning = Literal["filtered", "too_long", "busy"]


class ErrorExample(msgspec.Struct, forbid_unknown_fields=True):
    """An error as it came: status, body, headers."""

    status: int
    body: Any = None
    headers: dict[str, str] = {}


class ErrorRow(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One row; errors.yaml says what the fields mean."""

    name: str
    status: tuple[int | str, ...] = ()
    code: tuple[str, ...] = ()
    param: tuple[str, ...] = ()
    text: str = ""
    not_text: str = ""
    fault: Fault
    next: Next
    learn: Learn | None = None
    rest_s: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_REST_S)] | None = None
    means: Meaning | None = None
    person: str = ""
    operator: str = ""
    example: ErrorExample

    def matches(self, reply: ErrorReply) -> bool:
        """Whether all conditions hold."""
        if self.status and not any(_is_status(reply.status, status) for status in self.status):
            return False
        if self.code and {code.lower() for code in reply.codes}.isdisjoint(
            code.lower() for code in self.code
        ):
            return False
        if self.param and not reply.param.startswith(self.param):
            return False
        if self.text and not _pattern(self.text).search(reply.text):
            return False
        return not (self.not_text and _pattern(self.not_text).search(reply.text))


def row_of(reply: ErrorReply, accepts: Callable[[ErrorRow], bool]) -> ErrorRow:
    """The first row that matches, and that the caller accepts: a lesson may not be new."""
    return next(row for row in table() if row.matches(reply) and accepts(row))


@cache
def table() -> tuple[ErrorRow, ...]:
    """The rows, read once from errors.yaml. Raises ConfigError."""
    return read(bundled_files.load(Path(__file__).parent / "errors.yaml"))


def read(raw: object) -> tuple[ErrorRow, ...]:
    """The rows of a table. Raises ConfigError with the reason if it is invalid."""
    try:
        rows = msgspec.convert(raw, tuple[ErrorRow, ...])
    except msgspec.ValidationError as error:
        raise ConfigError(f"errors.yaml: {error}") from None
    problems = [f"{row.name}: {problem}" for row in rows for problem in _problems(row)]
    names = [row.name for row in rows]
    problems += [f"{name}: twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    problems = problems or _unreached(rows)
    if problems:
        raise ConfigError(f"errors.yaml: {'; '.join(problems)}")
    return rows


def example_reply(row: ErrorRow) -> ErrorReply:
    """The example of a row as an error."""
    return reply_of(row.example.status, row.example.body, row.example.headers)


def _problems(row: ErrorRow) -> Iterable[str]:
    for pattern in filter(None, (row.text, row.not_text)):
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"invalid pattern: {error}"
    for status in row.status:
        if isinstance(status, str) and not re.fullmatch(r"[45]xx", status):
            yield f"unknown status {status!r}"
    if (row.fault == "parameter") != (row.learn is not None) or (row.learn is not None) != (
        row.next == "without_parameter"
    ):
        yield "a fault of a parameter needs `learn` and `next: without_parameter`"
    if row.fault != "parameter" and row.next != "nowhere" and not row.operator:
        yield "`operator` is missing"
    if row.next == "nowhere" and not (row.means or row.person):
        yield "`person` is missing"


def _unreached(rows: Sequence[ErrorRow]) -> list[str]:
    """Rows that an earlier row hides, and the last one if it does not take everything."""
    problems: list[str] = []
    if not rows or not rows[-1].matches(ErrorReply()):
        problems.append("the last row must match everything")
    for number, row in enumerate(rows):
        reply = example_reply(row)
        if not row.matches(reply):
            problems.append(f"{row.name}: its example does not match")
        hiding = [
            earlier.name for earlier in rows[:number] if earlier.learn is None and earlier.matches(reply)
        ]
        problems += [f"{row.name}: {name} takes its example" for name in hiding]
    return problems


def _is_status(status: int, wanted: int | str) -> bool:
    if isinstance(wanted, int):
        return status == wanted
    return status // 100 == int(wanted[0])


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.DOTALL)
