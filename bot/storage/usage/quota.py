"""Quotas: limits are checked, and usage is reserved, before a call.

Money is in micro-dollars (millionths of a US dollar); days and months are UTC; a minute begins with its first
question. A reservation belongs to an event, so a second attempt at the same event reserves nothing more.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from bot.domain import telemetry
from bot.domain.errors import Refused
from bot.domain.events import User, now
from bot.domain.limits import Limit, Limits, Period, ends, refusal, unknown_price, warning
from bot.domain.prompts import Prompt
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script
from bot.storage.usage import reports
from bot.storage.usage.charges import Charge, Charges
from bot.storage.usage.notices import FIELDS, FORMS

OUTPUT_TOKENS = 1000
"""The assumed length of an answer if the template sets no maximum."""

_ADMIT, _ENDING = Script("admit", "book"), Script("ending")
_HOLD_MS = 3_600_000
"""How long a reservation stays without being settled; longer than all attempts take."""


class PeriodUsage(reports.UsageTotals, frozen=True, kw_only=True):
    """Usage in a period."""

    output_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """The tokens of the prompts."""
        return self.tokens - self.output_tokens


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """An upper estimate of a call; `usd` is None if the price is unknown."""

    tokens: int = 0
    usd: float | None = None


def estimate(prompt: Prompt, usd: float | None, picture_tokens: int = 0) -> Estimate:
    """The estimate for a prompt: its tokens plus the maximum output; images count `picture_tokens`."""
    written = prompt.parameters.max_output_tokens or OUTPUT_TOKENS
    output = picture_tokens if prompt.capability == "image" else written
    return Estimate(tokens=prompt.input_tokens + output, usd=usd)


class LimitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a limit: `used` includes reservations; the current minute ends in `minute_s` seconds."""

    limit: Limit
    used: int
    minute_s: int = 60

    @property
    def left(self) -> int:
        return max(self.limit.most - self.used, 0)


