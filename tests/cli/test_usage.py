"""Usage for people and operators: `/usage`, the note under an answer, `parley usage`."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from typer.testing import CliRunner

from bot.cli import usage
from bot.cli.main import parley
from bot.domain.errors import ConfigError
from bot.domain.events import now
from bot.domain.turns import Delta, Usage
from bot.storage.queue.dead_letters import DeadLetterQueue
from bot.storage.usage.charges import Charge
from bot.storage.usage.reports import UsageReports, UsageRow
from tests.support.acts import BOB, edited, forgets, received
from tests.support.fake_adapter import words
from tests.support.harness import Harness


async def test_usage_shows_what_is_used_and_left(harness: Harness) -> None:
    """Field note 40: `usage` shows what was used, and the limits in this place."""
    harness.ledger = harness.limited("person: 5 requests/day, $1/month; channel: 100 requests/day")
    asked = [received(event="a", channel="C1"), received(event="b", channel="C1", user=BOB)]
    *_, turn = await harness.answer(*asked, received("/usage", event="c", channel="C1"))
    assert turn.reply.private
    text = turn.reply.text
    assert "| Today | 1 | 10 |" in text
    assert "| This month | 1 | 10 |" in text
    assert "| you | 5 questions per day | 1 | 4 | in " in text
    assert "| you | $1.00 per month | $0.001 | $0.99 | " in text
    assert "| this channel | 100 questions per day | 2 | 98 | in " in text
    assert text.count("at 00:00 UTC |") == 3


async def test_usage_without_limits_mentions_none(harness: Harness) -> None:
    (turn,) = await harness.answer(received("/usage"))
    assert "Limits" not in turn.reply.text


async def test_unknown_prices_are_not_shown_as_zero(harness: Harness) -> None:
    harness.model.script = lambda prompt: [*words("hi")[:-1], *unpriced()]
    *_, turn = await harness.answer(received(event="a"), received("/usage", event="b"))
    assert "| Today | 1 | 7 | 3 | 0 | 1 call with unknown price |" in turn.reply.text


def unpriced() -> list[Delta]:
    return [Delta(usage=Usage(deployment="test", input_tokens=7, output_tokens=3), finish="stop")]


async def test_a_nearly_used_budget_is_noted_once(harness: Harness) -> None:
    harness.ledger = harness.limited("person: 4 requests/day; warn: 50%")
    turns = await harness.answer(*(received(event=f"e{number}") for number in range(5)))
    told = ["used, including this answer" in turn.reply.text for turn in turns]
    assert told == [False, False, True, False, False]
    assert turns[2].reply.text.endswith("at 00:00 UTC._")
    assert turns[4].outcome == "refused"
    assert "Your questions for today (4) are used up. They reset in " in turns[4].reply.text


async def test_a_regenerated_answer_is_charged_again(harness: Harness) -> None:
    harness.ledger = harness.limited("person: 9 requests/day")
    await harness.answer(received("first", event="a"))
    await harness.answer(edited("a", "second"))
    await harness.answer(received("again", event="b"))
    (requests,) = await harness.ledger.limit_status(BOB, "")
    assert requests.used == 0
    day = now().date()
    assert (await harness.ledger.spent("acme", "ada", day, day)).turns == 3


async def test_a_dead_letter_holds_no_reservation(harness: Harness) -> None:
    harness.ledger = harness.limited("person: 9 requests/day, 90k tokens/day")
    harness.attempts = 1
    harness.model.script = lambda prompt: [ZeroDivisionError("a fault of ours")]
    (turn,) = await harness.answer(received())
    assert turn.outcome == "failed"
    await harness.until(lambda: no_reservation(harness))
    requests, tokens = await harness.ledger.limit_status(received().user, "")
    (called,) = [
        one for charge in await harness.charges.records("acme", "ada", now().date()) for one in charge.usage
    ]
    assert (requests.used, tokens.used) == (0, called.input_tokens), "only what the call cost counts"


async def no_reservation(harness: Harness) -> bool:
    return not [name async for name in harness.redis.scan("parley:*:holds")]


async def test_forget_explains_what_budgets_still_count(harness: Harness) -> None:
    """Field note 42: `forget` names what a budget still counts."""
    harness.ledger = harness.limited("person: $1/day, $9/month")
    await harness.answer(received(event="a"), *forgets("b"))
    assert (
        "1 day of usage records. Totals for this day's and this month's limits are kept until they reset."
        in harness.adapter.texts[-1]
    )


async def test_forget_deletes_dead_letters_of_a_person(harness: Harness) -> None:
    """Field note 42: `forget` also deletes dead letters."""
    harness.attempts = 1
    harness.model.script = lambda prompt: [ZeroDivisionError("a fault of ours")]
    await harness.answer(received("mine", event="a"), received("yours", event="b", user=BOB))
    await harness.answer(*forgets("c"))
    assert "1 dead letter" in harness.adapter.texts[-1]
    left = await DeadLetterQueue(harness.redis).all()
    assert [one.words for one in left.values()] == ["yours"]


# ------------------------------------------------------------------ the operator's


@pytest.fixture
async def used(harness: Harness) -> Harness:
    """Two people of two tenants over two days; prices known, unknown and free."""
    uses = {
        ("acme", "ada", 0): Usage(deployment="big", input_tokens=100, usd=0.5),
        ("acme", "ada", 1): Usage(deployment="big", input_tokens=100, usd=0.25),
        ("globex", "eve", 0): Usage(deployment="odd", input_tokens=30),
        ("globex", "=zed", 0): Usage(deployment="free", images=2, usd=0.0),
    }
    for (tenant, person, ago), one in uses.items():
        await harness.charges.settle(
            Charge(
                event=f"{person} {ago}",
                tenant=tenant,
                person=person,
                place="test [C1]",
                template="assistant",
                conversation=f"test:{person}",
                at=now() - timedelta(days=ago),
                turns=1,
                channel="C1",
                usage=(one,),
            )
        )
    await harness.charges.tidy()
    return harness


async def printed(used: Harness, monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    """The output of the command for these days."""
    today = now().date()
    lines = await UsageReports(used.redis).rows(today - timedelta(days=1), today)

    def read(first: date, last: date) -> Sequence[UsageRow]:
        return lines

    def at_once(found: Sequence[UsageRow]) -> Sequence[UsageRow]:
        return found

    monkeypatch.setattr(usage, "read_lines", read)
    monkeypatch.setattr(usage, "run", at_once)
    result = CliRunner().invoke(parley, ["usage", *options])
    assert result.exit_code == 0, result.output
    return result.output


async def test_the_usage_table_is_sorted_by_cost(used: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    table = await printed(used, monkeypatch, "--by", "person")
    rows = [line.split() for line in table.splitlines() if "/" in line]
    assert [row[0] for row in rows] == ["acme/ada", "globex/=zed", "globex/eve"]
    assert [row[-1] for row in rows] == ["$0.7500", "$0.0000", "unknown"]
    assert "$0.7500 + 1 with unknown price" in table, "all of them together"
    assert "test [C1]" in await printed(used, monkeypatch, "--by", "channel")


async def test_json_and_csv_have_the_same_rows(used: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(await printed(used, monkeypatch, "--by", "deployment", "--json"))
    assert [row["deployment"] for row in found["rows"]] == ["big", "free", "odd"]
    assert [row["usd"] for row in found["rows"]] == [0.75, 0.0, None]
    assert found["total"] == {
        "answers": 4,
        "calls": 4,
        "tokens": 230,
        "pictures": 2,
        "usd": 0.75,
        "unpriced_calls": 1,
    }
    rows = list(csv.DictReader(io.StringIO(await printed(used, monkeypatch, "--by", "tenant", "--csv"))))
    assert [(row["tenant"], row["usd"], row["answers"]) for row in rows] == [
        ("acme", "0.750000", "2"),
        ("globex", "", "2"),
    ]
    days = list(csv.reader(io.StringIO(await printed(used, monkeypatch, "--csv"))))
    today = now().date()
    assert [row[0] for row in days] == ["day", str(today - timedelta(days=1)), str(today)]


def test_periods_are_validated() -> None:
    today = now().date()
    assert usage.period(None, None) == (today - timedelta(days=29), today)
    assert usage.period(None, f"{today:%Y-%m}") == (today.replace(day=1), today)
    last = today.replace(day=1) - timedelta(days=1)
    assert usage.period(None, f"{last:%Y-%m}") == (last.replace(day=1), last)
    for days, month in ((3, "2026-01"), (None, "soon"), (None, f"{date(today.year + 1, 1, 1):%Y-%m}")):
        with pytest.raises(ConfigError):
            usage.period(days, month)
