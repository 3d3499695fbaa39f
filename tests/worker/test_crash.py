"""Workers are killed at every step: nothing is lost or duplicated.

Every conversation is a scene of its own: a platform, a Redis database, a worker that is doomed at one step,
and a healthy one that comes after it. All are played at once; the tests look at what is left of them.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from unittest.mock import patch

import pytest
import pytest_asyncio

from bot.domain.events import now
from bot.domain.turns import Turn
from bot.storage.usage.reports import UsageReports
from tests.chaos.doomed import STEPS, Step
from tests.chaos.machines import RedisServer
from tests.chaos.nursery import Nursery, a_nursery
from tests.chaos.scene import KEY, PLACES, Place, Scene, told
from tests.simulators.azure import AzureSimulator
from tests.support.charges import unsettled

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUESTIONS = ("alpha", "beta", "gamma")
"""Delivered once, twice and three times."""

SCENES: list[tuple[Place, Step]] = [
    (place, step)
    for place in PLACES
    for step in STEPS
    if (place, step)
    != ("group", "after-first-shown")  # in a group nothing is shown before the answer is whole
]
EXTRA: dict[tuple[Place, Step], int] = {("personal", "after-open"): 1, ("group", "after-close"): 1}
"""Messages too many that a person sees; elsewhere none.

Teams lets no bot search: what was posted there and not yet recorded stays, and another message is begun.
"""


@dataclass
class Outcome:
    """What is left of a scene: the history, what a person reads of the bot, message by message, the answers
    that were booked, and what is still set aside or owed.
    """

    turns: tuple[Turn, ...]
    shown: list[str]
    booked: int
    unsettled: list[str]


async def play(scene: Scene, step: Step, nursery: Nursery) -> Outcome:
    """Ask, let a worker die at the step, let another one finish."""
    async with scene.open():
        for times, name in enumerate(QUESTIONS, 1):
            await scene.ask(name, times)
        await nursery.fall(step, signal.SIGKILL, scene.env)
        await scene.end_leases()
        async with scene.healthy_worker():
            turns = await scene.answered(len(QUESTIONS))
        lines = await UsageReports(scene.services.storage.redis).rows(
            now().date() - timedelta(days=1), now().date()
        )
        booked = sum(line.totals.turns for line in lines if line.kind == "day")
        return Outcome(turns, scene.shown(), booked, await unsettled(scene.services.storage.redis))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[tuple[Place, Step], Outcome]]:
    """Every scene, played."""
    folder = tmp_path_factory.mktemp("crash")
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"AZURE_OPENAI_API_KEY": KEY}))
        redis = await stack.enter_async_context(RedisServer(folder, databases=len(SCENES)))
        azure = await stack.enter_async_context(AzureSimulator(interval_s=0.004))
        azure.answer = told
        nursery = await stack.enter_async_context(a_nursery())
        playing = [
            play(Scene(place, f"{redis.url}/{number}", folder, azure), step, nursery)
            for number, (place, step) in enumerate(SCENES)
        ]
        yield dict(zip(SCENES, await asyncio.gather(*playing), strict=True))


@pytest.mark.parametrize(("place", "step"), SCENES)
async def test_a_killed_worker_loses_and_doubles_nothing(
    place: Place, step: Step, outcomes: dict[tuple[Place, Step], Outcome]
) -> None:
    """Field note 10: an answer interrupted by a crash is completed in place."""
    left = outcomes[place, step]
    assert [turn.received.text.split()[-1] for turn in left.turns] == list(QUESTIONS)
    assert {turn.outcome for turn in left.turns} == {"answered"}
    assert {turn.reply.text for turn in left.turns} <= set(left.shown)
    assert (left.booked, left.unsettled) == (len(QUESTIONS), [])
    assert len(left.shown) - len(QUESTIONS) == EXTRA.get((place, step), 0), left.shown
