"""Decides which deployment is asked next for one prompt, and when to give up."""

import asyncio
import hashlib
import math
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence

from bot.domain.errors import BotError, ConfigError, ModelBusy, ModelUnavailable
from bot.llm.routing.candidates import Candidate, RequestLoad
from bot.llm.routing.rate_limits import TURN_S, RateLimiter
from bot.llm.routing.turn_queue import WaitingRequest

# Attempts per prompt, or one per deployment if there are more, before the event waits.
ATTEMPTS = 3

# Seconds before all deployments are tried again.
PAUSE_S = 0.3

HeldBack = Callable[[Candidate, float], None]
"""Called with the seconds that a request waits for the rate limit of a deployment."""

Waiting = Callable[[], Awaitable[None]]
"""Called before a wait: what was to be sent is not sent yet."""

_WAIT_S = 0.02
"""Shorter waits are not told."""


async def _untold() -> None:
    """Tell nobody of a wait."""


class Attempts:
    """Chooses the next deployment. `candidates` are ranked; those in `tried` come last.

    `waiting` is called before each wait of some length.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        limiter: RateLimiter,
        load: RequestLoad,
        *,
        held: HeldBack,
        tried: Sequence[Candidate] = (),
        waiting: Waiting = _untold,
    ) -> None:
        self._pool = candidates
        self._limiter = limiter
        self._load = load
        self._held = held
        self._waiting = waiting
        self._left = max(ATTEMPTS, len(candidates))
        self._tried = list(tried)
        self._turns: dict[str, str] = {}
        self._began = limiter.now()
        self._arrived = str(time.time() * 1000)
        name = load.sticky or uuid.uuid4().hex
        self._request = hashlib.blake2b(name.encode(), digest_size=12).hexdigest()

    async def next(self) -> Candidate:
        """The next candidate, after waiting for its rate limit. Raises ModelUnavailable or ConfigError if there is
        none, or after ATTEMPTS.
        """
        while True:
            free = self._free()
            if not self._left:
                if busy := self._asked_to_wait():
                    return await self._turn(busy)
                raise self._unavailable()
            if not free:
                if await self._limiter.woken(self._pool):
                    continue
                return await self._turn(self._asked_to_wait())
            self._limiter.look_soon(self._pool)
            fresh = [candidate for candidate in free if candidate not in self._tried]
            if not fresh:
                await self._wait(PAUSE_S * random.uniform(0.5, 1.5))
                self._tried.clear()
                continue
            candidate, wait_s = await self._limiter.take(fresh, self._load)
            if candidate is None:
                now = self._limiter.now()
                resting = [each for each in self._asked_to_wait() if each in fresh and each.breaker.wait_s()]
                if busy := [each for each in fresh if each in resting or each.queue.free_s(now)]:
                    return await self._turn(busy)
                raise self._unavailable(fresh, wait_s)
            if candidate.breaker.wait_s():  # another task is testing it meanwhile
                continue
            self._ask(candidate)
            if wait_s:
                self._held(candidate, wait_s)
                await self._wait(wait_s)
            return candidate

    async def _wait(self, seconds: float) -> None:
        if seconds >= _WAIT_S:
            await self._waiting()
        await asyncio.sleep(seconds)

    def larger(self, refused: Candidate) -> bool:
        """Keep only candidates with a larger context than the one that refused. Returns whether any is left."""
        self._pool = [
            candidate for candidate in self._pool if candidate.context_tokens > refused.context_tokens
        ]
        return bool(self._pool)

    def _asked_to_wait(self) -> list[Candidate]:
        """The candidates whose cool-down they asked for themselves."""
        return [each for each in self._pool if each.breaker.asked_for and not each.broken]

    async def _turn(self, busy: Sequence[Candidate]) -> Candidate:
        """A busy candidate, when the turn of this request has come. Raises ModelBusy if that takes long, or if no
        attempt is left; the request keeps its place.
        """
        if not busy:
            raise self._unavailable()
        while True:
            had, age_s = len(self._turns), self._limiter.now() - self._began
            request = WaitingRequest(self._request, age_s, self._arrived)
            candidate, wait_s = await self._limiter.wait_turn(
                busy, request, self._turns, take=bool(self._left)
            )
            if not self._left:
                wait_s = max(wait_s, PAUSE_S)
            if wait_s > TURN_S or not self._left:
                raise ModelBusy(f"The model is busy. Try again in {math.ceil(wait_s)} s.", wait_s)
            if not wait_s:
                break
            self._held(candidate, wait_s)
            await self._wait(wait_s)
            busy = [candidate]
        if len(self._turns) > had:
            self._left += 1  # a wait that was asked for is no failure
        self._ask(candidate)
        return candidate

    @property
    def left(self) -> bool:
        """Whether any candidate is left, be it free or not."""
        return bool(self._pool)

    def without(self, refused: Candidate) -> bool:
        """Do not ask a candidate again, because it rejected the request. Returns whether any is left."""
        self._pool = [candidate for candidate in self._pool if candidate is not refused]
        self._left = max(self._left, len(self._pool))
        return self.left

    def others(self, empty: Candidate, *, again: bool) -> bool:
        """Leave out a deployment that gave an empty answer, if others are free. Returns whether one may be asked; with
        `again` that may be the same one.
        """
        others = [candidate for candidate in self._free() if candidate is not empty]
        self._left = max(self._left, 1)
        if others:
            self._pool = others
        return bool(others) or again

    async def spare(self) -> Candidate | None:
        """An untried candidate that may be asked immediately."""
        fresh = [candidate for candidate in self._free() if candidate not in self._tried]
        if not fresh or not self._left:
            return None
        candidate, _ = await self._limiter.take(fresh, self._load, longest_s=0.0)
        if candidate is None or candidate.breaker.wait_s():
            return None
        self._ask(candidate)
        return candidate

    def _free(self) -> list[Candidate]:
        return [candidate for candidate in self._pool if not candidate.breaker.wait_s()]

    def _ask(self, candidate: Candidate) -> None:
        self._left -= 1
        self._tried.append(candidate)
        candidate.breaker.asked()

    def _unavailable(self, held: Sequence[Candidate] = (), held_s: float = 0.0) -> BotError:
        working = [candidate for candidate in self._pool if not candidate.broken]
        if not working:
            return ConfigError(self._pool[0].broken)
        wait_s = min(held_s if candidate in held else candidate.breaker.wait_s() for candidate in working)
        if not wait_s:
            return ModelUnavailable("The model is not available at the moment.")
        words = f"The model is busy. Try again in {math.ceil(wait_s)} s."
        return (ModelBusy if held or self._asked_to_wait() else ModelUnavailable)(words, wait_s)
