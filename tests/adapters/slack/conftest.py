"""A simulated Slack, the adapter, and a stand-in for the engine that records events."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from adapters.slack import SlackAdapter, SlackCredentials
from bot.domain.adapter import Receipt
from bot.domain.events import Event, MessageReceived, PostedMessage
from bot.domain.turns import Reply
from tests.simulators.slack import SlackSimulator


@dataclass
class Engine:
    """Replaces the inbox and records what it accepts."""

    receipt: Receipt = "accepted"
    error: Exception | None = None
    events: list[Event] = field(default_factory=list[Event])

    async def accept(self, event: Event) -> Receipt:
        if self.error is not None:
            raise self.error
        if any(known.id == event.id for known in self.events):
            return "duplicate"
        self.events.append(event)
        return self.receipt

    @property
    def received(self) -> list[MessageReceived]:
        """The messages among the events."""
        return [event for event in self.events if isinstance(event, MessageReceived)]


@dataclass
class FakeAdapter:
    """A simulated workspace, an adapter, and an engine."""

    slack: SlackSimulator
    adapter: SlackAdapter
    engine: Engine

    async def asked(
        self, text: str = "<@U0BOT> why?", channel: str = "C0GENERAL", **more: Any
    ) -> MessageReceived:
        """Ask a question; returns the event."""
        await self.slack.say(channel, "U0ALICE", text, **more)
        return self.engine.received[-1]

    async def open(
        self, received: MessageReceived, begun: PostedMessage | None = None, retry: bool = False
    ) -> PostedMessage:
        return await self.adapter.open(received.address, begun, retry)

    def shown(self, received: MessageReceived) -> list[str]:
        """The texts in the thread of a question."""
        return self.slack.answers(received.address.data["channel"], received.address.data["thread"])

    async def answer(self, received: MessageReceived, text: str) -> PostedMessage:
        """Open and close an answer."""
        return await self.adapter.close(await self.open(received), Reply(text=text))


async def listening(adapter: SlackAdapter, engine: Engine) -> tuple[web.AppRunner, str]:
    """Serve an adapter's routes on a free port."""
    app = web.Application()
    app.add_routes(adapter.routes(engine.accept))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"


def new_adapter(slack: SlackSimulator, **more: Any) -> SlackAdapter:
    """An adapter for a simulated workspace."""
    secret = SecretStr(slack.signing_secret)
    return SlackAdapter(SlackCredentials(SecretStr(slack.bot_token), secret), api_url=slack.api_url, **more)


@asynccontextmanager
async def room_with(**more: Any) -> AsyncGenerator[FakeAdapter]:
    """A workspace, and an adapter with the arguments `more`."""
    engine = Engine()
    async with (
        SlackSimulator(retry_pauses_s=(0.01, 0.02, 0.03)) as slack,
        new_adapter(slack, **more) as adapter,
    ):
        runner, slack.bot_url = await listening(adapter, engine)
        yield FakeAdapter(slack, adapter, engine)
        await runner.cleanup()


@pytest.fixture
async def room() -> AsyncIterator[FakeAdapter]:
    async with room_with() as room:
        yield room
