"""Reserves the calls of a log right before they are sent, and stores which were made."""

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from msgspec.structs import replace

from bot.domain.calls import CallLog, collected
from bot.domain.errors import StateUnavailable
from bot.domain.events import User, now
from bot.domain.turns import Usage
from bot.storage.usage.charges import Charge
from bot.storage.usage.quota import Estimate, QuotaLedger

log = logging.getLogger(__name__)


class LedgerReserver:
    """Reserves against limits. Implements `bot.domain.calls.Reserver`.

    `charge` says to whom the calls are charged, at the time at which it is called; its usage is not read.
    """

    def __init__(self, ledger: QuotaLedger, calls: CallLog, charge: Callable[[], Charge]) -> None:
        self._ledger = ledger
        self._calls = calls
        self._charge = charge

    async def reserve(self, most: Usage) -> None:
        await self.reserve_all([estimate(most)], more=True, told=False)

    async def reserve_all(
        self, estimates: Sequence[Estimate], *, more: bool = False, ahead: bool = False, told: bool = True
    ) -> str:
        """As `QuotaLedger.reserve`, with the calls of the log until now, and those that begin at once."""
        async with self._calls.storing:
            usage = self._calls.to_store
            charge = replace(self._charge(), usage=usage)
            notice = await self._ledger.reserve(charge, estimates, more=more, ahead=ahead, told=told)
            self._calls.has_stored(usage)
        return notice

    async def store(self) -> None:
        async with self._calls.storing:
            usage = self._calls.to_store
            try:
                await self._ledger.charges.store(replace(self._charge(), usage=usage))
            except StateUnavailable as error:
                log.warning("The calls of an attempt are not stored before it ends: %s", error)
                return
            self._calls.has_stored(usage)


@asynccontextmanager
async def charged(ledger: QuotaLedger, user: User, work: str) -> AsyncGenerator[None]:
    """The calls of this block are reserved before each is sent, and charged to a person; `work` names what it is.

    Raises StateUnavailable; in the block, calls raise Refused, too.
    """
    event = f"{user.tenant}:{work}:{uuid4().hex}"
    calls = CallLog()

    def charge() -> Charge:
        return Charge(
            event=event,
            tenant=user.tenant,
            person=user.id,
            place=f"{user.tenant} direct",
            template="none",
            conversation=f"{user.tenant}:{work}",
            at=now(),
            turns=0,
            usage=calls.usage,
            attempt=calls.attempt,
        )

    calls.reserver = LedgerReserver(ledger, calls, charge)
    try:
        with collected(calls):
            yield
    finally:
        if calls:
            await ledger.charges.book(charge())


def estimate(most: Usage) -> Estimate:
    """What a call that uses this at the most has to reserve."""
    return Estimate(tokens=most.input_tokens + most.output_tokens, usd=most.usd)
