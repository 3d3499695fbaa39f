"""Has the embedded Redis write its append-only file anew, so that it holds no more than the data itself."""

import asyncio
import logging

from bot.errors import StateUnavailable
from bot.state import keys
from bot.state.redis import Redis

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
        await self._redis.call("SET", keys.COMPACTION, 1, "EX", keys.DAY_S)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._quietly())

    async def run(self) -> bool:
        """Do it now where it was asked for and not done lately; whether it was. Raises StateUnavailable."""
        if not self._embedded or not await self._redis.call("EXISTS", keys.COMPACTION):
            return False
        if not await self._redis.call("SET", keys.COMPACTED, 1, "NX", "EX", EVERY_S):
            return False
        asked = await self._redis.call("GETDEL", keys.COMPACTION)
        if await self._rewrite():
            return True
        if asked:
            await self._redis.call("SET", keys.COMPACTION, 1, "EX", keys.DAY_S)
        return False

    async def settled(self) -> None:
        """Wait for what was begun here: for a process that ends, and with it the server. Never raises."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_PATIENCE_S)

    async def _rewrite(self) -> bool:
        """Begin and see it done. A rewrite that was begun before may hold what was deleted since."""
        await self._idle()
        await self._redis.call("BGREWRITEAOF")
        said = await self._idle()
        return said.get("aof_last_bgrewrite_status") == "ok"

    async def _idle(self) -> "dict[str, object]":
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                (said,) = await self._redis.info()
                if not said.get("aof_rewrite_in_progress") and not said.get("aof_rewrite_scheduled"):
                    return said
                await asyncio.sleep(_LOOK_S)

    async def _quietly(self) -> None:
        try:
            await self.run()
        except (StateUnavailable, TimeoutError) as error:
            log.warning("The append-only file could not be written anew yet: %s", error or "it took too long")
