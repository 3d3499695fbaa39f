"""Deletes the data of one person everywhere, and redacts their text in the data of others."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Self

import msgspec

from bot.domain.adapter import contact_key, person_key
from bot.domain.errors import ConfigError, SecretUnreadable, StateUnavailable
from bot.domain.events import User, now
from bot.storage.conversations.turns import Turns, read_turns, refs
from bot.storage.embedded.compaction import Compaction, Rewritten
from bot.storage.erasure.collection import PersonData, collect, events_of, exclude_common, read_all
from bot.storage.erasure.conversations import PersonConversations
from bot.storage.erasure.redaction import Redaction
from bot.storage.erasure.studio_data import Publications
from bot.storage.erasure.text_matching import Passages
from bot.storage.queue.dead_letters import DeadLetterQueue
from bot.storage.redis import keys, tasks
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore

log = logging.getLogger(__name__)

SWEEP_S = 15.0
"""Time between two checks for erasures that another process left unfinished."""
PATIENCE_S = 20.0
"""How long to wait for running answers; later ones are redacted in the background."""
_RESUMED_S = 120
_AGAIN_S = 10
_LOOK_S = 0.1


class ErasurePreview(msgspec.Struct, frozen=True, kw_only=True):
    """The amounts that `forget` would delete now.

    `waiting` are messages that are not answered yet, `given_up` dead letters.
    """

    conversations: int = 0
    answers: int = 0
    pictures: int = 0
    waiting: int = 0
    given_up: int = 0

    def __add__(self, other: Self) -> Self:
        """The amounts of two tenants."""
        return type(self)(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        )


class PersonErasure(ErasurePreview, frozen=True, kw_only=True):
    """The amounts that were deleted. `edited` are messages and answers of others that contained the person's text,
    `saved` saved configurations and votes of the studio, `examples` those made from the person's questions.

    `running` are answers to others that are not committed yet; they are redacted as soon as they are.
    """

    edited: int = 0
    saved: int = 0
    examples: int = 0
    running: int = 0


class Erasure:
    """Deletes people's data. Every method raises StateUnavailable.

    What to search for is kept encrypted in the secret store until the work is done, so that another process
    can continue after a crash, even when the person's own text is already deleted.
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

        Reads only the person's own conversations, so it is cheap. The event with the id `event` is not counted.
        """
        names = list(dict.fromkeys([*await self._turns.talks(user), *conversations]))
        total = answers = pictures = waiting = 0
        async for stored in read_all(self._redis, names):
            theirs = [turn for turn in read_turns(stored.turns) if turn.received.user.is_same(user)]
            total += bool(theirs)
            answers += len(theirs)
            pictures += sum(len(refs(turn)) for turn in theirs)
            waiting += sum(each.user.is_same(user) and each.id != event for each in events_of(stored.events))
        return ErasurePreview(
            conversations=total,
            answers=answers,
            pictures=pictures,
            waiting=waiting,
            given_up=await self._dead_letters.count_person(user),
        )

    # -------------------------------------------------------------- deletion

    async def forget(
        self, user: User, *conversations: str, event: str = "", patience_s: float = PATIENCE_S
    ) -> PersonErasure:
        """Delete a person's data, and redact their text in the data of others. Idempotent.

        Reads all conversations once or twice, in batches: some seconds for thousands. `event` is the id of
        the event that requests it, which stays in the inbox; `conversations` count as the person's own.
        """
        if not event:  # an operator removes them; those who ask themselves stay signed in until they sign out
            await self._published.end_sessions(user)
        found = await self._unfinished(user) or PersonData(user=user, began_at=now())
        names = found.conversations | set(conversations) | set(await self._turns.talks(user))
        found = msgspec.structs.replace(found, conversations=names)
        return await self._erase(found, event, patience_s, until=None)

    async def rewritten(self) -> Rewritten:
        """Wait for the files on disk to be rewritten without what was deleted; says whether they are. Never raises."""
        return await self._compaction.finish()

    async def _erase(
        self, found: PersonData, event: str, patience_s: float, until: datetime | None
    ) -> PersonErasure:
        found = await collect(self._redis, found, until)
        found = await self._published.collect(found)
        await self._seal(found)
        passages = await asyncio.to_thread(_passages, found)
        await exclude_common(self._redis, found, passages)
        places = PersonConversations(
            self._redis,
            found,
            Redaction(found.user, found.names, passages, found.files, found.examples),
            event,
            until,
        )
        erased = PersonErasure(
            given_up=await self._dead_letters.forget_person(found.user),
            saved=await self._published.forget_own(found.user),
            examples=await self._published.forget_examples(
                lambda proposal: proposal.asker.is_same(found.user), {text for text, _ in found.texts}
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
        """Process conversations again when their running answer is committed; returns those that still run."""
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

    # -------------------------------------------------------------- continuing after a crash

    async def resume(self) -> int:
        """Continue unfinished erasures of this or another process. Returns their number."""
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
        """Continue unfinished erasures and compactions until the end of the block."""
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
                log.debug("Can't check for unfinished erasures: %s", error)
            except Exception:
                log.exception("An erasure failed and will be retried")
            await asyncio.sleep(SWEEP_S)

    async def _unfinished(self, user: User) -> PersonData | None:
        try:
            sealed = await self._secrets.get(_name(user))
        except (ConfigError, SecretUnreadable) as error:
            log.error("An unfinished erasure can't be decrypted: %s", error)
            return None
        return msgspec.msgpack.decode(sealed, type=PersonData) if sealed else None

    async def _seal(self, found: PersonData) -> None:
        try:
            await self._secrets.put(_name(found.user), msgspec.msgpack.encode(found), keys.ERASURE_S)
        except ConfigError as error:  # the erasure goes on, but can't be continued after a crash
            log.error("An erasure can't be encrypted and stored: %s", error)
        at = (now() + timedelta(seconds=_RESUMED_S)).timestamp()
        await self._redis.call("ZADD", keys.ERASURES, at, _member(found.user))

    async def _end(self, user: User, *, unfinished: bool) -> None:
        await self._compaction.request()
        if unfinished:
            at = (now() + timedelta(seconds=_AGAIN_S)).timestamp()
            await self._redis.call("ZADD", keys.ERASURES, at, _member(user))
            return
        await self._secrets.delete(_name(user))
        await self._secrets.delete(person_key(user))
        await self._secrets.delete(contact_key(user))
        await self._redis.call("ZREM", keys.ERASURES, _member(user))


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
