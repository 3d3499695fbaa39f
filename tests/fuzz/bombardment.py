"""Very many requests, side by side, and what is wrong with the answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.fuzz.target import Complaints, Target

AT_ONCE = 8
FORGET_EVERY = 1000
UNKNOWN_INVOKE = 501
"""What the Bot Framework has a bot answer to an invoke that it doesn't know."""
HEAVY = ("/try", "/images", "/studio/evaluations", "/publish", "/studio/deployments", "/studio/usage")
"""Paths that end so take many milliseconds for each request: they get fewer of them."""
PLATFORMS = ("/slack/events", "/api/messages")
"""Where strangers write, and where most code is behind a route: they get more."""


@dataclass
class Fault:
    """A request that was not answered as it should be."""

    request: bytes
    status: int
    complaints: Sequence[str]

    def __str__(self) -> str:
        return f"{self.status} {self.request[:3000]!r} {' | '.join(self.complaints)}\n"


async def bombard(target: Target, complaints: Complaints, count: int, seed: int) -> list[Fault]:
    """Send so many requests to all routes; those that were answered with 5xx, or had errors logged."""
    faults: list[Fault] = []
    random = Random(seed)
    routes = target.maker.routes
    light = [route for route in routes if not route[1].endswith(HEAVY)]
    platforms = [route for route in routes if route[1] in PLATFORMS]
    sent = 0

    async def some() -> None:
        nonlocal sent
        while sent < count and len(faults) < 20:
            sent += 1
            if sent % FORGET_EVERY == 0:
                await target.forget()
            among = random.choices((platforms, light, routes), (40, 57, 3))[0]
            request = target.maker.request(random, random.choice(among))
            status = await target.send(request)
            if (status >= 500 and status != UNKNOWN_INVOKE) or complaints.heard:
                faults.append(Fault(request, status, [*complaints.heard]))
                complaints.heard.clear()

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    await asyncio.sleep(0)
    if complaints.heard:
        faults.append(Fault(b"(after the last one)", 0, [*complaints.heard]))
    return faults
