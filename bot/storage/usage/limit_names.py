"""The ids of the names in limits, for all processes and for the next start."""

from collections.abc import Collection, Mapping

import msgspec

from bot.domain.events import Frozen
from bot.domain.limits import NamedScope
from bot.storage.redis import keys
from bot.storage.redis.client import Redis


class KnownName(Frozen):
    """What the last look-up of a name found. `at_s` is when, in seconds since 1970.

    With a `problem`, `id` is what an earlier look-up has found; empty if none has.
    """

    id: str = ""
    problem: str = ""
    at_s: float = 0.0


class LimitNameStore:
    """Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, names: Collection[NamedScope]) -> Mapping[NamedScope, KnownName]:
        """What is known of these names; nothing of those that were never looked up."""
        if not names:
            return {}
        found = await self._redis.call("HMGET", keys.LIMIT_NAMES, *map(" ".join, names))
        return {
            name: msgspec.json.decode(known, type=KnownName)
            for name, known in zip(names, found, strict=True)
            if known is not None
        }

    async def write(self, name: NamedScope, known: KnownName) -> None:
        """Store the result of a look-up."""
        stored = ("HSET", keys.LIMIT_NAMES, " ".join(name), msgspec.json.encode(known))
        await self._redis.many([stored, ("EXPIRE", keys.LIMIT_NAMES, keys.LIMIT_NAMES_S)])

    async def lock(self) -> bool:
        """Whether this process may look names up; others don't until `unlock`, or for a while if it dies."""
        answer = await self._redis.call("SET", keys.LIMIT_NAMES_LOCK, 1, "NX", "EX", keys.LOOKING_UP_S)
        return answer is not None

    async def unlock(self) -> None:
        """Let other processes look names up."""
        await self._redis.call("DEL", keys.LIMIT_NAMES_LOCK)
