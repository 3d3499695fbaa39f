"""An answer that breaks off goes on once, and reads as one."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from bot.domain.calls import CallLog, collected
from bot.domain.errors import ContentFiltered, ModelUnavailable
from bot.domain.prompts import Prompt
from bot.domain.turns import Delta, Prices
from bot.llm.protocol import AnswerTimeout
from bot.llm.routing import router
from bot.llm.routing.continuation import GO_ON, ContinuationDeduper
from tests.llm.conftest import asks, deployment, heard, text_of
from tests.llm.scripted import AWAY, Scripted, named, over, told
from tests.simulators.azure import Answer, AzureSimulator, Kind
from tests.simulators.azure_wire import last_user_text


def joined(shown: str, *pieces: str) -> str:
    deduper = ContinuationDeduper(shown)
    return shown + "".join([deduper.feed(piece) for piece in pieces]) + deduper.end()


@pytest.mark.parametrize(
    ("shown", "pieces", "whole"),
    [
        ("The cat sat", [" on", " the mat."], "The cat sat on the mat."),
        ("The cat s", ["at on the mat."], "The cat sat on the mat."),
        ("The cat s", ["sat on", " the mat."], "The cat sat on the mat."),
        ("The cat sat on", ["cat", " sat on", " the mat."], "The cat sat on the mat."),
        ("The cat sat", ["The", " cat", " sat", " on it."], "The cat sat on it."),
        ("The cat sat ", [" on it."], "The cat sat on it."),
        ("bath", ["the"], "baththe"),
        ("one, two, 3", ["3, 4"], "one, two, 3, 4"),
        ("It ends", [], "It ends"),
        ("It ends", ["It", " ends"], "It ends"),
        ("x = 1\n", ["y = 2\n"], "x = 1\ny = 2\n"),
        ("Grüße aus K", ["Köln"], "Grüße aus Köln"),
        ("", ["all", " of it"], "all of it"),
    ],
)
def test_what_is_said_twice_is_shown_once(shown: str, pieces: list[str], whole: str) -> None:
    assert joined(shown, *pieces) == whole


def test_text_is_held_only_during_possible_repetitions() -> None:
    deduper = ContinuationDeduper("The cat sat on")
    assert [deduper.feed(piece) for piece in ("sat", " on", " the", " mat")] == ["", "", " the", " mat"]


async def test_an_interrupted_answer_is_continued() -> None:
    first = Scripted("a", after=AWAY)
    second = Scripted("b")
    second.says = ["says ", "hello ", "again"]
    gateway = over((named("a", order=0), first), (named("b", order=1), second))
    assert await told(gateway) == "a says hello again"
    *before, shown, wish = second.prompts[0].messages
    assert tuple(before) == first.prompts[0].messages
    assert (shown.role, shown.text) == ("assistant", "a says ")
    assert (wish.role, wish.text) == ("user", GO_ON)


async def test_the_same_deployment_continues_without_others() -> None:
    class Once(Scripted):
        async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
            self.after = None if self.asked else AWAY
            async for delta in super().chat(prompt):
                yield delta

    only = Once("a")
    only.says = ["one", " two"]
    assert await told(over((named("a"), only))) == "one two"
    assert only.asked == 2


async def test_an_answer_is_continued_only_once() -> None:
    first, second, third = Scripted("a", after=AWAY), Scripted("b", after=AWAY), Scripted("c")
    second.says = ["and ", "on"]
    gateway = over((named("a", order=0), first), (named("b", order=1), second), (named("c", order=2), third))
    deltas, error = await heard(gateway.chat(asks("Hello")))
    assert text_of(deltas) == "a says and "
    assert error is AWAY
    assert third.asked == 0


async def test_held_text_is_shown_after_a_second_interruption() -> None:
    first, second = Scripted("a", after=AWAY), Scripted("b", after=AWAY)
    first.says, second.says = ["the cat ", "sat"], ["cat", " sat"]
    gateway = over((named("a", order=0), first), (named("b", order=1), second))
    deltas, error = await heard(gateway.chat(asks("Hello")))
    assert error is AWAY
    assert text_of(deltas) == "the cat cat"


async def test_a_model_that_counts_nothing_loses_no_text() -> None:
    class Uncounted(Scripted):
        async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
            yield Delta(text="the")

    first = Scripted("a", after=AWAY)
    first.says = ["over the ", "rest"]
    gateway = over((named("a", order=0), first), (named("b", order=1), Uncounted("b")))
    assert await told(gateway) == "over the the"


async def test_without_a_continuation_the_first_error_counts() -> None:
    refuses = Scripted("b", before=[ContentFiltered("no", ("hate",))])
    gateway = over((named("a", order=0), Scripted("a", after=AWAY)), (named("b", order=1), refuses))
    deltas, error = await heard(gateway.chat(asks("Hello")))
    assert text_of(deltas) == "a says "
    assert error is AWAY


async def test_an_answer_after_a_timeout_is_not_continued() -> None:
    other = Scripted("b")
    endless = Scripted("a", after=AnswerTimeout("too long"))
    gateway = over((named("a", order=0), endless), (named("b", order=1), other))
    _, error = await heard(gateway.chat(asks("Hello")))
    assert isinstance(error, AnswerTimeout)
    assert other.asked == 0


async def test_every_call_is_charged() -> None:
    priced = named("a", order=0, prices=Prices(input_usd=1.0, output_usd=10.0))
    gateway = over((priced, Scripted("a", after=AWAY)), (named("b", order=1), Scripted("b")))
    with collected(CallLog()) as log:
        deltas, error = await heard(gateway.chat(replace(asks("Hello"), input_tokens=100)))
    assert error is None
    broken, whole = log.usage
    assert (broken.deployment, broken.input_tokens, broken.output_tokens) == ("a", 100, 2)
    assert (broken.usd, broken.estimated, broken.outcome) == (0.00012, True, "failed")
    assert (whole.estimated, whole.outcome) == (False, "completed")
    assert deltas[-1].finish == "stop"


@pytest.mark.parametrize("kind", ["dropped", "malformed", "stream_error"])
async def test_a_broken_stream_of_azure_is_mended(azure: AzureSimulator, kind: Kind) -> None:
    def answer(messages: list[Any]) -> Answer:
        if last_user_text(messages) != GO_ON:
            return Answer(text="one two three four five", chunks=5)
        shown = messages[-2]["content"]
        return Answer(text=shown[-5:] + "one two three four five"[len(shown) :], chunks=3)

    azure.answer = answer
    azure.interval_s = 0.01
    azure.fail(kind, after=3)
    async with router.connect(
        [deployment(azure)], {"AZURE_OPENAI_API_KEY": SecretStr("simulated-key")}
    ) as gateway:
        deltas, error = await heard(gateway.chat(asks("Count")))
    assert error is None
    assert text_of(deltas) == "one two three four five"
    assert len(azure.journal) == 2


async def test_two_interruptions_of_azure_keep_the_text(azure: AzureSimulator) -> None:
    azure.answer = lambda messages: Answer(text="one two three four five", chunks=5)
    azure.interval_s = 0.01
    azure.fail("dropped", after=2, times=-1)
    async with router.connect(
        [deployment(azure)], {"AZURE_OPENAI_API_KEY": SecretStr("simulated-key")}
    ) as gateway:
        deltas, error = await heard(gateway.chat(asks("Count")))
    assert isinstance(error, ModelUnavailable)
    assert text_of(deltas).startswith("one")
