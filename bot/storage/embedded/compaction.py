"""Rewrites the append-only file of the embedded Redis, so that deleted data is gone from disk, too."""

import asyncio
import logging
from typing import Any

from bot.domain.errors import StateUnavailable
from bot.storage.redis import keys, tasks
from bot.storage.redis.client import Redis

log = logging.getLogger(__name__)

EVERY_S = 300
"""The minimum interval, because a rewrite writes all data."""
_PATIENCE_S = 120.0
_LOOK_S = 0.1


class Compaction:
    """Rewrites on request. Requests are stored, so another process continues after a crash.

    Does nothing without an `embedded` server, whose operator is responsible for its files.
    """

    def __init__(self, redis: Redis, *, embedded: bool) -> None:
        self._redis = redis
        self._embedded = embedded
        self._task: asyncio.Task[None] | None = None

    async def request(self) -> None:
        """Request a rewrite in the background. Raises StateUnavailable."""
        if not self._embedded:
            return
        await self._redis.many([("INCR", keys.COMPACTION), ("EXPIRE", keys.COMPACTION, keys.DAY_S)])
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._quietly())

    async def run(self) -> bool:
        """Rewrite if requested and not done recently. Returns whether it was done. Raises StateUnavailable."""
        asked = int(await self._redis.call("GET", keys.COMPACTION) or 0) if self._embedded else 0
        if asked <= 0:
            return False
        if not await self._redis.call("SET", keys.COMPACTED, 1, "NX", "EX", EVERY_S):
            return False
        if not await self._rewrite():
            return False
        # Requests from meanwhile stay, because the rewrite may have begun before them.
        done = ("DECRBY", keys.COMPACTION, asked)
        await self._redis.many([done, ("EXPIRE", keys.COMPACTION, keys.DAY_S)])
        return True

    async def settled(self) -> None:
        """Wait for a running rewrite before the process ends, and with it the server. Never raises."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_PATIENCE_S)

    async def close(self) -> None:
        """Cancel a running rewrite; another process repeats it."""
        if self._task is not None:
            await tasks.end(self._task)

    async def _rewrite(self) -> bool:
        """Run a rewrite to its end. A running one is awaited first, because it may contain deleted data."""
        await self._idle()
        await self._redis.call("BGREWRITEAOF")
        received = await self._idle()
        return received.get("aof_last_bgrewrite_status") == "ok"

    async def _idle(self) -> dict[str, Any]:
        async with asyncio.timeout(_PATIENCE_S):
            return await no_rewrite(self._redis)

    async def _quietly(self) -> None:
        try:
            await self.run()
        except (StateUnavailable, TimeoutError) as error:
            log.warning("The append-only file could not be rewritten yet: %s", error or "timeout")


async def no_rewrite(redis: Redis) -> dict[str, Any]:
    """Wait until no rewrite runs or is scheduled; returns the INFO of the server. Raises StateUnavailable."""
    while True:
        (info,) = await redis.info()
        if not info.get("aof_rewrite_in_progress") and not info.get("aof_rewrite_scheduled"):
            return info
        await asyncio.sleep(_LOOK_S)
