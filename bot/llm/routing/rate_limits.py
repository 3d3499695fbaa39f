"""Holds requests back before a deployment's limits are hit, in step with every other process."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from bot.domain.errors import StateUnavailable
from bot.llm.routing.candidates import Candidate, LearningModel, RequestLoad

log = logging.getLogger(__name__)

# How long a request is held back before it is told to come again, in seconds.
HELD_S = 5.0

# How long it is believed that nothing has changed elsewhere; and how long the others are not asked when they
# could not be reached.
FRESH_S = 1.0

# What an answer may wait for the word of the others.
ANSWER_S = 0.5

# The part of a minute's limit that may be used at once; the rest is spread over the minute. Together they are
# the limit, so that no minute, wherever it begins, has more than that. Azure looks at 1 to 10 s at a time:
# https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota#understanding-rate-limits
BURST = 0.1


class BucketCost(NamedTuple):
    """What a request takes from a bucket, as time: until that much has run in again (`cost_s`), and how far
    from full the bucket may be when it is taken (`slack_s`).
    """

    cost_s: float = 0.0
    slack_s: float = 0.0


def bucket_cost(per_minute: int | None, amount: float) -> BucketCost:
    """What so much of a limit costs. What is more than a burst waits for a full bucket, and leaves a debt."""
    if per_minute is None or not amount:
        return BucketCost()
    rate = per_minute * (1 - BURST) / 60
    burst = max(1.0, per_minute * BURST)
    return BucketCost(amount / rate, (burst - min(amount, burst)) / rate)


class Bucket:
    """One limit of one deployment, as this process alone knows it: the moment at which it is full again."""

    def __init__(self) -> None:
        self._full_at = 0.0

    def wait_s(self, now: float, charge: BucketCost) -> float:
        """Until so much may be taken."""
        return max(0.0, self._full_at - now - charge.slack_s)

    def take(self, now: float, charge: BucketCost) -> None:
        """Take it, also when that has to be waited for."""
        self._full_at = max(self._full_at, now) + charge.cost_s


class SharedLimiter(Protocol):
    """What all processes know together; see `bot.storage.usage.cooldowns`. Raises StateUnavailable."""

    async def take(
        self,
        candidates: Sequence[str],
        charges: Sequence[tuple[float, float, float, float]],
        longest_s: float,
        rests_s: Mapping[str, float],
        refused: Mapping[str, Collection[str]],
    ) -> tuple[int | None, float, list[float], list[frozenset[str]]]:
        """Choose and charge a candidate: which, the wait, and of each its cool-down and what it refuses."""
        ...


class RateLimiter:
    """Who may be asked now, by what this process knows and by what the others have told.

    The others are asked at most once for each call to a model, and not at all for a deployment without
    limits while this process heard of them a second ago. When they can't be reached, this process goes by
    what it knows itself. `clock` is in seconds.
    """

    def __init__(
        self, shared: SharedLimiter | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._fresh_until = self._away_until = float("-inf")
        self._rests: dict[str, float] = {}  # told to nobody yet: until when, on our clock
        self._lessons: dict[str, set[str]] = {}
        self._buckets: dict[str, tuple[Bucket, Bucket]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Tell what is still to be told."""
        await asyncio.gather(*self._sending)

    async def take(
        self, candidates: Sequence[Candidate], load: RequestLoad, longest_s: float = HELD_S
    ) -> tuple[Candidate | None, float]:
        """The first of these that may be asked, and in how many seconds; else None, and when to come again.

        Its place is taken, so whoever comes later waits longer.
        """
        charges = [_bucket_costs(candidate, load) for candidate in candidates]
        if self._to_ask(charges[0]):
            answer = await self._ask(candidates, charges, longest_s)
            if answer is not None:
                return answer
        waits = [self._wait_s(candidate, charges[n]) for n, candidate in enumerate(candidates)]
        least = min(waits)
        if least > longest_s:
            return None, least
        chosen = waits.index(least)
        self._bucket_cost(candidates[chosen], charges[chosen])
        return candidates[chosen], least

    def rest(self, candidate: Candidate, seconds: float) -> None:
        """Leave a deployment alone for so long, here and everywhere."""
        candidate.breaker.rest(seconds)
        if self._shared is not None and seconds > 0:
            self._rests[candidate.id] = max(self._rests.get(candidate.id, 0.0), self._clock() + seconds)
            self._send_soon()

    def learnt(self, candidate: Candidate) -> None:
        """Tell the others what this model was found to refuse."""
        if isinstance(candidate.model, LearningModel) and (
            more := candidate.model.refused - candidate.taught
        ):
            candidate.taught |= more
            if self._shared is not None:
                self._lessons.setdefault(candidate.id, set()).update(more)
                self._send_soon()

    # -------------------------------------------------------------- what the others know

    def _to_ask(self, first: Sequence[BucketCost]) -> bool:
        """Whether the others have to be asked: to tell them something, for a limit, or after a while."""
        now = self._clock()
        if self._shared is None or now < self._away_until:
            return False
        limited = any(item.cost_s for item in first)
        return bool(limited or self._rests or self._lessons) or now >= self._fresh_until

    async def _ask(
        self,
        candidates: Sequence[Candidate],
        charges: Sequence[tuple[BucketCost, BucketCost]],
        longest_s: float,
    ) -> tuple[Candidate | None, float] | None:
        """What the others say, in one round trip that also tells them; `None` when they can't be reached."""
        if self._shared is None:
            return None
        now = self._clock()
        rests, self._rests = self._rests, {}
        lessons, self._lessons = self._lessons, {}
        try:
            async with asyncio.timeout(ANSWER_S):
                chosen, wait_s, cooling, refused = await self._shared.take(
                    [candidate.id for candidate in candidates],
                    [(a.cost_s, a.slack_s, b.cost_s, b.slack_s) for a, b in charges],
                    longest_s,
                    {name: until - now for name, until in rests.items() if until > now},
                    lessons,
                )
        except (StateUnavailable, TimeoutError) as error:
            log.warning("deployments are paced by this process alone: %s", error or "Redis is slow")
            self._rests, self._lessons = {**rests, **self._rests}, {**lessons, **self._lessons}
            self._away_until = self._clock() + FRESH_S
            return None
        self._fresh_until = self._clock() + FRESH_S
        for candidate, rest_s, names in zip(candidates, cooling, refused, strict=True):
            candidate.breaker.rest(rest_s)
            if isinstance(candidate.model, LearningModel):
                candidate.model.refused.update(names)
                candidate.taught |= names
        if chosen is None:
            return None, wait_s
        self._bucket_cost(candidates[chosen], charges[chosen])
        return candidates[chosen], wait_s

    def _send_soon(self) -> None:
        """Tell what there is to tell, unless the next question, which mostly follows at once, does."""
        task = asyncio.get_running_loop().create_task(self._send())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self) -> None:
        if self._rests or self._lessons:
            await self._ask((), (), 0.0)

    # -------------------------------------------------------------- what this process knows

    def _wait_s(self, candidate: Candidate, charges: Sequence[BucketCost]) -> float:
        now = self._clock()
        both = zip(self._kept(candidate), charges, strict=True)
        return max(bucket.wait_s(now, charge) for bucket, charge in both)

    def _bucket_cost(self, candidate: Candidate, charges: Sequence[BucketCost]) -> None:
        for bucket, charge in zip(self._kept(candidate), charges, strict=True):
            bucket.take(self._clock(), charge)

    def _kept(self, candidate: Candidate) -> tuple[Bucket, Bucket]:
        return self._buckets.setdefault(candidate.id, (Bucket(), Bucket()))


def _bucket_costs(candidate: Candidate, load: RequestLoad) -> tuple[BucketCost, BucketCost]:
    """What one request takes from the limits of a deployment: of its requests, and of its tokens."""
    deployment = candidate.deployment
    requests = bucket_cost(deployment.requests_per_minute, 1)
    return requests, bucket_cost(deployment.tokens_per_minute, candidate.counted(load).tokens)
