"""The operator's price table, for all processes."""

import hashlib
from datetime import datetime

from bot.domain.events import Frozen, now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis


class StoredPriceTable(Frozen):
    """A table as text, the file or address that it came from, and when it was stored."""

    text: str
    origin: str
    at: datetime


class PriceTables:
    """Holds one table, or none. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def digest(self) -> str:
        """What changes with the table; empty if there is none."""
        found: bytes | None = await self._redis.call("HGET", keys.PRICES, "digest")
        return (found or b"").decode()

    async def read(self) -> StoredPriceTable | None:
        text, origin, at = await self._redis.call("HMGET", keys.PRICES, "text", "origin", "at")
        if text is None:
            return None
        return StoredPriceTable(
            text=text.decode(), origin=origin.decode(), at=datetime.fromisoformat(at.decode())
        )

    async def write(self, text: str, origin: str) -> None:
        """Replace the table by another, which must have been checked."""
        digest, at = hashlib.sha256(text.encode()).hexdigest(), now().isoformat()
        fields = ("text", text, "origin", origin, "at", at, "digest", digest)
        await self._redis.call("HSET", keys.PRICES, *fields)

    async def remove(self) -> bool:
        """Remove the table; whether there was one."""
        return bool(await self._redis.call("DEL", keys.PRICES))
