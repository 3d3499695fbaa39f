"""A minute that all processes share."""

import asyncio

from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.usage.limits import WindowLimiter


async def test_calls_beyond_the_limit_must_wait(redis: Redis) -> None:
    mine, other = WindowLimiter(redis), WindowLimiter(redis)
    waits = await asyncio.gather(*((mine, other)[n % 2].take("slack:T1:post", 5) for n in range(12)))
    assert waits.count(0.0) == 5
    assert all(0 < wait <= 60 for wait in waits if wait)


async def test_a_call_is_free_again_after_a_minute(redis: Redis) -> None:
    limiter = WindowLimiter(redis)
    assert await limiter.take("m", 1) == 0.0
    assert await limiter.take("m", 1) > 0
    stamp = int(await redis.call("LINDEX", keys.limit("m"), 0))
    await redis.call("LSET", keys.limit("m"), 0, stamp - 60_000)
    assert await limiter.take("m", 1) == 0.0


async def test_reserved_calls_are_for_completion_only(redis: Redis) -> None:
    limiter = WindowLimiter(redis)
    assert [await limiter.take("m", 3, keep=1) for _ in range(2)] == [0.0, 0.0]
    assert await limiter.take("m", 3, keep=1) > 0
    assert await limiter.take("m", 3) == 0.0
    assert await limiter.take("m", 3) > 0


async def test_names_have_separate_limits(redis: Redis) -> None:
    limiter = WindowLimiter(redis)
    assert [await limiter.take(name, 1) for name in ("a", "b")] == [0.0, 0.0]


async def test_without_redis_all_calls_are_allowed() -> None:
    away = Redis("redis://127.0.0.1:1/0")
    assert await WindowLimiter(away).take("a", 1) == 0.0
    await away.close()
