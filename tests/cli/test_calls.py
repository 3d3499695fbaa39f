"""`parley calls`, and the rows for chargeback: every call, and totals that add up."""

import asyncio
import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.cli.main import parley as command_line
from bot.domain.turns import Usage
from bot.storage.conversations.search import ConversationSearch
from bot.storage.redis.client import Redis
from bot.storage.usage.charges import Charges, charge_of
from bot.storage.usage.quota import QuotaLedger
from tests.support.acts import ADA, BOB, received
from tests.support.charges import called

DEPLOYMENTS = """
endpoint: https://x.openai.azure.com
deployments:
  - {name: chat, model: gpt-4.1}
"""
CALLS = (
    Usage(
        deployment="chat",
        input_tokens=1000,
        output_tokens=100,
        usd=0.0021,
        model="gpt-4.1-2025-04-14",
        price="gpt-4.1",
        currency="EUR",
        exchange_rate=1.16,
    ),
    Usage(deployment="gone", input_tokens=10, usd=0.0000004),
)
Run = Callable[..., Result]


@pytest.fixture
def parley(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs commands on the Redis of this test, with one deployment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    (tmp_path / "deployments.yaml").write_text(DEPLOYMENTS)
    monkeypatch.setenv("PARLEY_DEPLOYMENTS", "deployments.yaml")
    return lambda *words: CliRunner().invoke(command_line, words)


async def told(run: Run, *words: str) -> str:
    result = await asyncio.to_thread(run, *words)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
async def booked(redis: Redis) -> Charges:
    """Three answers of two people in two places, with two calls each."""
    charges = Charges(redis, ConversationSearch(redis, 3600))
    places = ((ADA, "C1"), (ADA, ""), (BOB, "C1"))
    for number, (user, channel) in enumerate(places):
        asked = received(event=f"e{number}", user=user, channel=channel, conversation=f"test:{number}")
        await charges.book(charge_of(asked, asked.id, "assistant@1", called(*CALLS)))
    return charges


@pytest.mark.usefixtures("booked")
async def test_each_call_is_listed_and_priced_again(parley: Run, tmp_path: Path) -> None:
    """The table changes, or a price was unknown: records say what a month would cost now."""
    rows = list(csv.DictReader((await told(parley, "calls", "--reprice")).splitlines()))
    assert len(rows) == 6
    ada = [row for row in rows if row["person"] == "ada" and row["deployment"] == "chat"]
    assert {(row["usd"], row["usd_now"], row["model"]) for row in ada} == {
        ("0.0021", "0.0028", "gpt-4.1-2025-04-14")
    }
    assert {row["usd_now"] for row in rows if row["deployment"] == "gone"} == {""}
    assert {(row["price"], row["currency"], row["exchange_rate"]) for row in ada} == {
        ("gpt-4.1", "EUR", "1.16")
    }
    (tmp_path / "own.yaml").write_text("prices:\n  - {model: gpt-4.1, input: 1.5, output: 6}\n")
    await told(parley, "prices", "update", "own.yaml")
    rows = list(csv.DictReader((await told(parley, "calls", "--reprice")).splitlines()))
    assert {row["usd_now"] for row in rows if row["deployment"] == "chat"} == {"0.0021"}, (
        "the operator's own table"
    )
    lines = [json.loads(line) for line in (await told(parley, "calls", "--json")).splitlines()]
    assert [line["purpose"] for line in lines] == ["answer"] * 6
    assert sum(line["usd"] for line in lines) == pytest.approx(3 * 0.0021004)


@pytest.mark.usefixtures("booked")
async def test_chargeback_adds_up_to_the_total(parley: Run) -> None:
    """Field fault 117: rows by channel and person, and the totals of every other view."""
    pairs = json.loads(await told(parley, "usage", "--by", "channel-person", "--json"))
    assert {row["channel-person"]: row["answers"] for row in pairs["rows"]} == {
        "test C1, acme/ada": 1,
        "test direct, acme/ada": 1,
        "test C1, acme/bob": 1,
    }
    for by in ("day", "person", "channel", "tenant", "template", "deployment"):
        assert json.loads(await told(parley, "usage", "--by", by, "--json"))["total"] == pairs["total"], by


async def test_calls_of_deleted_people_stay_nameless(redis: Redis, parley: Run, booked: Charges) -> None:
    """Field note 42: deleting data must not change what an invoice is compared with."""
    await QuotaLedger(redis, booked).forget(ADA)
    rows = list(csv.DictReader((await told(parley, "calls")).splitlines()))
    assert sorted(row["person"] for row in rows) == ["", "", "", "", "bob", "bob"]
