"""Limits that all processes keep together, for platforms that count calls a minute."""

import logging

from bot.domain.errors import StateUnavailable
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

log = logging.getLogger(__name__)

_TAKE = Script("limit")


class WindowLimiter:
    """So many places in any 60 seconds, under one name, for all processes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def take(self, name: str, per_minute: int, *, keep: int = 0) -> float:
        """Take a place in the minute, but none of the last `keep`: 0.0, or the seconds until there is one.

        Never raises: with Redis away it lets everybody through, and the platform's own limit counts.
        """
        places = max(per_minute, 1)
        arguments = [places, max(places - keep, 1)]
        try:
            return int(await self._redis.run(_TAKE, [keys.limit(name)], arguments)) / 1000
        except StateUnavailable as error:
            log.warning("A limit is not kept, its counter is away: %s", error)
            return 0.0
