"""Which deployment serves, and what happens when one can't."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import msgspec
import pytest
from pydantic import SecretStr

from bot.domain.calls import CallLog, collected
from bot.domain.errors import ConfigError, ContentFiltered, ModelUnavailable, NotAllowed, TooLong
from bot.domain.prompts import Capability, Prompt
from bot.domain.turns import Delta, Deployment
from bot.llm.catalog.probe import Checkable
from bot.llm.demo.model import DemoModel, deployments
from bot.llm.protocol import DeploymentBroken
from bot.llm.routing import router
from bot.llm.routing.circuit_breaker import MOST_BACK_OFF_S, PATIENCE, REST_S, CircuitBreaker
from tests.llm.conftest import asks, deployment, text_of
from tests.llm.scripted import AWAY, Clock, Scripted, named, over, told
from tests.simulators.azure import AzureSimulator, Deployed

# ------------------------------------------------------------------ choosing


async def test_the_lower_order_serves_first() -> None:
    first, second = Scripted("first"), Scripted("second")
    gateway = over((named("second", order=1), second), (named("first", order=0), first))
    assert await told(gateway) == "first says hello"
    assert second.asked == 0


async def test_a_conversation_stays_with_its_deployment() -> None:
    models = [(named(f"d{n}"), Scripted(f"d{n}")) for n in range(4)]
    gateway = over(*models)
    for sticky in ("slack:a", "slack:b", "slack:c"):
        assert len({await told(gateway, sticky=sticky) for _ in range(5)}) == 1


async def test_weight_shares_the_conversations() -> None:
    light, heavy = Scripted("light"), Scripted("heavy")
    gateway = over((named("light", weight=1), light), (named("heavy", weight=4), heavy))
    for n in range(400):
        await told(gateway, sticky=f"conversation {n}")
    assert 0.7 < heavy.asked / 400 < 0.9


async def test_adding_a_deployment_moves_few_conversations() -> None:
    three = [(named(f"d{n}"), Scripted(f"d{n}")) for n in range(3)]
    before, after = over(*three), over(*three, (named("d3"), Scripted("d3")))
    moved = Counter(
        [
            (await told(after, sticky=str(n)))[:2]
            for n in range(100)
            if await told(before, sticky=str(n)) != await told(after, sticky=str(n))
        ]
    )
    assert set(moved) == {"d3"}


async def test_a_wish_is_a_name_or_a_tag() -> None:
    gateway = over(
        (named("a"), Scripted("a")), (msgspec.structs.replace(named("b"), tags=("eu",)), Scripted("b"))
    )
    assert await told(gateway, deployment="b") == "b says hello"
    assert await told(gateway, deployment="eu") == "b says hello"


async def test_a_matching_preference_is_binding() -> None:
    eu = msgspec.structs.replace(named("b"), tags=("eu",))
    elsewhere = Scripted("a")
    gateway = over((named("a"), elsewhere), (eu, Scripted("b", before=[AWAY] * 9)))
    with pytest.raises(ModelUnavailable):
        await told(gateway, deployment="eu")
    assert elsewhere.asked == 0


async def test_an_unknown_preference_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    gateway = over((named("a"), Scripted("a")))
    for _ in range(2):
        assert await told(gateway, deployment="gpt-35-turbo") == "a says hello"
    assert caplog.text.count("gpt-35-turbo") == 1


@pytest.mark.parametrize(
    ("capability", "name"),
    [("chat", "AZURE_OPENAI_CHAT_DEPLOYMENT"), ("image", "AZURE_OPENAI_IMAGE_DEPLOYMENT")],
)
async def test_missing_capabilities_name_their_setting(capability: Capability, name: str) -> None:
    gateway = over((named("vectors", "embedding"), Scripted("vectors")))
    with pytest.raises(NotAllowed, match=name):
        await (told(gateway) if capability == "chat" else gateway.draw(asks("a cat", "image")))


async def test_vectors_of_different_models_are_never_mixed() -> None:
    small = named("small", "embedding", family="text-embedding-3-small")
    large = named("large", "embedding", family="text-embedding-3-large", order=1)
    other = Scripted("large")
    gateway = over((small, Scripted("small", before=[AWAY] * 9)), (large, other))
    with pytest.raises(ModelUnavailable):
        await gateway.embed(["x"])
    assert other.asked == 0
    assert [d.name for d in gateway.deployments("embedding")] == ["small"]


async def test_candidates_are_known_before_the_prompt() -> None:
    gateway = over((named("a", context_tokens=1000), Scripted("a")), (named("p", "image"), Scripted("p")))
    assert [d.context_tokens for d in gateway.deployments("chat", "a")] == [1000]
    assert gateway.deployments("embedding") == ()


# ------------------------------------------------------------------ stepping in


async def test_another_deployment_steps_in_before_the_first_delta() -> None:
    gateway = over((named("a", order=0), Scripted("a", before=[AWAY])), (named("b", order=1), Scripted("b")))
    assert await told(gateway) == "b says hello"


async def test_a_single_deployment_is_tried_again() -> None:
    only = Scripted("only", before=[AWAY, AWAY])
    assert await told(over((named("only"), only))) == "only says hello"
    assert only.asked == 3


@pytest.mark.parametrize(
    "error", [ContentFiltered("no", ("hate",)), TooLong("long"), ConfigError("bad request")]
)
async def test_a_refusal_is_not_carried_to_another_deployment(error: Exception) -> None:
    other = Scripted("b")
    gateway = over((named("a", order=0), Scripted("a", before=[error])), (named("b", order=1), other))
    with pytest.raises(type(error)):
        await told(gateway)
    assert other.asked == 0


LONG = 8_000


def sized(model: Scripted, context_tokens: int, order: int) -> tuple[Deployment, Scripted]:
    return named(model.name, context_tokens=context_tokens, order=order), model


async def test_a_long_prompt_moves_to_larger_contexts() -> None:
    small, large = Scripted("b"), Scripted("c")
    refusing = Scripted("a", before=[TooLong("long")])
    gateway = over(sized(refusing, 16_000, 0), sized(small, 16_000, 1), sized(large, 100_000, 2))
    assert await told(gateway, input_tokens=LONG) == "c says hello"
    assert small.asked == 0


async def test_a_reported_limit_is_kept_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusing = Scripted("a", before=[TooLong("long", limit_tokens=4000, asked_tokens=LONG)] * 2)
    gateway = over(sized(refusing, 16_000, 0), sized(Scripted("b"), 16_000, 1))
    for _ in range(2):
        assert await told(gateway, input_tokens=LONG) == "b says hello"
    assert refusing.asked == 1
    assert caplog.text.count("Deployment a only accepts 4000 tokens") == 1
    believed = gateway.next_asked("chat", None)
    assert believed is not None
    assert (believed.name, believed.context_tokens) == ("a", 4000)


async def test_what_is_too_long_for_all_is_said() -> None:
    gateway = over(sized(Scripted("a", before=[TooLong("long")]), 16_000, 0), sized(Scripted("b"), 16_000, 1))
    with pytest.raises(TooLong):
        await told(gateway, input_tokens=LONG)


async def test_unavailable_large_contexts_report_smaller_limits() -> None:
    large, small = Scripted("a", before=[AWAY] * 9), Scripted("b")
    gateway = over(sized(large, 100_000, 0), sized(small, 4_000, 1))
    with pytest.raises(TooLong) as caught:
        await told(gateway, input_tokens=LONG)
    assert caught.value.limit_tokens == 4_000
    assert (caught.value.asked_tokens or 0) > LONG


async def test_large_contexts_are_awaited_briefly() -> None:
    large = Scripted("a", before=[ModelUnavailable("429", 3.0)])
    gateway = over(sized(large, 100_000, 0), sized(Scripted("b"), 4_000, 1))
    with pytest.raises(ModelUnavailable, match="3 s"):
        await told(gateway, input_tokens=LONG)


async def test_the_prompt_fits_the_next_deployment() -> None:
    models = [named(f"d{n}", context_tokens=1000 * (n + 1)) for n in range(3)]
    gateway = over(*((model, Scripted(model.name)) for model in models), policy="weighted")
    for sticky in ("slack:a", "slack:b", "slack:c", "slack:d"):
        first = gateway.next_asked("chat", None, sticky)
        assert first is not None
        assert await told(gateway, sticky=sticky) == f"{first.name} says hello"
    largest = over(*((model, Scripted(model.name)) for model in models), policy="cheapest").next_asked(
        "chat", None
    )
    assert largest == models[-1]
    assert over().next_asked("chat", None) is None


async def test_a_stream_notes_its_cost_so_far() -> None:
    model, spent = Scripted("a"), list[tuple[bool, int]]()
    model.says = ["x" * 400, "y" * 10, "z" * 400]
    with collected(CallLog()) as log:
        async for _ in over((named("a"), model)).chat(asks("Hello")):
            spent.append((log.usage[0].estimated, log.usage[0].output_tokens))
    assert spent == [(True, 100), (True, 100), (True, 203), (False, 0)]


async def test_pictures_and_vectors_fall_back_too() -> None:
    gateway = over(
        (named("a", "image", order=0), Scripted("a", before=[AWAY])),
        (named("b", "image", order=1), Scripted("b")),
        (named("c", "embedding", order=0), Scripted("c", before=[AWAY])),
    )
    assert (await gateway.draw(asks("a cat", "image")))[0][0].data == b"b"
    assert (await gateway.embed(["x", "y"]))[0] == [[1.0], [1.0]]


async def test_an_answer_of_nothing_is_no_answer() -> None:
    class Silent(Scripted):
        async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
            return
            yield

    gateway = over((named("a", order=0), Silent("a")), (named("b", order=1), Scripted("b")))
    assert await told(gateway) == "b says hello"


# ------------------------------------------------------------------ waiting


async def test_a_requested_wait_is_respected() -> None:
    clock = Clock()
    busy = Scripted("a", before=[ModelUnavailable("429", 20.0)])
    gateway = over((named("a", order=0), busy), (named("b", order=1), Scripted("b")), clock=clock)
    for _ in range(3):
        assert await told(gateway) == "b says hello"
    assert busy.asked == 1
    clock.at += 20.1
    assert await told(gateway) == "a says hello"


async def test_when_all_cool_down_the_wait_is_known() -> None:
    """Field note 36."""
    clock = Clock()
    gateway = over(
        (named("a"), Scripted("a", before=[ModelUnavailable("429", 30.0)])),
        (named("b"), Scripted("b", before=[ModelUnavailable("429", 11.2)])),
        clock=clock,
    )
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="12 s") as caught:
            await told(gateway, sticky="one")
        assert caught.value.retry_after_s == pytest.approx(11.2)
    clock.at += 11.3
    assert await told(gateway, sticky="one") == "b says hello"


async def test_a_late_success_keeps_the_cool_down() -> None:
    model = Scripted("a")
    gateway = over((named("a"), model))
    slow = gateway.chat(asks("Hello"))
    async with aclosing(cast("Any", slow)):
        assert (await anext(slow)).text
        model.before = [ModelUnavailable("429", 60.0)]
        with pytest.raises(ModelUnavailable):
            await told(gateway, sticky="one")
        assert text_of([delta async for delta in slow]) == "hello"
    with pytest.raises(ModelUnavailable, match="60 s"):
        await told(gateway, sticky="one")


async def test_a_failing_deployment_is_tested_by_one_call() -> None:
    clock = Clock()
    failing = Scripted("a", before=[AWAY] * 4)
    gateway = over((named("a", order=0), failing), (named("b", order=1), Scripted("b")), clock=clock)
    for _ in range(6):
        assert await told(gateway) == "b says hello"
    assert failing.asked == PATIENCE
    clock.at += REST_S + 0.1
    await told(gateway)
    await told(gateway)
    assert failing.asked == PATIENCE + 1


# ------------------------------------------------------------------ broken


async def test_permanent_errors_are_logged_once_and_bypassed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Field note 35."""
    clock = Clock()
    gone = Scripted("a", before=[DeploymentBroken("The deployment 'a' is retired.")] * 2)
    gateway = over((named("a", order=0), gone), (named("b", order=1), Scripted("b")), clock=clock)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert await told(gateway) == "b says hello"
        clock.at += 300.0 + 1
        assert await told(gateway) == "b says hello"
    assert gone.asked == 2
    assert [record.message for record in caplog.records] == ["The deployment 'a' is retired."]
    clock.at += 300.0 + 1
    assert await told(gateway) == "a says hello"


