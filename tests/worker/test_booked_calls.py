"""Every provider call is booked, also of attempts that failed and of processes that died."""

import json
from collections.abc import AsyncGenerator, Sequence

import pytest
from msgspec.structs import replace

from bot.domain import telemetry
from bot.domain.calls import unattributed
from bot.domain.errors import BudgetSpent, ModelBusy, ModelUnavailable
from bot.domain.events import now
from bot.domain.prompts import Prompt, ToolCall
from bot.domain.turns import Delta, Usage
from bot.storage.redis import keys
from bot.storage.usage.charges import Charge, charge_of
from bot.storage.usage.quota import Estimate, PeriodUsage, QuotaLedger
from bot.storage.usage.reports import UsageReports, UsageTotals
from tests.support.acts import ADA, BOB, received
from tests.support.charges import called
from tests.support.fake_adapter import ScriptedModel, words
from tests.support.harness import ASSISTANT, DRAW, Harness

ROUND = Usage(deployment="test", input_tokens=100, output_tokens=10, usd=0.01)


async def spent(harness: Harness) -> PeriodUsage:
    today = now().date()
    return await harness.ledger.spent(ADA.tenant, ADA.id, today, today)


async def records(harness: Harness) -> Sequence[Charge]:
    return await harness.charges.records(ADA.tenant, ADA.id, now().date())


async def totals(harness: Harness, kind: str) -> dict[str, UsageTotals]:
    await harness.charges.tidy()
    today = now().date()
    rows = await UsageReports(harness.redis).rows(today, today)
    return {row.name: row.totals for row in rows if row.kind == kind and row.name != "operator"}


@pytest.fixture
def pen(harness: Harness) -> Harness:
    harness.templates = (replace(ASSISTANT, tools=("draw",)), DRAW)
    return harness


async def test_what_failed_attempts_drew_is_booked(pen: Harness) -> None:
    """Field fault 113: a tool draws, then the next round fails, twice; the third attempt answers without drawing."""
    attempts = 0

    def script(prompt: Prompt) -> list[Delta | Exception]:
        nonlocal attempts
        if prompt.messages[-1].role == "tool":
            return [ModelUnavailable("away", 0.01)]
        attempts += 1
        if attempts > 2:
            return words("done")
        call = ToolCall(id="c", name="draw", arguments=json.dumps({"prompt": "a cat"}))
        return [Delta(call=call), *words(finish="tool_calls")]

    pen.model.script = script
    (turn,) = await pen.answer(received("draw a cat"))
    assert turn.reply.text == "done"
    assert [one.purpose for one in turn.usage] == ["answer"]
    booked = [usage for charge in await records(pen) for usage in charge.usage]
    assert [(one.purpose, one.outcome, one.usd) for one in booked] == [
        *(("answer", "completed", 0.001), ("image", "completed", 0.04), ("answer", "failed", None)) * 2,
        ("answer", "completed", 0.001),
    ]
    assert await spent(pen) == PeriodUsage(
        turns=1,
        calls=7,
        tokens=sum(one.input_tokens + one.output_tokens for one in booked),
        output_tokens=sum(one.output_tokens for one in booked),
        images=2,
        microdollars=83_000,
        unpriced=2,
    )
    by_purpose = await totals(pen, "purpose")
    assert {name: (one.calls, one.microdollars) for name, one in by_purpose.items()} == {
        "answer": (5, 3_000),
        "image": (2, 80_000),
    }


async def test_what_a_dead_letter_cost_is_booked(harness: Harness) -> None:
    """Field fault 113: a question that is never answered was paid for at each attempt."""
    harness.attempts = 2
    harness.model.script = lambda prompt: [Delta(usage=ROUND), ModelUnavailable("away", 0.01)]
    (turn,) = await harness.answer(received("hello"))
    assert turn.outcome == "failed"
    found = await spent(harness)
    assert (found.turns, found.calls, found.microdollars) == (0, 2, 20_000)


class Process:
    """A process that reserves for one question, and may die at any step."""

    def __init__(self, harness: Harness, limits: str = "") -> None:
        self.ledger: QuotaLedger = harness.limited(limits)
        self.log = called()
        self.asked = received("hello", event="q")

    def charge(self, *expected: Usage) -> Charge:
        charge = charge_of(self.asked, "q", "assistant@1", self.log)
        return replace(charge, usage=(*charge.usage, *expected))

    async def reserve(self, estimate: Estimate, *expected: Usage, more: bool = False) -> str:
        return await self.ledger.reserve(self.charge(*expected), [estimate], more=more)

    def calls(self, usage: Usage = ROUND) -> None:
        self.log.begin(usage, "answer").end(usage)


