"""The provider calls of one piece of work: each is noted when it begins, so that no ending loses what it cost."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

from msgspec.structs import replace

from bot.domain.events import now
from bot.domain.turns import CallOutcome, Purpose, Usage

_LONGEST = timedelta(minutes=15)


class Call:
    """A call that has begun. Until `end` its usage is an estimate, which stands if the call is interrupted."""

    def __init__(self, usage: Usage) -> None:
        self.usage = usage
        self.ended = False

    def so_far(self, usage: Usage) -> None:
        """A better estimate of what the call has used until now."""
        self.usage = self._with(usage, "interrupted")

    def end(self, usage: Usage, outcome: CallOutcome = "completed") -> None:
        """What the call used."""
        self.usage, self.ended = self._with(usage, outcome), True

    def fail(self, *, unprocessed: bool) -> None:
        """The call ended with an error: it cost nothing if it was `unprocessed`, else its estimate stands."""
        nothing = Usage(deployment=self.usage.deployment, usd=0.0)
        self.end(nothing if unprocessed else self.usage, "failed")

    def _with(self, usage: Usage, outcome: CallOutcome) -> Usage:
        began = self.usage
        return replace(usage, purpose=began.purpose, at=began.at, outcome=outcome)


class CallLog:
    """The calls of one attempt at an event, or of other work. `attempt` is unique.

    With a `purpose`, all calls serve that; otherwise each states its own.
    """

    def __init__(self, purpose: Purpose | None = None) -> None:
        self.attempt = secrets.token_hex(8)
        self.purpose = purpose
        self._calls: list[Call] = []

    def begin(self, usage: Usage, purpose: Purpose) -> Call:
        """Note a call that begins, with an estimate of what it uses if it is interrupted at once."""
        call = Call(self.expected(usage, purpose))
        self._calls.append(call)
        return call

    def expected(self, usage: Usage, purpose: Purpose) -> Usage:
        """The usage of a call that is about to begin, in case its process dies. It is not noted."""
        own = self.purpose or _purpose.get() or purpose
        return replace(usage, purpose=own, at=now(), outcome="interrupted", estimated=True)

    def paid(self, usage: Usage) -> None:
        """Note something that cost money and is no call of a model."""
        self.begin(usage, "tool").end(usage)

    @property
    def usage(self) -> tuple[Usage, ...]:
        """The usage of each call, in the order in which they began."""
        return tuple(call.usage for call in self._calls)

    def take(self) -> tuple[Usage, ...]:
        """The usage of calls that have ended, or began so long ago that they must have; they are removed."""
        latest = now() - _LONGEST
        taken = [call for call in self._calls if call.ended or (call.usage.at or latest) <= latest]
        self._calls = [call for call in self._calls if call not in taken]
        return tuple(call.usage for call in taken)

    def __bool__(self) -> bool:
        return bool(self._calls)


unattributed = CallLog()
"""Calls that nobody asked for: of probes, of the embeddings of pools. `Charges` books them to the operator."""

_log: ContextVar[CallLog] = ContextVar("calls", default=unattributed)
_purpose: ContextVar[Purpose | None] = ContextVar("purpose", default=None)


def current() -> CallLog:
    """The log of the running work."""
    return _log.get()


@contextmanager
def collected(log: CallLog) -> Generator[CallLog]:
    """Note the calls of this block, and of the tasks that it starts, in a log."""
    token = _log.set(log)
    try:
        yield log
    finally:
        _log.reset(token)


@contextmanager
def serving(purpose: Purpose) -> Generator[None]:
    """The calls of this block serve a purpose of their own."""
    token = _purpose.set(purpose)
    try:
        yield
    finally:
        _purpose.reset(token)
