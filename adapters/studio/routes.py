"""The pages beside the chat: which there are, and what stands on each of them."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from adapters.studio.auth.guard import Guard
from adapters.studio.chat.event_streams import Streams
from adapters.studio.pages.conversations import ConversationsPage
from adapters.studio.pages.deployments import DeploymentsPage
from adapters.studio.pages.embeddings import EmbeddingsPage
from adapters.studio.pages.evaluations import EvaluationsPage
from adapters.studio.pages.images import ImagesPage
from adapters.studio.pages.live import LivePage
from adapters.studio.pages.prompts import PromptsPage
from adapters.studio.pages.usage import UsagePage
from adapters.studio.playground.playground import PlaygroundPage
from adapters.studio.playground.pools import PoolRoutes
from adapters.studio.playground.saved_configs import SavedConfigRoutes
from adapters.studio.playground.votes import VoteRoutes
from adapters.studio.services import StudioServices
from adapters.studio.web.rendering import draw, menu, page


class Routes:
    """Without an office there are no other pages."""

    def __init__(self, guard: Guard, services: StudioServices | None) -> None:
        self._guard = guard
        self._services = services
        self.streams = Streams()

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Every route behind the guard."""
        if self._services is None:
            return []
        guard = self._guard.guard
        playground = PlaygroundPage(self._services.playground, self._guard)

        async def show_playground(request: web.Request) -> web.Response:
            return page(self.draw(request, "playground.html", "Playground", facts=playground.facts()))

        return [
            web.get("/studio/playground", guard(show_playground, need="editor", page=True)),
            *playground.routes(),
            *VoteRoutes(self._services.votes, self._services.playground, self._guard).routes(),
            *ConversationsPage(self._services, self._guard, self.draw).routes(),
            *LivePage(self._services, self._guard, self.draw, self.streams).routes(),
            *UsagePage(self._services, self._guard, self.draw).routes(),
            *EvaluationsPage(self._services.evaluations, self._guard, self.draw).routes(),
            *DeploymentsPage(self._services, self._guard, self.draw).routes(),
            *ImagesPage(self._services.playground, self._guard, self.draw).routes(),
            *EmbeddingsPage(self._services, self._guard, self.draw).routes(),
            *PromptsPage(self._services, self._guard, self.draw).routes(),
            *PoolRoutes(self._services.editor, self._services.playground, self._guard).routes(),
            *SavedConfigRoutes(self._services.saved_configs, self._guard).routes(),
        ]

    def draw(self, request: web.Request, name: str, here: str, **values: Any) -> str:
        """A page with the menu, as this person may see it."""
        person = self._guard.person(request)
        places = menu(person.role, self._services is not None)
        signed = not self._guard.open_here
        return draw(name, menu=places, here=here, role=person.role, person=person, signed=signed, **values)
