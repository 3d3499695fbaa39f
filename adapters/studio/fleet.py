"""The deployments: what each takes and costs, how it is, and a small call to each of them on demand."""

from collections.abc import Iterable

from aiohttp import web

from adapters.studio.gate import Gate
from adapters.studio.paper import Draw, page
from adapters.studio.records import Fleet


class FleetPage:
    """Everybody may look; trying them costs a little, so that is for editors."""

    def __init__(self, fleet: Fleet, gate: Gate, draw: Draw) -> None:
        self._fleet = fleet
        self._gate = gate
        self._draw = draw

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The page, and the page after a trial."""
        guard = self._gate.guard
        return [
            web.get("/studio/deployments", guard(self._show, page=True)),
            web.post("/studio/deployments", guard(self._probe, need="editor", page=True, form=True)),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        return self._page(request, {})

    async def _probe(self, request: web.Request) -> web.Response:
        probes = await self._fleet.probe()
        return self._page(request, {(one.deployment.name, one.deployment.endpoint): one for one in probes})

    def _page(self, request: web.Request, probes: object) -> web.Response:
        states = self._fleet.states()
        return page(self._draw(request, "deployments.html", "Deployments", states=states, probes=probes))
