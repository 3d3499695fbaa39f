"""Everything that a Redis holds, opened: decompressed, unsealed, with JSON inside of JSON read."""

import re
import unicodedata
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from bot.storage.redis.client import Redis

_READ: dict[bytes, tuple[str | int, ...]] = {
    b"string": ("GET",),
    b"list": ("LRANGE", 0, -1),
    b"hash": ("HGETALL",),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1),
    b"stream": ("XRANGE", "-", "+"),
}
_AT_ONCE = 500


async def dump(redis: Redis, secret: bytes | None = None) -> AsyncIterator[tuple[str, str]]:
    """Each key with each text that it holds; `secret` opens what is sealed."""
    async for key, value in stored(redis, [name async for name in redis.scan("*")]):
        yield key, key
        for text in _texts(value, secret):
            yield key, text


async def stored(redis: Redis, names: Sequence[str]) -> AsyncIterator[tuple[str, Any]]:
    """What these keys hold, as their type reads: in a few round trips. Those that are gone are left out."""
    for at in range(0, len(names), _AT_ONCE):
        some = names[at : at + _AT_ONCE]
        types = await redis.many([("TYPE", name) for name in some])
        commands = [
            (_READ[type][0], name, *_READ[type][1:])
            for name, type in zip(some, types, strict=True)
            if type != b"none"
        ]
        for (_, name, *_), value in zip(commands, await redis.many(commands), strict=True):
            yield str(name), value


def _texts(value: Any, secret: bytes | None) -> Iterator[str]:
    match value:
        case bytes():
            yield from _opened(value, secret)
        case str():
            yield value
            if value[:1] in ("{", "["):
                with suppress(msgspec.DecodeError):
                    yield from _texts(msgspec.json.decode(value), secret)
        case dict():
            for pair in cast("dict[Any, Any]", value).items():
                yield from _texts(pair, secret)
        case list() | tuple() | set():
            for item in cast("list[Any]", value):
                yield from _texts(item, secret)
        case _:
            pass


def _opened(value: bytes, secret: bytes | None) -> Iterator[str]:
    yield value.decode("utf-8", "replace")
    with suppress(zlib.error):
        yield from _texts(zlib.decompress(value), secret)
    with suppress(InvalidToken):
        if secret is not None:
            yield from _opened(Fernet(secret).decrypt(value), secret)
    for decode in (msgspec.json.decode, msgspec.msgpack.decode):
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            read = decode(value)
            if not isinstance(read, bytes):
                yield from _texts(read, secret)


def squeezed(text: str) -> str:
    """Letters and digits alone: however it is quoted, split or marked up."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFC", text)).casefold()


async def traces(redis: Redis, text: str, secret: bytes | None = None) -> set[str]:
    """The keys that hold this text."""
    wanted = squeezed(text)
    return {key async for key, found in dump(redis, secret) if wanted in squeezed(found)}
