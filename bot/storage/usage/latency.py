"""Latency of deployments per hour (UTC), counted in memory and stored periodically."""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Self

import msgspec

from bot.domain.errors import StateUnavailable
from bot.domain.events import now
from bot.storage.redis import keys, tasks
from bot.storage.redis.client import Redis

log = logging.getLogger(__name__)

FLUSH_S = 10.0
MEASURES = {"first_delta_seconds": "first", "call_seconds": "whole"}
"""The measures of the router that are stored: to the first token, and to the end."""
_MIN_S = 0.01
_STEP = 1.2
_MAX_STEP = 60
"""Logarithmic buckets from 10 ms to 10 minutes, exact to about 10 %."""
_MARK = "\x1f"


class HourlyLatency(msgspec.Struct, frozen=True, kw_only=True):
    """The latency of a deployment in one hour: number of calls, median and 95th percentile in seconds."""

    hour: datetime
    deployment: str
    measure: str
    count: int
    p50_s: float
    p95_s: float


class Latency:
    """Counts latencies. `read` raises StateUnavailable; `took` only counts in memory."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._counts: Counter[tuple[str, str]] = Counter()

    def took(self, measure: str, deployment: str, seconds: float) -> None:
        """Count a measure of the router, if it is one of MEASURES."""
        if measure in MEASURES:
            field = _MARK.join((deployment, MEASURES[measure], str(_step(seconds))))
            self._counts[keys.latency(now()), field] += 1

    @asynccontextmanager
    async def keeping(self) -> AsyncGenerator[Self]:
        """Store the counts every few seconds, and at the end of the block."""
        writing = asyncio.create_task(self._keep())
        try:
            yield self
        finally:
            await tasks.end(writing)
            await self._flush()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        added = [("HINCRBY", name, field, count) for (name, field), count in counts.items()]
        kept = [("EXPIRE", name, keys.LATENCY_S) for name in dict.fromkeys(name for name, _ in counts)]
        try:
            await self._redis.many([*added, *kept])
        except StateUnavailable as error:
            log.debug("Latencies could not be stored: %s", error)

    async def read(self, hours: int) -> Sequence[HourlyLatency]:
        """The latencies of the last hours, including this one, oldest first."""
        last = now().replace(minute=0, second=0, microsecond=0)
        times = [last - timedelta(hours=back) for back in range(hours - 1, -1, -1)]
        answers = await self._redis.many([("HGETALL", keys.latency(hour)) for hour in times])
        found: list[HourlyLatency] = []
        for hour, pairs in zip(times, answers, strict=True):
            steps: dict[tuple[str, str], Counter[int]] = {}
            for field, count in pairs.items():
                deployment, measure, step = field.decode().split(_MARK)
                steps.setdefault((deployment, measure), Counter())[int(step)] += int(count)
            found += [
                HourlyLatency(
                    hour=hour,
                    deployment=deployment,
                    measure=measure,
                    count=counted.total(),
                    p50_s=_share(counted, 0.5),
                    p95_s=_share(counted, 0.95),
                )
                for (deployment, measure), counted in sorted(steps.items())
            ]
        return found


def _step(seconds: float) -> int:
    return min(_MAX_STEP, max(0, math.ceil(math.log(max(seconds, _MIN_S) / _MIN_S, _STEP))))


def _share(counted: Counter[int], share: float) -> float:
    """The time in seconds within which this share of the calls ended."""
    left, step = share * counted.total(), 0
    for step in sorted(counted):
        left -= counted[step]
        if left <= 0:
            break
    return round(_MIN_S * _STEP**step, 3)
