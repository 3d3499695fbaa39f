"""Calls and charges as a worker makes them."""

from bot.domain.calls import CallLog
from bot.domain.events import MessageReceived
from bot.domain.turns import Turn, Usage
from bot.storage.usage.charges import Charge, charge_of
from bot.storage.usage.quota import Estimate, QuotaLedger


def called(*usage: Usage, attempt: str = "") -> CallLog:
    """A log of these calls, which are complete."""
    log = CallLog()
    log.attempt = attempt or log.attempt
    for one in usage:
        log.begin(one, "answer").end(one)
    return log


def charge_for(turn: Turn) -> Charge:
    """The charge for a committed turn."""
    return charge_of(turn.received, turn.id, turn.template, called(*turn.usage))


async def reserve(
    ledger: QuotaLedger,
    asked: MessageReceived,
    event: str,
    *estimates: Estimate,
    attempt: str = "",
    more: bool = False,
) -> str:
    """Reserve these estimates for an event."""
    charge = charge_of(asked, event, "assistant", called(attempt=attempt))
    return await ledger.reserve(charge, estimates, more=more)
