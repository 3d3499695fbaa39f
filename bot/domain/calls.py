"""The provider calls of one piece of work: each is noted when it begins, so that no ending loses what it cost."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Protocol

from msgspec.structs import replace

from bot.domain.errors import StateUnavailable
from bot.domain.events import now
from bot.domain.turns import CallOutcome, Purpose, Usage

log = logging.getLogger(__name__)

_LONGEST = timedelta(minutes=15)


class Reserver(Protocol):
    """Reserves what the calls of a log may use, and stores the log, so that another process can book it."""

    async def reserve(self, most: Usage) -> None:
        """Reserve at most this for one more call, and store the log. Raises Refused and StateUnavailable."""
        ...

    async def store(self) -> None:
        """Store the log. Never raises."""
        ...


class Call:
    """A call that has begun. Until `end` its usage is an estimate, which stands if the call is interrupted.

    `kind` is what it is made for by itself. `free`: it has ended and cost nothing, so that another call may use its
    reservation. `stored` is its usage as another process books it.
    """

    def __init__(self, usage: Usage, kind: Purpose, expected: Usage | None = None) -> None:
        self.usage = usage
        self.kind: Purpose = kind
        self.ended = self.free = False
        self._expected = expected

    @property
    def stored(self) -> Usage:
        return self._expected or self.usage

    def so_far(self, usage: Usage) -> None:
        """A better estimate of what the call has used until now."""
        self.usage, self._expected = self._with(usage, "interrupted"), None

    def end(self, usage: Usage, outcome: CallOutcome = "completed") -> None:
        """What the call used."""
        self.usage, self._expected, self.ended = self._with(usage, outcome), None, True

    def fail(self, *, unprocessed: bool) -> None:
        """The call ended with an error: it cost nothing if it was `unprocessed`, else its estimate stands."""
        nothing = Usage(deployment=self.usage.deployment, usd=0.0)
        self.end(nothing if unprocessed else self.usage, "failed")
        self.free = unprocessed

    def _with(self, usage: Usage, outcome: CallOutcome) -> Usage:
        began = self.usage
        return replace(usage, purpose=began.purpose, at=began.at, outcome=outcome)


class CallLog:
    """The calls of one attempt at an event, or of other work. `attempt` is unique.

    With a `purpose`, all calls serve that; otherwise each states its own. Without a `reserver`, nothing is reserved
    and the calls are booked when the work ends. `storing` is held while the log is stored.
    """

    def __init__(self, purpose: Purpose | None = None) -> None:
        self.attempt = secrets.token_hex(8)
        self.purpose = purpose
        self.reserver: Reserver | None = None
        self._calls: list[Call] = []
        self._announced: list[tuple[Purpose, Usage]] = []
        self._reserved: Counter[Purpose] = Counter()
        self._stored: tuple[Usage, ...] = ()
        self.storing = asyncio.Lock()

    # -------------------------------------------------------------- before a call

    @contextmanager
    def announced(self, kinds: Sequence[Purpose], expected: Sequence[Usage]) -> Generator[None]:
        """Calls of these kinds are reserved in this block; those that are `expected`, the first ones, begin at once.

        If the block raises, they are not made.
        """
        added: list[tuple[Purpose, Usage]] = [
            (kind, self.expected(usage, kind)) for kind, usage in zip(kinds, expected, strict=False)
        ]
        self._announced += added
        try:
            yield
        except BaseException:
            self._announced = [each for each in self._announced if each not in added]
            raise
        self._reserved.update(kinds)

    async def begins(self, usage: Usage, purpose: Purpose, *, expected: Usage, most: Usage) -> Call:
        """Note a call right before it is sent, so that it is booked if its process dies.

        `usage` is what it uses if it is interrupted at once, `expected` if half-way, `most` at the most. If it was
        announced, nothing more is stored. Otherwise it is stored now, with a reservation of its own, unless it is
        made in place of one that cost nothing. Raises Refused; StateUnavailable only if it is the first one.
        """
        announced, covered = self._is_announced(purpose), self._open(purpose) > 0
        call = self.begin(usage, purpose, expected)
        if announced or self.reserver is None:
            return call
        try:
            await (self.reserver.store() if covered else self.reserver.reserve(most))
        except StateUnavailable:
            if self._calls[0] is call:
                self._calls.remove(call)
                raise
            log.warning("A call is made that could not be reserved: Redis is unavailable")
        except BaseException:
            self._calls.remove(call)
            raise
        self._reserved[purpose] += not covered
        return call

    async def waits(self, purpose: Purpose) -> None:
        """A call of this kind is not sent yet: until it begins, nothing is booked for it."""
        self._withdraw(purpose)
        if self.reserver is not None and self.to_store != self._stored:
            await self.reserver.store()

    @property
    def to_store(self) -> tuple[Usage, ...]:
        """The usage of the calls, and of those that begin at once, if the process dies now."""
        return (*(call.stored for call in self._calls), *(usage for _, usage in self._announced))

    def has_stored(self, usage: tuple[Usage, ...]) -> None:
        """`usage` is what another process would book now."""
        self._stored = usage

    def _is_announced(self, kind: Purpose) -> bool:
        return any(each == kind for each, _ in self._announced)

    def _open(self, kind: Purpose) -> int:
        """How many calls of this kind are reserved and not used."""
        return self._reserved[kind] - sum(call.kind == kind and not call.free for call in self._calls)

    def _withdraw(self, kind: Purpose) -> None:
        found = next((each for each in self._announced if each[0] == kind), None)
        if found is not None:
            self._announced.remove(found)

    # -------------------------------------------------------------- calls

    def begin(self, usage: Usage, purpose: Purpose, expected: Usage | None = None) -> Call:
        """Note a call that begins, with an estimate of what it uses if it is interrupted at once."""
        self._withdraw(purpose)
        stored = None if expected is None else self.expected(expected, purpose)
        call = Call(self.expected(usage, purpose), purpose, stored)
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
