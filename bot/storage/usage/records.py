"""Reads the records of charges, which hold each provider call; kept for `keys.CALLS_S`."""

from collections.abc import AsyncIterator
from datetime import date, timedelta

from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.usage.charges import Charge, read

_PAGE = 500
"""Records that are read per round trip."""


async def charges(redis: Redis, first: date, last: date) -> AsyncIterator[Charge]:
    """The charges that were booked from `first` to `last` (UTC, inclusive), of all tenants. Raises StateUnavailable.

    Scans the names of all keys: for reports, not for the path of a message.
    """
    days = {str(first + timedelta(days=n)) for n in range((last - first).days + 1)}
    async for name in redis.scan(keys.of_tenant("calls", "*", "*")):
        if keys.day_of_calls(name) not in days:
            continue
        start = 0
        while records := await redis.call("LRANGE", name, start, start + _PAGE - 1):
            for record in records:
                if (charge := read(record)) is not None:
                    yield charge
            start += _PAGE
