"""Who may ask, and what it cost: rates and budgets reserved before the call, settled after it.

Money is kept in micro-dollars (millionths of a US dollar), days are UTC. A reservation belongs to an event,
so a second attempt at the same event reserves nothing more.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from bot.errors import BudgetSpent, RateLimited
from bot.state import books, keys
from bot.state.redis import Redis, Script
from bot.types import Usage, User, now

_ADMIT, _SETTLE = Script("admit"), Script("settle")


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody used in a stretch of days. `unpriced` counts calls whose price is unknown."""

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    microdollars: int = 0
    unpriced: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        names = self.__struct_fields__
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in names})


class Ledger:
    """Admission and cost per person and tenant. Every method raises StateUnavailable."""

    def __init__(
        self, redis: Redis, *, requests_per_minute: int, daily_usd: float | None, retention_s: int
    ) -> None:
        self._redis = redis
        self._per_minute = requests_per_minute
        self._daily = -1 if daily_usd is None else round(daily_usd * 1_000_000)
        self._retention_s = retention_s

    async def admit(self, user: User, event: str, estimate_usd: float | None, *, more: bool = False) -> None:
        """Reserve a place and the estimated price for an event. Raises RateLimited or BudgetSpent.

        `more` adds to the reservation of an event that turns out to cost more than was thought.
        """
        answer: list[Any] = await self._redis.run(
            _ADMIT,
            [
                keys.of_tenant("rate", user.tenant, user.id),
                keys.spent(user.tenant, now().date(), user.id),
            ],
            [
                event,
                self._per_minute,
                self._daily,
                round((estimate_usd or 0) * 1_000_000),
                keys.SPENT_S,
                int(more),
            ],
        )
        verdict, number = answer[0].decode(), int(answer[1])
        if verdict == "rate":
            raise RateLimited(
                f"That is a lot of questions in one minute. Please ask again in {max(number, 1)} seconds."
            )
        if verdict == "budget":
            raise BudgetSpent(
                f"Your budget for today (${self._daily / 1_000_000:.2f}) is spent. "
                "It starts anew at 00:00 UTC; `/usage` shows where it went."
            )

    async def settle(
        self, user: User, event: str, conversation: str, usage: Sequence[Usage], *, turns: int = 1
    ) -> None:
        """Turn an event's reservation into what it really cost. Settling twice counts once.

        `turns` is how many answers it counts as: none for work that no person asked for.
        """
        today = now().date()
        priced = [one.usd for one in usage if one.usd is not None]
        await self._redis.run(
            _SETTLE,
            [
                keys.spent(user.tenant, today, user.id),
                keys.spent(user.tenant, today),
                keys.of_tenant("talks", user.tenant, user.id),
            ],
            [
                event,
                conversation,
                self._retention_s,
                keys.SPENT_S,
                *("turns", turns),
                *("input_tokens", sum(one.input_tokens for one in usage)),
                *("output_tokens", sum(one.output_tokens for one in usage)),
                *("images", sum(one.images for one in usage)),
                *("microdollars", round(sum(priced) * 1_000_000)),
                *("unpriced", len(usage) - len(priced)),
            ],
        )

    async def spent(self, tenant: str, user: str | None, first: date, last: date) -> Spent:
        """What a tenant, or one of its people, used from the first to the last of these days."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        answers = await self._redis.many([("HGETALL", keys.spent(tenant, day, user)) for day in days])
        return sum(map(_spent, answers), Spent())

    async def talks(self, user: User) -> tuple[str, ...]:
        """The conversations in which this person was answered."""
        members = await self._redis.call("SMEMBERS", keys.of_tenant("talks", user.tenant, user.id))
        return tuple(sorted(member.decode() for member in members))

    async def forget(self, user: User) -> int:
        """Delete what is kept of one person by name; the tenant's sums stay. Returns the number of days."""
        last = now().date()
        days = [last - timedelta(days=n) for n in range(keys.SPENT_S // keys.DAY_S + 1)]
        names = [keys.spent(user.tenant, day, user.id) for day in days]
        own = [keys.of_tenant(kind, user.tenant, user.id) for kind in ("talks", "rate")]
        deleted, _ = await self._redis.many([("DEL", *names), ("DEL", *own)])
        await self._redis.many([("HDEL", keys.tally(day), *books.fields_of(user)) for day in days])
        return int(deleted)


def _spent(pairs: Mapping[bytes, bytes]) -> Spent:
    return Spent(**{name: int(pairs.get(name.encode(), 0)) for name in Spent.__struct_fields__})
