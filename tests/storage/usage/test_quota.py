"""Who may ask, and what it cost: decided and reserved in the shared store, counted once, forgotten."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.errors import BudgetSpent, RateLimited, UnknownPrice
from bot.domain.events import MessageReceived, User, now
from bot.domain.limits import read
from bot.domain.turns import Usage
from bot.storage.conversations.search import ConversationSearch
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.usage import quota
from bot.storage.usage.charges import Charges, charge_of
from bot.storage.usage.quota import Estimate, PeriodUsage, QuotaLedger
from bot.storage.usage.reports import UsageReports
from tests.support.acts import ADA, BOB, received
from tests.support.charges import called, reserve
from tests.support.patience import PATIENCE_S

USAGE = (Usage(deployment="d", input_tokens=100, output_tokens=20, usd=0.02), Usage(deployment="d", images=1))
A_CENT = Estimate(tokens=100, usd=0.01)


class Till:
    """A ledger with these limits, and its bills."""

    def __init__(self, redis: Redis, limits: str) -> None:
        self.charges = Charges(redis, ConversationSearch(redis, 3600))
        self.ledger = QuotaLedger(redis, self.charges, read(limits))

    async def admit(
        self, event: str, estimate: Estimate = A_CENT, *, user: User = ADA, channel: str = ""
    ) -> str:
        asked = received(event=event, user=user, channel=channel)
        return await reserve(self.ledger, asked, event, estimate, attempt=event)

    async def settle(
        self, event: str, *usage: Usage, user: User = ADA, channel: str = "", turns: int = 1
    ) -> None:
        asked: MessageReceived = received(
            event=event, user=user, channel=channel, conversation=f"test:{event}"
        )
        await self.ledger.charges.settle(
            charge_of(asked, event, "assistant", called(*usage, attempt=event), turns=turns)
        )


async def verdicts(*asked: Awaitable[str]) -> list[str]:
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return sorted("ok" if isinstance(answer, str) else type(answer).__name__ for answer in answers)


async def test_questions_of_a_minute_are_counted_per_person(redis: Redis) -> None:
    till = Till(redis, "person: 2 requests/minute")
    assert await verdicts(*(till.admit(f"e{n}") for n in range(5))) == ["RateLimited"] * 3 + ["ok"] * 2
    await till.admit("bob's", user=BOB)
    await till.admit("e0")  # the same event, tried again, is let in
    with pytest.raises(
        RateLimited, match=r"limit is 2 questions per minute. Please try again in (1 minute|\d+ second)"
    ):
        await till.admit("another")


async def test_tokens_of_a_minute_are_reserved_then_counted(redis: Redis) -> None:
    till = Till(redis, "channel: 1k tokens/minute")
    await till.admit("e0", Estimate(tokens=900), channel="C1")
    with pytest.raises(RateLimited, match=r"The limit in this channel is 1,000 tokens per minute"):
        await till.admit("e1", Estimate(tokens=200), channel="C1")
    await till.admit("e1", Estimate(tokens=200), channel="C2")
    await till.admit("e1b", Estimate(tokens=2000))  # no limit holds in a one-to-one chat
    await till.settle("e0", Usage(deployment="d", input_tokens=50), channel="C1")
    await till.admit("e2", Estimate(tokens=900), channel="C1")
    with pytest.raises(
        BudgetSpent, match="up to 5,000 tokens, but the limit in this channel is 1,000 tokens per minute"
    ):
        await till.admit("e3", Estimate(tokens=5000), channel="C1")


async def test_reserved_amounts_can_not_be_spent_twice(redis: Redis) -> None:
    """Field note 37."""
    till = Till(redis, "person: $0.05/day")
    price = Estimate(usd=0.02)
    assert await verdicts(*(till.admit(f"e{n}", price) for n in range(5))) == ["BudgetSpent"] * 3 + ["ok"] * 2
    with pytest.raises(BudgetSpent, match=r"\$0\.01 left, but this may take up to \$0\.02"):
        await till.admit("e5", price)
    for number in range(5):
        await till.settle(f"e{number}")  # they cost nothing in the end
    await till.admit("e9", Estimate(usd=0.05))
    with pytest.raises(BudgetSpent, match=r"\$0\.05\) is used up. It resets in .*at 00:00 UTC"):
        await till.admit("e10", Estimate(usd=0.01))


async def test_a_channels_budget_is_shared(redis: Redis) -> None:
    """Field note 40."""
    till = Till(redis, "person: unlimited; channel: $1/month; channel C9: unlimited; tenant: 4 requests/day")
    await till.admit("a", Estimate(usd=0.75), channel="C1")
    with pytest.raises(BudgetSpent, match=r"This channel's budget for this month .*on \w+ 1 at 00:00 UTC"):
        await till.admit("b", Estimate(usd=0.75), channel="C1", user=BOB)
    for event in ("c", "d", "e"):
        await till.admit(event, Estimate(usd=0.75), channel="C9", user=BOB)
    with pytest.raises(BudgetSpent, match=r"Your organisation's questions for today .* are used up"):
        await till.admit("f", channel="C2")


async def test_a_refused_call_reserves_nothing(redis: Redis) -> None:
    till = Till(redis, "person: 9 requests/minute; channel: $0.02/day; tenant: $5/month")
    for event in ("a", "b"):
        await till.admit(event, channel="C1")
    for _ in range(3):
        with pytest.raises(BudgetSpent):
            await till.admit("c", channel="C1")
    assert [limit_statu.used for limit_statu in await till.ledger.limit_status(ADA, "C1")] == [
        2,
        20_000,
        20_000,
    ]


async def test_an_unknown_price_is_counted_apart(redis: Redis) -> None:
    till = Till(redis, "person: 10k tokens/day, 3 requests/day")
    await till.admit("a", Estimate(tokens=500))
    await till.settle("a", Usage(deployment="d", input_tokens=400))
    tokens, requests = await till.ledger.limit_status(ADA, "")
    assert (tokens.used, requests.used) == (400, 1)
    today, month = await till.ledger.today_and_month(ADA)
    assert today == month
    assert (today.microdollars, today.unpriced) == (0, 1)


async def test_a_person_is_warned_once(redis: Redis) -> None:
    till = Till(redis, "person: $0.10/day; warn: 50%")
    assert [await till.admit(f"e{n}", Estimate(usd=0.02)) for n in range(2)] == ["", ""]
    words = await till.admit("e2", Estimate(usd=0.02))
    assert words.startswith(
        "Your budget for today ($0.10): up to $0.06 used, including this answer. Resets in "
    )
    assert await till.admit("e2", Estimate(usd=0.02)) == words  # another attempt at the same answer
    assert await till.admit("e3", Estimate(usd=0.02)) == ""


async def test_an_abandoned_reservation_is_released(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    till = Till(redis, "person: $0.05/day")
    monkeypatch.setattr(quota, "_HOLD_MS", -1)  # past its time at once
    await till.admit("abandoned", Estimate(usd=0.05))
    monkeypatch.setattr(quota, "_HOLD_MS", 60_000)
    await till.admit("next", Estimate(usd=0.05))
    await till.settle("abandoned", USAGE[0])  # it was not abandoned after all: what it cost counts
    (dollars,) = await till.ledger.limit_status(ADA, "")
    assert dollars.used == 70_000


async def test_usage_adds_up_by_person_and_tenant(redis: Redis) -> None:
    till = Till(redis, "")
    for person, event in ((ADA, "a"), (BOB, "b"), (ADA, "c")):
        await till.admit(event, user=person)
        for _ in range(2):
            await till.settle(event, *USAGE, user=person)
    today = now().date()
    week = today - timedelta(days=6)
    once = PeriodUsage(
        turns=1, calls=2, tokens=120, output_tokens=20, images=1, microdollars=20_000, unpriced=1
    )
    assert await till.ledger.spent(ADA.tenant, ADA.id, week, today) == once + once
    assert await till.ledger.spent(ADA.tenant, None, week, today) == once + once + once
    assert once.input_tokens == 100


async def test_reports_and_quotas_agree(redis: Redis) -> None:
    till = Till(redis, "")
    other = User(id="eve", tenant="globex")
    for person, event in ((ADA, "a"), (BOB, "b"), (other, "c")):
        await till.settle(event, *USAGE, user=person, channel="C1")
    await till.settle("a:summary", USAGE[0], channel="C1", turns=0)
    await till.charges.tidy()
    today = now().date()
    found = {(line.kind, line.name): line.totals for line in await UsageReports(redis).rows(today, today)}
    assert {name: totals.turns for (_, name), totals in found.items()} == {
        "answer": 0,
        "": 3,
        "d": 3,
        "assistant": 3,
        "test C1": 3,
        "acme": 2,
        "globex": 1,
        "acme/ada": 1,
        "acme/bob": 1,
        "globex/eve": 1,
    }
    assert found["day", ""].microdollars == 80_000
    assert found["person", "acme/ada"].tokens == 240
    assert (found["tenant", "acme"].unpriced, found["deployment", "d"].images) == (2, 3)


async def test_deleting_a_person_keeps_the_tenants_totals(redis: Redis) -> None:
    """Field note 42."""
    till = Till(redis, "tenant: 9 requests/day; person: 9 requests/minute")
    await till.admit("a")
    await till.settle("a", *USAGE)
    await till.charges.tidy()
    assert await till.ledger.forget(ADA) == 1
    assert not [name async for name in redis.scan("*") if name.endswith(":ada") and ":rate:" not in name]
    today = now().date()
    assert (await till.ledger.spent(ADA.tenant, None, today, today)).turns == 1
    (record,) = await till.charges.records(ADA.tenant, "", today)
    assert (record.person, record.conversation, len(record.usage)) == ("", "", len(USAGE))
    assert "person" not in {line.kind for line in await UsageReports(redis).rows(today, today)}


async def test_deleting_data_resets_no_budget(redis: Redis) -> None:
    """Field note 42."""
    till = Till(redis, "person: $0.02/day")
    await till.admit("a")
    await till.settle("a", *USAGE)
    assert await till.ledger.forget(ADA) == 1
    assert await redis.call("EXISTS", keys.spent(ADA.tenant, f"{now():%Y-%m}", "person", ADA.id)) == 0
    with pytest.raises(BudgetSpent):
        await till.admit("b")
    today = now()
    left = await redis.call("TTL", keys.spent(ADA.tenant, f"{today:%Y-%m-%d}", "person", ADA.id))
    assert 0 < left <= keys.DAY_S  # it goes with the day


# ------------------------------------------------------------------ two hundred at once

PEOPLE = tuple(User(id=f"p{number}", tenant="acme") for number in range(5))
EACH = 40


async def crowd(tills: Sequence[Till], cost: Usage) -> int:
    """Two hundred messages at once, of five people in one channel, over several connections; how many were
    let in. Half of them are settled while others still ask.
    """

    async def ask(number: int) -> bool:
        till, person, event = tills[number % len(tills)], PEOPLE[number % len(PEOPLE)], f"e{number}"
        try:
            await till.admit(event, Estimate(tokens=120, usd=0.01), user=person, channel="C1")
        except (BudgetSpent, RateLimited):
            return False
        if number % 2:
            await till.settle(event, cost, user=person, channel="C1")
        return True

    return sum(await asyncio.gather(*map(ask, range(EACH * len(PEOPLE)))))


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ("person: $0.07/day", 35),
        ("channel: $0.31/month", 31),
        ("tenant: $0.31/day", 31),
        ("person: $0.10/day; channel: $0.45/day; tenant: $0.40/month", 40),
        ("channel: 2400 tokens/day", 20),
        ("tenant: 2400 tokens/minute", 20),
        ("person: 3 requests/day", 15),
        ("tenant: 23 requests/minute; person: 100 requests/minute", 23),
    ],
)
async def test_concurrent_messages_stay_within_the_budget(
    redis: Redis, redis_url: str, limits: str, most: int
) -> None:
    """Field note 37."""
    others = [Redis(redis_url, timeout_s=PATIENCE_S) for _ in range(3)]
    try:
        tills = [Till(item, limits) for item in (redis, *others)]
        for other in others:  # connected to before they are needed all at once
            await other.call("DBSIZE")
        exact = Usage(deployment="d", input_tokens=100, output_tokens=20, usd=0.01)
        assert await crowd(tills, exact) == most
    finally:
        for other in others:
            await other.close()
    for person in PEOPLE:
        for status in await tills[0].ledger.limit_status(person, "C1"):
            assert status.used <= status.limit.most, status


async def test_counters_of_a_deleted_person_expire(
    redis: Redis,
) -> None:
    """Field fault 117: `forget` kept the day's counter 400 days after the next question."""
    till = Till(redis, "person: 9 requests/day, 99 requests/month")
    await till.admit("a")
    await till.settle("a", *USAGE)
    await till.ledger.forget(ADA)
    await till.admit("b")
    await till.settle("b", *USAGE)
    at = now()
    for form, most in (("%Y-%m-%d", keys.DAY_S), ("%Y-%m", 31 * keys.DAY_S)):
        name = keys.spent(ADA.tenant, f"{at:{form}}", "person", ADA.id)
        assert 0 < await redis.call("TTL", name) <= most
    status = await till.ledger.limit_status(ADA, "")
    assert [limit.used for limit in status] == [2, 2]  # deletion resets no budget