class QuotaLedger:
    """Reservations and usage per person, channel, tenant and its guests. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis, charges: Charges, limits: Limits | None = None) -> None:
        self._redis = redis
        self.charges = charges
        self.limits = limits or Limits()

    @property
    def limits(self) -> Limits:
        """The limits in force; the notices for operators follow them."""
        return self.charges.notices.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.charges.notices.limits = limits

    async def reserve(
        self,
        charge: Charge,
        estimates: Sequence[Estimate],
        *,
        more: bool = False,
        ahead: bool = False,
        told: bool = True,
    ) -> str:
        """Reserve the estimates for an event. Raises RateLimited or BudgetSpent, which includes UnknownPrice.

        `charge` has the calls of the attempt until now, and those that are about to be made: if the process dies,
        they are booked as they are. `more` adds to the attempt's reservation, and counts no request; `ahead`: the
        request is counted later, so its limits must not be used up. Returns a warning when most of a budget is used,
        once per period and only if `told`, else "".
        """
        tenant, at = (charge := self.charges.counted(charge)).tenant, now()
        tokens, microdollars = _sums(estimates)
        limits = _check_prices(estimates, self._limits_for(charge))
        answer: list[Any] = await self._redis.run(
            _ADMIT,
            [keys.of_tenant("held", tenant, charge.event), keys.of_tenant("holds", tenant)],
            [
                *(keys.of_tenant("", tenant), charge.event, 2 if ahead else int(more), tokens, microdollars),
                *(charge.person, charge.channel, charge.guest, f"{at:%Y-%m-%d}", f"{at:%Y-%m}"),
                *(_HOLD_MS, keys.HELD_S, keys.SPENT_S, keys.CALLS_S),
                *(charge.attempt, msgspec.json.encode(charge), self.charges.notices.watched(tenant)),
                *(argument for limit in limits for argument in self._arguments(limit, told)),
            ],
        )
        (refusing, used, wait_ms, warned, warned_used, noted), abandoned = map(int, answer[:6]), answer[6:]
        self.charges.notices.added(tenant, noted)
        await self._release(tenant, abandoned)
        if refusing and abandoned:  # their reservations are free now
            return await self.reserve(charge, estimates, more=more, ahead=ahead, told=told)
        if refusing:
            raise _refusal(limits[refusing - 1], used, (tokens, microdollars), at, wait_ms)
        telemetry.RESERVED.inc(microdollars)
        # the setting may have changed since the first attempt
        return warning(limits[warned - 1], warned_used, at) if 0 < warned <= len(limits) else ""

    def _limits_for(self, charge: Charge) -> tuple[Limit, ...]:
        return self.limits.of(
            person=charge.person, channel=charge.channel, tenant=charge.tenant, guest=charge.guest
        )

    async def _release(self, tenant: str, abandoned: Sequence[bytes]) -> None:
        for reservation in abandoned:
            await self.charges.give_back(tenant, reservation.decode())

    def _limits(self, user: User, channel: str) -> tuple[Limit, ...]:
        return self.limits.of(person=user.id, channel=channel, tenant=user.tenant, guest=self._guest(user))

    def _guest(self, user: User) -> str:
        return user.visits_from if self.limits.guests_apart else ""

    def _arguments(self, limit: Limit, told: bool) -> tuple[str, str, str, int, int]:
        threshold = int(limit.most * self.limits.share) if told else limit.most
        return limit.scope, FIELDS[limit.measure], limit.period, limit.most, threshold

    # -------------------------------------------------------------- usage

    async def limit_status(self, user: User, channel: str) -> Sequence[LimitStatus]:
        """The state of all limits that apply to a person in a channel (empty: one-on-one)."""
        at, limits = now(), self._limits(user, channel)
        ids = {"person": user.id, "channel": channel, "tenant": "", "guest": self._guest(user)}
        commands: list[tuple[str, ...]] = []
        for limit in limits:
            name = _counter(user.tenant, limit, at, ids[limit.scope])
            field = FIELDS[limit.measure]
            commands += [("HMGET", name, field, f"held_{field}"), ("PTTL", name)]
        answers = await self._redis.many(commands)
        return [
            LimitStatus(
                limit=limit,
                used=sum(int(amount or 0) for amount in answers[2 * n]),
                minute_s=-(-max(answers[2 * n + 1], 0) // 1000) or 60,
            )
            for n, limit in enumerate(limits)
        ]

    async def tenant_status(self, tenants: Sequence[str]) -> Mapping[str, Sequence[LimitStatus]]:
        """What tenants have used of their limits of a day or a month, without reservations."""
        at = now()
        watched = [(tenant, limit) for tenant in tenants for limit in self.limits.of_tenant(tenant)]
        answers = await self._redis.many(
            [("HGET", _counter(tenant, limit, at, ""), FIELDS[limit.measure]) for tenant, limit in watched]
        )
        found: dict[str, list[LimitStatus]] = {}
        for (tenant, limit), used in zip(watched, answers, strict=True):
            found.setdefault(tenant, []).append(LimitStatus(limit=limit, used=int(used or 0)))
        return found

    async def spent(self, tenant: str, user: str | None, first: date, last: date) -> PeriodUsage:
        """The usage of a tenant, or of one of its people, from `first` to `last`, inclusive."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        names = [_counter_key(tenant, user, f"{day}") for day in days]
        answers = await self._redis.many([("HGETALL", name) for name in names])
        return sum(map(_spent, answers), PeriodUsage())

    async def today_and_month(self, user: User) -> tuple[PeriodUsage, PeriodUsage]:
        at = now()
        names = [_counter_key(user.tenant, user.id, period) for period in (f"{at:%Y-%m-%d}", f"{at:%Y-%m}")]
        today, month = await self._redis.many([("HGETALL", name) for name in names])
        return _spent(today), _spent(month)

    async def forget(self, user: User) -> int:
        """Delete the usage of one person; the tenant's totals and nameless records stay. Returns the number of days.

        Totals that current limits need expire at the end of their day or month, because deleting data must
        not reset a budget.
        """
        await self.charges.forget(user)
        at = now()
        days = [at.date() - timedelta(days=n) for n in range(keys.SPENT_S // keys.DAY_S + 1)]
        months = list(dict.fromkeys(f"{day:%Y-%m}" for day in days))
        names = [_counter_key(user.tenant, user.id, period) for period in (*map(str, days), *months)]
        current = {
            _counter_key(user.tenant, user.id, f"{at:{form}}"): ends(period, at)
            for period, form in FORMS.items()
            if period in self.counted(user)
        }
        ended = [
            await self._redis.run(_ENDING, [name], [int(end.timestamp())]) for name, end in current.items()
        ]
        others = [name for name in names if name not in current]
        answers = await self._redis.many(
            [("DEL", name) for name in others]
            + [("HDEL", keys.daily_totals(user.tenant, day), *reports.fields_of(user)) for day in days]
        )
        gone = dict(zip([*current, *others], [*ended, *answers], strict=False))
        return sum(bool(gone[name]) for name in names[: len(days)])

    def counted(self, user: User) -> frozenset[Period]:
        """The periods, longer than a minute, of the limits for a person."""
        limits = [limit for limit in self._limits(user, "") if limit.scope == "person"]
        return frozenset(limit.period for limit in limits if limit.period != "minute")


def _refusal(limit: Limit, used: int, sums: tuple[int, int], at: datetime, wait_ms: int) -> Refused:
    telemetry.REFUSALS.labels(limit.scope, limit.measure, limit.period).inc()
    asked = {"requests": 1, "tokens": sums[0], "dollars": sums[1]}[limit.measure]
    return refusal(limit, left=limit.most - used, asked=asked, at=at, minute_s=-(-wait_ms // 1000))


def _sums(estimates: Sequence[Estimate]) -> tuple[int, int]:
    """Tokens, and micro-dollars."""
    dollars = sum(item.usd or 0.0 for item in estimates)
    return sum(item.tokens for item in estimates), round(dollars * 1_000_000)


def _check_prices(estimates: Sequence[Estimate], limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """The limits. Raises UnknownPrice if one is in dollars and there is no known price: it would count as free."""
    if any(item.usd is None for item in estimates) and any(limit.measure == "dollars" for limit in limits):
        raise unknown_price()
    return limits


def _counter_key(tenant: str, user: str | None, period: str) -> str:
    return keys.spent(tenant, period, *(("tenant", "") if user is None else ("person", user)))


def _counter(tenant: str, limit: Limit, at: datetime, id: str) -> str:
    if limit.period == "minute":
        return keys.of_tenant("rate", tenant, limit.scope, id)
    return keys.spent(tenant, f"{at:{FORMS[limit.period]}}", limit.scope, id)


def _spent(pairs: Mapping[bytes, bytes]) -> PeriodUsage:
    return PeriodUsage(**{name: int(pairs.get(name.encode(), 0)) for name in PeriodUsage.__struct_fields__})