async def test_the_calls_of_a_dead_process_are_booked(harness: Harness) -> None:
    """A crash loses at most the running call, which is then estimated."""
    dies, next_one = Process(harness), Process(harness)
    running = replace(ROUND, usd=0.003, estimated=True, outcome="interrupted")
    await dies.reserve(Estimate(tokens=500, usd=0.05), running)
    dies.calls()
    await dies.reserve(
        Estimate(tokens=500, usd=0.05), running, more=True
    )  # the next round; then it is killed

    await next_one.reserve(Estimate(tokens=500, usd=0.05), running)
    next_one.calls()
    await harness.charges.settle(next_one.charge())
    booked = [(one.usd, one.estimated) for charge in await records(harness) for one in charge.usage]
    assert booked == [(0.01, False), (0.003, True), (0.01, False)]
    found = await spent(harness)
    assert (found.turns, found.calls, found.microdollars) == (1, 3, 23_000)


async def test_a_reservation_ends_with_its_attempt(harness: Harness) -> None:
    """Field fault 115: an attempt that failed, or died, no longer holds what it had reserved."""
    first, second = Process(harness, "person: $0.10/day"), Process(harness, "person: $0.10/day")
    await first.reserve(Estimate(usd=0.08))
    await second.reserve(Estimate(usd=0.08))
    (status,) = await first.ledger.limit_status(ADA, "")
    assert status.used == 80_000
    second.calls()
    await harness.charges.book_attempt(second.charge())
    (status,) = await first.ledger.limit_status(ADA, "")
    assert status.used == 10_000


async def test_a_late_attempt_is_booked_once(harness: Harness) -> None:
    """A worker that had lost its lease reports its calls after another one has answered."""
    late, prompt_one = Process(harness), Process(harness)
    await late.reserve(Estimate(usd=0.05))
    await prompt_one.reserve(Estimate(usd=0.05))
    prompt_one.calls()
    await harness.charges.settle(prompt_one.charge())
    late.calls()
    for _ in range(2):
        await harness.charges.book_attempt(late.charge())
    found = await spent(harness)
    assert (found.turns, found.calls, found.microdollars) == (1, 2, 20_000)


