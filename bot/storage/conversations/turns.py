"""Reads and deletes the stored turns of conversations."""

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
    """The amounts that `forget` deleted."""

    conversations: int = 0
    turns: int = 0
    pictures: int = 0


def read_turns(stored: Iterable[bytes]) -> tuple[Turn, ...]:
    """Decode turns; unreadable ones are logged and left out."""
    return tuple(turn for turn in map(_read, stored) if turn is not None)


def read_placed(stored: Sequence[bytes], oldest: datetime) -> tuple[tuple[Turn, ...], tuple[int, ...]]:
    """Decode the turns since `oldest`, with the index of each in the stored list, counted from the end.

    Unreadable ones count, too.
    """
    turns = [_read(raw) for raw in stored]
    read = [
        (turn, place - len(stored))
        for place in unexpired(turns, oldest)
        if (turn := turns[place]) is not None
    ]
    return tuple(turn for turn, _ in read), tuple(place for _, place in read)


def unexpired(turns: Sequence[Turn | None], oldest: datetime) -> list[int]:
    """The indexes of the turns that were answered since `oldest`; None is unreadable.

    A turn that started over ends those before it, too: an edit may have made them newer than itself.
    """
    old = [turn is not None and turn.ended_at < oldest for turn in turns]
    start = max((n + 1 for n, turn in enumerate(turns) if turn and old[n] and turn.resets), default=0)
    return [n for n, turn in enumerate(turns) if turn is not None and n >= start and not old[n]]


_COMMON_BYTES = 8192
"""Turns up to this size are cached decoded, because the next claim of the conversation returns the same bytes."""


@lru_cache(maxsize=1024)
def _known(stored: bytes) -> Turn:
    return _turn.decode(stored)


def _read(stored: bytes) -> Turn | None:
    try:
        return _known(stored) if len(stored) <= _COMMON_BYTES else _turn.decode(stored)
    except msgspec.MsgspecError as error:
        log.error("Skipped a stored turn that can't be read: %s", error)
        return None


def pack_prompts(prompts: Sequence[Prompt]) -> bytes:
    """The stored form of sent prompts: compressed JSON without the bytes of images."""
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
    return msgspec.msgpack.encode(image)


class Turns:
    """Reads and deletes committed turns. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def turns(self, conversation: str, count: int = 200) -> tuple[Turn, ...]:
        """The newest turns of a conversation, oldest first."""
        return read_turns(await self._redis.call("LRANGE", keys.of("turns", conversation), -count, -1))

    async def conversations(self) -> AsyncIterator[str]:
        """All conversations with turns, in no particular order."""
        async for name in self._redis.scan("parley:*:turns:*"):
            yield name.split(":turns:", 1)[1]

    async def sent(self, conversation: str, turn: str) -> tuple[Prompt, ...]:
        """The prompts of a turn, one per round of tools; empty if no longer stored."""
        stored: bytes | None = await self._redis.call("GET", keys.of("sent", conversation, turn))
        return _prompts.decode(zlib.decompress(stored)) if stored else ()

    async def image(self, conversation: str, ref: str) -> Image | None:
        """An image of this conversation with its bytes; None if no longer stored."""
        stored: bytes | None = await self._redis.call("GET", keys.of("picture", conversation, ref))
        return _image.decode(stored) if stored else None

    async def owner(self, conversation: str) -> str | None:
        """The id of the owner of a conversation; None if nobody has written in it.

        Conversations of older versions have no stored owner; theirs is the author of the first message.
        """
        stored, first = await self._redis.many(
            [("GET", keys.of("owner", conversation)), ("LINDEX", keys.of("turns", conversation), 0)]
        )
        if stored:
            return stored.decode()
        turn = _read(first) if first else None
        return turn.received.user.id if turn is not None else None

    async def release(self, conversations: Iterable[str]) -> None:
        """Drop the owners of these conversations after a day; until then nobody else can take them over.

        Their links end at once.
        """
        names = list(conversations)
        await self._redis.many(
            [
                *(("EXPIRE", keys.of("owner", name), keys.DAY_S) for name in names),
                *(("DEL", keys.of("shared", name)) for name in names),
            ]
        )

    async def erase(self, conversation: str, turn: Turn) -> None:
        """Delete the sent prompts and images of a turn."""
        names = [keys.of("sent", conversation, turn.id)]
        names += [keys.of("picture", conversation, ref) for ref in refs(turn)]
        await self._redis.call("DEL", *names)

    async def talks(self, user: User) -> tuple[str, ...]:
        """The conversations in which turns of this person are stored."""
        commands = [("SMEMBERS", keys.talks(shard, user.tenant, user.id)) for shard in range(keys.SHARDS)]
        names = [name.decode() for found in await self._redis.many(commands) for name in found]
        exist = await self._redis.many([("EXISTS", keys.of("turns", name)) for name in names])
        return tuple(sorted(name for name, exists in zip(names, exist, strict=True) if exists))

    async def forget(
        self, user: User, conversations: Iterable[str], *, until: datetime | None = None
    ) -> ForgetResult:
        """Delete the turns of this person in these conversations, up to a time if given."""
        _known.cache_clear()  # it holds the person's text
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
    """A time in the format of stored turns."""
    return msgspec.json.decode(msgspec.json.encode(at))


def refs(turn: Turn) -> list[str]:
    """The refs of all images of a turn, without duplicates."""
    parts = [part for message in turn.messages for part in message.parts]
    found = [part.ref for part in (*parts, *turn.reply.images) if isinstance(part, Image) and part.ref]
    return list(dict.fromkeys(found))
