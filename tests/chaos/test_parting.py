"""Redis goes and comes back, workers are asked to go, and an event kills whoever touches it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import pytest_asyncio
import uvloop

from bot.domain.errors import StateUnavailable
from bot.storage.redis.client import mapped
from tests.chaos.machines import RedisServer
from tests.chaos.nursery import Nursery, a_nursery
from tests.chaos.scene import KEY, PLACES, Place, Scene, told
from tests.chaos.senders import Slack, Teams
from tests.simulators.azure import AzureSimulator
from tests.simulators.proxy import Proxy
from tests.simulators.teams import TENANT
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Ground:
    """What every test here stands on."""

    redis: RedisServer
    network: Proxy
    azure: AzureSimulator
    nursery: Nursery
    folder: Path

    def scene(self, place: Place, **settings: str) -> Scene:
        """A scene whose Redis can be cut off."""
        return Scene(place, f"redis://127.0.0.1:{self.network.port}", self.folder, self.azure, settings)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def machines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    folder = tmp_path_factory.mktemp("parting")
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"AZURE_OPENAI_API_KEY": KEY}))
        redis = await stack.enter_async_context(RedisServer(folder))
        network = await stack.enter_async_context(Proxy([redis.port]))
        azure = await stack.enter_async_context(AzureSimulator(interval_s=0.02))
        azure.answer = told
        nursery = await stack.enter_async_context(a_nursery())
        yield Ground(redis, network, azure, nursery, folder)


@pytest_asyncio.fixture(loop_scope="module")
async def ground(machines: Ground) -> AsyncIterator[Ground]:
    """An empty Redis that can be reached."""
    machines.network.mend()
    machines.azure.interval_s = 0.02
    async with machines.scene("group").open() as scene:
        await scene.services.storage.redis.call("FLUSHALL")
    yield machines


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_uvloops_broken_connection_means_redis_is_unavailable() -> None:
    async def write_to_a_broken_connection() -> None:
        async with Proxy([]) as network:
            _, writer = await asyncio.open_connection("127.0.0.1", network.port)
            writer.transport.abort()
            await asyncio.sleep(0)
            with mapped():
                writer.writelines([b"PING"])

    def on_a_loop_of_its_own() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(write_to_a_broken_connection())

    with pytest.raises(StateUnavailable, match="handler is closed"):
        await asyncio.to_thread(on_a_loop_of_its_own)


@pytest.mark.parametrize("place", PLACES)
async def test_without_redis_the_platform_delivers_again(place: Place, ground: Ground) -> None:
    """Field note 32."""
    async with ground.scene(place).open() as scene, scene.healthy_worker():
        ground.network.cut()
        asking = asyncio.create_task(scene.ask("alpha"))
        await until(lambda: scene.platform.statuses)
        assert set(scene.platform.statuses) == {503}
        ground.network.mend()
        await asking
        (turn,) = await scene.answered(1)
        assert scene.shown() == [turn.reply.text]
        assert scene.platform.statuses[-1] == 200


async def test_a_worker_waits_for_redis_at_the_start(ground: Ground) -> None:
    async with ground.scene("slack").open() as scene:
        await scene.ask("alpha")
        ground.network.cut()
        log = ground.folder / "early.log"
        worker = await ground.nursery.parley(["worker"], scene.env, log)
        await until(lambda: log.exists() and "Waiting until it is available" in log.read_text())
        ground.network.mend()
        await scene.answered(1)
        worker.signal(signal.SIGTERM)
        assert await worker.end() == 0


async def test_a_stopping_worker_hands_its_answer_over(ground: Ground) -> None:
    """The lease lasts for ten minutes, so the next worker must have been given it."""
    settings = {"PARLEY_LEASE_S": "600", "PARLEY_DRAIN_S": "0"}
    async with ground.scene("slack", **settings).open() as scene:
        await scene.ask("alpha")
        worker = await ground.nursery.parley(["worker"], scene.env, ground.folder / "polite.log")
        await until(scene.shown)
        other = await ground.nursery.parley(["worker"], scene.env, ground.folder / "next.log")
        worker.signal(signal.SIGTERM)
        (turn,) = await scene.answered(1)
        assert await worker.end() == 0
        assert not other.ended.done()
        other.signal(signal.SIGKILL)
        assert scene.shown() == [turn.reply.text]
        assert turn.attempts == 1


async def test_a_stopping_worker_finishes_while_another_claims(
    ground: Ground,
) -> None:
    ground.azure.interval_s = 1.0
    settings = {"PARLEY_LEASE_S": "600", "PARLEY_DRAIN_S": "600"}
    async with ground.scene("personal", **settings).open() as scene:
        assert isinstance(scene.platform, Teams)
        asked = len(ground.azure.journal)
        await scene.ask("alpha")
        worker = await ground.nursery.parley(["worker"], scene.env, ground.folder / "last.log")
        await until(lambda: any("alpha" in text for text in scene.shown()))
        worker.signal(signal.SIGTERM)
        other = await ground.nursery.parley(["worker"], scene.env, ground.folder / "new.log")
        await scene.platform.say("a:bob", "bob", "help")
        await scene.platform.answered("a:bob")
        assert not worker.ended.done(), "it still writes"
        ground.azure.interval_s = 0.0
        assert await worker.end() == 0
        (turn,) = await scene.services.storage.turns.turns(f"teams:{TENANT}:a:alice")
        assert turn.attempts == 1
        assert [message.text for message in scene.platform.answers("a:alice")] == [turn.reply.text]
        assert len(ground.azure.journal) == asked + 1
        other.signal(signal.SIGKILL)


async def test_a_partial_answer_never_shrinks(ground: Ground) -> None:
    """Field note 10."""
    ground.azure.interval_s = 0.08
    async with ground.scene("slack").open() as scene:
        await scene.ask("alpha")
        worker = await ground.nursery.parley(["worker"], scene.env, ground.folder / "half.log")
        await until(lambda: any(len(text) > 60 for text in scene.shown()))
        worker.signal(signal.SIGKILL)
        await worker.end()
        (read,) = scene.shown()
        async with scene.healthy_worker():
            await scene.answered(1)
        assert isinstance(scene.platform, Slack)
        edits = [args["text"] for method, args, _ in scene.platform.log if method == "chat.update"]
        assert edits
        assert min(map(len, edits)) >= len(read)


@pytest.mark.parametrize(
    ("place", "attempts"), [("slack", 1), ("slack", 2), ("personal", 1), ("personal", 2), ("group", 1)]
)
async def test_a_deadly_event_becomes_a_dead_letter(place: Place, attempts: int, ground: Ground) -> None:
    async with ground.scene(place, PARLEY_ATTEMPTS=str(attempts), PARLEY_LEASE_S="60").open() as scene:
        await scene.ask("poison")
        await scene.ask("beta")
        for _ in range(attempts):
            await ground.nursery.fall("in-stream", signal.SIGKILL, scene.env)
            await scene.end_leases()
        async with scene.healthy_worker():
            poisoned, healthy = await scene.answered(2)
        assert (poisoned.outcome, healthy.outcome) == ("failed", "answered")
        assert "I couldn't answer this after several attempts" in poisoned.reply.text
        assert scene.shown() == [poisoned.reply.text, healthy.reply.text]
