"""Events that crash or stall their worker: dead letters the second time; others are answered."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from bot.domain.events import MessageReceived
from bot.domain.prompts import Prompt
from bot.storage.queue.claims import Claim
from bot.storage.queue.dead_letters import DeadLetterQueue
from bot.storage.queue.inbox import Inbox
from bot.storage.redis.client import Redis
from bot.tools import registry
from bot.worker import watchdog
from tests.chaos.machines import RedisServer
from tests.chaos.scene import KEY, Scene
from tests.simulators.azure import AzureSimulator
from tests.simulators.azure_wire import Answer, last_user_text
from tests.support.acts import received
from tests.support.fake_adapter import words
from tests.support.harness import Harness
from tests.support.processes import start

TOOLS = '''
import os, signal, time

async def die() -> str:
    """End the process without a word, as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""

async def segfault() -> str:
    """End the process by a fault in native code."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return ""

async def stall() -> str:
    """Hold the event loop up."""
    time.sleep(3600)
    return ""
'''
NAMES = ("die", "segfault", "stall")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with harmful tools, and a template that may call them."""
    site, prompts = tmp_path / "site", tmp_path / "prompts"
    profile = site / "poison-1.0.dist-info"
    profile.mkdir(parents=True)
    prompts.mkdir()
    (site / "poison.py").write_text(TOOLS)
    (profile / "METADATA").write_text("Metadata-Version: 2.1\nName: poison\nVersion: 1.0\n")
    entries = "\n".join(f"{name} = poison:{name}" for name in NAMES)
    (profile / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entries}\n")
    head = "---\nname: A\nmetadata: {parley: {match: {default: true}, tools: [die, segfault, stall]}}\n---\n"
    (prompts / "a.prompty").write_text(f"{head}system:\nBe kind.\n")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    registry.installed.cache_clear()
    yield site
    registry.installed.cache_clear()
    sys.modules.pop("poison", None)


def obedient(messages: list[Any]) -> Answer:
    """Calls the tool that the question ends with; answers any other."""
    name = last_user_text(messages).split()[-1]
    return Answer(calls=(("c1", name, "{}"),)) if name in NAMES else Answer(text=f"About {name}.")


@asynccontextmanager
async def scene(tmp_path: Path, **settings: str) -> AsyncGenerator[Scene]:
    with patch.dict(os.environ, {"AZURE_OPENAI_API_KEY": KEY}):
        async with RedisServer(tmp_path) as redis, AzureSimulator() as azure:
            azure.answer = obedient
            more = {"PARLEY_PROMPTS": str(tmp_path / "prompts"), **settings}
            async with Scene("slack", f"{redis.url}/0", tmp_path, azure, more).open() as opened:
                yield opened


async def ends(scene: Scene, site: Path, log: Path) -> int:
    """Start a worker and wait until it ends; returns its status."""
    with log.open("a") as written:
        command = [sys.executable, "-m", "bot", "worker"]
        env = {**scene.env, "PYTHONPATH": str(site)}
        process = await start(command, env, stderr=written.fileno())
    try:
        async with asyncio.timeout(100):
            return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("name", "lease_s", "status"),
    [
        ("die", "3", -signal.SIGKILL),
        ("segfault", "3", -signal.SIGSEGV),
        ("stall", "15", watchdog.EXIT_STATUS),
    ],
)
@pytest.mark.timeout(300)
async def test_an_event_that_crashes_twice_is_dead_lettered(
    name: str, lease_s: str, status: int, site: Path, tmp_path: Path
) -> None:
    """Field fault 92: an event that crashed its worker was tried five times, along with everyone's answers."""
    log = tmp_path / "log"
    async with scene(tmp_path, PARLEY_LEASE_S=lease_s) as played:
        await played.ask(name)
        await played.ask("afterwards")
        assert [await ends(played, site, log) for _ in range(2)] == [status] * 2
        async with played.healthy_worker():
            poisoned, after = await played.answered(2)
        (dead_letters,) = (await DeadLetterQueue(played.services.storage.redis).all()).values()
        shown = played.shown()
    assert (poisoned.outcome, after.outcome) == ("failed", "answered")
    assert "Stalled or crashed the worker process 2 times" in dead_letters.reason
    assert [text.split(",")[0] for text in shown] == ["Sorry", "About afterwards."]
    if name == "stall":
        text = log.read_text()
        assert "The event loop was blocked for 10 s by conversation slack:" in text
        assert 'poison.py", line' in text


