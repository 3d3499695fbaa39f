"""A worker that slept for longer than its lease, and wakes when another one has answered, changes nothing."""

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.domain.turns import Turn
from tests.chaos.doomed import Step
from tests.chaos.nursery import Nursery
from tests.chaos.scene import PLACES, Place, Scene, play_each

STEPS: tuple[Step, ...] = (
    "after-claim",
    "after-open",
    "first-update",
    "in-stream",
    "before-close",
    "after-close",
)
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


@pytest.mark.parametrize("place", PLACES)
async def test_a_worker_that_overslept_changes_nothing(place: Place, tmp_path: Path) -> None:
    """Field note 04."""
    for step, left in (await play_each(play, place, STEPS, tmp_path, interval_s=0.04)).items():
        assert [turn.received.text.split()[-1] for turn in left.turns] == ["alpha", "beta"], step
        assert left.turns[0].reply.text in left.before, step
        assert left.after[:-1] == left.before, step
        assert left.after[-1] == left.turns[1].reply.text, step
        assert len(left.before) == 1 + EXTRA.get((place, step), 0), (step, left.before)