async def test_a_minute_never_becomes_negative(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 115: a tool round in the next minute made the tokens of that minute negative."""
    one = Process(harness, "person: 100000 tokens/minute")
    await one.reserve(Estimate(tokens=5000))
    minute = f"parley:{{t:{ADA.tenant}}}:rate:person:{ADA.id}"
    await harness.redis.call("DEL", minute)  # the minute is over
    await one.reserve(Estimate(tokens=300), more=True)
    one.calls()
    await harness.charges.settle(one.charge())
    (status,) = await one.ledger.limit_status(ADA, "")
    assert status.used == 0


async def test_answers_count_once_by_deployment(harness: Harness) -> None:
    """Field fault 117: by deployment, 536 answers were counted of 479."""
    one = Process(harness)
    for deployment in ("first", "second"):
        one.calls(replace(ROUND, deployment=deployment))
    await harness.charges.settle(one.charge())
    found = await totals(harness, "deployment")
    assert {name: (each.turns, each.calls) for name, each in found.items()} == {
        "first": (0, 1),
        "second": (1, 1),
    }


async def test_calls_that_nobody_asked_for_are_booked(harness: Harness) -> None:
    """Field fault 117: the embeddings of pools, and probes, were booked nowhere."""
    unattributed.begin(ROUND, "embedding").end(ROUND)
    running = unattributed.begin(ROUND, "probe")
    await harness.charges.tidy()
    assert unattributed, "what still runs is booked when it has ended"
    running.fail(unprocessed=True)
    today = now().date()
    rows = await UsageReports(harness.redis).rows(today, today)
    found = {(row.kind, row.name): row.totals for row in rows}
    assert found["purpose", "embedding"].microdollars == 10_000
    assert found["tenant", "operator"].calls == 1
    assert await harness.redis.call("ZCARD", keys.RECENT) == 0, "they are no conversation"


async def test_who_asks_again_pays(harness: Harness) -> None:
    """Field fault 117: an operator's `again` was paid by the person who had asked."""
    harness.operators.add(BOB.id)
    await harness.answer(received("well?", event="a"), received("again", event="b", user=BOB))
    people = await totals(harness, "person")
    assert {name: (one.turns, one.calls) for name, one in people.items()} == {
        "acme/ada": (1, 1),
        "acme/bob": (1, 1),
    }


def sample(name: str, **labels: str) -> float:
    return telemetry.registry.get_sample_value(name, labels) or 0.0


async def test_metrics_count_calls_and_refusals(harness: Harness) -> None:
    """Field fault 117: metrics knew neither failed calls nor what limits refused."""
    completed = {"deployment": "test", "purpose": "answer", "outcome": "completed"}
    refused = {"scope": "person", "measure": "requests", "period": "day"}
    calls, refusals = (
        sample("parley_calls_total", **completed),
        sample("parley_limit_refusals_total", **refused),
    )
    harness.ledger = harness.limited("person: 1 request/day")
    await harness.answer(received("one", event="a"), received("two", event="b"))
    assert sample("parley_calls_total", **completed) == calls + 1
    assert sample("parley_limit_refusals_total", **refused) == refusals + 1


async def test_calls_that_were_not_made_cost_nothing(harness: Harness) -> None:
    """A question that waits for a busy model had been reserved for, and was booked as interrupted at each attempt."""
    one, two = Process(harness, "person: $1/day"), Process(harness, "person: $1/day")
    await one.reserve(Estimate(usd=0.05), replace(ROUND, estimated=True))
    await harness.charges.book_attempt(one.charge())
    await two.reserve(Estimate(usd=0.05), replace(ROUND, estimated=True))
    two.calls()
    await harness.charges.settle(two.charge())
    assert (await spent(harness)).calls == 1


async def test_a_busy_model_is_not_booked(harness: Harness) -> None:
    attempts = 0

    class Busy(ScriptedModel):
        async def chat(self, prompt: Prompt) -> AsyncGenerator[Delta]:
            nonlocal attempts
            attempts += 1
            if attempts < 3:
                raise ModelBusy("busy", 0.01)
            async for delta in super().chat(prompt):
                yield delta

    harness.gateway = Busy()  # as the gateway: it notes no call that it does not make
    await harness.answer(received("hello"))
    assert attempts == 3
    assert (await spent(harness)).calls == 0


async def test_a_refused_retry_holds_nothing(harness: Harness) -> None:
    """A question that a limit refused after a crash held its request for an hour: nobody settled what it had held."""
    dies = Process(harness)
    await dies.reserve(Estimate(tokens=500), replace(ROUND, estimated=True))
    harness.ledger = harness.limited("person: 1 token/day")
    (turn,) = await harness.answer(received("hello", event="q"))
    assert turn.outcome == "refused"
    statuses = await harness.limited("person: 9 requests/day, 900 tokens/day").limit_status(ADA, "")
    assert [status.used for status in statuses] == [0, 110], "only what the first attempt called"


async def test_stored_calls_are_booked_by_the_next(harness: Harness) -> None:
    """What an attempt called after its reservation, such as a repeated call, was lost with its process."""
    dies, next_one = Process(harness), Process(harness)
    await dies.reserve(Estimate(tokens=500), ROUND)
    dies.calls()
    dies.calls()
    await harness.charges.store(dies.charge())
    await next_one.reserve(Estimate(tokens=500))
    await harness.charges.settle(next_one.charge())
    assert (await spent(harness)).calls == 2


async def test_embeddings_wait_for_the_request(harness: Harness) -> None:
    """They count no request, are refused when none is left, and the question itself counts once."""
    one = Process(harness, "person: 1 request/day")
    await one.ledger.reserve(one.charge(), [Estimate(tokens=5)], ahead=True)
    (status,) = await one.ledger.limit_status(ADA, "")
    assert status.used == 0
    for _ in range(2):  # the response to the first was lost
        await one.reserve(Estimate(tokens=500))
    await one.ledger.reserve(one.charge(), [Estimate(tokens=5)], ahead=True)
    (status,) = await one.ledger.limit_status(ADA, "")
    assert status.used == 1
    other = Process(harness, "person: 1 request/day")
    other.asked = received("hello", event="r")
    charge = replace(other.charge(), event="r")
    with pytest.raises(BudgetSpent):
        await other.ledger.reserve(charge, [Estimate(tokens=5)], ahead=True)
    await other.ledger.reserve(charge, [Estimate(tokens=5)], more=True)  # a summary is no request
