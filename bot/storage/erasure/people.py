"""Deletes what is kept of one person, everywhere, and takes their words out of what others said."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from bot.domain.errors import ConfigError, StateUnavailable
from bot.domain.events import User, now
from bot.storage.conversations.turns import Turns, read_turns, refs
from bot.storage.embedded.compaction import Compaction
from bot.storage.erasure.collection import PersonData, collect, spare
from bot.storage.erasure.conversations import PersonConversations
from bot.storage.erasure.redaction import Redaction
from bot.storage.erasure.studio_data import Publications
from bot.storage.erasure.text_matching import Passages
from bot.storage.queue.dead_letters import DeadLetterQueue, read_event
from bot.storage.redis import keys, tasks
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore

log = logging.getLogger(__name__)

SWEEP_S = 15.0
"""How often it is looked for what another process left unfinished."""
PATIENCE_S = 20.0
"""How long answers that are being written are waited for; later they are seen to in the background."""
_RESUMED_S = 120
_AGAIN_S = 10
_LOOK_S = 0.1
_BATCH = 10
"""Conversations that are read at once: each holds two hundred turns at most."""


class ErasurePreview(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept of a person: what `forget` would delete now.

    `waiting` are messages that are not answered yet, `given_up` those that could not be answered.
    """

    conversations: int = 0
    answers: int = 0
    pictures: int = 0
    waiting: int = 0
    given_up: int = 0


class PersonErasure(ErasurePreview, frozen=True, kw_only=True):
    """What was deleted. `edited` are messages and answers of others that held the person's words, `saved` the
    set-ups and votes of the studio, `examples` those that were made from the person's questions.

    `running` are answers to others that were begun before and are not written down yet: what they hold of the
    person's words is removed as soon as they are.
    """

    edited: int = 0
    saved: int = 0
    examples: int = 0
    running: int = 0


