"""What people see and which deployments are called for each fault of the simulated Azure."""

import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.studio.playground.prompt_report import dollars
from bot.domain.turns import Prices
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.openai.model import Timeouts
from bot.llm.routing import router
from bot.llm.routing.router import Gateway
from bot.storage.usage.cooldowns import Cooldowns
from tests.llm.conftest import deployment
from tests.simulators.azure import Answer, AzureSimulator, Deployed, Kind
from tests.support.acts import received, stopped
from tests.support.harness import CONVERSATION, Harness

KEYS = {"AZURE_OPENAI_API_KEY": SecretStr("simulated-key")}
STORY = "one two three four five"
PRICES = Prices(input_usd=1.0, cached_usd=0.5, output_usd=4.0)


@pytest.fixture
async def azure() -> AsyncGenerator[AzureSimulator]:
    """Two deployments; `a` is called first."""
    async with AzureSimulator(deployments={"a": Deployed(), "b": Deployed()}) as simulator:
        yield simulator


@pytest.fixture(params=[True, False], ids=["classic", "v1"])
async def gateway(
    request: pytest.FixtureRequest, azure: AzureSimulator, harness: Harness
) -> AsyncGenerator[Gateway]:
    """A gateway with one of the two styles of the API."""
    made = tuple(
        deployment(azure, classic=request.param, name=name, order=order, prices=PRICES)
        for order, name in enumerate("ab")
    )
    limits = Timeouts(first_token_s=2.0, between_tokens_s=1.0)
    async with router.connect(
        DeploymentConfig(deployments=made), KEYS, limits=limits, shared=Cooldowns(harness.redis)
    ) as opened:
        harness.gateway = opened
        yield opened


