"""Notices for operators that a limit of a tenant has reached a threshold, made by the scripts that count usage."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from bot.domain.events import Frozen, now
from bot.domain.limits import Limit, Limits, Measure, Period, ends
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_CLAIM = Script("notice")
LEASE_S = 120.0
"""Longer than one message takes to send."""
LOG = ""
"""The recipient that stands for the log and the metrics."""
FIELDS: Mapping[Measure, str] = {"requests": "turns", "tokens": "tokens", "dollars": "microdollars"}
"""The fields of a counter."""
FORMS: Mapping[Period, str] = {"day": "%Y-%m-%d", "month": "%Y-%m"}
"""The names of the windows in which usage is counted."""
_NEAR = 0.8


class WatchedLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit whose use `book.lua` compares with its thresholds: `warn` (`percent` of `most`), and `most` itself.

    From `near` on, a limit that refuses a question for which too little is left counts as reached.
    """

    measure: Measure
    field: str
    period: Period
    most: int
    warn: int
    near: int
    percent: int


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What a script needs to add notices: the limits of a tenant, the current windows, and who is told."""

    limits: Sequence[WatchedLimit]
    day: str
    month: str
    recipients: Sequence[str]
    keep_s: int


class LimitNotice(Frozen):
    """One recipient (an operator's id, or LOG) has to be told that a limit has reached `percent` of `most`.

    `most` and `used` are in requests, tokens or micro-dollars; `window` is the day or month (UTC), "2026-11-30".
    """

    recipient: str
    measure: Measure
    period: Period
    window: str
    most: int
    used: int
    percent: int

    @property
    def limit(self) -> Limit:
        return Limit(scope="tenant", measure=self.measure, period=self.period, most=self.most)

    def is_current(self, at: datetime) -> bool:
        """Whether the window has not ended."""
        return f"{at:{FORMS[self.period]}}" == self.window


class LimitNotices:
    """Which limits are watched, and the notices that wait. Coroutines raise StateUnavailable.

    A notice is claimed for LEASE_S; whoever has told its recipient removes it. So it survives a crash, and is lost by
    none.
    """

    def __init__(self, redis: Redis, operators: Collection[str] = (), limits: Limits | None = None) -> None:
        self._redis = redis
        self._recipients = [LOG, *sorted(operators)]
        self._tenants: set[str] = set()
        self.limits = limits or Limits()
        self.waiting = asyncio.Event()
        """Set when this process has added notices."""

    def watched(self, tenant: str) -> bytes:
        """The argument `watched` of a script; empty if no limit of the tenant is watched."""
        limits, at = self.limits.of_tenant(tenant), now()
        if not limits:
            return b""
        return msgspec.json.encode(
            Watched(
                limits=[self._watched(limit) for limit in limits],
                day=f"{at:{FORMS['day']}}",
                month=f"{at:{FORMS['month']}}",
                recipients=self._recipients,
                keep_s=keys.NOTICE_S,
            )
        )

    def _watched(self, limit: Limit) -> WatchedLimit:
        share = self.limits.share
        return WatchedLimit(
            measure=limit.measure,
            field=FIELDS[limit.measure],
            period=limit.period,
            most=limit.most,
            warn=_part(limit.most, share),
            near=_part(limit.most, min(share, _NEAR)),
            percent=round(100 * share),
        )

    def added(self, tenant: str, count: int) -> None:
        """A script has added so many notices of a tenant."""
        if count:
            self._tenants.add(tenant)
            self.waiting.set()

    def take(self) -> set[str]:
        """The tenants with notices that were added in this process since the last call."""
        self.waiting.clear()
        found, self._tenants = self._tenants, set()
        return found

    async def tenants(self) -> set[str]:
        """All tenants with notices, which other processes may have left."""
        days = [now().date() - timedelta(days=n) for n in range(keys.NOTICE_S // keys.DAY_S + 1)]
        members = await self._redis.many([("SMEMBERS", keys.tenants_of(day)) for day in days])
        known = list({name.decode() for names in members for name in names})
        sizes = await self._redis.many([("ZCARD", keys.of_tenant("notices", name)) for name in known])
        return {name for name, size in zip(known, sizes, strict=True) if size}

    async def claim(self, tenant: str) -> bytes | None:
        """The next notice that is due, as it is stored."""
        return await self._redis.run(_CLAIM, [keys.of_tenant("notices", tenant)], [int(LEASE_S * 1000)])

    async def done(self, tenant: str, notice: bytes) -> None:
        """Remove a notice: its recipient was told, or can't be."""
        await self._redis.call("ZREM", keys.of_tenant("notices", tenant), notice)

    async def later(self, tenant: str, notice: bytes, wait_s: float) -> None:
        """Try a notice again after `wait_s` seconds."""
        due_ms = int((now().timestamp() + wait_s) * 1000)
        await self._redis.call("ZADD", keys.of_tenant("notices", tenant), "XX", due_ms, notice)


def read(notice: bytes) -> LimitNotice:
    """A stored notice. Its amounts are text, because numbers of Lua are not exact. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(notice, type=LimitNotice, strict=False)


def resets(notice: LimitNotice) -> datetime:
    """When the window of a notice ends (UTC)."""
    return ends(notice.period, datetime.strptime(f"{notice.window} +0000", f"{FORMS[notice.period]} %z"))


def _part(most: int, share: float) -> int:
    return max(1, -int(-most * share // 1))
