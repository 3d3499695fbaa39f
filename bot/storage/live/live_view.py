"""What is being answered now: told by each worker, over a channel, for as long as somebody looks.

Nothing of it is kept, and while nobody looks nothing is sent.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from secrets import token_hex

import msgspec

from bot.domain.errors import StateUnavailable
from bot.storage.redis import keys
from bot.storage.redis.client import Redis

log = logging.getLogger(__name__)

PACE_S = 0.5
"""Between two tellings of a worker that is looked at."""
ASK_S = 2.0
"""Between two looks of somebody who looks."""
ASKED_S = 3 * ASK_S
"""For so long after a look a worker goes on telling, and what a worker told counts."""
MOST_ANSWERS = 100
TEXT_SHOWN = 1200
"""Characters of an answer, its last ones, that travel."""


class RunningAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A running answer: what somebody said, who answers it by what, for how long, and the text so far."""

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


_told = msgspec.json.Decoder(_WorkerReport)


class LiveView:
    """Between the workers, who tell, and the pages that look."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def publish(self, answers: Callable[[], Sequence[RunningAnswer]]) -> None:
        """Publish what is being answered while somebody subscribes; until cancelled. Redis being away is waited out."""
        worker, looked = token_hex(8), _WatchDeadline()
        async with asyncio.TaskGroup() as both:
            both.create_task(self._listen(looked))
            both.create_task(self._publish(worker, looked, answers))

    async def _listen(self, looked: "_WatchDeadline") -> None:
        while not _cancelled():
            try:
                async with aclosing(self._redis.subscribe(keys.LIVE_VIEW_REQUESTS)) as looks:
                    async for channel, _ in looks:
                        if _cancelled():
                            return
                        if channel:
                            looked.again()
            except StateUnavailable as error:
                log.debug("Nobody can look: %s", error)
            await asyncio.sleep(ASK_S)

    async def _publish(
        self, worker: str, looked: "_WatchDeadline", answers: Callable[[], Sequence[RunningAnswer]]
    ) -> None:
        while not _cancelled():
            await looked.wait()
            told = _WorkerReport(worker, tuple(answers())[:MOST_ANSWERS])
            try:
                await self._redis.call("PUBLISH", keys.LIVE_VIEW, msgspec.json.encode(told))
            except StateUnavailable as error:
                log.debug("What is being answered can't be told: %s", error)
            await asyncio.sleep(PACE_S)

    async def subscribe(self) -> AsyncGenerator[tuple[int, tuple[RunningAnswer, ...]]]:
        """How many workers there are and what they answer, the longest first, again and again.

        Raises StateUnavailable.
        """
        heard: dict[str, tuple[float, tuple[RunningAnswer, ...]]] = {}
        looks = 0
        looking = asyncio.create_task(self._ask())
        try:
            # Our own looks come back to us: so this goes on also when no worker is there.
            async with aclosing(self._redis.subscribe(keys.LIVE_VIEW, keys.LIVE_VIEW_REQUESTS)) as messages:
                async for channel, data in messages:
                    now = time.monotonic()
                    looks += channel == keys.LIVE_VIEW_REQUESTS
                    if channel == keys.LIVE_VIEW:
                        told = _told.decode(data)
                        heard[told.worker] = now, told.scenes
                    heard = {name: item for name, item in heard.items() if now - item[0] < ASKED_S}
                    answers = [answer for _, told in heard.values() for answer in told]
                    if heard or looks > 1:  # who was asked just now has not told yet
                        yield len(heard), tuple(sorted(answers, key=lambda answer: -answer.for_s))
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _ask(self) -> None:
        while not _cancelled():
            try:
                await self._redis.call("PUBLISH", keys.LIVE_VIEW_REQUESTS, "")
            except StateUnavailable as error:
                log.debug("Can't look: %s", error)
            await asyncio.sleep(ASK_S)


class _WatchDeadline:
    """Until when somebody wants to be told."""

    def __init__(self) -> None:
        self._until = 0.0
        self._now = asyncio.Event()

    def again(self) -> None:
        self._until = time.monotonic() + ASKED_S
        self._now.set()

    async def wait(self) -> None:
        """Until somebody looks."""
        if time.monotonic() >= self._until:
            self._now.clear()
        await self._now.wait()


def _cancelled() -> bool:
    """Whether this task was told to end; on Python 3.11 a cancellation can be lost on its way."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
