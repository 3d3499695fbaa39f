"""What deployments mean for a prompt: how long an answer may be, what its tokens are, what it may cost."""

import io

import pytest
from PIL import Image as Pillow

from bot.domain.limits import read
from bot.domain.prompts import Image, Message, Parameters, Prompt, Template
from bot.domain.turns import Prices
from bot.generation.model_info import ModelInfo
from bot.llm.tokens.counter import MESSAGE_TOKENS
from tests.llm.scripted import Scripted, named, over

CHAT = Template(name="assistant", digest="0" * 12, system="Be kind.")


@pytest.mark.parametrize(
    ("limits", "family", "gives", "answer"),
    [
        ("person: 30 requests/minute", "gpt-4o", 16_384, None),
        ("person: $2/day", "gpt-4o", 16_384, 4000),
        ("channel C1: 1M tokens/day", "gpt-4o", 1000, 1000),
        ("person: $2/day", "gpt-5", 128_000, 16_000),
    ],
)
def test_budgets_limit_the_answer_length(limits: str, family: str, gives: int, answer: int | None) -> None:
    gateway = over((named("a", family=family, output_tokens=gives), Scripted("a")))
    assert ModelInfo(gateway, read(limits)).token_budget(CHAT).answer_tokens == answer


def test_the_costliest_deployment_counts_a_picture() -> None:
    """Field fault 116: several deployments may answer, and a picture is 765 tokens or 25,501."""
    square = io.BytesIO()
    Pillow.new("RGB", (1024, 1024)).save(square, "PNG")
    message = Message(role="user", parts=(Image(mime="image/png", data=square.getvalue()),))
    one = (named("a", family="gpt-4o"), Scripted("a"))
    two = (named("b", family="gpt-4o-mini"), Scripted("b"))
    counted = [
        ModelInfo(over(*each)).token_budget(CHAT).counter.message(message) for each in ((one,), (one, two))
    ]
    assert counted == [765 + MESSAGE_TOKENS, 25_501 + MESSAGE_TOKENS]


@pytest.mark.parametrize(
    ("family", "vocabularies"),
    [("gpt-5-nano", ("o200k_base",)), ("gpt-4-turbo", ("cl100k_base",)), ("unknown-chat", (None,))],
)
def test_a_family_names_its_vocabulary(family: str, vocabularies: tuple[str | None, ...]) -> None:
    gateway = over((named("a", family=family), Scripted("a")))
    assert ModelInfo(gateway).token_budget(CHAT).counter.vocabularies == vocabularies


@pytest.mark.parametrize(
    ("prices", "usd"),
    [
        ((Prices(input_usd=1.0, output_usd=4.0),), 600e-6),
        ((Prices(input_usd=1.0, cache_write_usd=2.0, output_usd=4.0, reasoning_usd=5.0),), 900e-6),
        ((Prices(input_usd=1.0, output_usd=4.0), Prices(input_usd=1.0)), None),
        ((Prices(cache_write_usd=2.0, output_usd=4.0),), None),
        ((), 0.0),
    ],
)
def test_an_estimate_knows_what_is_unknown(prices: tuple[Prices, ...], usd: float | None) -> None:
    """Field fault 114: a deployment that may answer, at an unknown price, makes the estimate unknown."""
    gateway = over(*((named(f"d{n}", prices=each), Scripted(f"d{n}")) for n, each in enumerate(prices)))
    parameters = Parameters(max_output_tokens=100)
    prompt = Prompt(
        template="assistant", capability="chat", messages=(), parameters=parameters, input_tokens=200
    )
    assert ModelInfo(gateway).estimate_usd(prompt) == (None if usd is None else pytest.approx(usd))
