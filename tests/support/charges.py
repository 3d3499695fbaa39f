"""Calls and charges as a worker makes them."""

from bot.domain.calls import CallLog
from bot.domain.events import MessageReceived
from bot.domain.turns import Turn, Usage
from bot.storage.redis.client import Redis
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


async def unsettled(redis: Redis) -> list[str]:
    """What is set aside or owed, as key and field."""
    found: list[str] = [name async for name in redis.scan("parley:*:owed")]
    async for name in redis.scan("parley:*:spent:*"):
        totals: dict[bytes, bytes] = await redis.call("HGETALL", name)
        found += [
            f"{name} {field.decode()}" for field, left in totals.items() if b"held" in field and int(left)
        ]
    return found
