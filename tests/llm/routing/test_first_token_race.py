"""A second deployment is asked beside one that is slow to begin, and the first to speak answers."""

import asyncio
from contextlib import aclosing
from typing import Any, cast

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from bot.domain.calls import CallLog, collected
from bot.domain.errors import ContentFiltered, ModelUnavailable
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.routing import router
from bot.llm.routing.router import Gateway
from tests.llm.conftest import asks, deployment, heard, text_of
from tests.llm.scripted import AWAY, Scripted, named, over, told
from tests.simulators.azure import AzureSimulator

KEYS = {"AZURE_OPENAI_API_KEY": SecretStr("simulated-key")}


def hedged(*models: Scripted, hedge_s: float = 0.01) -> Gateway:
    return over(*((named(m.name, order=n), m) for n, m in enumerate(models)), hedge_s=hedge_s)


def silent(name: str) -> Scripted:
    model = Scripted(name)
    model.speaks.clear()
    return model


async def test_the_faster_deployment_wins() -> None:
    slow, quick = silent("a"), Scripted("b")
    assert await told(hedged(slow, quick)) == "b says hello"
    assert (slow.left, quick.asked) == (1, 1)


async def test_a_quick_first_is_asked_alone() -> None:
    first, second = Scripted("a"), Scripted("b")
    assert await told(hedged(first, second, hedge_s=5)) == "a says hello"
    assert second.asked == 0


async def test_the_first_may_still_win() -> None:
    first, second = silent("a"), silent("b")
    answer = asyncio.create_task(told(hedged(first, second)))
    await second.met.wait()
    first.speaks.set()
    assert await answer == "a says hello"
    assert second.left == 1


async def test_both_are_counted() -> None:
    with collected(CallLog()) as log:
        _, error = await heard(
            hedged(silent("a"), Scripted("b")).chat(replace(asks("Hello"), input_tokens=100))
        )
    assert error is None
    assert [(one.deployment, one.input_tokens, one.outcome) for one in log.usage] == [
        ("a", 100, "interrupted"),
        ("b", 100, "completed"),
    ]


async def test_the_other_answers_after_a_failure() -> None:
    slow, failing = silent("a"), Scripted("b", before=[AWAY])
    answer = asyncio.create_task(told(hedged(slow, failing)))
    await failing.met.wait()
    slow.speaks.set()
    assert await answer == "a says hello"


async def test_when_both_fail_the_next_is_asked() -> None:
    first = Scripted("a", before=[AWAY])
    assert await told(hedged(first, Scripted("b", before=[AWAY]), Scripted("c"), hedge_s=5)) == "c says hello"


async def test_nobody_is_asked_beside_a_lone_deployment() -> None:
    only = silent("a")
    answer = asyncio.create_task(told(hedged(only, hedge_s=0.001)))
    await asyncio.sleep(0.05)
    only.speaks.set()
    assert await answer == "a says hello"
    assert only.asked == 1


async def test_a_refusal_by_one_ends_the_race() -> None:
    slow = silent("a")
    with pytest.raises(ContentFiltered):
        await told(hedged(slow, Scripted("b", before=[ContentFiltered("no", ("hate",))])))
    assert slow.left == 1


async def test_cancelling_cancels_both_calls() -> None:
    first, second = silent("a"), silent("b")
    stream = cast("Any", hedged(first, second).chat(asks("Hello")))
    async with aclosing(stream):
        reading = asyncio.create_task(anext(stream))
        await second.met.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert (first.left, second.left) == (1, 1)


async def test_a_cancelled_call_is_no_failure() -> None:
    slow, quick = silent("a"), Scripted("b")
    gateway = hedged(slow, quick)
    for _ in range(5):
        await told(gateway)
    assert slow.asked == 5
    slow.speaks.set()
    quick.before = [ModelUnavailable("429", 60.0)]
    assert await told(gateway) == "a says hello"


async def test_a_slow_deployment_of_azure_is_overtaken(azure: AzureSimulator) -> None:
    azure.fail("stalled", deployment="a", after=0)
    made = (deployment(azure, name="a", order=0), deployment(azure, name="b", order=1))
    async with router.connect(DeploymentConfig(deployments=made, hedge_ms=50), KEYS) as gateway:
        for _ in range(2):
            deltas, error = await heard(gateway.chat(asks("Hello")))
            assert error is None
            assert text_of(deltas) == "You said: Hello"
    # On a busy machine the third takes more than 50 ms, too, and a fourth is asked.
    assert [asked.deployment for asked in azure.journal][:3] == ["a", "b", "a"]
