"""Has the embedded Redis write its append-only file anew, so that it holds no more than the data itself."""

import asyncio
import logging
from typing import Any

from bot.domain.errors import StateUnavailable
from bot.storage.redis import keys, tasks
from bot.storage.redis.client import Redis

log = logging.getLogger(__name__)

EVERY_S = 300
"""At most once in this time: it costs as much as writing all data."""
_PATIENCE_S = 120.0
_LOOK_S = 0.1


class Compaction:
    """What is asked for stays noted until it is done, also when this process ends: another does it then.

    Without an `embedded` server nothing is done: whoever runs another one looks after its files.
    """

    def __init__(self, redis: Redis, *, embedded: bool) -> None:
        self._redis = redis
        self._embedded = embedded
        self._task: asyncio.Task[None] | None = None

    async def request(self) -> None:
        """Have it done soon, in the background. Raises StateUnavailable."""
        if not self._embedded:
            return
        await self._redis.many([("INCR", keys.COMPACTION), ("EXPIRE", keys.COMPACTION, keys.DAY_S)])
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._quietly())

    async def run(self) -> bool:
        """Do it now where it was asked for and not done lately; whether it was. Raises StateUnavailable."""
        asked = int(await self._redis.call("GET", keys.COMPACTION) or 0) if self._embedded else 0
        if asked <= 0:
            return False
        if not await self._redis.call("SET", keys.COMPACTED, 1, "NX", "EX", EVERY_S):
            return False
        if not await self._rewrite():
            return False
        # What was asked for meanwhile stays: the file may have been begun before that.
        done = ("DECRBY", keys.COMPACTION, asked)
        await self._redis.many([done, ("EXPIRE", keys.COMPACTION, keys.DAY_S)])
        return True

    async def settled(self) -> None:
        """Wait for what was begun here: for a process that ends, and with it the server. Never raises."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_PATIENCE_S)

    async def close(self) -> None:
        """Wait for nothing: what was begun here is done again, by whoever is there."""
        if self._task is not None:
            await tasks.end(self._task)

    async def _rewrite(self) -> bool:
        """Begin and see it done. A rewrite that was begun before may hold what was deleted since."""
        await self._idle()
        await self._redis.call("BGREWRITEAOF")
        received = await self._idle()
        return received.get("aof_last_bgrewrite_status") == "ok"

    async def _idle(self) -> dict[str, Any]:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                (received,) = await self._redis.info()
                if not received.get("aof_rewrite_in_progress") and not received.get("aof_rewrite_scheduled"):
                    return received
                await asyncio.sleep(_LOOK_S)

    async def _quietly(self) -> None:
        try:
            await self.run()
        except (StateUnavailable, TimeoutError) as error:
            log.warning("The append-only file could not be written anew yet: %s", error or "it took too long")
