"""Which shard is looked at next: wakeups first, then what is known to become due, then a slow sweep."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from bot.domain.errors import LeaseLost, StateUnavailable
from bot.storage.queue.inbox import Claim, Inbox
from bot.storage.redis import keys

log = logging.getLogger(__name__)

SWEEP_S = 1.0
"""How often all shards are looked at for what a lost wakeup or a dead worker left behind."""

Begin = Callable[[Claim, float], "asyncio.Task[None]"]
"""Begins to work on a claim that was asked for at a time of `time.monotonic()`: its lease began later."""


class _Outage:
    """Logs that something fails because Redis is away, and that it works again: each once, not each time."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lasts = False

    def noted(self, error: StateUnavailable) -> None:
        """It failed."""
        if not self._lasts:
            log.warning("%s is not possible now: %s", self._what, error)
        self._lasts = True

    def over(self) -> None:
        """It worked."""
        if self._lasts:
            log.warning("%s is possible again", self._what)
        self._lasts = False


class Poller:
    """Claims what is due, `places` conversations at once, and hands each claim to `begin`.

    An idle worker waits on a wakeup that carries the shard. A shard that has something due later gets a
    timer. Losing a wakeup or a timer only costs time: the sweep finds what they would have found.
    """

    def __init__(self, inbox: Inbox, places: int, *, begin: Begin, stop: Callable[[str], None]) -> None:
        self._inbox = inbox
        self._free = asyncio.Semaphore(places)
        self._begin = begin
        self._stop = stop
        self._due: dict[int, None] = {}  # shards to look at, in order, each once
        self._wake = asyncio.Event()
        self._ended = False
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._deaf = _Outage("Listening for nudges")
        self._idle = _Outage("Claiming")
        self._unwanted: list[Claim] = []  # claims to give back
        self._going_on = asyncio.Event()
        self._going_on.set()

    async def run(self, until: asyncio.Event) -> None:
        """Claim until the event is set. Redis being away is waited out; what else goes wrong is raised."""
        watching: list[asyncio.Task[object]] = [
            asyncio.create_task(work()) for work in (until.wait, self._listen, self._sweep)
        ]
        claiming = asyncio.create_task(self._claim())
        try:
            await asyncio.wait([claiming, *watching], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Claiming is not cancelled: a claim that Redis gave and nobody took would be held for its whole
            # lease.
            self._ended = True
            self._going_on.set()
            self._wake.set()
            self._free.release()
            await asyncio.wait([claiming])
            for task in watching:
                task.cancel()
            for timer in self._timers.values():
                timer.cancel()
            await asyncio.wait(watching)
        for task in (claiming, *watching):  # better a process that ends than one that claims nothing
            if not task.cancelled():
                task.result()

    def look(self, shard: int) -> None:
        """Look at this shard soon."""
        self._due[shard] = None
        self._wake.set()

    def pause(self) -> None:
        """Claim nothing more for now; a claim that is on its way still comes."""
        self._going_on.clear()

    def go_on(self) -> None:
        """Claim again."""
        self._going_on.set()

    def give_back(self, claim: Claim) -> None:
        """Release a claim that Redis went away from, as soon as Redis is there again.

        The attempt counts: an event that Redis chokes on each time is given up in the end.
        """
        self._unwanted.append(claim)

    def _look_in(self, shard: int, ms: float) -> None:
        if ms <= 0:
            return self.look(shard)
        timer = self._timers.get(shard)
        loop = asyncio.get_running_loop()
        when = loop.time() + ms / 1000
        if timer is not None and not timer.cancelled() and loop.time() <= timer.when() <= when:
            return None
        if timer is not None:
            timer.cancel()
        self._timers[shard] = loop.call_at(when, self.look, shard)
        return None

    # Both watchers look at `_ended` too: on Python 3.11 a cancellation that meets an answer of Redis is lost.

    async def _listen(self) -> None:
        while not self._ended:
            try:
                async for wakeup in self._inbox.wakeups():
                    self._deaf.over()
                    if self._ended:
                        return
                    if isinstance(wakeup, int):
                        self.look(wakeup)
                    elif wakeup:
                        self._stop(wakeup)
                    else:
                        self._look_everywhere()
            except StateUnavailable as error:
                self._deaf.noted(error)
            await asyncio.sleep(0.5)

    def _look_everywhere(self) -> None:
        for shard in range(keys.SHARDS):
            self.look(shard)

    async def _sweep(self) -> None:
        while not self._ended:
            await asyncio.sleep(SWEEP_S)
            try:
                await self._release_unwanted()
                firsts = await self._inbox.due()
            except StateUnavailable:
                continue
            for shard, due_in_ms in enumerate(firsts):
                if due_in_ms >= 0:
                    self._look_in(shard, due_in_ms)

    async def _release_unwanted(self) -> None:
        while self._unwanted:
            try:
                await self._inbox.release(self._unwanted[0], 0)
            except LeaseLost:  # it ran out, or what was being written did arrive
                await self._inbox.forgive(self._unwanted[0])
            del self._unwanted[0]

    async def _claim(self) -> None:
        while True:
            await self._free.acquire()
            await self._going_on.wait()
            taken = await self._next()
            if self._ended:
                if taken is not None:
                    with suppress(StateUnavailable):
                        await self._inbox.release(taken[0], 0, counted=False)
                return
            if taken is None:
                self._free.release()
            else:
                self._begin(*taken).add_done_callback(lambda _: self._free.release())

    async def _next(self) -> tuple[Claim, float] | None:
        """Claim from the shard that has waited longest to be looked at; None when that led to nothing."""
        while not self._due:
            if self._ended:
                return None
            self._wake.clear()
            await self._wake.wait()
        shard = next(iter(self._due))
        del self._due[shard]
        asked_at = time.monotonic()
        try:
            claim = await self._inbox.claim(shard)
        except StateUnavailable as error:
            self._idle.noted(error)
            self.look(shard)
            await asyncio.sleep(0.5)
            return None
        self._idle.over()
        more_in_ms = claim.more_in_ms if isinstance(claim, Claim) else claim
        if more_in_ms >= 0:
            self._look_in(shard, more_in_ms)
        return (claim, asked_at) if isinstance(claim, Claim) else None
