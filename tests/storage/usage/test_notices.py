"""Notices that a limit of a tenant has reached a threshold: once per limit, threshold, window and recipient."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from bot.domain.errors import BudgetSpent
from bot.domain.limits import read
from bot.domain.turns import Usage
from bot.storage.conversations.search import ConversationSearch
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.usage import notices
from bot.storage.usage.charges import Charges, charge_of
from bot.storage.usage.notices import LOG, LimitNotice, LimitNotices
from bot.storage.usage.quota import Estimate, QuotaLedger
from tests.support.acts import ADA, received
from tests.support.charges import called, reserve


class Books:
    """The books of one process with two operators."""

    def __init__(self, redis: Redis, limits: str, operators: Sequence[str] = ("U1", "U2")) -> None:
        self.redis = redis
        self.charges = Charges(redis, ConversationSearch(redis, 3600), LimitNotices(redis, operators))
        self.ledger = QuotaLedger(redis, self.charges, read(limits))

    async def ask(self, event: str, usd: float) -> None:
        asked = received(event=event, conversation=f"test:{event}")
        await reserve(self.ledger, asked, event, Estimate(usd=usd), attempt=event)

    async def spend(self, event: str, usd: float = 0.0, tokens: int = 0) -> None:
        """An answer that costs so much."""
        asked = received(event=event, conversation=f"test:{event}")
        usage = Usage(deployment="d", input_tokens=tokens, usd=usd)
        await self.charges.settle(charge_of(asked, event, "assistant", called(usage, attempt=event)))

    async def noted(self) -> list[LimitNotice]:
        """What waits for the operators and the log."""
        found = await self.redis.call("ZRANGE", keys.of_tenant("notices", ADA.tenant), 0, -1)
        return sorted(map(notices.read, found), key=lambda one: (one.measure, one.percent, one.recipient))


def told(found: list[LimitNotice]) -> list[tuple[str, str, int, int]]:
    return [(one.recipient, one.measure, one.percent, one.used) for one in found]


async def test_both_thresholds_are_noted_once_each(redis: Redis) -> None:
    """Issue 14: nobody was told that a tenant's limit was nearly, or fully, used up."""
    books = Books(redis, "tenant: $10/day")
    await books.spend("a", 7.99)
    assert await books.noted() == []
    await books.spend("b", 0.01)
    await books.spend("c", 1.0)
    first = [
        (LOG, "dollars", 80, 8_000_000),
        ("U1", "dollars", 80, 8_000_000),
        ("U2", "dollars", 80, 8_000_000),
    ]
    assert told(await books.noted()) == first
    await books.spend("d", 1.5)
    await books.spend("e", 1.5)
    second = [(who, what, 100, 10_500_000) for who, what, _, _ in first]
    assert told(await books.noted()) == first + second


async def test_processes_note_a_threshold_together_once(redis: Redis) -> None:
    several = [Books(redis, "tenant: 8 requests/day", ["U1"]) for _ in range(3)]
    await asyncio.gather(*(books.spend(f"{n}") for n, books in enumerate(several * 2)))
    assert await several[0].noted() == []
    await asyncio.gather(*(books.spend(f"more {n}") for n, books in enumerate(several)))
    assert [one.percent for one in await several[0].noted()] == [80, 80, 100, 100]


async def test_a_leap_is_noted_as_used_up(redis: Redis) -> None:
    books = Books(redis, "tenant: $10/month, 100 tokens/day, 5 requests/minute", ["U1"])
    await books.spend("a", 12.0, tokens=50)
    await books.spend("b", 1.0)
    assert told(await books.noted()) == [
        (LOG, "dollars", 100, 12_000_000),
        ("U1", "dollars", 100, 12_000_000),
    ]
    assert {one.period for one in await books.noted()} == {"month"}


async def test_a_charge_settled_twice_notes_nothing_more(redis: Redis) -> None:
    books = Books(redis, "tenant: $10/day", [])
    for _ in range(3):
        await books.spend("a", 5.0)
    assert await books.noted() == []


