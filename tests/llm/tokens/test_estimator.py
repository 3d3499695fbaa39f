"""Estimates of tokens against what the tokenizers count."""

import asyncio
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.prompts import Image, Message, Text, ToolCall, ToolResult, say
from bot.llm.tokens.counter import LONG, MESSAGE_TOKENS, TokenCounter, run_counting
from bot.llm.tokens.estimator import KINDS, Vocabulary, estimate, estimate_by_kind, features, weights
from tests.llm.tokens.samples import KINDS as GENERATED
from tests.llm.tokens.samples import WORDS, counted, digest, samples, texts

SAMPLES, COUNTED = samples(), counted()
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400)
"""Of any code points, also halves of surrogate pairs."""


def ratios(kind: str, vocabulary: Vocabulary) -> list[float]:
    """Estimate / count of each sample."""
    pairs = zip(SAMPLES[kind], COUNTED[vocabulary][kind], strict=True)
    return [estimate(text, vocabulary) / count for text, count in pairs]


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_samples_are_those_that_were_counted(kind: str) -> None:
    assert COUNTED["digests"][kind] == [digest(SAMPLES[kind])]


def test_there_are_enough_kinds_and_languages() -> None:
    assert len(GENERATED) >= 10
    assert len(texts()) >= 8


@pytest.mark.parametrize("kind", SAMPLES)
def test_estimates_are_close_and_rarely_low(kind: str) -> None:
    """Field fault 116: a third of the bytes was 0.33 of the tokens for digits, and 2.41 for Russian."""
    found = ratios(kind, "o200k_base")
    assert statistics.quantiles(found, n=20, method="inclusive")[0] >= 0.95
    assert statistics.median(found) <= 1.25


@pytest.mark.parametrize("kind", SAMPLES)
def test_older_vocabularies_are_estimated_too(kind: str) -> None:
    """Field fault 116, for models before GPT-4o; that of an unknown model is taken for the higher of both."""
    found = ratios(kind, "cl100k_base")
    assert statistics.quantiles(found, n=20, method="inclusive")[0] >= 0.9
    assert statistics.median(found) <= 1.5
    text = SAMPLES[kind][0]
    assert estimate(text, None) == max(estimate(text, "o200k_base"), estimate(text, "cl100k_base"))


@given(ANY_TEXT)
def test_any_text_has_an_estimate(text: str) -> None:
    by_kind = estimate_by_kind(text)
    assert set(by_kind) == set(KINDS)
    assert all(tokens >= 0 for tokens in by_kind.values())
    assert (estimate(text) == 0) == (not features(text) or not any(by_kind.values()))


@given(st.sampled_from([text for each in SAMPLES.values() for text in each[:2]]), st.data())
def test_parts_are_estimated_like_the_whole(text: str, data: st.DataObject) -> None:
    """A longer text has more tokens, within what the language that is recognised may change."""
    at = data.draw(st.integers(0, len(text)))
    whole, parts = estimate(text), estimate(text[:at]) + estimate(text[at:])
    assert 0.6 * whole - 10 <= parts <= 1.6 * whole + 10
    assert estimate(text + text) > whole


def steps(run: Callable[[], object]) -> int:
    """The calls and lines of Python that something takes."""
    taken = 0

    def trace(_frame: FrameType, _event: str, _arg: Any) -> Any:
        nonlocal taken
        taken += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return taken


@pytest.mark.parametrize("kind", SAMPLES)
def test_twice_the_text_takes_twice_the_steps(kind: str) -> None:
    text = "\n".join(SAMPLES[kind])
    estimate(text)
    assert steps(lambda: estimate(text + text)) <= 2 * steps(lambda: estimate(text)) + 50


@pytest.mark.parametrize(
    "unit", ["a", "A", " ", "\n", "1", "-", "-=", "é", "я", "漢", "ก", "\u0301", "😀", "Aa", "\ud800"]
)
def test_monotonous_texts_stay_linear(unit: str) -> None:
    """An expression that goes back over what it read would take minutes."""
    began = time.process_time()
    estimate(unit * 100_000)
    assert time.process_time() - began < 2.0


def test_every_feature_has_a_weight() -> None:
    """And every weight a feature, in both vocabularies."""
    everything = (
        "\n".join(text for each in SAMPLES.values() for text in each)
        + " het een ଓଡ଼ିଆ ქართული မြန်မာ አማርኛ বাংলা AB12ABCDEFG"
    )
    known = {name for each in weights().tokens["o200k_base"].values() for name in each}
    assert known == {name for each in weights().tokens["cl100k_base"].values() for name in each}
    assert known == set(features(everything))
    assert list(weights().scripts) == sorted(weights().scripts)
    assert estimate("") == 0


@pytest.mark.parametrize("piece", ["Order 17 was shipped to Ávila. ", "Заказ 17 отправлен. ", "订单已发货。"])
def test_pieces_are_estimated_like_the_whole_text(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    one = piece * 500
    assert estimate(text) == pytest.approx(estimate(one) * len(text) / len(one), rel=0.01)


async def test_the_loop_goes_on_while_counting() -> None:
    """A text of 400,000 characters is estimated in a thread, and a short one at once."""
    counter, ticks = TokenCounter(), 0
    threads = [await run_counting(characters, threading.get_ident) for characters in (10, LONG, LONG + 1)]
    here = threading.get_ident()
    assert [thread == here for thread in threads] == [True, True, False]
    text = "Order 17 was shipped, Łódź. " * 15_000
    work = asyncio.create_task(run_counting(len(text), counter.text, text))
    while not work.done():
        await asyncio.sleep(0)
        ticks += 1
    assert ticks > 3
    assert await work == estimate(text)


def test_messages_are_the_sum_of_their_parts() -> None:
    counter = TokenCounter()
    words = counter.text("one two")
    parts = (
        Text(text="one two"),
        ToolCall(id="1", name="one", arguments=" two"),
        ToolResult(id="1", text="one two"),
    )
    assert counter.message(Message(role="user", parts=parts)) == 3 * (MESSAGE_TOKENS + words)
    assert counter.messages([say("user", "one two")] * 2) == 2 * (MESSAGE_TOKENS + words)
    picture = Message(role="user", parts=(Image(mime="image/png"),))
    assert counter.message(picture) > 1000, "an image of unknown size costs the most"
    by_kind = counter.by_kind([Message(role="user", parts=(*parts, Image(mime="image/png")))])
    assert round(sum(by_kind.values()) / 3, 6) == round(sum(estimate_by_kind("one two").values()), 6)


def test_factors_correct_only_their_kind() -> None:
    rnd = random.Random(1)
    numbers = " ".join(str(rnd.randint(0, 10**6)) for _ in range(50))
    corrected = TokenCounter(factors={"numbers": 0.5})
    assert corrected.text(numbers) < 0.6 * TokenCounter().text(numbers)
    assert corrected.text(" ".join(WORDS)) == TokenCounter().text(" ".join(WORDS))
