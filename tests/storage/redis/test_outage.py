"""Redis goes away and comes back: nothing acknowledged is missing, and workers resume by themselves."""

from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from pathlib import Path

import pytest

from bot.domain.errors import StateUnavailable
from bot.domain.events import Event
from bot.domain.prompts import Prompt
from bot.domain.turns import Delta
from bot.storage.redis.client import Redis
from tests.support import servers
from tests.support.acts import received
from tests.support.fake_adapter import words
from tests.support.servers import Server
from tests.worker.test_worker import CONVERSATION, Harness


@pytest.fixture
def server(tmp_path: Path) -> Generator[Server]:
    """A Redis that can be killed, and then knows what it knew."""
    server = Server(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    with servers.running(server):
        yield server


@pytest.fixture
async def harness(server: Server) -> AsyncGenerator[Harness]:
    redis = Redis(server.url)
    yield Harness(redis)
    await redis.close()


def back(server: Server) -> None:
    server.start()
    server.ready()


async def accepted(harness: Harness, event: Event) -> None:
    """Deliver until it is taken, as platforms do."""

    async def taken() -> bool:
        with suppress(StateUnavailable):
            await harness.inbox.accept(event)
            return True
        return False

    await harness.until(taken)


async def answered(harness: Harness, *events: str) -> None:
    """Wait until the history holds exactly these, in order."""

    async def there() -> bool:
        with suppress(StateUnavailable):
            return [turn.id for turn in await harness.turns.turns(CONVERSATION)] == [*events]
        return False

    await harness.until(there)


async def test_a_worker_resumes_after_an_outage(harness: Harness, server: Server) -> None:
    """Field note 32."""
    async with harness.working():
        await harness.accept(received(event="a"))
        await answered(harness, "a")
        server.stop(kill=True)
        with pytest.raises(StateUnavailable):
            await harness.accept(received(event="b"))
        back(server)
        await accepted(harness, received(event="b"))
        await answered(harness, "a", "b")


async def test_events_from_before_an_outage_are_answered(harness: Harness, server: Server) -> None:
    """Field note 32."""
    await harness.accept(received(event="a"), received(event="b"))
    server.stop(kill=True)
    async with harness.working():
        with pytest.raises(StateUnavailable):
            await harness.inbox.due()
        back(server)
        await answered(harness, "a", "b")


async def test_an_answer_during_an_outage_is_committed_once(harness: Harness, server: Server) -> None:
    """Long before its lease has expired."""
    broken = False

    async def breaking(prompt: Prompt) -> AsyncGenerator[Delta]:
        nonlocal broken
        if not broken:
            broken = True
            server.stop(kill=True)
        for delta in words("here I am"):
            assert isinstance(delta, Delta)
            yield delta

    harness.model.script = breaking
    await harness.accept(received(event="a"), received(event="b"))
    async with harness.working():
        await harness.until(lambda: broken)
        with pytest.raises(StateUnavailable):
            await harness.inbox.due()
        back(server)
        await answered(harness, "a", "b")
    assert harness.adapter.texts == ["here I am", "here I am"]


async def test_an_interrupted_claim_is_not_lost(harness: Harness, server: Server) -> None:
    """Redis is killed repeatedly while conversations are claimed; each event is answered once."""
    conversations = [f"test:{number}" for number in range(60)]
    async with harness.working():
        for number, room in enumerate(conversations):
            if number % 20 == 10:
                server.stop(kill=True)
                back(server)
            await accepted(harness, received(event=f"of {room}", conversation=room))
        await harness.until(lambda: len(harness.model.prompts) >= len(conversations))
        for room in conversations:
            await harness.until(lambda room=room: _one(harness, room))


async def _one(harness: Harness, room: str) -> bool:
    turns = await harness.turns.turns(room)
    assert len(turns) <= 1
    return bool(turns)
