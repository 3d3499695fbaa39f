"""The deployments that one prompt is tried with, one after another."""

import asyncio
import math
import random
from collections.abc import Callable, Sequence

from bot.domain.errors import BotError, ConfigError, ModelUnavailable
from bot.llm.routing.candidates import Load, Route
from bot.llm.routing.rate_limits import Pace

# How often one prompt is tried, or once with each deployment if they are more, before the event waits.
ATTEMPTS = 3

# Between two attempts at the same deployments, in seconds: for a load balancer to look elsewhere.
PAUSE_S = 0.3

Held = Callable[[Route, float], None]
"""Is told that a request is held back from a deployment for so many seconds."""


class Tries:
    """Who is asked next. `routes` are ranked; those in `tried` are asked when the others have been."""

    def __init__(
        self,
        routes: Sequence[Route],
        pace: Pace,
        load: Load,
        *,
        held: Held,
        pause_s: float = PAUSE_S,
        tried: Sequence[Route] = (),
    ) -> None:
        self._routes = routes
        self._pace = pace
        self._load = load
        self._held = held
        self._pause_s = pause_s
        self._left = max(ATTEMPTS, len(routes))
        self._tried = list(tried)

    async def next(self) -> Route:
        """The next one, when it may be asked; raises when there is none, or when it was tried enough."""
        while True:
            free = self._free()
            if not free or not self._left:
                raise self._nobody()
            fresh = [route for route in free if route not in self._tried]
            if not fresh:
                await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.5))
                self._tried.clear()
                continue
            route, wait_s = await self._pace.take(fresh, self._load)
            if route is None:
                raise self._nobody(fresh, wait_s)
            if route.breaker.wait_s():  # somebody else tries it, since we asked
                continue
            self._ask(route)
            if wait_s:
                self._held(route, wait_s)
                await asyncio.sleep(wait_s)
            return route

    def larger(self, refused: Route) -> bool:
        """Leave out all that take no more than the one that found a prompt too long; whether any is left."""
        self._routes = [route for route in self._routes if route.context_tokens > refused.context_tokens]
        return bool(self._routes)

    async def spare(self) -> Route | None:
        """One that was not tried yet and may be asked at once."""
        fresh = [route for route in self._free() if route not in self._tried]
        if not fresh or not self._left:
            return None
        route, _ = await self._pace.take(fresh, self._load, longest_s=0.0)
        if route is None or route.breaker.wait_s():
            return None
        self._ask(route)
        return route

    def _free(self) -> list[Route]:
        return [route for route in self._routes if not route.breaker.wait_s()]

    def _ask(self, route: Route) -> None:
        self._left -= 1
        self._tried.append(route)
        route.breaker.asked()

    def _nobody(self, held: Sequence[Route] = (), held_s: float = 0.0) -> BotError:
        working = [route for route in self._routes if not route.broken]
        if not working:
            return ConfigError(self._routes[0].broken)
        wait_s = min(held_s if route in held else route.breaker.wait_s() for route in working)
        if not wait_s:
            return ModelUnavailable("The model does not answer at the moment.")
        return ModelUnavailable(f"The model is busy; it is free again in {math.ceil(wait_s)} s.", wait_s)
