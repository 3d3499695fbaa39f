"""The gateway reserves what nobody has reserved before it sends it, and does without where a limit refuses."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from bot.domain.calls import CallLog, collected
from bot.domain.errors import BudgetSpent, ModelUnavailable, NotAllowed, Refused, UnknownPrice
from bot.domain.prompts import Parameters, Prompt
from bot.domain.turns import Delta, Prices, Usage
from bot.llm.routing import attempts
from tests.llm.conftest import asks, heard, text_of
from tests.llm.scripted import AWAY, Scripted, named, over

PRICES = Prices(input_usd=1.0, output_usd=10.0)
PROMPT = replace(asks("Hello", parameters=Parameters(max_output_tokens=1000)), input_tokens=100)
HALF = Usage(deployment="a", input_tokens=100, output_tokens=100)


class Counting(Scripted):
    """Counts fewer tokens than prompts are estimated at."""

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        yield Delta(text="hello")
        yield Delta(usage=Usage(deployment=self.name, input_tokens=800, output_tokens=60), finish="stop")


class Limited:
    """Reserves for one call, which was announced, and refuses all others; writes down what is asked of it."""

    def __init__(self, refusal: Refused | None = None) -> None:
        self.refusal = refusal or BudgetSpent("The limit is used up.")
        self.reserved: list[tuple[int, float | None]] = []
        self.stored = 0
        self.log = CallLog()
        self.log.reserver = self

    def announce(self) -> None:
        with self.log.announced(["answer"], [HALF]):
            self.log.has_stored(self.log.to_store)

    async def reserve(self, most: Usage) -> None:
        self.reserved.append((most.input_tokens + most.output_tokens, most.usd))
        raise self.refusal

    async def store(self) -> None:
        self.stored += 1
        self.log.has_stored(self.log.to_store)


async def test_a_refused_continuation_leaves_what_was_said() -> None:
    """The rest of an answer needs a call of its own, which costs its prompt again."""
    limited = Limited()
    limited.announce()
    breaking = Scripted("a", after=AWAY)
    gateway = over((named("a", prices=PRICES), breaking), (named("b", order=1), Scripted("b")))
    with collected(limited.log):
        found, error = await heard(gateway.chat(PROMPT))
    assert text_of(found) == "a says "
    assert isinstance(error, ModelUnavailable), "as if nobody else could continue it"
    assert [tokens for tokens, _ in limited.reserved] == [limited.reserved[0][0]]
    assert [one.deployment for one in limited.log.usage] == ["a"]


async def test_a_refused_second_call_leaves_the_first() -> None:
    """A deployment that is asked beside a slow one may cost as much again."""
    limited = Limited()
    limited.announce()
    slow = Scripted("a")
    slow.speaks.clear()
    models = [(named("a", prices=PRICES), slow), (named("b", order=1, prices=PRICES), Scripted("b"))]
    gateway = over(*models, hedge_s=0.0)
    refuse = limited.reserve

    async def reserve(most: Usage) -> None:
        slow.speaks.set()
        await refuse(most)

    limited.reserve = reserve
    with collected(limited.log):
        found, error = await heard(gateway.chat(PROMPT))
    assert (text_of(found), error) == ("a says hello", None)
    assert limited.reserved == [(1100, pytest.approx(0.0101))], "the prompt, and the longest answer"


async def test_a_wait_is_told_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it waited for a busy model, a question was booked as if it had been asked."""
    monkeypatch.setattr(attempts, "_WAIT_S", 0.0)
    limited, refused = Limited(), ModelUnavailable("away")
    refused.unprocessed = True
    limited.announce()
    gateway = over((named("a"), Scripted("a", before=[refused])))
    with collected(limited.log):
        await heard(gateway.chat(PROMPT))
    assert limited.stored == 2, "that nothing is asked, then that it is asked again"
    assert limited.reserved == [], "the first reservation is free again"


async def test_texts_that_do_not_fit_are_not_embedded() -> None:
    """What asks for vectors can do without; an operator's missing price is no passing failure."""
    limited, model = Limited(), Scripted("ada")
    gateway = over((named("ada", capability="embedding", prices=PRICES), model))
    with collected(limited.log):
        with pytest.raises(ModelUnavailable, match="The limit is used up"):
            await gateway.vectors(["Größe", "b"])
        limited.refusal = UnknownPrice("The price is unknown.")
        with pytest.raises(NotAllowed, match="The price is unknown"):
            await gateway.vectors(["Größe"])
    assert model.asked == 0
    assert limited.reserved[0] == (8, pytest.approx(0.000008)), "a byte is a token at the most"
    assert limited.log.usage == ()


async def test_estimates_follow_what_was_counted() -> None:
    """Prompts are estimated rather too high, so that they fit; what is interrupted is booked as others were counted."""
    gateway = over((named("a", prices=PRICES), Counting("a")))
    prompt = replace(PROMPT, input_tokens=1000)
    before = gateway.expected(prompt)
    with collected(CallLog()):
        await heard(gateway.chat(prompt))
    after = gateway.expected(prompt)
    assert (before.input_tokens, before.output_tokens) == (1000, 100)
    assert (after.input_tokens, after.output_tokens) == (800, 30)
