"""The channels: what the bot answers there without a mention."""

import logging
from collections.abc import Iterable

from aiohttp import web

from adapters.studio.auth.guard import person_of
from adapters.studio.chat.requests import form_of
from adapters.studio.page import Page, Route, acts_as, render
from bot.domain.participation import MODES
from bot.domain.publications import Place
from bot.prompts.assignments import Assignments, channel_id

log = logging.getLogger(__name__)


class ChannelsPage(Page):
    """Everyone may see the participation modes of recent channels; editors choose them."""

    name = "Channels"
    path = "/studio/channels"
    icon = "chat"

    def __init__(self, assignments: Assignments) -> None:
        self._assignments = assignments

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", self.path, self._show),
            Route("form", self.path, self._choose, "editor"),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        rows = [
            (place, MODES[mode].name if mode else "") for place, mode in await self._assignments.channels()
        ]
        default = MODES[self._assignments.default_mode].name
        return render(request, "channels.html", rows=rows, modes=list(MODES.values()), default=default)

    async def _choose(self, request: web.Request) -> web.Response:
        form, person = await form_of(request), person_of(request)
        channel = channel_id(form.get("channel", ""))
        place = Place(tenant=form.get("tenant", "").strip(), scope="channel", id=channel)
        mode = form.get("mode", "")
        await self._assignments.choose_mode(place, mode, by=acts_as(person.role))
        log.info("%s set the mode of the channel %s to %s", person.audited, channel, mode or "the default")
        return web.Response(status=303, headers={"Location": self.path})
