"""The live view of running answers: workers publish them on a channel while somebody subscribes.

Nothing is stored.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from secrets import token_hex

import msgspec

from bot.domain.errors import StateUnavailable
from bot.storage.redis import keys, tasks
from bot.storage.redis.client import Redis

log = logging.getLogger(__name__)

PACE_S = 0.5
"""Time between two reports of a worker."""
REQUEST_S = 2.0
"""Time between two requests of a subscriber."""
REQUEST_TTL_S = 3 * REQUEST_S
"""How long a worker publishes after a request, and how long its reports are valid."""
MAX_ANSWERS = 100
TEXT_SHOWN = 1200
"""Characters at the end of an answer that are sent."""


class RunningAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A running answer: question, template, deployment, duration, and the text so far."""

    conversation: str
    event: str
    adapter: str
    channel: str
    person: str
    asked: str
    template: str
    deployment: str
    attempt: int
    for_s: float
    text: str


class _WorkerReport(msgspec.Struct, frozen=True):
    worker: str
    scenes: tuple[RunningAnswer, ...]


_report = msgspec.json.Decoder(_WorkerReport)


class LiveView:
    """Connects workers, which publish, with pages, which subscribe."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def publish(self, answers: Callable[[], Sequence[RunningAnswer]]) -> None:
        """Publish running answers while somebody subscribes, until cancelled. Retries while Redis is unavailable."""
        worker, deadline = token_hex(8), _WatchDeadline()
        async with asyncio.TaskGroup() as both:
            both.create_task(self._listen(deadline))
            both.create_task(self._publish(worker, deadline, answers))

    async def _listen(self, deadline: "_WatchDeadline") -> None:
        while not tasks.cancelled():
            try:
                async with aclosing(self._redis.subscribe(keys.LIVE_VIEW_REQUESTS)) as requests:
                    async for channel, _ in requests:
                        if tasks.cancelled():
                            return
                        if channel:
                            deadline.extend()
            except StateUnavailable as error:
                log.debug("Can't receive requests for the live view: %s", error)
            await asyncio.sleep(REQUEST_S)

    async def _publish(
        self, worker: str, deadline: "_WatchDeadline", answers: Callable[[], Sequence[RunningAnswer]]
    ) -> None:
        while not tasks.cancelled():
            await deadline.wait()
            report = _WorkerReport(worker, tuple(answers())[:MAX_ANSWERS])
            try:
                await self._redis.call("PUBLISH", keys.LIVE_VIEW, msgspec.json.encode(report))
            except StateUnavailable as error:
                log.debug("Can't publish to the live view: %s", error)
            await asyncio.sleep(PACE_S)

    async def subscribe(self) -> AsyncGenerator[tuple[int, tuple[RunningAnswer, ...]]]:
        """An endless stream of the number of workers and their running answers, longest first.

        Raises StateUnavailable.
        """
        reports: dict[str, tuple[float, tuple[RunningAnswer, ...]]] = {}
        requests = 0
        requesting = asyncio.create_task(self._request())
        try:
            # Subscribing to our own requests keeps the stream going without workers.
            async with aclosing(self._redis.subscribe(keys.LIVE_VIEW, keys.LIVE_VIEW_REQUESTS)) as messages:
                async for channel, data in messages:
                    now = time.monotonic()
                    requests += channel == keys.LIVE_VIEW_REQUESTS
                    if channel == keys.LIVE_VIEW:
                        report = _report.decode(data)
                        reports[report.worker] = now, report.scenes
                    reports = {name: it for name, it in reports.items() if now - it[0] < REQUEST_TTL_S}
                    answers = [answer for _, running in reports.values() for answer in running]
                    if reports or requests > 1:  # after the first request, workers have not answered yet
                        yield len(reports), tuple(sorted(answers, key=lambda answer: -answer.for_s))
        finally:
            requesting.cancel()
            await asyncio.gather(requesting, return_exceptions=True)

    async def _request(self) -> None:
        while not tasks.cancelled():
            try:
                await self._redis.call("PUBLISH", keys.LIVE_VIEW_REQUESTS, "")
            except StateUnavailable as error:
                log.debug("Can't request the live view: %s", error)
            await asyncio.sleep(REQUEST_S)


class _WatchDeadline:
    def __init__(self) -> None:
        self._until = 0.0
        self._now = asyncio.Event()

    def extend(self) -> None:
        self._until = time.monotonic() + REQUEST_TTL_S
        self._now.set()

    async def wait(self) -> None:
        """Wait until somebody subscribes."""
        if time.monotonic() >= self._until:
            self._now.clear()
        await self._now.wait()
