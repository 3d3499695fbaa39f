"""Daily usage (UTC) by tenant, template, deployment, channel, person and purpose."""

import math
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Self

import msgspec

from bot.domain.events import User, now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.usage.charges import Charge

_MARK = "\x1f"
_BATCH = 500
"""Days of tenants that are read per round trip."""


class UsageTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Usage totals. `microdollars` excludes calls whose price is unknown; `unpriced` counts them.

    An answer counts as a turn of the deployment that gave it, and of no purpose.
    """

    turns: int = 0
    calls: int = 0
    tokens: int = 0
    images: int = 0
    microdollars: int = 0
    unpriced: int = 0

    def __add__(self, other: Self) -> Self:
        names = self.__struct_fields__
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in names})


def of_charge(charge: Charge) -> UsageTotals:
    """The totals of one charge, as `book.lua` counts them: each call rounded to a micro-dollar."""
    calls = charge.usage
    return UsageTotals(
        turns=charge.turns,
        calls=len(calls),
        tokens=sum(one.input_tokens + one.output_tokens for one in calls),
        images=sum(one.images for one in calls),
        microdollars=sum(math.floor(one.usd * 1_000_000 + 0.5) for one in calls if one.usd is not None),
        unpriced=sum(one.usd is None for one in calls),
    )


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of one item on one day; `kind` is day, tenant, template, deployment, channel, person or purpose."""

    day: date
    kind: str
    name: str
    totals: UsageTotals


class UsageReports:
    """Reads the usage that `book.lua` writes. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def tenants(self, first: date, last: date) -> list[str]:
        """The tenants with usage from `first` to `last`, inclusive, sorted."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        members = await self._redis.many([("SMEMBERS", keys.tenants_of(day)) for day in days])
        return sorted({name.decode() for names in members for name in names})

    async def rows(self, first: date, last: date) -> Sequence[UsageRow]:
        """The usage from `first` to `last`, inclusive, sorted by day, kind and name."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        tenants = await self._redis.many([("SMEMBERS", keys.tenants_of(day)) for day in days])
        pages = [(day, name.decode()) for day, names in zip(days, tenants, strict=True) for name in names]
        totals: dict[tuple[date, str, str], UsageTotals] = {}
        for at in range(0, len(pages), _BATCH):
            batch = pages[at : at + _BATCH]
            answers = await self._redis.many(
                [("HGETALL", keys.daily_totals(tenant, day)) for day, tenant in batch]
            )
            for (day, tenant), pairs in zip(batch, answers, strict=True):
                for kind, name, own in _entries(tenant, pairs):
                    totals[day, kind, name] = totals.get((day, kind, name), UsageTotals()) + own
        return [
            UsageRow(day=day, kind=kind, name=name, totals=totals[day, kind, name])
            for day, kind, name in sorted(totals)
        ]

    async def forget(self, tenant: str) -> None:
        """Delete the rows of a tenant's people on all days; other totals stay."""
        beginning = _MARK.join(("person", "")).encode()
        last = now().date()
        for age in range(keys.SPENT_S // keys.DAY_S + 1):
            name = keys.daily_totals(tenant, last - timedelta(days=age))
            fields = [field for field in await self._redis.call("HKEYS", name) if field.startswith(beginning)]
            if fields:
                await self._redis.call("HDEL", name, *fields)


def person(user: User) -> str:
    return f"{user.tenant}/{user.id}"


def fields_of(user: User) -> list[str]:
    return [_MARK.join(("person", person(user), measure)) for measure in UsageTotals.__struct_fields__]


def _entries(tenant: str, pairs: dict[bytes, bytes]) -> Iterable[tuple[str, str, UsageTotals]]:
    """The entries of a tenant's day; its total is also the tenant's entry."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for field, amount in pairs.items():
        kind, name, measure = field.decode().split(_MARK)
        found.setdefault((kind, name), {})[measure] = int(amount)
    for (kind, name), measures in found.items():
        yield kind, name, UsageTotals(**measures)
        if kind == "day":
            yield "tenant", tenant, UsageTotals(**measures)
