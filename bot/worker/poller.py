"""Claims what is due: woken by wake-ups, timers and a slow sweep."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from bot.domain.errors import LeaseLost, StateUnavailable
from bot.storage.queue.inbox import Claim, Due, Inbox, Wakeup
from bot.storage.redis import tasks
from bot.worker.fair_shares import FairShares

log = logging.getLogger(__name__)

SWEEP_S = 1.0
"""Interval for checking all shards, for lost wake-ups and crashed workers."""

Begin = Callable[[Claim, float], "asyncio.Task[None]"]
"""Starts a job. The second argument is when the claim was requested (`time.monotonic()`), before its lease began."""


class _Outage:
    """Logs the beginning and the end of an outage, once each."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._down = False

    def failed(self, error: Exception) -> None:
        if not self._down:
            unexpected = None if isinstance(error, StateUnavailable) else error
            log.warning("%s is interrupted: %s", self._what, error, exc_info=unexpected)
        self._down = True

    def succeeded(self) -> None:
        if self._down:
            log.warning("%s works again", self._what)
        self._down = False


class Poller:
    """Claims due conversations, up to `places` at once and `tenant_places` of one tenant, and passes each to `begin`.

    An idle worker waits for a wake-up, which names a shard. A shard with something due later gets a
    timer. A lost wake-up or timer only costs time, because the sweep makes up for it.
    """

    def __init__(
        self,
        inbox: Inbox,
        places: int,
        *,
        begin: Begin,
        stop: Callable[[str], None],
        tenant_places: int | None = None,
    ) -> None:
        self._inbox = inbox
        self._free = asyncio.Semaphore(places)
        self._begin = begin
        self._stop = stop
        self._shares = FairShares(tenant_places or places)
        self._wake = asyncio.Event()
        self._ended = False
        self._timers: dict[int, tuple[float, asyncio.Handle]] = {}  # uvloop's handles don't always say when
        self._listening = _Outage("Listening for wake-ups")
        self._claiming = _Outage("Claiming")
        self._sweeping = _Outage("Looking for what is due")
        self._to_release: list[Claim] = []
        self._resumed = asyncio.Event()
        self._resumed.set()

    async def run(self, until: asyncio.Event) -> None:
        """Claim until the event is set. Retries while Redis is unavailable, and after any other error."""
        watching: list[asyncio.Task[object]] = [
            asyncio.create_task(work()) for work in (until.wait, self._listen, self._sweep)
        ]
        claiming = asyncio.create_task(self._claim())
        try:
            await asyncio.wait([claiming, *watching], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Claiming is not cancelled, because a claim whose response is lost is held for its whole lease.
            self._ended = True
            self._resumed.set()
            self._wake.set()
            self._free.release()
            await asyncio.wait([claiming])
            for _, timer in self._timers.values():
                timer.cancel()
            await asyncio.gather(*map(tasks.end, watching))
        for task in (claiming, *watching):  # end the process rather than keep one that claims nothing
            if not task.cancelled():
                task.result()

    def look(self, shard: int, flow: str = "") -> None:
        """Claim from this shard when it is the turn of this flow; an empty one stands for any."""
        self._shares.add(shard, flow)
        self._wake.set()

    def pause(self) -> None:
        """Start no more claims; one that is already requested may still arrive."""
        self._resumed.clear()

    def resume(self) -> None:
        self._resumed.set()

    def give_back(self, claim: Claim) -> None:
        """Release a claim as soon as Redis is available again.

        The attempt counts, so that an event with which Redis always fails reaches the dead letters.
        """
        self._to_release.append(claim)

    def _saw(self, shard: int, due: Due) -> None:
        for flow in due.flows:
            self._look_in(shard, due.in_ms, flow)

    def _look_in(self, shard: int, ms: float, flow: str) -> None:
        if ms <= 0:
            return self.look(shard, flow)
        loop = asyncio.get_running_loop()
        when = loop.time() + ms / 1000
        if shard in self._timers:
            earlier, timer = self._timers[shard]
            if loop.time() <= earlier <= when:
                return None
            timer.cancel()
        self._timers[shard] = when, loop.call_at(when, self.look, shard, flow)
        return None

    # Both watchers also check `_ended`, because 3.11's `asyncio.wait_for` can swallow a cancellation.

    async def _listen(self) -> None:
        while not self._ended:
            try:
                async for wakeup in self._inbox.wakeups():
                    self._listening.succeeded()
                    if self._ended:
                        return
                    if isinstance(wakeup, Wakeup):
                        self.look(wakeup.shard, wakeup.flow)
                    elif wakeup:
                        self._stop(wakeup)
                    else:  # wake-ups from before the subscription were lost
                        await self._look_everywhere()
            except Exception as error:
                self._listening.failed(error)
            await asyncio.sleep(0.5)

    async def _sweep(self) -> None:
        while not self._ended:
            await asyncio.sleep(SWEEP_S)
            try:
                await self._release_claims()
                await self._look_everywhere()
            except Exception as error:
                self._sweeping.failed(error)
                continue
            self._sweeping.succeeded()

    async def _look_everywhere(self) -> None:
        for shard, due in enumerate(await self._inbox.due()):
            self._saw(shard, due)

    async def _release_claims(self) -> None:
        while self._to_release:
            try:
                await self._inbox.release(self._to_release[0], 0)
            except LeaseLost:  # the lease expired, or the commit had arrived after all
                await self._inbox.forgive(self._to_release[0])
            del self._to_release[0]

    async def _claim(self) -> None:
        while True:
            await self._free.acquire()
            await self._resumed.wait()
            claimed = await self._next()
            if self._ended:
                if claimed is not None:
                    with suppress(StateUnavailable):
                        await self._inbox.release(claimed[0], 0, counted=False)
                return
            if claimed is None:
                self._free.release()
            else:
                conversation = claimed[0].conversation
                self._shares.begin(conversation)
                self._begin(*claimed).add_done_callback(partial(self._done, conversation))

    def _done(self, conversation: str, _: object) -> None:
        self._shares.end(conversation)
        self._free.release()
        self._wake.set()  # its tenant may have another place now

    async def _next(self) -> tuple[Claim, float] | None:
        """Claim for whoever has the smallest share; None if there was nothing to claim."""
        while (place := self._shares.take()) is None:
            if self._ended:
                return None
            self._wake.clear()
            await self._wake.wait()
        shard, flow, others = place
        requested_at = time.monotonic()
        try:
            claim = await self._inbox.claim(shard, flow, self._shares.full)
        except StateUnavailable as error:
            self._claiming.failed(error)
            self.look(shard, flow)
            await asyncio.sleep(0.5)
            return None
        except Exception as error:  # the sweep looks at this shard again; the others go on
            self._claiming.failed(error)
            return None
        self._claiming.succeeded()
        due = claim.more if isinstance(claim, Claim) else claim
        self._saw(shard, Due(in_ms=due.in_ms, flows=tuple(filter(None, due.flows))))
        if "" in due.flows:  # the sweep asks for whatever else there is
            for other in others:
                self.look(shard, other)
        return (claim, requested_at) if isinstance(claim, Claim) else None
