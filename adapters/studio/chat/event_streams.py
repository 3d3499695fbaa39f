"""Streams to open pages: server-sent events until the page closes or the server stops, and lines of JSON."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from adapters.studio.auth.guard import SAFE_HEADERS, HttpError, session_end
from adapters.studio.auth.session import Person
from adapters.studio.chat.frames import encode
from bot.domain import telemetry
from bot.domain.errors import StateUnavailable

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 15.0
"""Proxies commonly close a stream that was silent for 30 or 60 seconds."""
SIGN_OFF_S = 1.0
MOST_OF_ONE = 16
"""Streams of one person in one session; each open page has one."""


class Streams:
    """The streams that this process sends; their number leaves most of its connections to others."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most or max(MOST_OF_ONE, telemetry.open_files_limit() // 8)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent_to: Counter[tuple[str, str]] = Counter()
        self._closing = False

    async def send(
        self, request: web.Request, person: Person, frames: AsyncIterator[tuple[str, bytes]]
    ) -> web.StreamResponse:
        """Frames with their ids ("" for none) as server-sent events, until the page closes. Raises HttpError."""
        who = (person.id, person.session)
        if self._closing:
            raise HttpError(503, "The server is stopping.")
        if self._sent_to[who] >= MOST_OF_ONE:
            words = "Too many studio pages are open in this session. Close some and reload this one."
            raise HttpError(429, words, 5)
        if self._sent_to.total() >= self._most:
            raise HttpError(503, "Too many studio pages are open. Try again in a few minutes.", 60)
        self._sent_to[who] += 1
        try:
            return await self._send(request, frames)
        finally:
            self._sent_to[who] -= 1
            self._sent_to += Counter[tuple[str, str]]()  # drops those who have none

    async def _send(
        self, request: web.Request, frames: AsyncIterator[tuple[str, bytes]]
    ) -> web.StreamResponse:
        response = await _prepared(request, "text/event-stream")
        tasks = {asyncio.create_task(_pump(response, frames)), asyncio.create_task(_stay(response))}
        self._tasks |= tasks
        ended = session_end(request)
        try:
            await asyncio.wait({*tasks, ended} if ended else tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks -= tasks
        if ended is not None and ended.done():
            await _sign_off(request, response)
        return response

    async def hang_up(self) -> None:
        """End every stream; the pages reconnect when there is a server again."""
        self._closing = True
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def open_stream(request: web.Request) -> web.StreamResponse:
    """Lines of JSON that are written one by one.

    If the session ends meanwhile, the connection is closed, as if the page had been.
    """
    response = await _prepared(request, "application/x-ndjson")
    if (ended := session_end(request)) is not None:

        def hang_up(future: "asyncio.Future[None]") -> None:
            if not future.cancelled() and request.transport is not None:
                request.transport.abort()

        ended.add_done_callback(hang_up)
    return response


async def _prepared(request: web.Request, mime: str) -> web.StreamResponse:
    """A response that is written bit by bit; proxies are told not to buffer it."""
    headers = {**SAFE_HEADERS, "Content-Type": mime, "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    return response


async def _sign_off(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the page that its session ended; the connection of one that doesn't read is closed."""
    try:
        async with asyncio.timeout(SIGN_OFF_S):
            await response.write(b"event: signed-out\ndata: {}\n\n")
            await response.write_eof()
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()


async def write_line(response: web.StreamResponse, frame: object) -> None:
    """Write a line of JSON. Raises ConnectionError if the page was closed."""
    await response.write(encode(frame) + b"\n")


async def _pump(response: web.StreamResponse, frames: AsyncIterator[tuple[str, bytes]]) -> None:
    try:
        async for id, frame in frames:
            name = b"id: %s\n" % id.encode() if id else b""
            await response.write(b"%sdata: %s\n\n" % (name, frame))
    except ConnectionError:
        log.debug("a page closed its stream")
    except StateUnavailable:
        log.warning("the event stream is unavailable; the page will reconnect")


async def _stay(response: web.StreamResponse) -> None:
    """Comments keep proxies from closing a silent stream, and show when the page has closed it."""
    with suppress(ConnectionError):
        while True:
            await response.write(b": here\n\n")
            await asyncio.sleep(KEEP_ALIVE_S)
