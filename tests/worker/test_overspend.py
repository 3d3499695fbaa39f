"""Parallel messages, two processes and kills: no more is spent than a limit allows, and nothing stays reserved."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from math import floor
from pathlib import Path
from random import Random
from unittest.mock import patch

from aiohttp import web

from bot.app.services import Services
from bot.domain.events import now
from bot.domain.turns import Usage
from bot.storage.redis.client import Redis
from bot.storage.usage import records
from tests.chaos.machines import Machine, RedisServer
from tests.chaos.nursery import Nursery, a_nursery
from tests.chaos.scene import KEY, Scene
from tests.chaos.senders import Teams
from tests.simulators.azure import AzureSimulator
from tests.simulators.azure_wire import Answer
from tests.simulators.teams import TENANT
from tests.support.charges import unsettled
from tests.support.patience import PATIENCE_S

MESSAGES = 200
KILL_AT = (5, 10, 16, 22)
"""After so many calls, one of the workers is killed. At least so many fit into the limit at once."""
MOST = 700_000
"""Micro-dollars. An answer costs $0.006, and $0.02 to $0.03 are reserved for it, so that many messages are refused."""
LIMITS = "tenant: $0.70/day, $0.70/month; person: $0.70/day, 100M tokens/minute"
SETTINGS = {
    "AZURE_OPENAI_CHAT_DEPLOYMENT": "gpt-4o",
    "PARLEY_LEASE_S": "1",
    "PARLEY_CONCURRENCY": "100",
    "PARLEY_ATTEMPTS": "50",
    "PARLEY_LIMITS": LIMITS,
    "PARLEY_LOG_LEVEL": "error",
}


class CountedAzure(AzureSimulator):
    """Tells when it has been asked so often."""

    def __init__(self) -> None:
        super().__init__(first_s=0.1, interval_s=0.02)
        self.calls = 0
        self.asked_again = asyncio.Condition()
        self.answer = lambda _: Answer(text="word " * 200, chunks=10)

    async def _stream(
        self, request: web.Request, deployment: str, events: Iterable[bytes], lead: int
    ) -> web.StreamResponse:
        async with self.asked_again:
            self.calls += 1
            self.asked_again.notify_all()
        return await super()._stream(request, deployment, events, lead)

    async def until(self, calls: int) -> None:
        """Wait until it was asked so often."""
        async with self.asked_again, asyncio.timeout(PATIENCE_S):
            await self.asked_again.wait_for(lambda: self.calls >= calls)


@dataclass
class Watch:
    """Looks at every counter of the tenant, whenever a model is called. `wrong` is what must not be."""

    redis: Redis
    azure: CountedAzure
    wrong: list[str] = field(default_factory=list[str])
    looks: int = 0
    most_held: int = 0

    async def run(self) -> None:
        """Look until it is cancelled."""
        seen = 0
        while True:
            await self.azure.until(seen + 1)
            seen = self.azure.calls
            await self.look()

    async def look(self) -> None:
        """Look once."""
        names = [name async for name in self.redis.scan("parley:{t:*}:spent:*")]
        names += [name async for name in self.redis.scan("parley:{t:*}:rate:*")]
        found = await self.redis.many([("HGETALL", name) for name in names])
        for name, fields in zip(names, found, strict=True):
            self._check(name, {key.decode(): value for key, value in fields.items()})
        self.looks += bool(names)

    def _check(self, name: str, fields: dict[str, bytes]) -> None:
        amounts = {key: int(value) for key, value in fields.items() if value.lstrip(b"-").isdigit()}
        self.wrong += [f"{name} {key}: {amount}" for key, amount in amounts.items() if amount < 0]
        held = amounts.get("held_microdollars", 0)
        used = amounts.get("microdollars", 0) + held
        self.wrong += [f"{name}: {used} of {MOST} micro-dollars"] if used > MOST else []
        self.most_held = max(self.most_held, held)


async def work(scene: Scene, azure: CountedAzure, nursery: Nursery) -> None:
    """Ask all at once, with two workers, of which one or the other is killed now and then, until nothing waits."""
    async with AsyncExitStack() as stack:
        log, chance = scene.folder / "workers.log", Random(14)
        workers = [Machine(nursery, "worker", scene.env, log, chance) for _ in range(2)]
        for worker in workers:
            await stack.enter_async_context(worker.running())
        assert isinstance(scene.platform, Teams)
        said = [scene.platform.say(f"a:{n}", "alice", f"What of {n}?") for n in range(MESSAGES)]
        asking = asyncio.gather(*said)
        for number, calls in enumerate(KILL_AT):
            await azure.until(calls)
            workers[number % 2].kill()
        await asking
        async with asyncio.timeout(PATIENCE_S):
            while [name async for name in scene.services.storage.redis.scan("parley:*:inbox:*")]:
                pass  # each look is a round trip
        assert sum(worker.kills for worker in workers) == len(KILL_AT)
    await scene.services.storage.charges.sweep()  # what a worker does when it starts, and every 20 s


async def answers(services: Services) -> Counter[str]:
    """How many messages were answered, and how many refused."""
    turns = services.storage.turns
    names = [name async for name in turns.conversations()]
    return Counter([turn.outcome for name in names for turn in await turns.turns(name)])


async def booked(redis: Redis) -> list[Usage]:
    """Every call of the records, each attempt of which must be there once."""
    today = now().date()
    charges = [one async for one in records.charges(redis, today - timedelta(days=1), today)]
    attempts = Counter(charge.attempt for charge in charges)
    assert set(attempts.values()) == {1}
    return [usage for charge in charges for usage in charge.usage]


async def test_parallel_messages_never_overspend(tmp_path: Path) -> None:
    """Field fault 115: with several processes, and kills, a limit of $0.10 a day spent $0.70."""
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"AZURE_OPENAI_API_KEY": KEY}))
        server = await stack.enter_async_context(RedisServer(tmp_path, fsync="everysec"))
        azure = await stack.enter_async_context(CountedAzure())
        nursery = await stack.enter_async_context(a_nursery())
        scene = Scene("personal", server.url, tmp_path, azure, SETTINGS)
        await stack.enter_async_context(scene.open())
        redis = scene.services.storage.redis
        watch = Watch(redis, azure)
        watching = asyncio.create_task(watch.run())
        await work(scene, azure, nursery)
        watching.cancel()
        await watch.look()
        counts, calls = await answers(scene.services), await booked(redis)
        used = await scene.services.storage.ledger.spent(TENANT, None, now().date(), now().date())
        left = await unsettled(redis)
    assert watch.wrong == []
    assert watch.looks > 20
    assert watch.most_held > MOST / 2, "so much was reserved that the limit was what refused"
    assert counts.total() == MESSAGES
    assert min(counts["answered"], counts["refused"]) > 10, counts
    assert left == [], "nothing is reserved or owed"
    assert used.microdollars == sum(floor((one.usd or 0.0) * 1_000_000 + 0.5) for one in calls) <= MOST
    assert len(calls) >= azure.calls > counts["answered"], "what killed workers called is booked"
