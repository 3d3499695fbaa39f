"""Delays requests to stay within the rate limits of deployments, together with all other processes."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import NamedTuple, Protocol

from bot.domain.errors import StateUnavailable
from bot.llm.routing.candidates import Candidate, LearningModel, RequestLoad
from bot.llm.routing.turn_queue import WaitingRequest

log = logging.getLogger(__name__)

# The longest delay of a request in seconds; beyond it, the event waits in the inbox.
HELD_S = 5.0

# The longest wait for a turn at a busy deployment; beyond it, the event waits in the inbox.
TURN_S = 1.0

# How long the shared state is cached, and how long it is not requested after an error.
FRESH_S = 1.0

# The longest wait for the shared state.
ANSWER_S = 0.5

# The share of a minute's limit that may be used at once; the rest is spread over the minute, so that no sliding
# minute exceeds the limit. Azure evaluates periods of 1 to 10 s:
# https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota#understanding-rate-limits
BURST = 0.1


class BucketCost(NamedTuple):
    """The cost of a request as time: until the bucket has refilled it (`cost_s`), and how far from full the bucket
    may be (`slack_s`).
    """

    cost_s: float = 0.0
    slack_s: float = 0.0


def bucket_cost(per_minute: int | None, amount: float) -> BucketCost:
    """The cost of an amount of a limit. More than a burst waits for a full bucket, and leaves a debt."""
    if per_minute is None or not amount:
        return BucketCost()
    rate = per_minute * (1 - BURST) / 60
    burst = max(1.0, per_minute * BURST)
    return BucketCost(amount / rate, (burst - min(amount, burst)) / rate)


class Bucket:
    """One limit of one deployment in this process: the time at which it is full again."""

    def __init__(self) -> None:
        self._full_at = 0.0

    def wait_s(self, now: float, charge: BucketCost) -> float:
        """Seconds until the charge may be taken."""
        return max(0.0, self._full_at - now - charge.slack_s)

    def take(self, now: float, charge: BucketCost) -> None:
        """Take the charge, even if the caller has to wait for it."""
        self._full_at = max(self._full_at, now) + charge.cost_s


class SharedLimiter(Protocol):
    """State shared by all processes; see `bot.storage.usage.cooldowns`. Raises StateUnavailable."""

    async def take(
        self,
        candidates: Sequence[str],
        charges: Sequence[tuple[float, float, float, float]],
        longest_s: float,
        rests_s: Mapping[str, float],
        refused: Mapping[str, Collection[str]],
    ) -> tuple[int | None, float, list[float], list[frozenset[str]]]:
        """Choose and charge a candidate. Returns index, wait, and of each the cool-down and refused parameters."""
        ...

    async def wait_turn(
        self,
        deployment: str,
        request: tuple[str, float, str, bool],
        *,
        told_s: float,
        interval_s: float,
        take: bool,
    ) -> tuple[float, str]:
        """Seconds until the turn of a request at a busy deployment, and its arrival; `take` takes a turn that came."""
        ...

    async def wake(self, deployment: str) -> None:
        """End the cool-down of a deployment."""
        ...

    async def woken_at(self, deployment: str) -> float:
        """When an operator ended a cool-down, in seconds since 1970."""
        ...


class RateLimiter:
    """Decides which deployment may be asked, by local and shared state.

    The shared state is requested at most once per call to a model, and not for deployments without limits
    while it is cached. When it is unavailable, only local state is used. `clock` is in seconds.
    """

    def __init__(
        self, shared: SharedLimiter | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._fresh_until = self._away_until = self._look_from = self._queued_until = float("-inf")
        self._rests: dict[str, float] = {}  # not shared yet: until when, on our clock
        self._lessons: dict[str, set[str]] = {}
        self._buckets: dict[str, tuple[Bucket, Bucket]] = {}
        self._background: set[asyncio.Task[object]] = set()

    def now(self) -> float:
        """The time on the clock, in seconds."""
        return self._clock()

    async def aclose(self) -> None:
        """Send what has not been shared yet."""
        await asyncio.gather(*self._background)

    async def take(
        self, candidates: Sequence[Candidate], load: RequestLoad, longest_s: float = HELD_S
    ) -> tuple[Candidate | None, float]:
        """The first free candidate and its wait in seconds, which is charged; else None and when to try again."""
        charges = [_bucket_costs(candidate, load) for candidate in candidates]
        if self._to_ask(charges[0]):
            answer = await self._ask(candidates, charges, longest_s)
            if answer is not None:
                return answer
        now = self._clock()
        waits = [self._wait_s(now, candidate, charges[n]) for n, candidate in enumerate(candidates)]
        queues = [candidate.queue.free_s(now) for candidate in candidates]
        least, chosen = min((math.inf if queues[n] else wait_s, n) for n, wait_s in enumerate(waits))
        if least > longest_s:
            return None, min(map(max, waits, queues))
        self._bucket_cost(candidates[chosen], charges[chosen])
        return candidates[chosen], least

    async def wait_turn(
        self, candidates: Sequence[Candidate], request: WaitingRequest, had: dict[str, str], *, take: bool
    ) -> tuple[Candidate, float]:
        """The busy candidate that is free first, and the seconds until the turn of this request there, in order of
        arrival. A turn that has come (0) is taken, with `take`; then it is in `had`: the arrival at candidates that
        gave the request its turn.
        """
        now = self._clock()
        chosen = min(candidates, key=lambda each: max(each.breaker.wait_s(), each.queue.free_s(now)))
        if chosen.id in had:
            request = request._replace(arrived=had[chosen.id], again=True)
        told_s = chosen.breaker.wait_s()
        interval_s = chosen.rate.interval_s(now, told_s) if told_s and not request.again else 0.0
        wait_s = chosen.queue.wait_s(now, request, now + told_s, interval_s, take=take)
        arrived = request.arrived
        if self._shared is not None and now >= self._away_until:
            try:
                async with asyncio.timeout(ANSWER_S):
                    wait_s, arrived = await self._shared.wait_turn(
                        chosen.id, request, told_s=told_s, interval_s=interval_s, take=take
                    )
            except (StateUnavailable, TimeoutError) as error:
                log.warning("Turns at a busy deployment are not shared: %s", error or "Redis is slow")
                self._away_until = self._clock() + FRESH_S
        if take and not wait_s:
            had[chosen.id] = arrived
        self._queued_until = max(self._queued_until, now + wait_s + FRESH_S)
        return chosen, wait_s

    async def wake(self, candidate: Candidate) -> None:
        """End the cool-down of a deployment, here and in the shared state. Raises StateUnavailable."""
        self._rests.pop(candidate.id, None)
        candidate.breaker.wake()
        candidate.queue.forget()
        candidate.broken = ""
        if self._shared is not None:
            await self._shared.wake(candidate.id)

    async def woken(self, candidates: Sequence[Candidate]) -> bool:
        """End the cool-downs that an operator ended in another process since they began. Returns whether any."""
        if self._shared is None or self._clock() < self._away_until:
            return False
        found = False
        for candidate in candidates:
            try:
                async with asyncio.timeout(ANSWER_S):
                    woken_at = await self._shared.woken_at(candidate.id)
            except (StateUnavailable, TimeoutError):
                return found
            if woken_at > candidate.breaker.began_at > 0:
                self._rests.pop(candidate.id, None)
                candidate.breaker.wake()
                candidate.queue.forget()
                candidate.broken, found = "", True
        return found

    def look_soon(self, candidates: Sequence[Candidate]) -> None:
        """Do the same for those that cool down, in the background, at most once in FRESH_S."""
        resting = [each for each in candidates if each.breaker.wait_s()]
        if resting and self._clock() >= self._look_from:
            self._look_from = self._clock() + FRESH_S
            self._start(self.woken(resting))

    def rest(self, candidate: Candidate, seconds: float) -> None:
        """Cool down a deployment for `seconds`, in all processes."""
        candidate.breaker.rest(seconds)
        if self._shared is not None and seconds > 0:
            self._rests[candidate.id] = max(self._rests.get(candidate.id, 0.0), self._clock() + seconds)
            self._send_soon()

    def learnt(self, candidate: Candidate) -> None:
        """Share the parameters that this model was found to refuse."""
        if isinstance(candidate.model, LearningModel) and (
            more := candidate.model.refused - candidate.taught
        ):
            candidate.taught |= more
            if self._shared is not None:
                self._lessons.setdefault(candidate.id, set()).update(more)
                self._send_soon()

    # -------------------------------------------------------------- shared state

    def _to_ask(self, first: Sequence[BucketCost]) -> bool:
        """Whether to request the shared state: to share something, for a limit, because requests of this process wait
        for their turns, or because the cache is old.
        """
        now = self._clock()
        if self._shared is None or now < self._away_until:
            return False
        limited = any(charge.cost_s for charge in first)
        return (
            bool(limited or self._rests or self._lessons)
            or now >= self._fresh_until
            or now < self._queued_until
        )

    async def _ask(
        self,
        candidates: Sequence[Candidate],
        charges: Sequence[tuple[BucketCost, BucketCost]],
        longest_s: float,
    ) -> tuple[Candidate | None, float] | None:
        """Exchange shared state in one round trip; `None` if it is unavailable."""
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
            log.warning("Rate limits of deployments are not shared: %s", error or "Redis is slow")
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
            for candidate, costs, rest_s in zip(candidates, charges, cooling, strict=True):
                if not rest_s and not any(cost.cost_s for cost in costs):
                    candidate.queue.occupied(self._clock() + wait_s)  # others wait for their turns
            return None, wait_s
        self._bucket_cost(candidates[chosen], charges[chosen])
        return candidates[chosen], wait_s

    def _send_soon(self) -> None:
        """Share in the background, unless the next request, which usually follows at once, does."""
        self._start(self._send())

    def _start(self, work: Coroutine[object, object, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _send(self) -> None:
        if self._rests or self._lessons:
            await self._ask((), (), 0.0)

    # -------------------------------------------------------------- local state

    def _wait_s(self, now: float, candidate: Candidate, charges: Sequence[BucketCost]) -> float:
        return max(
            bucket.wait_s(now, charge) for bucket, charge in zip(self._kept(candidate), charges, strict=True)
        )

    def _bucket_cost(self, candidate: Candidate, charges: Sequence[BucketCost]) -> None:
        for bucket, charge in zip(self._kept(candidate), charges, strict=True):
            bucket.take(self._clock(), charge)

    def _kept(self, candidate: Candidate) -> tuple[Bucket, Bucket]:
        return self._buckets.setdefault(candidate.id, (Bucket(), Bucket()))


def _bucket_costs(candidate: Candidate, load: RequestLoad) -> tuple[BucketCost, BucketCost]:
    """The costs of one request: of the request limit, and of the token limit."""
    deployment = candidate.deployment
    requests = bucket_cost(deployment.requests_per_minute, 1)
    return requests, bucket_cost(deployment.tokens_per_minute, load.tokens)
