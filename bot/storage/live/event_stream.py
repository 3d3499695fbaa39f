"""The updates of a running answer, as a stream that any web process can follow from any point."""

from collections.abc import AsyncGenerator
from typing import Any

from bot.storage.redis import keys
from bot.storage.redis.client import BLOCK_S, Redis

_FRAMES = 500


class EventStream:
    """Frames of a channel (a conversation), stored for ten minutes. Methods raise StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def publish(self, channel: str, frame: bytes) -> None:
        name = keys.of("feed", channel)
        await self._redis.many(
            [
                ("XADD", name, "MAXLEN", "~", _FRAMES, "*", "frame", frame),
                ("EXPIRE", name, keys.EVENT_STREAM_S),
            ]
        )

    async def follow(self, channel: str, after: str) -> AsyncGenerator[tuple[str, bytes]]:
        """An endless stream of frames after this id, as (id, frame); an empty `after` starts with the oldest."""
        name, last = keys.of("feed", channel), after or "0"
        while True:
            answer: list[Any] | None = await self._redis.wait(
                name, "XREAD", "BLOCK", int(BLOCK_S * 1000), "STREAMS", name, last
            )
            for _, entries in answer or ():
                for entry, fields in entries:
                    last = entry.decode()
                    yield last, fields[b"frame"]
