"""The deployments that one prompt is tried with, one after another."""

import asyncio
import math
import random
from collections.abc import Callable, Sequence

from bot.domain.errors import BotError, ConfigError, ModelUnavailable
from bot.llm.routing.candidates import Candidate, RequestLoad
from bot.llm.routing.rate_limits import RateLimiter

# How often one prompt is tried, or once with each deployment if they are more, before the event waits.
ATTEMPTS = 3

# Between two attempts at the same deployments, in seconds: for a load balancer to look elsewhere.
PAUSE_S = 0.3

HeldBack = Callable[[Candidate, float], None]
"""Is told that a request is held back from a deployment for so many seconds."""


class Attempts:
    """Who is asked next. `candidates` are ranked; those in `tried` are asked when the others have been."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        limiter: RateLimiter,
        load: RequestLoad,
        *,
        held: HeldBack,
        pause_s: float = PAUSE_S,
        tried: Sequence[Candidate] = (),
    ) -> None:
        self._pool = candidates
        self._limiter = limiter
        self._load = load
        self._held = held
        self._pause_s = pause_s
        self._left = max(ATTEMPTS, len(candidates))
        self._tried = list(tried)

    async def next(self) -> Candidate:
        """The next one, when it may be asked; raises when there is none, or when it was tried enough."""
        while True:
            free = self._free()
            if not free or not self._left:
                raise self._nobody()
            fresh = [candidate for candidate in free if candidate not in self._tried]
            if not fresh:
                await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.5))
                self._tried.clear()
                continue
            candidate, wait_s = await self._limiter.take(fresh, self._load)
            if candidate is None:
                raise self._nobody(fresh, wait_s)
            if candidate.breaker.wait_s():  # somebody else tries it, since we asked
                continue
            self._ask(candidate)
            if wait_s:
                self._held(candidate, wait_s)
                await asyncio.sleep(wait_s)
            return candidate

    def larger(self, refused: Candidate) -> bool:
        """Leave out all that take no more than the one that found a prompt too long; whether any is left."""
        self._pool = [
            candidate for candidate in self._pool if candidate.context_tokens > refused.context_tokens
        ]
        return bool(self._pool)

    async def spare(self) -> Candidate | None:
        """One that was not tried yet and may be asked at once."""
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

    def _nobody(self, held: Sequence[Candidate] = (), held_s: float = 0.0) -> BotError:
        working = [candidate for candidate in self._pool if not candidate.broken]
        if not working:
            return ConfigError(self._pool[0].broken)
        wait_s = min(held_s if candidate in held else candidate.breaker.wait_s() for candidate in working)
        if not wait_s:
            return ModelUnavailable("The model does not answer at the moment.")
        return ModelUnavailable(f"The model is busy; it is free again in {math.ceil(wait_s)} s.", wait_s)
