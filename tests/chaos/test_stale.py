"""A worker that slept for longer than its lease, and wakes when another one has answered, changes nothing."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from unittest.mock import patch

import pytest
import pytest_asyncio

from bot.domain.turns import Turn
from tests.chaos.doomed import Step
from tests.chaos.machines import RedisServer
from tests.chaos.nursery import Nursery, a_nursery
from tests.chaos.scene import KEY, PLACES, Place, Scene, told
from tests.simulators.azure import AzureSimulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS: tuple[Step, ...] = (
    "after-claim",
    "after-open",
    "first-update",
    "in-stream",
    "before-close",
    "after-close",
)
SCENES: list[tuple[Place, Step]] = [(place, step) for place in PLACES for step in STEPS]
EXTRA: dict[tuple[Place, Step], int] = {("personal", "after-open"): 1, ("group", "after-close"): 1}
"""Messages too many, which were posted before the worker fell asleep, and not yet recorded."""


@dataclass
class Outcome:
    """The history, and what a person reads, before the sleeper woke and after it."""

    turns: tuple[Turn, ...]
    before: list[str]
    after: list[str]


async def play(scene: Scene, step: Step, nursery: Nursery) -> Outcome:
    """A worker falls asleep at the step; another one answers; the sleeper wakes, and answers what is new."""
    async with scene.open():
        await scene.ask("alpha")
        sleeper = await nursery.fall(step, signal.SIGSTOP, scene.env)
        try:
            async with scene.healthy_worker():
                await scene.answered(1)
            before = scene.shown()
            sleeper.signal(signal.SIGCONT)
            await scene.ask("beta")
            turns = await scene.answered(2)
        finally:
            sleeper.signal(signal.SIGKILL)
        return Outcome(turns, before, scene.shown())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[tuple[Place, Step], Outcome]]:
    """Every scene, played."""
    folder = tmp_path_factory.mktemp("stale")
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"AZURE_OPENAI_API_KEY": KEY}))
        redis = await stack.enter_async_context(RedisServer(folder, databases=len(SCENES)))
        azure = await stack.enter_async_context(AzureSimulator(interval_s=0.04))
        azure.answer = told
        nursery = await stack.enter_async_context(a_nursery())
        playing = [
            play(Scene(place, f"{redis.url}/{number}", folder, azure), step, nursery)
            for number, (place, step) in enumerate(SCENES)
        ]
        yield dict(zip(SCENES, await asyncio.gather(*playing), strict=True))


@pytest.mark.parametrize(("place", "step"), SCENES)
async def test_a_worker_that_overslept_changes_nothing(
    place: Place, step: Step, outcomes: dict[tuple[Place, Step], Outcome]
) -> None:
    """Field note 04."""
    left = outcomes[place, step]
    assert [turn.received.text.split()[-1] for turn in left.turns] == ["alpha", "beta"]
    assert left.turns[0].reply.text in left.before
    assert left.after[:-1] == left.before
    assert left.after[-1] == left.turns[1].reply.text
    assert len(left.before) == 1 + EXTRA.get((place, step), 0), left.before