class Erasure:
    """Every method raises StateUnavailable.

    What is looked for is kept sealed in the secret store until nothing is left to do, so that another process can
    go on where one ended, also when the person's own words are deleted already.
    """

    def __init__(self, redis: Redis, secret_store: SecretStore, compaction: Compaction) -> None:
        self._redis = redis
        self._secrets = secret_store
        self._compaction = compaction
        self._turns = Turns(redis)
        self._dead_letters = DeadLetterQueue(redis)
        self._published = Publications(redis)

    async def preview(self, user: User, *conversations: str, event: str = "") -> ErasurePreview:
        """Count what would be deleted of a person: everywhere, and in these conversations.

        Reads the person's own conversations only, so it is cheap. `event` is an act that is not counted.
        """
        names = list(dict.fromkeys([*await self._turns.talks(user), *conversations]))
        rooms = answers = pictures = waiting = 0
        for at in range(0, len(names), _BATCH):
            batch = names[at : at + _BATCH]
            commands = [
                ("LRANGE", keys.of(kind, item), 0, -1) for item in batch for kind in ("turns", "inbox")
            ]
            stored = await self._redis.many(commands)
            for turns, events in zip(stored[::2], stored[1::2], strict=True):
                theirs = [turn for turn in read_turns(turns) if turn.received.user.is_same(user)]
                rooms += bool(theirs)
                answers += len(theirs)
                pictures += sum(len(refs(turn)) for turn in theirs)
                found = [item for item in map(read_event, events) if item is not None]
                waiting += sum(entry.user.is_same(user) and entry.id != event for entry in found)
        return ErasurePreview(
            conversations=rooms,
            answers=answers,
            pictures=pictures,
            waiting=waiting,
            given_up=await self._dead_letters.count_person(user),
        )

    # -------------------------------------------------------------- forgetting

    async def forget(
        self, user: User, *conversations: str, event: str = "", patience_s: float = PATIENCE_S
    ) -> PersonErasure:
        """Delete what is kept of a person, and take their words out of what is kept of others.

        Reads every conversation of the person's tenant once or twice, a few at a time: some seconds for
        thousands. Safe to repeat. `event` is the act that asks for it, which goes on waiting where it does;
        `conversations` are looked at as the person's, whoever speaks there.
        """
        found = await self._unfinished(user) or PersonData(user=user, began_at=now())
        names = found.conversations | set(conversations) | set(await self._turns.talks(user))
        found = msgspec.structs.replace(found, conversations=names)
        return await self._erase(found, event, patience_s, until=None)

    async def _erase(
        self, found: PersonData, event: str, patience_s: float, until: datetime | None
    ) -> PersonErasure:
        found = await collect(self._redis, found, until)
        found = await self._published.collect(found)
        await self._seal(found)
        passages = await asyncio.to_thread(_passages, found)
        await spare(self._redis, found, passages)
        places = PersonConversations(
            self._redis, found, Redaction(found.user, found.names, passages), event, until
        )
        erased = PersonErasure(
            given_up=await self._dead_letters.forget_person(found.user),
            saved=await self._published.forget_own(found.user),
            examples=await self._published.forget_examples(
                lambda item: item.asker.is_same(found.user), {text for text, _ in found.texts}
            ),
        )
        await self._published.redact(found, places.redaction)
        await places.visit()
        gone = await self._turns.forget(found.user, sorted(found.conversations), until=until)
        running = await places.tidy()
        running = await self._wait(places, running, patience_s)
        await self._end(found.user, unfinished=bool(running))
        return msgspec.structs.replace(
            erased,
            conversations=gone.conversations,
            answers=gone.turns,
            pictures=gone.pictures,
            waiting=places.withdrawn,
            edited=len(places.edited),
            running=len(running),
        )

    async def _wait(
        self, places: PersonConversations, running: dict[str, int], patience_s: float
    ) -> dict[str, int]:
        """Look again at each conversation in which an answer was being written; those where it still is."""
        clock = asyncio.get_running_loop().time
        until = clock() + patience_s
        while running:
            written = await places.written(running)
            if written:
                still = {name: token for name, token in running.items() if name not in written}
                running = still | await places.again(written)
            if not running or clock() >= until:
                break
            await asyncio.sleep(_LOOK_S)
        return running

    # -------------------------------------------------------------- going on after a crash

    async def resume(self) -> int:
        """Finish what was begun and left: here, or by a process that ended. How much that was."""
        at = now().timestamp()
        due = await self._redis.call("ZRANGEBYSCORE", keys.ERASURES, "-inf", at, "LIMIT", 0, 10)
        for member in due:
            user = User(**dict(zip(("tenant", "id"), member.decode().split("\x1f", 1), strict=True)))
            found = await self._unfinished(user)
            if found is None:
                await self._redis.call("ZREM", keys.ERASURES, member)
                continue
            await self._redis.call("ZADD", keys.ERASURES, at + _RESUMED_S, member)
            await self._erase(found, "", 0, until=found.began_at)
        return len(due)

    @asynccontextmanager
    async def keeping(self) -> "AsyncGenerator[Erasure]":
        """Until the end of the block, finish what others left, and what was put off."""
        task = asyncio.create_task(self._keep())
        try:
            yield self
        finally:
            await tasks.end(task)
            await self._compaction.close()

    async def _keep(self) -> None:
        while True:
            try:
                await self.resume()
                await self._compaction.run()
            except StateUnavailable as error:
                log.debug("What is left to be forgotten can't be looked for: %s", error)
            except Exception:
                log.exception("Something could not be forgotten; it is tried again")
            await asyncio.sleep(SWEEP_S)

    async def _unfinished(self, user: User) -> PersonData | None:
        try:
            sealed = await self._secrets.get(_name(user))
        except ConfigError as error:
            log.error("What is left to be forgotten can't be read: %s", error)
            return None
        return msgspec.msgpack.decode(sealed, type=PersonData) if sealed else None

    async def _seal(self, found: PersonData) -> None:
        try:
            await self._secrets.put(_name(found.user), msgspec.msgpack.encode(found), keys.ERASURE_S)
        except ConfigError as error:  # it is done all the same, but not taken up after a crash
            log.error("What is to be forgotten can't be sealed: %s", error)
        at = (now() + timedelta(seconds=_RESUMED_S)).timestamp()
        await self._redis.call("ZADD", keys.ERASURES, at, _member(found.user))

    async def _end(self, user: User, *, unfinished: bool) -> None:
        if unfinished:
            at = (now() + timedelta(seconds=_AGAIN_S)).timestamp()
            await self._redis.call("ZADD", keys.ERASURES, at, _member(user))
            return
        await self._secrets.delete(_name(user))
        await self._redis.call("ZREM", keys.ERASURES, _member(user))
        await self._compaction.request()


def _passages(found: PersonData) -> Passages:
    passages = Passages()
    for text, at in reversed(found.texts):
        passages.add(text, at)
    for name in found.names:
        passages.add(name, found.began_at)
    return passages


def _name(user: User) -> str:
    return f"erasure:{user.tenant}:{user.id}"


def _member(user: User) -> str:
    return f"{user.tenant}\x1f{user.id}"
