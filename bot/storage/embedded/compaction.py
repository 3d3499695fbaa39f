"""Rewrites the append-only file of the embedded Redis, so that deleted data is gone from disk, too."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Literal

from bot.domain.errors import StateUnavailable
from bot.storage.redis import keys, tasks
from bot.storage.redis.client import Redis

log = logging.getLogger(__name__)

EVERY_S = 60
"""The minimum interval, because a rewrite writes all data: several requests within it are one."""
LIMIT_S = 10.0
"""How long an answer waits for a rewrite."""
PATIENCE_S = 120.0
"""How long a rewrite may take."""
_LOOK_S = 0.1
_AGAIN_S = 1.0


Rewritten = Literal["done", "soon", "external"]
"""Whether deleted data is gone from disk. `soon`: within minutes; `external`: that server has another operator."""

ON_DISK: Mapping[Rewritten, str] = {
    "done": "rewritten without what was deleted",
    "soon": "will be rewritten without what was deleted within a few minutes",
    "external": "not rewritten, because REDIS_URL names a Redis of your own; see docs/privacy.md#on-disk",
}
"""The same for operators."""


class Compaction:
    """Rewrites on request. Requests are stored, so another process continues after a crash.

    Does nothing without an `embedded` server, whose operator is responsible for its files.
    """

    def __init__(self, redis: Redis, *, embedded: bool) -> None:
        self._redis = redis
        self._embedded = embedded
        self._task: asyncio.Task[None] | None = None

    async def request(self) -> None:
        """Request a rewrite, for `finish` or the next `run`. Raises StateUnavailable."""
        if self._embedded:
            await self._redis.many([("INCR", keys.COMPACTION), ("EXPIRE", keys.COMPACTION, keys.DAY_S)])

    async def finish(self, limit_s: float = LIMIT_S) -> Rewritten:
        """Rewrite what was requested, and wait for it, but not longer than `limit_s`. Never raises."""
        if not self._embedded:
            return "external"
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._quietly())
        await asyncio.wait([self._task], timeout=limit_s)
        try:
            return "soon" if await self._requested() else "done"
        except StateUnavailable:
            return "soon"

    async def run(self) -> bool:
        """Rewrite if requested and not done recently. Returns whether it was done. Raises StateUnavailable."""
        asked = await self._requested() if self._embedded else 0
        if not asked:
            return False
        if not await self._redis.call("SET", keys.COMPACTED, 1, "NX", "EX", EVERY_S):
            return False
        if not await self._rewrite():
            return False
        # Requests from meanwhile stay, because the rewrite may have begun before them.
        done = ("DECRBY", keys.COMPACTION, asked)
        await self._redis.many([done, ("EXPIRE", keys.COMPACTION, keys.DAY_S)])
        return True

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
        async with asyncio.timeout(PATIENCE_S):
            return await no_rewrite(self._redis)

    async def _requested(self) -> int:
        """The number of requests since the last rewrite."""
        return max(int(await self._redis.call("GET", keys.COMPACTION) or 0), 0)

    async def _quietly(self) -> None:
        try:
            while await self._requested():
                if not await self.run():  # there was one a short time ago, or it failed
                    await asyncio.sleep(_AGAIN_S)
        except (StateUnavailable, TimeoutError) as error:
            log.warning("The append-only file could not be rewritten yet: %s", error or "timeout")


async def no_rewrite(redis: Redis) -> dict[str, Any]:
    """Wait until no rewrite runs or is scheduled; returns the INFO of the server. Raises StateUnavailable."""
    while True:
        (info,) = await redis.info()
        if not info.get("aof_rewrite_in_progress") and not info.get("aof_rewrite_scheduled"):
            return info
        await asyncio.sleep(_LOOK_S)
