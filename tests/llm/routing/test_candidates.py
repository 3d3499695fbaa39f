"""Who is asked first, by each policy."""

from collections import Counter
from contextlib import AsyncExitStack, aclosing
from typing import Any, cast

import pytest

from bot.domain.prompts import Parameters
from bot.domain.turns import Prices
from bot.llm.catalog.deployments import Policy
from bot.llm.routing.candidates import HOME_CALLS
from tests.llm.conftest import asks
from tests.llm.scripted import Scripted, named, over, told

CHEAP, DEAR = Prices(input_usd=0.1, output_usd=0.4), Prices(input_usd=2.0, output_usd=8.0)


async def test_ordered_is_the_default() -> None:
    gateway = over((named("b", order=1, weight=100), Scripted("b")), (named("a", order=0), Scripted("a")))
    assert gateway.policy == "ordered"
    assert {await told(gateway, sticky=str(n)) for n in range(20)} == {"a says hello"}


async def test_weighted_spreads_over_all_whatever_their_order() -> None:
    gateway = over(
        (named("a", order=0), Scripted("a")),
        (named("b", order=1, weight=3), Scripted("b")),
        policy="weighted",
    )
    served = Counter([(await told(gateway, sticky=str(n)))[0] for n in range(200)])
    assert 0.6 < served["b"] / 200 < 0.9


async def test_the_cheapest_that_can_read_so_much_serves() -> None:
    models = [
        (named("small", context_tokens=4_000, prices=CHEAP), Scripted("small")),
        (named("large", context_tokens=100_000, prices=DEAR), Scripted("large")),
        (named("unknown", context_tokens=100_000, prices=Prices()), Scripted("unknown")),
    ]
    gateway = over(*models, policy="cheapest")
    assert await told(gateway, input_tokens=2_000) == "small says hello"
    assert await told(gateway, input_tokens=5_000) == "large says hello"
    long = Parameters(max_output_tokens=3_000)
    assert await told(gateway, input_tokens=2_000, parameters=long) == "large says hello"


async def test_what_is_cheap_depends_on_what_is_asked() -> None:
    reader = (named("reader", prices=Prices(input_usd=0.1, output_usd=9.0)), Scripted("reader"))
    writer = (named("writer", prices=Prices(input_usd=3.0, output_usd=0.5)), Scripted("writer"))
    gateway = over(reader, writer, policy="cheapest")
    brief, long = Parameters(max_output_tokens=20), Parameters(max_output_tokens=4_000)
    assert await told(gateway, input_tokens=9_000, parameters=brief) == "reader says hello"
    assert await told(gateway, input_tokens=100, parameters=long) == "writer says hello"


async def test_an_oversized_prompt_is_still_sent() -> None:
    gateway = over((named("a", context_tokens=100), Scripted("a")), policy="cheapest")
    assert await told(gateway, input_tokens=5_000) == "a says hello"


async def test_the_least_busy_serves() -> None:
    models = [(named(name), Scripted(name)) for name in ("a", "b", "c")]
    gateway = over(*models, policy="least_busy")
    async with AsyncExitStack() as stack:
        for _ in range(9):
            stream = cast("Any", gateway.chat(asks("Hello")))
            await stack.enter_async_context(aclosing(stream))
            await anext(stream)
        assert [model.asked for _, model in models] == [3, 3, 3]


async def test_what_is_done_is_no_longer_busy() -> None:
    models = [(named(name), Scripted(name)) for name in ("a", "b")]
    gateway = over(*models, policy="least_busy")
    for _ in range(HOME_CALLS + 5):
        await told(gateway, sticky="slack:x")
    assert sorted(model.asked for _, model in models) == [0, HOME_CALLS + 5]


async def test_a_conversation_leaves_a_much_busier_deployment() -> None:
    models = [(named(name), Scripted(name)) for name in ("a", "b")]
    gateway = over(*models, policy="least_busy")
    async with AsyncExitStack() as stack:
        for _ in range(HOME_CALLS + 1):
            stream = cast("Any", gateway.chat(asks("Hello", sticky="slack:x")))
            await stack.enter_async_context(aclosing(stream))
            await anext(stream)
        assert sorted(model.asked for _, model in models) == [0, HOME_CALLS + 1]
        await told(gateway, sticky="slack:x")
        assert sorted(model.asked for _, model in models) == [1, HOME_CALLS + 1]


@pytest.mark.parametrize("policy", ["ordered", "weighted", "cheapest", "least_busy"])
async def test_conversations_keep_their_deployment_under_every_policy(policy: Policy) -> None:
    gateway = over(*((named(f"d{n}"), Scripted(f"d{n}")) for n in range(4)), policy=policy)
    for sticky in ("slack:a", "slack:b", "slack:c"):
        assert len({await told(gateway, sticky=sticky) for _ in range(5)}) == 1