async def test_when_all_are_broken_the_operator_must_act() -> None:
    gateway = over((named("a"), Scripted("a", before=[DeploymentBroken("The key is wrong.")])))
    for _ in range(2):
        with pytest.raises(ConfigError, match="key is wrong"):
            await told(gateway)


# ------------------------------------------------------------------ measured, checked, connected


async def test_what_happens_is_observed() -> None:
    seen: list[tuple[str, str]] = []

    def observe(measure: str, name: str, value: float) -> None:
        seen.append((measure, name))

    busy = Scripted("a", before=[ModelUnavailable("429", 20.0)])
    gateway = over((named("a", order=0), busy), (named("b", order=1), Scripted("b")), observe=observe)
    await told(gateway)
    assert seen == [
        ("failures", "a"),
        ("rest_seconds", "a"),
        ("first_delta_seconds", "b"),
        ("call_seconds", "b"),
    ]


async def test_the_demo_serves_all_capabilities() -> None:
    async with router.connect(deployments(), {}) as gateway:
        findings = await gateway.check()
        assert {finding.level for finding in findings} == {"warning"}
        assert await told(gateway)


async def test_a_check_names_deployments_and_gaps(azure: AzureSimulator) -> None:
    azure.deployments = {"chat": Deployed()}
    made = (deployment(azure), deployment(azure, name="pictures", capability="image"))
    async with router.connect(made, {"AZURE_OPENAI_API_KEY": SecretStr("simulated-key")}) as gateway:
        levels = {finding.subject: finding.level for finding in await gateway.check()}
    assert levels == {
        "deployment chat": "ok",
        "deployment pictures": "error",
        "embedding deployment": "warning",
    }


