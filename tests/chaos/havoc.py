"""What chaos does to the machines, and when: by the number of acts, so that a seed repeats it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from bot.domain.errors import StateUnavailable
from tests.chaos.machines import Machine, RedisServer
from tests.chaos.town import Town
from tests.simulators.proxy import Proxy

Kind = Literal["kill", "stop", "restart", "outage", "platform"]
_WEB = "web processes killed"
_LOOK_S = 0.1
"""What was on its way when a blow fell has arrived by then, and nobody has taken the lease over yet."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How often each thing happens."""

    kills: int
    stops: int
    restarts: int
    outages: int
    platforms: int


@dataclass
class Havoc:
    """Does it, and notes when; `back_at` is when Redis could be reached again.

    `struck` are the names of all acts that were under way when a blow fell.
    """

    town: Town
    redis: RedisServer
    network: Proxy
    workers: Sequence[Machine]
    webs: Sequence[Machine]
    lease_s: float
    seed: int
    blows: list[float] = field(default_factory=list[float])
    back_at: list[float] = field(default_factory=list[float])
    struck: set[str] = field(default_factory=set[str])
    done: Counter[str] = field(default_factory=Counter[str])

    async def wreak(self, plan: Plan, events: int) -> None:
        """Everything in the plan, spread over what people do."""
        chance = random.Random(f"{self.seed} havoc")
        often: dict[Kind, int] = {
            "kill": plan.kills,
            "stop": plan.stops,
            "restart": plan.restarts,
            "outage": plan.outages,
            "platform": plan.platforms,
        }
        kinds: list[Kind] = [kind for kind, times in often.items() for _ in range(times)]
        chance.shuffle(kinds)
        counts = sorted(chance.randint(events // 20, max(1, events - events // 20)) for _ in kinds)
        redis = asyncio.Lock()
        async with asyncio.TaskGroup() as group:
            for kind, count in zip(kinds, counts, strict=True):
                own = random.Random(chance.random())
                await self.town.until_sent(count)
                await asyncio.sleep(own.uniform(0, 0.3))
                group.create_task(self._strike(kind, own, redis))

    async def _strike(self, kind: Kind, chance: random.Random, redis: asyncio.Lock) -> None:
        match kind:
            case "kill":
                machine = chance.choice(self.workers if chance.random() < 0.75 else self.webs)
                self._note(_WEB if machine in self.webs else "workers killed")
                machine.kill()
                await self._look()
            case "stop":
                self._note("workers stopped for longer than their lease")
                async with asyncio.TaskGroup() as group:
                    seconds = self.lease_s * chance.uniform(1.3, 2.5)
                    sleeping = group.create_task(chance.choice(self.workers).sleep(seconds))
                    await self._look()
                    await sleeping
                    await self._look()  # what was asked of the kernel may go out only now
            case "restart":
                async with redis:
                    self._note("Redis killed and started again")
                    await self.redis.kill()
                    await asyncio.sleep(chance.uniform(0.1, 1))
                    await self.redis.start()
                    await self._back()
            case "platform":
                with self.town.weather.outage(chance) as name:
                    self.done[f"{name} unavailable for seconds"] += 1
                    await asyncio.sleep(chance.uniform(4, 10))
            case "outage":
                async with redis:
                    self._note("Redis unreachable for seconds")
                    chance.choice((self.network.cut, self.network.silence))()
                    await asyncio.sleep(chance.uniform(1, 3))
                    self.network.mend()
                    await self._back()

    def _note(self, what: str) -> None:
        self.done[what] += 1
        self.blows.append(time.time())
        if what != _WEB:
            self.struck |= self.town.under_way

    async def _back(self) -> None:
        """Redis is there again: what could not be written down in the meantime may never be."""
        self.back_at.append(time.time())
        self.struck |= self.town.under_way
        await self._look()

    async def _look(self) -> None:
        """See what was sent and not written down. While Redis is away, its return is what is looked at."""
        for pause_s in (0, _LOOK_S):
            await asyncio.sleep(pause_s)
            with suppress(StateUnavailable):
                self.town.cut_off |= await self.town.unrecorded()
