"""The append-only log of published template versions and pool changes."""

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
    """Records, numbered from 1 by position. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def since(self, seen: int) -> tuple[int, list[Record]]:
        """The number of records, and those after the first `seen`.

        A number below `seen` means that the log was lost, and what was read of it is outdated. Unreadable
        records (of a newer version) are logged and left out.
        """
        count, stored = await self._redis.many([("LLEN", keys.VERSIONS), ("LRANGE", keys.VERSIONS, seen, -1)])
        read = [_read(record) for record in stored]
        return max(count, seen + len(stored) if stored else 0), [item for item in read if item is not None]

    async def amended(self) -> int:
        """How often records were changed in place; when it grows, what was read is outdated."""
        return int(await self._redis.call("GET", keys.AMENDED) or 0)

    async def append(self, record: Record) -> bool:
        """Append a record; False if its number is not the next one, because another was published meanwhile."""
        added: int = await self._redis.run(
            _PUBLISH, [keys.VERSIONS], [record.number - 1, msgspec.json.encode(record), keys.PUBLISHED]
        )
        return bool(added)

    async def wakeups(self) -> AsyncIterator[None]:
        """An endless stream: an item when the subscription has started, and one per publication."""
        async with aclosing(self._redis.subscribe(keys.PUBLISHED)) as messages:
            async for _ in messages:
                yield


def _read(stored: bytes) -> Record | None:
    try:
        return _record.decode(stored)
    except msgspec.MsgspecError as error:
        log.error("Skipped a published version that can't be read: %s", error)
        return None