# ------------------------------------------------------------------ the innocent


def hello(room: str) -> MessageReceived:
    """A question in its own conversation."""
    event = received("Hello", event=room)
    return replace(event, address=replace(event.address, conversation=room))


ROOMS = ("test:a", "test:b", "test:c")


async def claimed(inbox: Inbox) -> list[Claim]:
    """Claim everything once all of it is due."""
    claims: list[Claim] = []
    async with asyncio.timeout(60):
        while len(claims) < len(ROOMS):
            for shard, due in enumerate(await inbox.due()):
                if due.in_ms == 0 and isinstance(claim := await inbox.claim(shard), Claim):
                    claims.append(claim)
            await asyncio.sleep(0.01)
    return claims


async def test_events_lost_together_are_tried_alone(redis: Redis, harness: Harness) -> None:
    """Field fault 92: events that run beside a poison message are not dead-lettered with it."""
    dying = Inbox(redis, lease_s=0.3, limit=20, retention_s=3600)
    await harness.accept(*map(hello, ROOMS))
    for lost in range(2):
        assert [claim.lost for claim in await claimed(dying)] == [lost] * len(ROOMS)
    together, most = 0, 0

    async def answer(prompt: Prompt) -> AsyncGenerator[Any]:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.05)
        together -= 1
        for delta in words("Here."):
            yield delta

    harness.attempts = 5
    harness.model.script = answer
    async with harness.working():
        await harness.until(harness.idle)
    turns = [(await harness.turns.turns(room))[0] for room in ROOMS]
    assert [turn.outcome for turn in turns] == ["answered"] * len(ROOMS)
    assert most == 1
    assert await DeadLetterQueue(redis).all() == {}


async def test_a_surviving_worker_clears_the_suspicion(redis: Redis, harness: Harness) -> None:
    """Field fault 92: a stopped process or an unavailable Redis is no fault of the event."""
    inbox = Inbox(redis, lease_s=0.3, limit=20, retention_s=3600)
    await harness.accept(*map(hello, ROOMS))
    first, second = await claimed(inbox), await claimed(inbox)
    assert [claim.lost for claim in second] == [1, 1, 1]
    for claim in first:
        await inbox.forgive(claim)
    for claim in second:
        await inbox.release(claim, 0, counted=False)
    assert [claim.lost for claim in await claimed(inbox)] == [0, 0, 0]


async def test_handovers_and_retries_are_not_losses(redis: Redis, harness: Harness) -> None:
    """Field fault 92: neither SIGTERM nor an error makes an event a suspect."""
    inbox = Inbox(redis, lease_s=30, limit=20, retention_s=3600)
    await harness.accept(*map(hello, ROOMS))
    for counted in (True, False, True):
        for claim in await claimed(inbox):
            assert (claim.lost, claim.certain) == (0, False)
            await inbox.release(claim, 0, counted=counted)


async def test_a_stall_counts_at_once(redis: Redis, harness: Harness) -> None:
    """Field fault 92: the process logs which event blocks it before it ends."""
    inbox = Inbox(redis, lease_s=30, limit=20, retention_s=3600)
    await harness.accept(*map(hello, ROOMS))
    for claim in await claimed(inbox):
        stalled = claim.conversation == ROOMS[0]
        await inbox.release(claim, 0, counted=stalled, stalled=stalled)
    seen = {claim.conversation: (claim.lost, claim.certain, claim.attempt) for claim in await claimed(inbox)}
    assert seen == {ROOMS[0]: (1, True, 2), ROOMS[1]: (0, False, 1), ROOMS[2]: (0, False, 1)}


async def test_a_slow_event_loop_is_tolerated() -> None:
    """Field fault 92: the watchdog must not end a process that is merely slow."""

    async def abandon(conversation: str) -> None:
        raise AssertionError("nothing stalled")

    with watchdog.Watchdog(abandon, 30.0):
        for _ in range(5):
            await asyncio.sleep(0.3)
