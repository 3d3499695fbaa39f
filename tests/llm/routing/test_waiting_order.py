"""People who wait for a busy deployment are accepted in the order in which they came."""

import asyncio

import pytest

from bot.llm.routing import attempts, rate_limits
from bot.storage.redis.client import Redis
from bot.storage.usage import cooldowns
from tests.simulators.azure import AzureSimulator
from tests.simulators.limited import SAYS
from tests.support.crowd import crowd

PEOPLE, SCALE = 15, 0.2


async def test_nobody_who_waits_is_overtaken(
    azure: AzureSimulator, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field faults 58, 59: two processes, 6 requests per window, said in each of five ways.

    `python -m tests.benchmarks.waiting` shows the same with 60 people, also in real time.
    """
    monkeypatch.setattr(attempts, "TURN_S", attempts.TURN_S * SCALE)
    monkeypatch.setattr(cooldowns, "FASTER_S", cooldowns.FASTER_S * SCALE)
    monkeypatch.setattr(rate_limits, "ANSWER_S", 60.0)  # this is no test of speed
    outcomes = await asyncio.gather(*(crowd(says, azure, redis_url, SCALE, PEOPLE) for says in SAYS))
    for says, one in zip(SAYS, outcomes, strict=True):
        assert sorted(one.accepted) == list(range(PEOPLE)), says
        assert one.passed == [], (says, one.accepted)
