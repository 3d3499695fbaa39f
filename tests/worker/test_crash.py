"""Workers are killed at every step: nothing is lost or duplicated.

Every conversation is a scene of its own: a platform, a Redis database, a worker that is doomed at one step,
and a healthy one that comes after it. The scenes of a platform are played at once.
"""

import signal
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.events import now
from bot.domain.turns import Turn
from bot.storage.usage.reports import UsageReports
from tests.chaos.doomed import STEPS, Step
from tests.chaos.nursery import Nursery
from tests.chaos.scene import PLACES, Place, Scene, play_each
from tests.support.charges import unsettled

QUESTIONS = ("alpha", "beta", "gamma")
"""Delivered once, twice and three times."""

IMPOSSIBLE: set[tuple[Place, Step]] = {("group", "after-first-shown")}
"""In a group nothing is shown before the answer is whole."""
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


@pytest.mark.parametrize("place", PLACES)
async def test_a_killed_worker_loses_and_doubles_nothing(place: Place, tmp_path: Path) -> None:
    """Field note 10: an answer interrupted by a crash is completed in place."""
    steps: list[Step] = [step for step in STEPS if (place, step) not in IMPOSSIBLE]
    for step, left in (await play_each(play, place, steps, tmp_path, interval_s=0.004)).items():
        assert [turn.received.text.split()[-1] for turn in left.turns] == list(QUESTIONS), step
        assert {turn.outcome for turn in left.turns} == {"answered"}, step
        assert {turn.reply.text for turn in left.turns} <= set(left.shown), step
        assert (left.booked, left.unsettled) == (len(QUESTIONS), []), step
        assert len(left.shown) - len(QUESTIONS) == EXTRA.get((place, step), 0), (step, left.shown)
