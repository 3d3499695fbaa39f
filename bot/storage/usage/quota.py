"""Who may ask, and what was used: limits looked at and reserved before the call, sums kept after it.

Money is in micro-dollars (millionths of a US dollar); days and months are UTC, a minute begins with its first
question. A reservation belongs to an event, so a second attempt at the same event reserves nothing more.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from bot.domain.events import MessageReceived, User, now
from bot.domain.limits import Limit, Limits, Measure, Period, ends, refusal, warning
from bot.domain.prompts import Prompt
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script
from bot.storage.usage import reports
from bot.storage.usage.charges import Charge, Charges, channel_of

OUTPUT_TOKENS = 1000
"""What an answer is taken to have, where no template says how long it may be."""

_ADMIT, _ENDING = Script("admit"), Script("ending")
_HOLD_MS = 3_600_000
"""How long a reservation outlives its last attempt, should nobody settle it: more than all attempts take."""
_FORMS: Mapping[Period, str] = {"day": "%Y-%m-%d", "month": "%Y-%m"}
_FIELDS: Mapping[Measure, str] = {"requests": "turns", "tokens": "tokens", "dollars": "microdollars"}


class PeriodUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody used in a stretch of time. `unpriced` counts calls whose price is unknown."""

    turns: int = 0
    tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    microdollars: int = 0
    unpriced: int = 0

    @property
    def input_tokens(self) -> int:
        """The part of the tokens that was sent."""
        return self.tokens - self.output_tokens

    def __add__(self, other: "PeriodUsage") -> "PeriodUsage":
        names = self.__struct_fields__
        return PeriodUsage(**{name: getattr(self, name) + getattr(other, name) for name in names})


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a call may take at most, about; `usd` is None where the price is unknown."""

    tokens: int = 0
    usd: float | None = None


def estimate(prompt: Prompt, usd: float | None, picture_tokens: int = 0) -> Estimate:
    """What a prompt may take: what it holds, and what its model may write, or draw in so many tokens."""
    written = prompt.parameters.max_output_tokens or OUTPUT_TOKENS
    output = picture_tokens if prompt.capability == "image" else written
    return Estimate(tokens=prompt.input_tokens + output, usd=usd)


class LimitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a limit stands: `used` holds what is set aside for answers being written; the minute ends in
    `minute_s`.
    """

    limit: Limit
    used: int
    minute_s: int = 60

    @property
    def left(self) -> int:
        """What may still be used."""
        return max(self.limit.most - self.used, 0)


