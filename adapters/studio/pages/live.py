"""What is being answered now, in every conversation, as it grows; who watches is logged."""

import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import Guard
from adapters.studio.chat.event_streams import Streams
from adapters.studio.services import StudioServices
from adapters.studio.web.rendering import Renderer, page

log = logging.getLogger(__name__)


class LivePage:
    """For operators: these are people's words. A page that is not looked at asks for nothing."""

    def __init__(self, services: StudioServices, guard: Guard, draw: Renderer, streams: Streams) -> None:
        self._services = services
        self._guard = guard
        self._draw = draw
        self._streams = streams

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The page, and the stream that it follows."""
        guard = self._guard.guard
        return [
            web.get("/studio/live", guard(self._show, need="operator", page=True)),
            web.get("/studio/live/events", guard(self._follow, need="operator")),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        return page(self._draw(request, "live.html", "Conversations"))

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        log.info("running answers were watched in the studio by %s", self._guard.person(request).audited)
        async with aclosing(self._frames()) as frames:
            return await self._streams.send(request, self._guard.person(request), frames)

    async def _frames(self) -> AsyncGenerator[tuple[str, bytes]]:
        """Each state that differs from the one before."""
        before = None
        async with aclosing(self._services.live_view.subscribe()) as states:
            async for workers, answers in states:
                # How long it takes goes on by itself: the page counts.
                now = workers, [(one.event, one.attempt, one.deployment, one.text) for one in answers]
                if now != before:
                    yield "", msgspec.json.encode({"workers": workers, "scenes": answers})
                before = now