async def test_each_deployment_has_its_own_key(azure: AzureSimulator) -> None:
    azure.key = "key-of-b"
    made = (deployment(azure, name="a", order=0), deployment(azure, name="b", order=1, key_env="B_KEY"))
    keys = {"AZURE_OPENAI_API_KEY": SecretStr("key-of-a"), "B_KEY": SecretStr("key-of-b")}
    async with router.connect(made, keys) as gateway:
        assert await told(gateway) == "You said: Hello"
    assert [asked.headers["api-key"] for asked in azure.journal] == ["key-of-a", "key-of-a", "key-of-b"]


async def test_people_are_answered_while_a_region_is_busy(
    azure: AzureSimulator,
) -> None:
    """Field note 36."""
    azure.fail("rate_limited", deployment="a", times=-1, retry_after_s=30)
    made = (deployment(azure, name="a", order=0), deployment(azure, name="b", order=1))
    async with router.connect(made, {"AZURE_OPENAI_API_KEY": SecretStr("simulated-key")}) as gateway:
        answers = await asyncio.gather(*(told(gateway, sticky=str(n)) for n in range(8)))
        assert await told(gateway) == "You said: Hello"
    assert answers == ["You said: Hello"] * 8
    assert [asked.deployment for asked in azure.journal].count("a") <= 8


# ------------------------------------------------------------------ the breaker


def test_failures_count_if_no_wait_is_asked_for() -> None:
    """Field fault 60: `Retry-After: 0` at every failure."""
    breaker = CircuitBreaker(Clock())
    for _ in range(PATIENCE):
        assert not breaker.wait_s()
        breaker.failed(0.0)
    assert breaker.wait_s() == REST_S
    assert breaker.asked_for


def test_a_rest_doubles_up_to_a_limit() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock)
    rests: list[float] = []
    for _ in range(PATIENCE + 6):
        breaker.failed()
        rests.append(breaker.wait_s())
        clock.at += rests[-1]
    assert rests[: PATIENCE - 1] == [0.0] * (PATIENCE - 1)
    assert rests[PATIENCE - 1 : PATIENCE + 1] == [REST_S, 2 * REST_S]
    assert rests[-1] == MOST_BACK_OFF_S
    breaker.succeeded()
    breaker.failed()
    assert breaker.wait_s() == 0


def test_a_model_of_the_room_can_be_checked() -> None:
    assert isinstance(DemoModel(), Checkable)