async def test_a_changed_limit_is_another_limit(redis: Redis) -> None:
    books = Books(redis, "tenant: $10/day", ["U1"])
    await books.spend("a", 9.0)
    books.ledger.limits = read("tenant: $20/day; warn: 50%")
    await books.spend("b", 2.0)
    assert [(one.most, one.percent) for one in await books.noted() if one.recipient == "U1"] == [
        (20_000_000, 50),
        (10_000_000, 80),
    ]


async def test_a_refusal_for_want_of_room_is_noted(redis: Redis) -> None:
    """Questions are refused just before the limit, so what is booked may never reach it."""
    books = Books(redis, "tenant: $10/day", ["U1"])
    await books.spend("a", 9.5)
    with pytest.raises(BudgetSpent):
        await books.ask("b", 1.0)
    with pytest.raises(BudgetSpent):
        await books.ask("c", 2.0)
    assert [(one.percent, one.used) for one in await books.noted() if one.recipient] == [
        (80, 9_500_000),
        (100, 9_500_000),
    ]


@pytest.mark.parametrize(("spent", "asked"), [(2.0, 9.0), (9.5, 11.0)])
async def test_an_oversized_question_is_no_used_limit(redis: Redis, spent: float, asked: float) -> None:
    books = Books(redis, "tenant: $10/day", [])
    await books.spend("a", spent)
    with pytest.raises(BudgetSpent):
        await books.ask("b", asked)
    assert 100 not in [one.percent for one in await books.noted()]


async def test_reservations_alone_are_not_noted(redis: Redis) -> None:
    books = Books(redis, "tenant: $10/day", [])
    await books.ask("a", 9.9)
    with pytest.raises(BudgetSpent):
        await books.ask("b", 5.0)
    assert await books.noted() == []


async def test_limits_of_people_and_minutes_are_not_noted(redis: Redis) -> None:
    books = Books(redis, "person: $1/day; channel: $1/day; tenant: 1k tokens/minute, 0 requests/day")
    await books.spend("a", 5.0, tokens=5000)
    assert await books.noted() == []
    assert books.charges.notices.watched(ADA.tenant) == b""


async def test_large_amounts_stay_exact(redis: Redis) -> None:
    books = Books(redis, "tenant: $999999999.999999/month", [])
    await books.spend("a", 999_999_999.999999)
    assert [(one.most, one.used) for one in await books.noted()] == [
        (999_999_999_999_999, 999_999_999_999_999)
    ]


async def test_a_claimed_notice_waits_for_its_lease(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash another process has it."""
    books = Books(redis, "tenant: 1 request/day", [])
    await books.spend("a")
    await books.charges.tidy()
    waiting = books.charges.notices
    assert waiting.take() == {ADA.tenant}
    assert waiting.take() == set()
    assert await waiting.tenants() == {ADA.tenant}
    claimed = await waiting.claim(ADA.tenant)
    assert claimed is not None
    assert await waiting.claim(ADA.tenant) is None
    await waiting.later(ADA.tenant, claimed, -1)
    monkeypatch.setattr(notices, "LEASE_S", -1.0)
    assert await waiting.claim(ADA.tenant) == claimed
    assert await LimitNotices(redis).claim(ADA.tenant) == claimed
    await waiting.done(ADA.tenant, claimed)
    await waiting.later(ADA.tenant, claimed, -1)
    assert await waiting.claim(ADA.tenant) is None
    assert await waiting.tenants() == set()


def test_a_window_is_current_until_it_resets() -> None:
    month = LimitNotice(
        recipient="U1", measure="dollars", period="month", window="2026-12", most=2, used=2, percent=100
    )
    assert month.is_current(datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
    assert not month.is_current(datetime(2027, 1, 1, tzinfo=UTC))
    assert notices.resets(month) == datetime(2027, 1, 1, tzinfo=UTC)
