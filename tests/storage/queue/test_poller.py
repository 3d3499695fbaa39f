"""Who claims next: nudged at once, late without nudges, and never a worker that claims nothing any more."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvloop

from bot.storage.queue.inbox import Claim, CommitRequest, Inbox, Wakeup
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.worker.poller import Poller
from tests.support.acts import received
from tests.support.patience import PATIENCE_S


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=30, limit=20, retention_s=3600)


class Deaf(Inbox):
    """An inbox whose nudges are all lost."""

    async def wakeups(self) -> AsyncGenerator[Wakeup | str]:
        yield ""
        await asyncio.Event().wait()


@asynccontextmanager
async def claiming(inbox: Inbox, places: int = 4) -> AsyncGenerator[asyncio.Queue[Claim]]:
    """A rota at work, and what it claims."""
    claims = asyncio.Queue[Claim]()
    until = asyncio.Event()
    free = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def keep(claim: Claim) -> None:
        claims.put_nowait(claim)
        await free.wait()
        await inbox.commit(claim, CommitRequest())

    def begin(claim: Claim, asked_at: float) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(keep(claim)))
        return tasks[-1]

    poller = Poller(inbox, places, begin=begin, stop=lambda _: None)
    running = asyncio.create_task(poller.run(until))
    async with asyncio.timeout(PATIENCE_S):
        yield claims
        free.set()
        until.set()
        await asyncio.gather(running, *tasks)


async def test_conversations_are_claimed_as_they_become_due(inbox: Inbox) -> None:
    async with claiming(inbox) as claims:
        for number in range(3):
            name = f"test:{number}"
            await inbox.accept(received(event=name, conversation=name))
            assert (await claims.get()).conversation == name


async def test_the_sweep_finds_events_without_wakeups(redis: Redis) -> None:
    inbox = Deaf(redis, lease_s=30, limit=20, retention_s=3600)
    async with claiming(inbox) as claims:
        await inbox.accept(received(event="first"))
        assert (await claims.get()).event is not None
        await inbox.accept(received(event="later", conversation="test:other"))
        assert (await claims.get()).conversation == "test:other"


async def test_a_delayed_event_is_claimed_when_due(redis: Redis) -> None:
    inbox = Deaf(redis, lease_s=30, limit=20, retention_s=3600)
    await inbox.accept(received())
    claim = await inbox.claim(keys.shard_of("test:room"))
    assert isinstance(claim, Claim)
    await inbox.release(claim, 0.2)
    async with claiming(inbox) as claims:
        assert (await claims.get()).attempt == 2


async def test_no_more_is_claimed_than_there_are_places(inbox: Inbox) -> None:
    for number in range(5):
        await inbox.accept(received(event=f"e{number}", conversation=f"test:{number}"))
    async with claiming(inbox, places=2) as claims:
        for _ in range(2):
            await claims.get()
        due = await inbox.due()  # a round trip later than a third claim would have been
        assert claims.empty()
        assert sum(one.in_ms == 0 for one in due) == 3


async def test_two_workers_claim_nothing_twice(inbox: Inbox) -> None:
    names = {f"test:{number}" for number in range(8)}
    async with claiming(inbox) as first, claiming(inbox) as second:
        for name in names:
            await inbox.accept(received(event=name, conversation=name))
        got = [await queue.get() for queue in (first, second) for _ in range(4)]
        assert {claim.conversation for claim in got} == names


async def test_a_poller_that_fails_ends_with_its_error(inbox: Inbox) -> None:
    """Otherwise the process would run on and claim nothing."""

    def begin(claim: Claim, asked_at: float) -> asyncio.Task[None]:
        raise RuntimeError("boom")

    await inbox.accept(received())
    with pytest.raises(RuntimeError, match="boom"):
        async with asyncio.timeout(PATIENCE_S):
            await Poller(inbox, 4, begin=begin, stop=lambda _: None).run(asyncio.Event())


def test_what_is_due_at_once_ends_no_worker() -> None:
    """A worker ended with an AttributeError: uvloop's timers of less than a millisecond don't say when they are due."""

    async def look() -> None:
        poller = Poller(cast("Inbox", None), 1, begin=cast("Any", None), stop=print)
        for _ in range(50):
            poller._look_in(3, 0.1, "test:room")  # pyright: ignore[reportPrivateUsage]

    uvloop.run(look())
