"""Deletes what is older than the retention time, also in conversations that go on."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from bot.domain.errors import StateUnavailable
from bot.domain.events import now
from bot.domain.turns import Turn
from bot.storage.conversations.summaries import SummaryStore
from bot.storage.conversations.turns import Turns, read_turns, unexpired
from bot.storage.embedded.compaction import Compaction
from bot.storage.erasure.redaction import KnownText, without_expired
from bot.storage.erasure.sent_prompts import SentPrompts
from bot.storage.prompts.proposals import Proposals
from bot.storage.queue.dead_letters import DeadLetterQueue
from bot.storage.redis import keys, tasks
from bot.storage.redis.client import Redis

log = logging.getLogger(__name__)

_LOOK_S = 300.0
_GRACE = timedelta(minutes=15)
"""Turns stay so long after they have expired: answers that were begun with them are then stored, and tidied, too."""
_BATCH = 200
"""Conversations whose oldest turn is read at once."""


class _Question(msgspec.Struct, frozen=True):
    at: datetime


class _Times(msgspec.Struct, frozen=True):
    """The times of a stored turn; decoded without the rest."""

    ended_at: datetime
    received: _Question = msgspec.field(name="said")


_times = msgspec.json.Decoder(_Times)


class Retention:
    """Deletes expired turns, with what was sent for later ones of them, dead letters and proposals.

    Prompts have nothing of an expired turn from the moment on: `Inbox.claim` leaves it out. Here it is deleted, within
    the next hours. Every method raises StateUnavailable.
    """

    def __init__(self, redis: Redis, retention_s: int, compaction: Compaction) -> None:
        self._redis = redis
        self._life = timedelta(seconds=retention_s)
        self._compaction = compaction
        self._turns, self._summaries = Turns(redis), SummaryStore(redis, retention_s)

    @asynccontextmanager
    async def keeping(self) -> AsyncGenerator[None]:
        """Sweep until the end of the block."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            await tasks.end(task)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)  # first, so that commands, which end soon, don't begin one
            try:
                await self.sweep()
            except StateUnavailable as error:
                log.debug("Can't delete what has expired: %s", error)
            except Exception:
                log.exception("What has expired could not be deleted; this is tried again in an hour")

    async def sweep(self) -> int:
        """Delete what has expired, unless a process did in the last hour. Returns the number of turns.

        After that, and once a day because of what expired by itself, the embedded Redis rewrites its file.
        """
        if not await self._redis.call("SET", keys.SWEPT, 1, "NX", "EX", keys.SWEPT_S):
            return 0
        oldest = now() - self._life - _GRACE
        names = await self._candidates(oldest)
        trimmed = {name: count for name in names if (count := await self._trim(name, oldest))}
        if trimmed:
            await SentPrompts(self._redis).tidy(trimmed, self)
        gone = sum(trimmed.values())
        others = await DeadLetterQueue(self._redis).expire(self._life)
        others += await Proposals(self._redis).expire(self._life)
        daily = await self._redis.call("SET", keys.DAILY, 1, "NX", "EX", keys.DAY_S)
        if gone or others or daily:
            await self._compaction.request()
        if gone or others:
            log.info(
                "Older than the retention time: deleted %d answers, %d dead letters and proposals.",
                gone,
                others,
            )
        return gone

    async def _candidates(self, oldest: datetime) -> list[str]:
        """The conversations in which turns may have expired, by the oldest one.

        That one was answered later than the next ones if it was edited; then its question is older.
        """
        batch, found = list[str](), list[str]()
        async for name in self._turns.conversations():
            batch.append(name)
            if len(batch) == _BATCH:
                found += await self._old(batch, oldest)
                batch.clear()
        return list(dict.fromkeys(found + await self._old(batch, oldest)))

    async def _old(self, names: Sequence[str], oldest: datetime) -> list[str]:
        heads = await self._redis.many([("LINDEX", keys.of("turns", name), 0) for name in names])
        return [name for name, head in zip(names, heads, strict=True) if head and _began_before(head, oldest)]

    async def _trim(self, name: str, oldest: datetime) -> int:
        """Delete the expired turns of a conversation. Returns their number."""
        stored: list[bytes] = await self._redis.call("LRANGE", keys.of("turns", name), 0, -1)
        turns = [next(iter(read_turns([raw])), None) for raw in stored]
        kept = set(unexpired(turns, oldest))
        gone = [
            (raw, turn)
            for n, (raw, turn) in enumerate(zip(stored, turns, strict=True))
            if turn and n not in kept
        ]
        for raw, turn in gone:
            await self._turns.erase(name, turn)
            await self._redis.call("LREM", keys.of("turns", name), 1, raw)
        if gone and await self._summaries.get(name) is None:
            await self._summaries.forget(name)  # of an earlier version
        return len(gone)

    # -------------------------------------------------------------- PromptRedaction

    def known(self, conversation: str, turns: Sequence[Turn]) -> KnownText:
        """The text of the turns that stay."""
        known = KnownText()
        known.learn(turns)
        return known

    def prompts(self, packed: bytes, known: KnownText) -> bytes:
        """Stored prompts without the turns that have expired."""
        return without_expired(packed, known)


def _began_before(stored: bytes, oldest: datetime) -> bool:
    """Whether the question or the answer of a stored turn is older; False if it can't be read."""
    try:
        times = _times.decode(stored)
    except msgspec.MsgspecError:
        return False
    return min(times.received.at, times.ended_at) < oldest
