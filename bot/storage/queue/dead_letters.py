"""Dead letters: events that failed permanently, with the reason, until an operator retries or drops them."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec

from bot.domain.events import Event, MessageEdited, MessageReceived, User, now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_RETRY = Script("retry")
_event = msgspec.json.Decoder(Event)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that failed permanently at `at`, after `attempts`; `event` is its stored JSON."""

    conversation: str
    at: datetime
    attempts: int
    reason: str
    event: str

    @property
    def words(self) -> str:
        """The person's text; empty for events without text, and unreadable ones."""
        event = read_event(self.event)
        return event.text if isinstance(event, MessageReceived | MessageEdited) else ""


_record = msgspec.json.Decoder(DeadLetter)


def read_event(stored: bytes | str) -> Event | None:
    """Decode a stored event; None if it can't be read (another version wrote it)."""
    try:
        return _event.decode(stored)
    except msgspec.MsgspecError:
        return None


class DeadLetterQueue:
    """The dead letters, by stable ids. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def all(self) -> dict[str, DeadLetter]:
        """All dead letters by id, oldest first."""
        found = {_id(raw): record for raw, record in await self.stored()}
        return dict(sorted(found.items(), key=lambda item: item[1].at))

    async def retry(self, wanted: str) -> bool:
        """Append an event to its conversation's inbox again; False if there is none with this id."""
        found = await self._find(wanted)
        if found is None:
            return False
        stored, record = found
        event, shard = read_event(record.event), keys.shard_of(record.conversation)
        answer: int = await self._redis.run(
            _RETRY,
            [
                keys.dead_letters(shard),
                keys.of("inbox", record.conversation),
                keys.ready(shard),
                keys.waiting(shard),
            ],
            [
                stored,
                record.event,
                record.conversation,
                event.user.tenant if event else "",
                keys.WAITING_S,
                keys.WAKEUPS,
            ],
        )
        return answer == 1

    async def drop(self, wanted: str) -> bool:
        """Delete a dead letter; False if there is none with this id."""
        found = await self._find(wanted)
        return found is not None and await self._remove(*found)

    async def forget(self, gone: Callable[[str], bool]) -> int:
        """Delete the dead letters of these conversations. Returns their number."""
        return await self._forget(lambda record: gone(record.conversation))

    async def expire(self, life: timedelta) -> int:
        """Delete the dead letters that are older than this, or than `keys.DEAD_LETTER_S`. Returns their number."""
        oldest = now() - min(life, timedelta(seconds=keys.DEAD_LETTER_S))
        return await self._forget(lambda record: record.at < oldest)

    async def forget_person(self, user: User) -> int:
        """Delete the dead letters of one person. Returns their number."""
        return await self._forget(lambda record: _by(user, record))

    async def count_person(self, user: User) -> int:
        """The number of dead letters of one person."""
        return sum(_by(user, record) for _, record in await self.stored())

    async def _forget(self, test: Callable[[DeadLetter], bool]) -> int:
        found = [(raw, record) for raw, record in await self.stored() if test(record)]
        for raw, record in found:
            await self._remove(raw, record)
        return len(found)

    async def _find(self, wanted: str) -> tuple[bytes, DeadLetter] | None:
        return next((found for found in await self.stored() if _id(found[0]) == wanted), None)

    async def _remove(self, raw: bytes, record: DeadLetter) -> bool:
        name = keys.dead_letters(keys.shard_of(record.conversation))
        return bool(await self._redis.call("LREM", name, 1, raw))

    async def stored(self) -> list[tuple[bytes, DeadLetter]]:
        """All dead letters, each as stored and decoded."""
        shards: Sequence[list[bytes]] = await self._redis.many(
            [("LRANGE", keys.dead_letters(shard), 0, -1) for shard in range(keys.SHARDS)]
        )
        return [(raw, _record.decode(raw)) for records in shards for raw in records]


def _by(user: User, record: DeadLetter) -> bool:
    event = read_event(record.event)
    return event is not None and (event.user.id, event.user.tenant) == (user.id, user.tenant)


def _id(stored: bytes) -> str:
    """Ten hex digits over the record, which is unique by its conversation and time."""
    return sha256(stored).hexdigest()[:10]
