"""What chaos does to the machines, and when: by the number of questions asked, so that a seed repeats it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.chaos.machines import Machine, RedisServer
from tests.chaos.town import Town
from tests.simulators.proxy import Proxy

Kind = Literal["kill", "stop", "restart", "outage"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How often each thing happens."""

    kills: int
    stops: int
    restarts: int
    outages: int


@dataclass
class Havoc:
    """Does it, and notes when; `back_at` is when Redis could be reached again."""

    town: Town
    redis: RedisServer
    network: Proxy
    workers: Sequence[Machine]
    webs: Sequence[Machine]
    lease_s: float
    seed: int
    blows: list[float] = field(default_factory=list[float])
    back_at: list[float] = field(default_factory=list[float])
    done: Counter[str] = field(default_factory=Counter[str])

    async def wreak(self, plan: Plan, events: int) -> None:
        """Everything in the plan, spread over the questions."""
        chance = random.Random(f"{self.seed} havoc")
        often: dict[Kind, int] = {
            "kill": plan.kills,
            "stop": plan.stops,
            "restart": plan.restarts,
            "outage": plan.outages,
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
                self._note("web processes killed" if machine in self.webs else "workers killed")
                machine.kill()
            case "stop":
                self._note("workers stopped for longer than their lease")
                await chance.choice(self.workers).sleep(self.lease_s * chance.uniform(1.3, 2.5))
            case "restart":
                async with redis:
                    self._note("Redis killed and started again")
                    await self.redis.kill()
                    await asyncio.sleep(chance.uniform(0.1, 1))
                    await self.redis.start()
                    self.back_at.append(time.time())
            case "outage":
                async with redis:
                    self._note("Redis unreachable for seconds")
                    chance.choice((self.network.cut, self.network.silence))()
                    await asyncio.sleep(chance.uniform(1, 3))
                    self.network.mend()
                    self.back_at.append(time.time())

    def _note(self, what: str) -> None:
        self.done[what] += 1
        self.blows.append(time.time())
