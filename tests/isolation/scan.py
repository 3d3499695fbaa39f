"""Which canaries a Redis holds, and in which kinds of keys: read in a few round trips."""

import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

from cryptography.fernet import Fernet, InvalidToken

from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.isolation.world import CANARY
from tests.support.dumps import stored


async def canaries_in(redis: Redis, secret: bytes) -> dict[str, set[str]]:
    """The kinds of the keys that hold each canary. Markers of events that were seen are removed: they expire."""
    names = [name async for name in redis.scan("*")]
    seen = [name for name in names if keys.kind_of(name) == "seen"]
    rest = [name for name in names if keys.kind_of(name) != "seen"]
    found: dict[str, set[str]] = defaultdict(set)
    for name in names:
        _note(found, name.encode(), "name")
    if seen:
        await redis.many([("DEL", name) for name in seen])
    async for name, value in stored(redis, rest):
        for text in _bytes(value, secret):
            _note(found, text, keys.kind_of(name))
    return found


def _note(found: dict[str, set[str]], text: bytes, kind: str) -> None:
    for word in CANARY.findall(text):
        found[word.decode()].add(kind)


def _bytes(value: Any, secret: bytes) -> Iterator[bytes]:
    """Every value, decompressed and unsealed; canaries stand in JSON and msgpack as they are."""
    match value:
        case bytes():
            yield value
            if value[:1] == b"x":
                with suppress(zlib.error):
                    yield zlib.decompress(value)
            if value[:4] == b"gAAA":
                with suppress(InvalidToken):
                    yield from _bytes(Fernet(secret).decrypt(value), secret)
        case dict():
            for pair in cast("dict[Any, Any]", value).items():
                yield from _bytes(pair, secret)
        case list() | tuple() | set():
            for item in cast("list[Any]", value):
                yield from _bytes(item, secret)
        case _:
            pass
