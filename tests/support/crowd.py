"""Many people who come at once to one deployment that accepts few requests, through the gateways of two processes."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import SecretStr

from bot.domain.errors import ModelBusy
from bot.domain.turns import Deployment
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.openai.model import Timeouts
from bot.llm.routing import router
from bot.llm.routing.router import Gateway
from bot.storage.redis.client import Redis
from bot.storage.usage.cooldowns import Cooldowns
from tests.llm.conftest import asks, deployment, text_of
from tests.simulators.azure import AzureSimulator
from tests.simulators.limited import REQUESTS, SAYS, FixedWindows
from tests.support.patience import PATIENCE_S

PEOPLE = 60
WINDOW_S = 20.0
ARRIVAL_S = 1.0
"""All people come within this time."""

_KEYS = {"AZURE_OPENAI_API_KEY": SecretStr("simulated-key")}
_PATIENT = Timeouts(connect_s=60, first_token_s=60, between_tokens_s=60)  # this is no test of speed


_KEPT_S = 1.0
"""A turn is kept for 2 s for whoever is late; see queue.lua."""


@dataclass
class QueueWatch:
    """What is seen of a queue by all processes: who has come, who waits, and who had a turn before an earlier request.

    `waiting` has, for each request that is not asking just now, its arrival and until when its turn is kept for it.
    """

    came: set[str] = field(default_factory=set[str])
    went: list[str] = field(default_factory=list[str])
    passed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    waiting: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])


class ObservedTurns(Cooldowns):
    """The queue of one process, watched; tells when somebody has come."""

    def __init__(
        self, redis: Redis, watch: QueueWatch, tell: Callable[[set[str]], None] | None = None
    ) -> None:
        super().__init__(redis)
        self._watch = watch
        self._tell = tell

    async def wait_turn(
        self, deployment: str, request: tuple[str, float, str, bool], **more: Any
    ) -> tuple[float, str]:
        """As in Cooldowns."""
        name, watch = request[0], self._watch
        watch.waiting.pop(name, None)
        waiting = dict(watch.waiting)
        wait_s, arrived = await super().wait_turn(deployment, request, **more)
        watch.came.add(name)
        if self._tell is not None:
            self._tell(watch.came)
        if wait_s or not more["take"]:
            watch.waiting[name] = float(arrived), time.monotonic() + wait_s + _KEPT_S
            return wait_s, arrived
        watch.went.append(name)
        now = time.monotonic()
        watch.passed += [
            (name, other)
            for other, (came, until) in waiting.items()
            if other in watch.waiting and came < float(arrived) and now < until
        ]
        return wait_s, arrived


class Outcome(NamedTuple):
    """Who was answered, in the order in which the deployment accepted them; refusals; seconds in all; who had a turn
    before somebody that came earlier and was not late.
    """

    accepted: list[int]
    refused: int
    seconds: float
    passed: list[tuple[str, str]]

    @property
    def inversions(self) -> int:
        """Pairs of people who had to wait, of whom the later one was accepted first."""
        waited = self.accepted[REQUESTS:]
        return sum(first > second for first, second in itertools.combinations(waited, 2))


def ideal_s(window_s: float, people: int = PEOPLE) -> float:
    """The beginning of the window in which the last one can be accepted."""
    return (people - 1) // REQUESTS * window_s


async def crowd(
    says: str, azure: AzureSimulator, redis_url: str, scale: float, people: int = PEOPLE
) -> Outcome:
    """Let people ask one deployment, which says in one of the ways in SAYS when it accepts more.

    Faster than in real time, the first window begins when all have come, because the machine is not faster.
    """
    limited = FixedWindows(SAYS[says], WINDOW_S * scale)
    if scale >= 1:
        limited.begin()

    def begin(came: set[str]) -> None:
        if len(came) + REQUESTS >= people:
            limited.begin()

    azure.instead[says] = limited.answer
    began = time.monotonic()
    served = deployment(azure, name=says)
    watch = QueueWatch()
    async with (
        _process(served, redis_url, watch, begin) as one,
        _process(served, redis_url, watch, begin) as other,
    ):
        tasks: list[asyncio.Task[None]] = []
        for number in range(people):
            tasks.append(asyncio.create_task(_ask((one, other)[number % 2], number)))
            await asyncio.sleep(ARRIVAL_S * scale / people)
        await asyncio.gather(*tasks)
    return Outcome([*map(int, limited.answered)], limited.refused, time.monotonic() - began, watch.passed)


@asynccontextmanager
async def _process(
    served: Deployment, redis_url: str, watch: QueueWatch, tell: Callable[[set[str]], None]
) -> AsyncGenerator[Gateway]:
    redis = Redis(redis_url, timeout_s=PATIENCE_S)
    config = DeploymentConfig(deployments=(served,))
    try:
        async with router.connect(
            config, _KEYS, limits=_PATIENT, shared=ObservedTurns(redis, watch, tell)
        ) as gateway:
            yield gateway
    finally:
        await redis.close()


async def _ask(gateway: Gateway, number: int) -> None:
    """Ask until answered, as the inbox does, and wait as long as one is told to."""
    while True:
        try:
            prompt = asks(f"{number:02}", sticky=f"person {number}")
            assert text_of([delta async for delta in gateway.chat(prompt)]) == "fine"
        except ModelBusy as busy:
            await asyncio.sleep(busy.retry_after_s or 0.0)
        else:
            return