@pytest.mark.parametrize(
    ("limits", "refused"),
    [
        ("person: $1/day", True),
        ("tenant: $300/month", True),
        ("person: 5 requests/day, 9k tokens/day", False),
        ("person U061F7AUR: $1/day", False),
    ],
)
async def test_an_unknown_price_is_not_free(redis: Redis, limits: str, refused: bool) -> None:
    """Field fault 114: limits in dollars let everything pass whose price is unknown."""
    till = Till(redis, limits)
    if refused:
        with pytest.raises(UnknownPrice, match="tell your administrator, who can set the price"):
            await till.admit("e", Estimate(tokens=10))
    else:
        await till.admit("e", Estimate(tokens=10))
    await till.admit("known", Estimate(tokens=10, usd=0.0))


GUEST = User(id="gus", tenant="acme", role="guest")
PARTNER = User(id="pat", tenant="acme", role="partner", home="globex")


async def test_guests_spend_nothing_of_their_hosts(redis: Redis) -> None:
    """Field fault 123: Slack Connect guests counted against the limits of the host."""
    till = Till(redis, "tenant: 2 requests/day; channel: 2 requests/day; guest: 3 requests/day")
    for n in range(3):
        await till.admit(f"p{n}", user=PARTNER, channel="C1")
        await till.settle(f"p{n}", *USAGE, user=PARTNER, channel="C1")
    with pytest.raises(BudgetSpent, match="The questions of your organisation's guests for today"):
        await till.admit("p3", user=PARTNER, channel="C1")
    await till.admit("g0", user=GUEST, channel="C1")  # guests of another tenant, here the host itself
    assert await verdicts(*(till.admit(f"e{n}", channel="C1") for n in range(3))) == [
        "BudgetSpent",
        "ok",
        "ok",
    ]
    (status,) = await till.ledger.limit_status(PARTNER, "C1")
    assert (status.limit.scope, status.used) == ("guest", 3)


async def test_without_a_limit_guests_have_a_tenants(redis: Redis) -> None:
    till = Till(redis, "tenant: 1 request/day; tenant globex: 2 requests/day")
    asked = [till.admit(f"p{n}", user=PARTNER) for n in range(3)]
    assert await verdicts(*asked, till.admit("e0")) == ["BudgetSpent", "ok", "ok", "ok"]


async def test_a_setting_lets_guests_count_as_members(redis: Redis) -> None:
    till = Till(redis, "")
    till.ledger.limits = replace(read("tenant: 2 requests/day; guest: 9 requests/day"), guests_apart=False)
    await till.admit("p0", user=PARTNER)
    await till.settle("p0", *USAGE, user=PARTNER)
    assert await verdicts(till.admit("p1", user=PARTNER), till.admit("e0")) == ["BudgetSpent", "ok"]
    assert [status.limit.scope for status in await till.ledger.limit_status(PARTNER, "")] == ["tenant"]
