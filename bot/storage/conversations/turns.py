"""The turns of a conversation, read back: for the studio, for "what did you send", and to be forgotten."""

import logging
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from bot.domain.events import User
from bot.domain.prompts import Image, Message, Part, Prompt
from bot.domain.turns import Turn
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

log = logging.getLogger(__name__)

_FORGET = Script("forget")
_turn = msgspec.json.Decoder(Turn)
_prompts = msgspec.json.Decoder(tuple[Prompt, ...])
_image = msgspec.msgpack.Decoder(Image)


class ForgetResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `forget` deleted."""

    conversations: int = 0
    turns: int = 0
    pictures: int = 0


def read_turns(stored: Iterable[bytes]) -> tuple[Turn, ...]:
    """Decode turns; one that can't be read (an older format, a broken write) is left out and logged."""
    return tuple(turn for turn in map(_read, stored) if turn is not None)


def read_placed(stored: Sequence[bytes]) -> tuple[tuple[Turn, ...], tuple[int, ...]]:
    """Decode turns, and say where each is stored, counted from the end; the unreadable keep their places."""
    read = [
        (place - len(stored), turn) for place, raw in enumerate(stored) if (turn := _read(raw)) is not None
    ]
    return tuple(turn for _, turn in read), tuple(place for place, _ in read)


_COMMON_BYTES = 8192
"""Turns up to this size are kept decoded: the next claim of their conversation brings the same bytes."""


@lru_cache(maxsize=1024)
def _known(stored: bytes) -> Turn:
    return _turn.decode(stored)


def _read(stored: bytes) -> Turn | None:
    try:
        return _known(stored) if len(stored) <= _COMMON_BYTES else _turn.decode(stored)
    except msgspec.MsgspecError as error:
        log.error("A stored turn can't be read and is left out: %s", error)
        return None


def pack_prompts(prompts: Sequence[Prompt]) -> bytes:
    """What was sent, as it is kept: the JSON of the prompts, without the bytes of pictures, compressed."""
    return zlib.compress(msgspec.json.encode([_without_bytes(prompt) for prompt in prompts]), 1)


def _without_bytes(prompt: Prompt) -> Prompt:
    def bare(part: Part) -> Part:
        return replace(part, data=b"", mask=b"") if isinstance(part, Image) else part

    def slim(message: Message) -> Message:
        if not any(isinstance(part, Image) for part in message.parts):
            return message
        return replace(message, parts=tuple(map(bare, message.parts)))

    return replace(prompt, messages=tuple(map(slim, prompt.messages)))


def pack_image(image: Image) -> bytes:
    """A picture as it is kept."""
    return msgspec.msgpack.encode(image)


class Turns:
    """Reads and forgets what commits wrote. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def turns(self, conversation: str, count: int = 200) -> tuple[Turn, ...]:
        """The newest turns of a conversation, oldest first."""
        return read_turns(await self._redis.call("LRANGE", keys.of("turns", conversation), -count, -1))

    async def conversations(self) -> AsyncIterator[str]:
        """Every conversation that has turns, in no order."""
        async for name in self._redis.scan("parley:*:turns:*"):
            yield name.split(":turns:", 1)[1]

    async def sent(self, conversation: str, turn: str) -> tuple[Prompt, ...]:
        """Exactly what was sent for a turn, a prompt for each round of tools; empty when no longer kept."""
        stored: bytes | None = await self._redis.call("GET", keys.of("sent", conversation, turn))
        return _prompts.decode(zlib.decompress(stored)) if stored else ()

    async def image(self, conversation: str, ref: str) -> Image | None:
        """A picture of this conversation, with its bytes; None when it is no longer kept."""
        stored: bytes | None = await self._redis.call("GET", keys.of("picture", conversation, ref))
        return _image.decode(stored) if stored else None

    async def owner(self, conversation: str) -> str | None:
        """The id of the user whose conversation this is; None while nobody has written in it.

        A conversation of an older version has no owner stored: it belongs to whoever began it.
        """
        stored, first = await self._redis.many(
            [("GET", keys.of("owner", conversation)), ("LINDEX", keys.of("turns", conversation), 0)]
        )
        if stored:
            return stored.decode()
        turn = _read(first) if first else None
        return turn.received.user.id if turn is not None else None

    async def release(self, conversations: Iterable[str]) -> None:
        """Let these conversations be without an owner in a day; until then nobody else can take one over."""
        commands = [("EXPIRE", keys.of("owner", conversation), keys.DAY_S) for conversation in conversations]
        if commands:
            await self._redis.many(commands)

    async def erase(self, conversation: str, turn: Turn) -> None:
        """Delete what is kept beside a turn: what was sent, and its pictures."""
        names = [keys.of("sent", conversation, turn.id)]
        names += [keys.of("picture", conversation, ref) for ref in refs(turn)]
        await self._redis.call("DEL", *names)

    async def talks(self, user: User) -> tuple[str, ...]:
        """The conversations in which something of this person is kept."""
        looks = [("SMEMBERS", keys.talks(shard, user.tenant, user.id)) for shard in range(keys.SHARDS)]
        names = [name.decode() for found in await self._redis.many(looks) for name in found]
        there = (
            await self._redis.many([("EXISTS", keys.of("turns", name)) for name in names]) if names else []
        )
        return tuple(sorted(name for name, kept in zip(names, there, strict=True) if kept))

    async def forget(
        self, user: User, conversations: Iterable[str], *, until: datetime | None = None
    ) -> ForgetResult:
        """Delete what this person said, until a time, and what was answered to it, in these conversations."""
        _known.cache_clear()  # their words are in it
        total = turns = pictures = 0
        for conversation in conversations:
            removed: list[bytes] = await self._redis.run(
                _FORGET,
                [
                    keys.of("turns", conversation),
                    keys.talks(keys.shard_of(conversation), user.tenant, user.id),
                ],
                [user.id, user.tenant, conversation, _iso(until) if until is not None else ""],
            )
            for turn in read_turns(removed):
                pictures += len(refs(turn))
                await self.erase(conversation, turn)
            total += bool(removed)
            turns += len(removed)
        return ForgetResult(conversations=total, turns=turns, pictures=pictures)


def _iso(at: datetime) -> str:
    """A time as turns hold it."""
    return msgspec.json.decode(msgspec.json.encode(at))


def refs(turn: Turn) -> list[str]:
    """The refs of every picture that a turn points at, each once."""
    parts = [part for message in turn.messages for part in message.parts]
    found = [part.ref for part in (*parts, *turn.reply.images) if isinstance(part, Image) and part.ref]
    return list(dict.fromkeys(found))
