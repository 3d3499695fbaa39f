"""The answers that are being written now, in every conversation; who watches is logged."""

import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import person_of
from adapters.studio.chat.event_streams import Streams
from adapters.studio.page import Page, Route, render
from bot.storage.live.live_view import LiveView

log = logging.getLogger(__name__)


class LivePage(Page):
    """For operators, as these are people's messages. While nobody watches, nothing is requested."""

    name = "Conversations"
    path = "/studio/live"
    role = "operator"
    listed = False

    def __init__(self, live_view: LiveView, streams: Streams) -> None:
        self._live_view = live_view
        self._streams = streams

    def routes(self) -> Iterable[Route]:
        return [Route("page", self.path, self._show), Route("get", "/studio/live/events", self._follow)]

    async def _show(self, request: web.Request) -> web.Response:
        return render(request, "live.html")

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        person = person_of(request)
        log.info("running answers were watched in the studio by %s", person.audited)
        async with aclosing(self._frames()) as frames:
            return await self._streams.send(request, person, frames)

    async def _frames(self) -> AsyncGenerator[tuple[str, bytes]]:
        """Each state that differs from the one before."""
        before = None
        async with aclosing(self._live_view.subscribe()) as states:
            async for workers, answers in states:
                # The duration is left out: the page counts by itself.
                now = workers, [(one.event, one.attempt, one.deployment, one.text) for one in answers]
                if now != before:
                    yield "", msgspec.json.encode({"workers": workers, "scenes": answers})
                before = now
