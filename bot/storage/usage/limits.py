"""Rate limits shared by all processes, for platforms that limit calls per minute."""

import logging

from bot.domain.errors import StateUnavailable
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

log = logging.getLogger(__name__)

_TAKE = Script("limit")


class WindowLimiter:
    """A sliding window of 60 seconds per name. Implements `bot.domain.adapter.Limiter`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def take(self, name: str, per_minute: int, *, keep: int = 0) -> float:
        """While Redis is unavailable, all calls are allowed, and only the platform's own limit applies."""
        calls = max(per_minute, 1)
        arguments = [calls, max(calls - keep, 1)]
        try:
            return int(await self._redis.run(_TAKE, [keys.limit(name)], arguments)) / 1000
        except StateUnavailable as error:
            log.warning("A shared rate limit is not enforced: %s", error)
            return 0.0
