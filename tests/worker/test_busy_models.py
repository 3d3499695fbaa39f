"""Many people at once at a deployment that accepts few requests."""

from collections.abc import AsyncGenerator

import pytest
from pydantic import SecretStr

from bot.domain.turns import Turn
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.routing import attempts, rate_limits, router
from bot.storage.usage import cooldowns
from tests.llm.conftest import deployment
from tests.simulators.azure import AzureSimulator
from tests.simulators.limited import SAYS, Limited
from tests.support.acts import received
from tests.support.crowd import ObservedTurns, QueueWatch
from tests.support.harness import Harness

KEYS = {"AZURE_OPENAI_API_KEY": SecretStr("simulated-key")}
PEOPLE = 60
WINDOW_S = 1.0
"""A deployment with 6 requests per 20 s, twenty times faster."""


@pytest.fixture
async def azure() -> AsyncGenerator[AzureSimulator]:
    """A simulator whose answers a test replaces."""
    async with AzureSimulator() as simulator:
        yield simulator


async def test_everybody_is_answered_in_order(
    harness: Harness, azure: AzureSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 58: waiting uses up no attempt, and those who came first to the model go first."""
    for module in (attempts, rate_limits):
        monkeypatch.setattr(module, "TURN_S", 0.05)
    monkeypatch.setattr(cooldowns, "FASTER_S", cooldowns.FASTER_S / 20)
    monkeypatch.setattr(rate_limits, "ANSWER_S", 60.0)  # this is no test of speed
    limited = Limited(SAYS["retry-after"], WINDOW_S)
    azure.instead["chat"] = limited.answer
    config = DeploymentConfig(deployments=(deployment(azure),))
    watch = QueueWatch()
    queue = ObservedTurns(harness.redis, watch)
    async with router.connect(config, KEYS, shared=queue) as gateway:
        harness.gateway = gateway
        events = [
            received(f"{number:02}", event=f"e{number}", conversation=f"test:{number:02}")
            for number in range(PEOPLE)
        ]
        async with harness.working():
            await harness.accept(*events)
            await harness.until(harness.idle)
    turns: list[Turn] = [
        turn for event in events for turn in await harness.turns.turns(event.address.conversation)
    ]
    assert [turn.reply.text for turn in turns] == ["fine"] * PEOPLE
    assert sorted(map(int, limited.answered)) == list(range(PEOPLE))
    assert len(watch.went) > PEOPLE / 2
    assert watch.passed == []
    assert limited.refused < PEOPLE
