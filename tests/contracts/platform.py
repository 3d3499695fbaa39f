"""What the contract suite asks of a platform: to speak as its people do, and to tell what they see."""

import asyncio
from types import TracebackType
from typing import Protocol, Self

from bot.domain.adapter import Adapter, Receipt
from bot.domain.errors import StateUnavailable
from bot.domain.events import Event, MessageReceived
from tests.support.patience import PATIENCE_S


class FakeSelfService:
    """Stands behind `accept`: keeps the events and says what it is told to say."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.order: list[str] = []
        self.receipt: Receipt = "accepted"
        self.away = False
        self.news = asyncio.Condition()

    async def accept(self, event: Event) -> Receipt:
        async with self.news:
            self.order.append("asked to write down")
            self.events.append(event)
            self.news.notify_all()
        for _ in range(20):  # a store that takes its time: whoever does not wait for it is seen
            await asyncio.sleep(0)
        self.order.append("written down")
        if self.away:
            raise StateUnavailable("The message store is away.")
        return self.receipt

    async def received(self, count: int = 1) -> list[MessageReceived]:
        """The messages, once there are so many."""
        async with asyncio.timeout(PATIENCE_S), self.news:
            await self.news.wait_for(lambda: len(self._said()) >= count)
            return self._said()

    def _said(self) -> list[MessageReceived]:
        return [event for event in self.events if isinstance(event, MessageReceived)]


class Platform(Protocol):
    """A platform that runs here, with one person on it and our adapter connected."""

    adapter: Adapter
    self_service: FakeSelfService
    has_routes: bool
    """Events come by HTTP: statuses matter."""
    completes: bool
    """What was shown can be changed: a begun message is completed in place."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def say(self, text: str, number: int = 1) -> int:
        """The person's message of this number, delivered (again); the HTTP status, or 200 without HTTP."""
        ...

    async def deliver(self, body: bytes, *, signed: bool = True) -> int:
        """Any bytes at the door for events; the HTTP status."""
        ...

    async def shown(self) -> list[str]:
        """The bot's messages as a person reads them, the oldest first; Markdown may be marked or not."""
        ...

    async def pictures(self) -> list[str]:
        """The descriptions of the pictures that the person sees."""
        ...

    async def harm(self) -> list[str]:
        """What in the bot's messages would act: page people, run, or steer a terminal."""
        ...

    def outage(self, on: bool) -> None:
        """While on, the platform takes nothing."""
        ...

    async def another(self) -> Adapter:
        """The adapter of another process, connected to the same platform."""
        ...
