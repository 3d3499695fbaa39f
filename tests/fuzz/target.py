"""The whole application in this process, behind its real web server, and a client that sends raw bytes."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, patch

from aiohttp import ClientSession

from adapters.shared.client_address import TrustedProxies
from adapters.shared.http_server import serving
from bot.app.server import find_adapters, web_app
from bot.app.services import Services, open_services
from bot.app.settings import Settings
from bot.storage.redis import keys
from tests.adapters.studio.directory import CLIENT, SECRET, TENANT, open_directory
from tests.fuzz.requests import Maker, routes_of
from tests.simulators.slack import SlackSimulator
from tests.simulators.teams import TeamsSimulator

PATIENCE_S = 100.0
DELIVERY_S = 0.5
TOKEN = "the operator's token"
ANSWER_BYTES = 64 * 1024 * 1024


EXPECTED = ("channel_not_found", "ClientConnectorDNSError", "user_not_found", "not_in_channel", "InvalidURL")
"""What the simulated platforms say of places and addresses that a mutation made up."""


class Complaints(logging.Handler):
    """Every unexpected error that was logged, and every exception that nobody retrieved."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        received = self.format(record)[-3000:]
        if not any(words in received for words in EXPECTED):
            self.heard.append(received)

    def on_loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler."""
        of = context.get("future") or context.get("task") or context.get("handle")
        self.heard.append(f"{context.get('message')}: {context.get('exception')!r} {of!r}")


@asynccontextmanager
async def listening() -> AsyncGenerator[Complaints]:
    """Hear every complaint until the end of the block."""
    complaints, loop = Complaints(), asyncio.get_running_loop()
    before = loop.get_exception_handler()
    logging.getLogger().addHandler(complaints)
    loop.set_exception_handler(complaints.on_loop)
    try:
        yield complaints
    finally:
        loop.set_exception_handler(before)
        logging.getLogger().removeHandler(complaints)


@dataclass
class Target:
    """A running Parley, and what a client needs to know of it."""

    services: Services
    port: int
    maker: Maker
    slack: SlackSimulator
    teams: TeamsSimulator
    statuses: dict[int, int] = field(default_factory=dict[int, int])

    async def send(self, request: bytes) -> int:
        """The status of the answer, 0 where the server closed without one; 599 where none came in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                return await self._send(request)
        return 599

    async def _send(self, request: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=ANSWER_BYTES)
        try:
            with suppress(ConnectionError):
                writer.write(request)
                status = await _answer(reader, has_body=not request.startswith(b"HEAD"))
                self.statuses[status] = self.statuses.get(status, 0) + 1
                return status
            return 0
        finally:
            writer.close()

    async def is_well(self) -> bool:
        """Whether it still answers."""
        return await self.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") == 200

    async def done(self) -> None:
        """Wait until the worker has answered, or given up, everything that was accepted."""
        async with asyncio.timeout(10 * PATIENCE_S):
            while [name async for name in self.services.storage.redis.scan("parley:*inbox*")]:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    async def forget(self) -> None:
        """Delete what is stored, except for the session: what waits would fill the inboxes up."""
        redis = self.services.storage.redis
        stored = [
            name async for name in redis.scan("parley:*") if not keys.kind_of(name).startswith("session")
        ]
        await redis.many([("DEL", name) for name in stored])


async def _answer(reader: asyncio.StreamReader, *, has_body: bool) -> int:
    """The status, after the whole body of an answer that has an end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return 0
    status = int(head.split(b" ", 2)[1])
    lowered = head.lower()
    if not has_body:
        return status
    if b"content-length:" in lowered:
        length = int(lowered.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        with suppress(asyncio.IncompleteReadError):
            await reader.readexactly(length)
    elif b"text/event-stream" not in lowered and b"transfer-encoding: chunked" in lowered:
        while (await reader.readline()).strip() != b"0":
            if reader.at_eof():
                break
    return status


@asynccontextmanager
async def running(folder: Path, *, worker: bool = False) -> AsyncGenerator[Target]:
    """Slack (signed), Teams (without a token) and the studio (signed in) on one server."""
    async with AsyncExitStack() as stack:
        # What is not kept would be waited for.
        stack.enter_context(patch("adapters.studio.pages.chat.PICTURE_PATIENCE_S", 0.0))
        # Signing out and deleting one's data are among the requests: the session is for all of them.
        stack.enter_context(patch("adapters.studio.auth.session_cache.SessionCache.end", AsyncMock()))
        stack.enter_context(patch("bot.storage.studio.sessions.Sessions.end", AsyncMock(return_value=0)))
        slack = await stack.enter_async_context(SlackSimulator())
        teams = await stack.enter_async_context(TeamsSimulator(authenticate=False))
        directory = await stack.enter_async_context(open_directory())
        given: dict[str, Any] = {
            "slack_bot_token": slack.bot_token,
            "slack_signing_secret": slack.signing_secret,
            "slack_api_url": slack.api_url,
            "parley_teams_auth": "off",
            "parley_studio_token": TOKEN,
            "parley_studio_entra_tenant": TENANT,
            "parley_studio_entra_client_id": CLIENT,
            "parley_studio_entra_client_secret": SECRET,
            "parley_studio_entra_authority": directory.url,
            "parley_limits": "person: 1000000 requests/minute",
            "parley_tenant_limit": 1_000_000,
            "parley_concurrency": 64,
            "parley_attempts": 1,  # what can't be done is known at once
        }
        settings = Settings(_env_file=None, parley_data_dir=folder, port=0, **given)  # pyright: ignore
        services = await stack.enter_async_context(open_services(settings, folder=folder))
        adapters = [await stack.enter_async_context(one) for one in find_adapters(services)]
        if worker:
            # Addresses that a mutation made up can't be reached, and would be tried for hours.
            stack.enter_context(patch("bot.worker.delivery.DELIVERY_S", DELIVERY_S))
            await stack.enter_async_context(_working(services, adapters))
        app = web_app(services, adapters)
        port = await stack.enter_async_context(serving(app, "127.0.0.1", 0, TrustedProxies(["127.0.0.1"])))
        listeners = [asyncio.create_task(adapter.listen(services.intake.accept)) for adapter in adapters]
        stack.push_async_callback(_ended, listeners)
        maker = Maker(
            routes_of(app),
            f"127.0.0.1:{port}",
            await _sign_in(port),
            slack.signing_secret,
            teams.service_url,
            f"{slack.workspace.origin}/response/unknown",
        )
        yield Target(services, port, maker, slack, teams)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _working(services: Services, adapters: Any) -> AsyncGenerator[None]:
    until = asyncio.Event()
    work = asyncio.create_task(services.worker(adapters).run(until))
    try:
        yield
    finally:
        until.set()
        await work


async def _sign_in(port: int) -> str:
    """The cookies of an operator's session and of the browser that it is in."""
    async with (
        ClientSession() as http,
        http.post(
            f"http://127.0.0.1:{port}/studio/sign-in", data={"token": TOKEN}, allow_redirects=False
        ) as response,
    ):
        return "; ".join(one.partition(";")[0] for one in response.headers.getall("Set-Cookie"))
