"""What a running answer shows can be followed by any process, from any point."""

import asyncio
from contextlib import aclosing

from bot.storage.live.event_stream import EventStream
from bot.storage.redis.client import Redis
from tests.support.patience import PATIENCE_S


async def test_frames_are_followed_from_the_oldest(redis: Redis) -> None:
    event_stream = EventStream(redis)
    await event_stream.publish("test:room", b"one")
    async with (
        aclosing(event_stream.follow("test:room", "")) as frames,
        asyncio.timeout(PATIENCE_S),
    ):
        assert (await anext(frames))[1] == b"one"
        following = asyncio.ensure_future(anext(frames))
        await event_stream.publish("test:other", b"not this")
        await event_stream.publish("test:room", b"two")
        assert (await following)[1] == b"two"


async def test_a_follower_goes_on_where_it_was(redis: Redis) -> None:
    event_stream = EventStream(redis)
    for frame in (b"one", b"two"):
        await event_stream.publish("test:room", frame)
    async with aclosing(event_stream.follow("test:room", "")) as frames:
        seen, _ = await anext(frames)
    async with aclosing(event_stream.follow("test:room", seen)) as frames:
        assert (await anext(frames))[1] == b"two"


async def test_only_the_newest_frames_are_kept(redis: Redis) -> None:
    event_stream = EventStream(redis)
    for start in range(0, 1500, 100):
        await asyncio.gather(
            *(event_stream.publish("test:room", b"%d" % n) for n in range(start, start + 100))
        )
    async with aclosing(event_stream.follow("test:room", "")) as frames:
        assert int((await anext(frames))[1]) > 500
