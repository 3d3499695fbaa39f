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
from tests.support.room import words
from tests.support.servers import Server
from tests.worker.test_worker import ROOM, Bench


@pytest.fixture
def server(tmp_path: Path) -> Generator[Server]:
    """A Redis that can be killed, and then knows what it knew."""
    server = Server(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    with servers.running(server):
        yield server


@pytest.fixture
async def bench(server: Server) -> AsyncGenerator[Bench]:
    redis = Redis(server.url)
    yield Bench(redis)
    await redis.close()


def back(server: Server) -> None:
    server.start()
    server.ready()


async def accepted(bench: Bench, event: Event) -> None:
    """Deliver until it is taken, as platforms do."""

    async def taken() -> bool:
        with suppress(StateUnavailable):
            await bench.inbox.accept(event)
            return True
        return False

    await bench.until(taken)


async def answered(bench: Bench, *events: str) -> None:
    """Wait until the history holds exactly these, in order."""

    async def there() -> bool:
        with suppress(StateUnavailable):
            return [turn.id for turn in await bench.turns.turns(ROOM)] == [*events]
        return False

    await bench.until(there)


async def test_a_worker_resumes_after_an_outage(bench: Bench, server: Server) -> None:
    """Field note 32."""
    async with bench.working():
        await bench.accept(received(event="a"))
        await answered(bench, "a")
        server.stop(kill=True)
        with pytest.raises(StateUnavailable):
            await bench.accept(received(event="b"))
        back(server)
        await accepted(bench, received(event="b"))
        await answered(bench, "a", "b")


async def test_events_from_before_an_outage_are_answered(bench: Bench, server: Server) -> None:
    """Field note 32."""
    await bench.accept(received(event="a"), received(event="b"))
    server.stop(kill=True)
    async with bench.working():
        with pytest.raises(StateUnavailable):
            await bench.inbox.due()
        back(server)
        await answered(bench, "a", "b")


async def test_an_answer_during_an_outage_is_committed_once(bench: Bench, server: Server) -> None:
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

    bench.model.script = breaking
    await bench.accept(received(event="a"), received(event="b"))
    async with bench.working():
        await bench.until(lambda: broken)
        with pytest.raises(StateUnavailable):
            await bench.inbox.due()
        back(server)
        await answered(bench, "a", "b")
    assert bench.room.texts == ["here I am", "here I am"]


async def test_an_interrupted_claim_is_not_lost(bench: Bench, server: Server) -> None:
    """Redis is killed repeatedly while conversations are claimed; each event is answered once."""
    conversations = [f"test:{number}" for number in range(60)]
    async with bench.working():
        for number, room in enumerate(conversations):
            if number % 20 == 10:
                server.stop(kill=True)
                back(server)
            await accepted(bench, received(event=f"of {room}", conversation=room))
        await bench.until(lambda: len(bench.model.prompts) >= len(conversations))
        for room in conversations:
            await bench.until(lambda room=room: _one(bench, room))


async def _one(bench: Bench, room: str) -> bool:
    turns = await bench.turns.turns(room)
    assert len(turns) <= 1
    return bool(turns)
