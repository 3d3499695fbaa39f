"""A Teams adapter on a real HTTP server, and the Teams simulator."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from aiohttp import web
from pydantic import SecretStr

from adapters.teams import Credentials, TeamsAdapter
from bot.domain.adapter import Receipt
from bot.domain.events import Event, MessageReceived, PostedMessage
from bot.domain.turns import Reply
from tests.simulators.teams import APP_ID, PASSWORD, TeamsSimulator


@dataclass
class Rig:
    """Teams, the adapter, and the events that it accepted."""

    teams: TeamsSimulator
    adapter: TeamsAdapter
    events: list[Event] = field(default_factory=list[Event])
    receipt: Receipt = "accepted"
    error: Exception | None = None
    make: Callable[[], TeamsAdapter] = field(kw_only=True)
    serve: Callable[[TeamsAdapter], Awaitable[str]] = field(kw_only=True)

    async def restart(self) -> TeamsAdapter:
        """Replace the adapter by one of another process with the same settings."""
        await self.adapter.__aexit__(None, None, None)
        self.adapter = await self.make().__aenter__()
        return self.adapter

    async def restart_web(self) -> None:
        """Let another process receive what Teams delivers."""
        self.teams.bot = await self.serve(self.adapter)

    async def accept(self, event: Event) -> Receipt:
        if self.error is not None:
            raise self.error
        self.events.append(event)
        return self.receipt

    async def asked(self, conversation: str, text: str = "hello", mention: bool = False) -> MessageReceived:
        """Ask a question; returns the event."""
        await self.teams.say(conversation, "alice", text, mention)
        received = self.events[-1]
        assert isinstance(received, MessageReceived)
        return received

    async def answer(
        self, received: MessageReceived, reply: Reply, growing: tuple[str, ...] = ()
    ) -> PostedMessage:
        """Answer as a worker does."""
        post = await self.adapter.open(received.address, None, retry=False)
        for text in growing:
            await self.adapter.update(post, text)
        return await self.adapter.close(post, reply)


@asynccontextmanager
async def served(app: web.Application) -> AsyncGenerator[str]:
    """Serve an app on a free port; yields its URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def rigged(
    authenticate: bool = True, keys_url: str = "", issuer: str = "", **options: Any
) -> AsyncGenerator[Rig]:
    """The simulator and an adapter, with short intervals."""
    async with AsyncExitStack() as stack:
        teams = await stack.enter_async_context(TeamsSimulator(authenticate=authenticate))
        teams.issuer = issuer or teams.issuer
        credentials = Credentials.checked(APP_ID, SecretStr(PASSWORD)) if authenticate else None
        cloud = msgspec.structs.replace(teams.cloud, keys_url=keys_url or teams.cloud.keys_url)
        options = {"pace_s": 0.01, "backoff_s": 0.01, **options}

        def make() -> TeamsAdapter:
            return TeamsAdapter(credentials, cloud=cloud, **options)

        async def serve(adapter: TeamsAdapter) -> str:
            app = web.Application()
            app.add_routes(adapter.routes(rig.accept))
            return await stack.enter_async_context(served(app)) + "/api/messages"

        rig = Rig(teams, await make().__aenter__(), make=make, serve=serve)
        stack.push_async_callback(lambda: rig.adapter.__aexit__(None, None, None))
        teams.bot = await serve(rig.adapter)
        yield rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged() as rig:
        yield rig
