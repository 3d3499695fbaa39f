"""Who may ask, and what it cost: decided and reserved in the shared store, counted once, forgotten."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

import pytest

from bot.errors import BudgetSpent, RateLimited
from bot.state import keys
from bot.state.ledger import Ledger, Spent
from bot.state.redis import Redis
from bot.types import Usage, now
from tests.acts import ADA, BOB

USAGE = (Usage(deployment="d", input_tokens=100, output_tokens=20, usd=0.02), Usage(deployment="d", images=1))


def ledger(redis: Redis, *, per_minute: int = 0, daily_usd: float | None = None) -> Ledger:
    return Ledger(redis, requests_per_minute=per_minute, daily_usd=daily_usd, retention_s=3600)


async def verdicts(*asked: Awaitable[None]) -> list[str]:
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return sorted("ok" if answer is None else type(answer).__name__ for answer in answers)


async def test_questions_of_a_minute_are_counted_for_each_person(redis: Redis) -> None:
    rooms = ledger(redis, per_minute=2)
    assert (
        await verdicts(*(rooms.admit(ADA, f"e{n}", None) for n in range(5)))
        == ["RateLimited"] * 3 + ["ok"] * 2
    )
    await rooms.admit(BOB, "bob's", None)
    await rooms.admit(ADA, "e0", None)  # the same event, tried again, is let in
    with pytest.raises(RateLimited, match=r"again in \d+ seconds"):
        await rooms.admit(ADA, "another", None)


async def test_field_note_37_what_is_reserved_can_not_be_spent_twice(redis: Redis) -> None:
    rooms = ledger(redis, daily_usd=0.05)
    outcome = await verdicts(*(rooms.admit(ADA, f"e{n}", 0.02) for n in range(5)))
    assert outcome == ["BudgetSpent"] * 3 + ["ok"] * 2
    for number in range(5):  # what was not let in is not settled
        await rooms.settle(ADA, f"e{number}", "test:room", ())
    await rooms.admit(ADA, "e9", 0.05)  # they cost nothing in the end
    with pytest.raises(BudgetSpent, match=r"\$0\.05"):
        await rooms.admit(ADA, "e10", 0.01)


async def test_what_was_spent_is_added_up_by_person_and_tenant_over_days(redis: Redis) -> None:
    rooms = ledger(redis)
    for person, event in ((ADA, "a"), (BOB, "b"), (ADA, "c")):
        await rooms.admit(person, event, 0.01)
        for _ in range(2):
            await rooms.settle(person, event, f"test:{event}", USAGE)
    today = now().date()
    week = today - timedelta(days=6)
    once = Spent(turns=1, input_tokens=100, output_tokens=20, images=1, microdollars=20_000, unpriced=1)
    assert await rooms.spent(ADA.tenant, ADA.id, week, today) == once + once
    assert await rooms.spent(ADA.tenant, None, week, today) == once + once + once
    assert await rooms.talks(ADA) == ("test:a", "test:c")


async def test_field_note_42_a_person_is_forgotten_and_the_tenant_s_sums_stay(redis: Redis) -> None:
    rooms = ledger(redis, per_minute=9)
    await rooms.admit(ADA, "a", 0.01)
    await rooms.settle(ADA, "a", "test:a", USAGE)
    assert await rooms.forget(ADA) == 1
    assert not [name async for name in redis.scan("*") if name.endswith(":ada")]
    today = now().date()
    assert (await rooms.spent(ADA.tenant, None, today, today)).turns == 1
    assert await redis.call("EXISTS", keys.spent(ADA.tenant, today)) == 1
