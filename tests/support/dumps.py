"""Everything that a Redis holds, opened: decompressed, unsealed, with JSON inside of JSON read."""

import re
import unicodedata
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, cast

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from bot.storage.redis.client import Redis

_READ = {
    b"string": ("GET",),
    b"list": ("LRANGE", 0, -1),
    b"hash": ("HGETALL",),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1),
    b"stream": ("XRANGE", "-", "+"),
}


async def dump(redis: Redis, secret: bytes | None = None) -> AsyncIterator[tuple[str, str]]:
    """Each key with each text that it holds; `secret` opens what is sealed."""
    async for key in redis.scan("*"):
        command, *rest = _READ[await redis.call("TYPE", key)]
        yield key, key
        for text in _texts(await redis.call(command, key, *rest), secret):
            yield key, text


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
