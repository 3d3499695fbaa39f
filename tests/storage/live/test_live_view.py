"""What is being answered now: told only while somebody looks, by every worker."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest

from bot.storage.live import live_view
from bot.storage.live.live_view import LiveView, RunningAnswer
from bot.storage.redis.client import Redis
from tests.support.patience import PATIENCE_S


def answer(event: str, for_s: float = 1.0) -> RunningAnswer:
    return RunningAnswer(
        conversation="test:c",
        event=event,
        adapter="test",
        channel="",
        person="Ada",
        asked="what is up?",
        template="assistant@000000000000",
        deployment="chat",
        attempt=1,
        for_s=for_s,
        text="so f",
    )


@asynccontextmanager
async def telling(redis: Redis, *answers: Callable[[], Sequence[RunningAnswer]]) -> AsyncGenerator[None]:
    tasks = [asyncio.create_task(LiveView(redis).publish(each)) for each in answers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_view, "PACE_S", 0.02)
    monkeypatch.setattr(live_view, "REQUEST_S", 0.05)
    monkeypatch.setattr(live_view, "REQUEST_TTL_S", 0.3)


async def seen(redis: Redis, wanted: tuple[int, list[str]]) -> None:
    """Look until so many workers answer just these events, in this order."""
    async with asyncio.timeout(PATIENCE_S), aclosing(LiveView(redis).subscribe()) as states:
        async for workers, answers in states:
            if (workers, [message.event for message in answers]) == wanted:
                return


async def test_every_worker_publishes_its_answers_longest_first(redis: Redis) -> None:
    one, other = [answer("a", 2.0)], [answer("b", 5.0)]
    async with telling(redis, lambda: one, lambda: other):
        await seen(redis, (2, ["b", "a"]))
        one.clear()
        await seen(redis, (2, ["b"]))


async def test_without_subscribers_nothing_is_published(redis: Redis) -> None:
    asked = 0

    def answers() -> list[RunningAnswer]:
        nonlocal asked
        asked += 1
        return []

    async with telling(redis, answers):
        await asyncio.sleep(live_view.REQUEST_TTL_S)
        assert asked == 0
        await seen(redis, (1, []))
        assert asked > 0
        async with asyncio.timeout(PATIENCE_S):
            before = -1
            while before != asked:  # nobody looks any more: it falls silent
                before = asked
                await asyncio.sleep(live_view.REQUEST_TTL_S)


async def test_a_worker_that_ended_is_not_counted(redis: Redis) -> None:
    async with asyncio.timeout(PATIENCE_S), aclosing(LiveView(redis).subscribe()) as states:
        async with telling(redis, lambda: [answer("a")]):
            async for workers, _ in states:
                if workers == 1:
                    break
        async for workers, answers in states:
            if workers == 0:
                assert answers == ()
                break


async def test_without_workers_an_empty_list_is_sent(redis: Redis) -> None:
    await seen(redis, (0, []))
