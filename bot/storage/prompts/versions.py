"""The log of what was published: versions of templates and changes of pools, append-only."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from bot.domain.publications import Record
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

log = logging.getLogger(__name__)

_PUBLISH = Script("publish")
_record = msgspec.json.Decoder(Record)


class Versions:
    """Records, numbered from 1 by their place. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def since(self, seen: int) -> tuple[int, list[Record]]:
        """How many records there are, and those after the first `seen`.

        Fewer than `seen`: the log was lost, and what was read of it is no longer true. A record that can't
        be read (of a newer Parley) is left out and logged.
        """
        count, stored = await self._redis.many([("LLEN", keys.VERSIONS), ("LRANGE", keys.VERSIONS, seen, -1)])
        read = [_read(record) for record in stored]
        return max(count, seen + len(stored) if stored else 0), [item for item in read if item is not None]

    async def amended(self) -> int:
        """How often records were changed in their places: where that has grown, what was read is not true."""
        return int(await self._redis.call("GET", keys.AMENDED) or 0)

    async def append(self, record: Record) -> bool:
        """Write a record down; False when its number is not the next one: another was published meanwhile."""
        added: int = await self._redis.run(
            _PUBLISH, [keys.VERSIONS], [record.number - 1, msgspec.json.encode(record), keys.PUBLISHED]
        )
        return bool(added)

    async def wakeups(self) -> AsyncIterator[None]:
        """An item when listening has begun, and one for each publication, without end."""
        async with aclosing(self._redis.subscribe(keys.PUBLISHED)) as messages:
            async for _ in messages:
                yield


def _read(stored: bytes) -> Record | None:
    try:
        return _record.decode(stored)
    except msgspec.MsgspecError as error:
        log.error("A published version can't be read and is left out: %s", error)
        return None
