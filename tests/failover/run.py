"""One failover under load: events are accepted and answered all the time, and a stream is followed."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from bot.domain.errors import LeaseLost, StateUnavailable
from bot.storage.live.event_stream import EventStream
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.worker.poller import Poller
from tests.failover.systems import System, pause, resume
from tests.support.acts import received
from tests.support.patience import PATIENCE_S
from tests.support.servers import Server

Deed = Literal["killed", "paused", "gone"]
"""`gone` is a master that was killed and never comes back."""

CONVERSATIONS, SENDERS = 60, 8
_PAUSE_S = 0.01
_LEASE_S = 3.0
_STILL = 30
"""Looks, every half second, without anything being answered: then what is missing is lost."""


@dataclass
class Outcome:
    """What became of the events. `refused` counts attempts that the platforms had to repeat."""

    acknowledged: list[str] = field(default_factory=list[str])
    answered: Counter[str] = field(default_factory=Counter[str])
    refused: int = 0
    ended: list[str] = field(default_factory=list[str])
    """Errors that ended a worker."""
    streamed: bool = False
    """Whether somebody who followed a stream all the time saw what was published after the failover."""

    @property
    def lost(self) -> list[str]:
        """What was acknowledged, and never answered."""
        return [event for event in self.acknowledged if not self.answered[event]]

    @property
    def doubled(self) -> list[str]:
        """What was answered more than once."""
        return [event for event, times in self.answered.items() if times > 1]


class Run:
    """One run. `replicas` must confirm each write."""

    def __init__(self, system: System, seed: int, replicas: int) -> None:
        self._system, self._random, self._replicas = system, Random(seed), replicas
        self._over = asyncio.Event()
        self._failed_over = asyncio.Event()
        self._unconfirmed: dict[str, str] = {}
        self.outcome = Outcome()

    async def run(self, deed: Deed) -> Outcome:
        """Load, failover, load, and then everything that waits is answered."""
        async with self._connected() as one, self._connected() as other, self._connected() as third:
            until = asyncio.Event()
            workers = [asyncio.create_task(self._work(redis, until)) for redis in (one, other)]
            stream = asyncio.create_task(self._follow(third))
            publishing = asyncio.create_task(self._publish(one, until))
            senders = [
                asyncio.create_task(self._send(number, _inbox((one, other)[number % 2])))
                for number in range(SENDERS)
            ]
            await self._grown(300)
            await self._fail_over(deed)
            self._failed_over.set()
            await self._grown(300)
            self._over.set()
            await asyncio.gather(*senders)
            await self._drained()
            await self._count_unconfirmed(third)
            self.outcome.streamed = await _within(stream, PATIENCE_S)
            until.set()
            await asyncio.gather(*workers, publishing)
        return self.outcome

    async def _fail_over(self, deed: Deed) -> None:
        former = self._system.master(self._random)
        if deed == "paused":
            pause(former)
        else:
            former.stop(kill=True)
        await self._replaced(former)
        await asyncio.sleep(self._random.random())
        if deed == "killed":
            former.start()
        elif deed == "paused":
            resume(former)

    async def _replaced(self, former: Server) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await asyncio.to_thread(self._system.replaced, former):  # noqa: ASYNC110 - of other processes
                await asyncio.sleep(0.1)

    async def _grown(self, by: int) -> None:
        """Wait until so many more events have been acknowledged."""
        count = len(self.outcome.acknowledged) + by
        async with asyncio.timeout(PATIENCE_S):
            while len(self.outcome.acknowledged) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _drained(self) -> None:
        """Wait until everything is answered; what is lost never is."""
        answered, still = -1, 0
        while self.outcome.lost and still < _STILL:
            await asyncio.sleep(0.5)
            still = still + 1 if self.outcome.answered.total() == answered else 0
            answered = self.outcome.answered.total()

    async def _count_unconfirmed(self, redis: Redis) -> None:
        """Count commits that were kept, although no confirmation came before their lease ended: nobody repeats those.

        One script writes the event and `seen`. So where `seen` is, the event was kept, and only a commit removes it.
        """
        for event in self.outcome.lost:
            conversation = self._unconfirmed.get(event)
            if conversation is not None and await redis.call("EXISTS", keys.of("seen", conversation, event)):
                self.outcome.answered[event] += 1

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Redis]:
        redis = Redis(self._system.url, replicas=self._replicas)
        try:
            yield redis
        finally:
            await redis.close()

    # -------------------------------------------------------------- load

    async def _send(self, sender: int, inbox: Inbox) -> None:
        """Send events one after another, each until it is acknowledged, as platforms do."""
        number = 0
        while not self._over.is_set():
            number += 1
            conversation = f"test:{self._random.randrange(CONVERSATIONS)}"
            event = received(event=f"{sender}-{number}", conversation=conversation)
            while True:
                try:
                    receipt = await inbox.accept(event)
                except StateUnavailable:
                    self.outcome.refused += 1
                    await asyncio.sleep(0.2)
                else:
                    break
            if receipt in ("accepted", "duplicate"):
                self.outcome.acknowledged.append(event.id)
            await asyncio.sleep(_PAUSE_S)

    async def _work(self, redis: Redis, until: asyncio.Event) -> None:
        inbox, running = _inbox(redis), set[asyncio.Task[None]]()

        def begin(claim: Claim, _: float) -> asyncio.Task[None]:
            task = asyncio.create_task(self._answer(inbox, claim))
            running.add(task)
            task.add_done_callback(running.discard)
            return task

        try:
            await Poller(inbox, 16, begin=begin, stop=lambda _: None).run(until)
        except Exception as error:
            self.outcome.ended.append(repr(error))
        await asyncio.gather(*running)

    async def _answer(self, inbox: Inbox, claim: Claim) -> None:
        confirmed = True
        while claim.event is not None:
            try:
                await inbox.commit(claim, CommitRequest(turn=None))
            except StateUnavailable:
                confirmed = False
                await asyncio.sleep(0.1)
            except LeaseLost:
                if not confirmed:
                    self._unconfirmed[claim.event.id] = claim.conversation
                return
            else:
                self.outcome.answered[claim.event.id] += 1
                return

    # -------------------------------------------------------------- stream

    async def _publish(self, redis: Redis, until: asyncio.Event) -> None:
        stream = EventStream(redis)
        while not until.is_set():
            with suppress(StateUnavailable):
                await stream.publish("test:stream", b"after" if self._failed_over.is_set() else b"before")
            await asyncio.sleep(0.2)

    async def _follow(self, redis: Redis) -> None:
        last = ""
        while True:
            try:
                async for id, frame in EventStream(redis).follow("test:stream", last):
                    last = id
                    if frame == b"after":
                        return
            except StateUnavailable:
                await asyncio.sleep(0.2)


def _inbox(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=_LEASE_S, limit=1000, retention_s=3600, tenant_limit=100_000)


async def _within(task: asyncio.Task[None], seconds: float) -> bool:
    """Whether a task ends by itself in this time. It is ended otherwise."""
    done, _ = await asyncio.wait([task], timeout=seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return bool(done)