class QuotaLedger:
    """Admission and sums per person, channel and tenant. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis, charges: Charges, limits: Limits | None = None) -> None:
        self._redis = redis
        self._charges = charges
        self.limits = limits or Limits()

    async def reserve(
        self,
        received: MessageReceived,
        event: str,
        estimates: Sequence[Estimate],
        *,
        more: bool = False,
        told: bool = True,
    ) -> str:
        """Reserve what an event may take. Raises RateLimited or BudgetSpent.

        `more` adds to the reservation of an event, and is not another request. Returns the words to be told
        of a budget that is used up but for a part, once in its period; without `told` nobody is told.
        """
        user, at = received.user, now()
        tokens = sum(item.tokens for item in estimates)
        microdollars = round(sum(item.usd or 0.0 for item in estimates) * 1_000_000)
        limits = self._limits(user, channel_of(received))
        answer: list[Any] = await self._redis.run(
            _ADMIT,
            [keys.of_tenant("held", user.tenant, event), keys.of_tenant("holds", user.tenant)],
            [
                *(keys.of_tenant("", user.tenant), event, int(more), tokens, microdollars),
                *(user.id, channel_of(received), f"{at:%Y-%m-%d}", f"{at:%Y-%m}"),
                *(_HOLD_MS, keys.HELD_S, keys.SPENT_S),
                *(each for limit in limits for each in self._told(limit, told)),
            ],
        )
        refusing, used, wait_ms, telling, told_of = map(int, answer[:5])
        late: list[bytes] = answer[5:]
        for abandoned in late:
            await self._charges.give_back(user.tenant, abandoned.decode())
        if refusing and late:  # what stood in the way may be free now
            return await self.reserve(received, event, estimates, more=more, told=told)
        if refusing:
            limit = limits[refusing - 1]
            asked = {"requests": 1, "tokens": tokens, "dollars": microdollars}[limit.measure]
            left = limit.most - used
            raise refusal(limit, left=left, asked=asked, at=at, minute_s=-(-wait_ms // 1000))
        known = 0 < telling <= len(limits)  # the setting may have changed since the first attempt
        return warning(limits[telling - 1], told_of, at) if known else ""

    def _limits(self, user: User, channel: str) -> tuple[Limit, ...]:
        return self.limits.of(person=user.id, channel=channel, tenant=user.tenant)

    def _told(self, limit: Limit, told: bool) -> tuple[str, str, str, int, int]:
        """A limit as the script reads it."""
        quiet = int(limit.most * self.limits.share) if told else limit.most
        return limit.scope, _FIELDS[limit.measure], limit.period, limit.most, quiet

    async def settle(self, one: Charge) -> None:
        """Turn an event's reservation into what it really cost. Settling twice counts once."""
        await self._charges.settle(one)

    # -------------------------------------------------------------- sums

    async def limit_status(self, user: User, channel: str) -> Sequence[LimitStatus]:
        """How every limit stands that holds for a person in a channel (empty: one-to-one)."""
        at, limits = now(), self._limits(user, channel)
        ids = {"person": user.id, "channel": channel, "tenant": ""}
        commands: list[tuple[str, ...]] = []
        for limit in limits:
            name = _counter(user.tenant, limit, at, ids[limit.scope])
            field = _FIELDS[limit.measure]
            commands += [("HMGET", name, field, f"held_{field}"), ("PTTL", name)]
        answers = await self._redis.many(commands) if commands else []
        return [
            LimitStatus(
                limit=limit,
                used=sum(int(amount or 0) for amount in answers[2 * n]),
                minute_s=-(-max(answers[2 * n + 1], 0) // 1000) or 60,
            )
            for n, limit in enumerate(limits)
        ]

    async def spent(self, tenant: str, user: str | None, first: date, last: date) -> PeriodUsage:
        """What a tenant, or one of its people, used from the first to the last of these days."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        names = [_counter_key(tenant, user, f"{day}") for day in days]
        answers = await self._redis.many([("HGETALL", name) for name in names])
        return sum(map(_spent, answers), PeriodUsage())

    async def today_and_month(self, user: User) -> tuple[PeriodUsage, PeriodUsage]:
        """What a person used on this day and in this month."""
        at = now()
        names = [_counter_key(user.tenant, user.id, period) for period in (f"{at:%Y-%m-%d}", f"{at:%Y-%m}")]
        today, month = await self._redis.many([("HGETALL", name) for name in names])
        return _spent(today), _spent(month)

    async def forget(self, user: User) -> int:
        """Delete what is kept of one person by name; the tenant's sums stay. Returns the number of days.

        Where people have limits, the sums that these still count by go when their day and month are over:
        a budget is not to be had anew by being forgotten.
        """
        at = now()
        days = [at.date() - timedelta(days=n) for n in range(keys.SPENT_S // keys.DAY_S + 1)]
        months = list(dict.fromkeys(f"{day:%Y-%m}" for day in days))
        names = [_counter_key(user.tenant, user.id, period) for period in (*map(str, days), *months)]
        current = {
            _counter_key(user.tenant, user.id, f"{at:{form}}"): ends(period, at)
            for period, form in _FORMS.items()
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
        """The periods, longer than a minute, by which a person's use is limited."""
        return frozenset(
            limit.period
            for limit in self._limits(user, "")
            if limit.scope == "person" and limit.period != "minute"
        )


def _counter_key(tenant: str, user: str | None, period: str) -> str:
    return keys.spent(tenant, period, *(("tenant", "") if user is None else ("person", user)))


def _counter(tenant: str, limit: Limit, at: datetime, id: str) -> str:
    if limit.period == "minute":
        return keys.of_tenant("rate", tenant, limit.scope, id)
    return keys.spent(tenant, f"{at:{_FORMS[limit.period]}}", limit.scope, id)


def _spent(pairs: Mapping[bytes, bytes]) -> PeriodUsage:
    return PeriodUsage(**{name: int(pairs.get(name.encode(), 0)) for name in PeriodUsage.__struct_fields__})
