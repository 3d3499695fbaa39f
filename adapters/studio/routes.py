"""The pages beside the chat: which there are, and what stands on each of them."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from adapters.studio.auth.guard import Gate
from adapters.studio.chat.event_streams import Streams
from adapters.studio.pages.conversations import Log
from adapters.studio.pages.deployments import FleetPage
from adapters.studio.pages.embeddings import Embeddings
from adapters.studio.pages.evaluations import EvaluationsPage
from adapters.studio.pages.images import Images
from adapters.studio.pages.live import Live
from adapters.studio.pages.prompts import Prompts
from adapters.studio.pages.usage import UsagePage
from adapters.studio.playground.playground import Playground
from adapters.studio.playground.pools import Pools
from adapters.studio.playground.saved_configs import SavedSetups
from adapters.studio.playground.votes import Ballot
from adapters.studio.services import Office
from adapters.studio.web.rendering import draw, menu, page


class Rooms:
    """Without an office there are no other pages."""

    def __init__(self, gate: Gate, office: Office | None) -> None:
        self._gate = gate
        self._office = office
        self.streams = Streams()

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Every route behind the gate."""
        if self._office is None:
            return []
        guard = self._gate.guard
        playground = Playground(self._office.workbench, self._gate)

        async def show_playground(request: web.Request) -> web.Response:
            return page(self.draw(request, "playground.html", "Playground", facts=playground.facts()))

        return [
            web.get("/studio/playground", guard(show_playground, need="editor", page=True)),
            *playground.routes(),
            *Ballot(self._office.votes, self._office.workbench, self._gate).routes(),
            *Log(self._office, self._gate, self.draw).routes(),
            *Live(self._office, self._gate, self.draw, self.streams).routes(),
            *UsagePage(self._office, self._gate, self.draw).routes(),
            *EvaluationsPage(self._office.evaluations, self._gate, self.draw).routes(),
            *FleetPage(self._office, self._gate, self.draw).routes(),
            *Images(self._office.workbench, self._gate, self.draw).routes(),
            *Embeddings(self._office, self._gate, self.draw).routes(),
            *Prompts(self._office, self._gate, self.draw).routes(),
            *Pools(self._office.press, self._office.workbench, self._gate).routes(),
            *SavedSetups(self._office.saves, self._gate).routes(),
        ]

    def draw(self, request: web.Request, name: str, here: str, **values: Any) -> str:
        """A page with the menu, as this person may see it."""
        person = self._gate.person(request)
        places = menu(person.role, self._office is not None)
        signed = not self._gate.open_here
        return draw(name, menu=places, here=here, role=person.role, person=person, signed=signed, **values)