def asked(azure: AzureSimulator) -> str:
    """The deployments that were called, in order."""
    return "".join(one.deployment for one in azure.journal)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("rate_limited", {"retry_after_s": 30}),
        ("server_error", {}),
        ("unauthorized", {"times": 2}),
        ("forbidden", {}),
        ("deployment_not_found", {}),
        ("gone", {}),
        ("slow", {"first_s": 5.0}),
    ],
)
@pytest.mark.usefixtures("gateway")
async def test_fallback_before_the_first_token_is_invisible(
    harness: Harness, azure: AzureSimulator, kind: Kind, more: dict[str, Any]
) -> None:
    azure.fail(kind, deployment="a", **more)
    (turn,) = await harness.answer(received("hello"))
    assert harness.adapter.texts == ["You said: hello"]
    assert asked(azure) == (
        "aab" if kind == "unauthorized" else "ab"
    )  # a 401 is answered with a new token once
    assert turn.answered_by == ("b",)
    assert [(one.deployment, one.outcome) for one in turn.usage] == [("a", "failed"), ("b", "completed")]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unauthorized", "did not accept the key"),
        ("forbidden", "denied access"),
        ("deployment_not_found", "does not exist"),
        ("gone", "is retired"),
    ],
)
@pytest.mark.usefixtures("gateway")
async def test_a_configuration_error_is_reported_once(
    harness: Harness, azure: AzureSimulator, kind: Kind, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Field note 35: a missing deployment is no throttling; the operator is told once."""
    azure.fail(kind, deployment="a", times=-1)
    with caplog.at_level(logging.ERROR):
        await harness.answer(*(received(f"hello {n}", event=f"e{n}") for n in range(3)))
    assert harness.adapter.texts == [f"You said: hello {n}" for n in range(3)]
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert words in record.getMessage()
    assert asked(azure) == ("aabbb" if kind == "unauthorized" else "abbb")


@pytest.mark.parametrize("kind", ["dropped", "malformed", "stream_error", "stalled"])
@pytest.mark.usefixtures("gateway")
async def test_a_broken_stream_is_continued_once(harness: Harness, azure: AzureSimulator, kind: Kind) -> None:
    def answer(messages: list[Any]) -> Answer:
        shown = str(messages[-2]["content"]) if messages[-2]["role"] == "assistant" else ""
        return Answer(text=STORY[len(shown) :] if STORY.startswith(shown) else STORY, chunks=5)

    azure.answer = answer
    azure.interval_s = 0.01
    azure.fail(kind, deployment="a", after=3)
    (turn,) = await harness.answer(received("count"))
    assert harness.adapter.texts == [STORY]
    assert asked(azure) == "ab"
    broken, whole = turn.usage
    assert (broken.deployment, broken.estimated, whole.deployment, whole.estimated) == ("a", True, "b", False)
    assert broken.input_tokens > 0
    assert broken.output_tokens > 0
    assert (broken.usd or 0) > 0
    await harness.answer(received("/sent", event="s"))
    assert "Also called: `a`: about" in harness.adapter.texts[-1]


@pytest.mark.usefixtures("gateway")
async def test_a_stream_broken_twice_keeps_its_text(harness: Harness, azure: AzureSimulator) -> None:
    azure.answer = lambda messages: Answer(text=STORY, chunks=5)
    azure.interval_s = 0.01
    azure.fail("dropped", times=2, after=3)
    (turn,) = await harness.answer(received("count"))
    (text,) = harness.adapter.texts
    assert text.startswith("one two")
    assert "The answer is incomplete" in text
    assert turn.outcome == "failed"
    assert [one.estimated for one in turn.usage] == [True, True]


@pytest.mark.usefixtures("gateway")
async def test_a_refused_parameter_is_left_out(harness: Harness, azure: AzureSimulator) -> None:
    """Field note 33: a parameter that the API refuses is left out from then on."""
    assert azure.deployments is not None
    azure.deployments["a"].refuses = ("stream_options",)
    await harness.answer(received("hello"), received("and more", event="e2"))
    assert harness.adapter.texts == ["You said: hello", "You said: and more"]
    assert ["stream_options" in one.body for one in azure.journal] == [True, False, False]


@pytest.mark.usefixtures("gateway")
async def test_a_prompt_too_long_is_shortened_once(harness: Harness, azure: AzureSimulator) -> None:
    for number in range(3):
        await harness.answer(received(f"{number} " + "word " * 300, event=f"e{number}"))
    before = len(azure.journal)
    azure.fail("too_long")
    await harness.answer(received("And now?", event="now"))
    first, second = list(azure.journal)[before:]
    assert len(second.body["messages"]) < len(first.body["messages"])
    assert harness.adapter.texts[-1].startswith("You said: And now?")
    assert "it read less of it than usual" in harness.adapter.texts[-1]


@pytest.mark.usefixtures("gateway")
async def test_filtered_content_is_reported_and_not_remembered(
    harness: Harness, azure: AzureSimulator
) -> None:
    """Field note 30: the person learns the category; later prompts don't contain the turn."""
    azure.fail("blocked", categories=("hate",))
    await harness.answer(received("something bad", event="bad"))
    azure.answer = lambda messages: Answer(text="Well then", finish="content_filter", filtered=("violence",))
    await harness.answer(received("something worse", event="worse"))
    azure.answer = lambda messages: "fine"
    turns = await harness.answer(received("something good", event="good"))
    question, answer, last = harness.adapter.texts
    assert "hate (" in question
    assert "violence (" in answer
    assert last == "fine"
    assert [turn.outcome for turn in turns] == ["refused", "refused", "answered"]
    assert "question hate" in turns[0].filter
    assert "answer violence" in turns[1].filter
    assert "something bad" not in str(azure.journal[-1].body)
    assert "something worse" not in str(azure.journal[-1].body)


@pytest.mark.usefixtures("gateway")
async def test_when_all_deployments_cool_down_people_wait(harness: Harness, azure: AzureSimulator) -> None:
    """Field note 36: people learn the seconds, and are answered in order."""
    for name in "ab":
        azure.fail("rate_limited", deployment=name, retry_after_s=2.4)
    await harness.answer(received("first", event="e1"), received("second", event="e2"))
    assert harness.adapter.texts == ["You said: first", "You said: second"]
    assert any("retry in about 2 seconds" in text for _, text in harness.adapter.history)
    assert asked(azure)[:2] == "ab"
    assert len(azure.journal) == 4


@pytest.mark.usefixtures("gateway")
async def test_a_stopped_answer_is_charged_by_estimate(harness: Harness, azure: AzureSimulator) -> None:
    azure.answer = lambda messages: Answer(text=" ".join([STORY] * 100), chunks=500)
    azure.interval_s = 0.05
    await harness.accept(received("count"))
    async with harness.working():
        await harness.until(lambda: "one two" in "".join(harness.adapter.texts))
        await harness.accept(stopped())
        await harness.until(harness.idle)
    (turn,) = await harness.turns.turns(CONVERSATION)
    assert turn.usage
    assert all(one.estimated and (one.usd or 0) > 0 for one in turn.usage)
    assert dollars(turn.usage).startswith("about $")


async def test_a_hedged_request_charges_both_deployments(
    harness: Harness, azure: AzureSimulator, gateway: Gateway
) -> None:
    gateway.adopt(DeploymentConfig(deployments=gateway.every(), hedge_ms=50), KEYS)
    azure.fail("slow", deployment="a", first_s=30.0)
    (turn,) = await harness.answer(received("hello"))
    assert harness.adapter.texts == ["You said: hello"]
    assert {(one.deployment, one.estimated) for one in turn.usage} >= {("b", False)}
    assert asked(azure).startswith("ab")
