"""The deployments: limits and prices, health, latency by the hour, and a test call to each on demand."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol

from aiohttp import web

from adapters.studio.auth.guard import HttpError
from adapters.studio.chat.requests import form_of
from adapters.studio.page import Page, Route, render
from adapters.studio.web.charts import steps
from bot.domain.events import now
from bot.domain.limits import Limits
from bot.llm.routing.router import Gateway
from bot.storage.usage.latency import HourlyLatency, Latency

PERIODS = {24: "24 hours", 168: "7 days"}
MEASURES = {"first": "Time to first token", "whole": "Total time"}


class HasLimits(Protocol):
    """What knows the limits, which can change."""

    @property
    def limits(self) -> Limits: ...


class DeploymentsPage(Page):
    """Everyone may look; test calls cost a little, so they are for editors."""

    name = "Deployments"
    path = "/studio/deployments"
    icon = "server"

    def __init__(self, gateway: Gateway, latency: Latency, limited: HasLimits | None = None) -> None:
        self._gateway = gateway
        self._latency = latency
        self._limited = limited

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", self.path, self._show),
            Route("form", self.path, self._probe, "editor"),
            Route("form", f"{self.path}/wake", self._wake, "operator"),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        return await self._page(request, {})

    async def _probe(self, request: web.Request) -> web.Response:
        probes = {(one.deployment.name, one.deployment.endpoint): one for one in await self._gateway.probe()}
        return await self._page(request, probes)

    async def _wake(self, request: web.Request) -> web.Response:
        """End the cool-down of a deployment, in all processes."""
        name = (await form_of(request)).get("name", "")
        if not await self._gateway.wake(name):
            raise HttpError(404, f"“{name}” is no longer a deployment of this bot. Open Deployments again.")
        raise web.HTTPSeeOther(self.path)

    async def _page(self, request: web.Request, probes: object) -> web.Response:
        hours = next((each for each in PERIODS if request.query.get("hours") == str(each)), 24)
        took, states = await self._latency.read(hours), self._gateway.states()
        drawn: dict[str, list[dict[str, Any]]] = {}
        for name in {state.deployment.name for state in states}:
            mine = [one for one in took if one.deployment == name]
            drawn[name] = await asyncio.to_thread(charts, mine, hours)
        values = {"states": states, "probes": probes, "hours": hours, "periods": PERIODS, "charts": drawn}
        values["in_dollars"] = self._limited is not None and self._limited.limits.dollars
        return render(request, "deployments.html", **values)


def charts(took: Sequence[HourlyLatency], hours: int) -> list[dict[str, Any]]:
    """A chart of each measure by the hour, with the same numbers as text."""
    return [
        _chart(name, mine, hours)
        for measure, name in MEASURES.items()
        if (mine := [one for one in took if one.measure == measure])
    ]


def _chart(measure: str, took: Sequence[HourlyLatency], hours: int) -> dict[str, Any]:
    last = now().replace(minute=0, second=0, microsecond=0)
    first = last - timedelta(hours=hours - 1)
    places = [(one.hour - first) // timedelta(hours=1) for one in took]
    top = max(one.p95_s for one in took)
    name = f"{measure}, by the hour, of {took[0].deployment}"
    most = dict(zip(places, (one.p95_s for one in took), strict=True))
    half = dict(zip(places, (one.p50_s for one in took), strict=True))
    return {
        "name": name,
        "svg": steps(f"{name}, from {first:%d %b, %H:00}: up to {top:.2f} s", (most, half), hours),
        "measure": measure,
        "ups": (f"{top:.2f} s", f"{top / 2:.2f} s", "0 s"),
        "along": (f"{first:%d %b, %H:00}", "now"),
        "newest": took[-1],
        "heads": ("Hour (UTC)", "50th percentile", "95th percentile", "Calls"),
        "rows": [
            (f"{one.hour:%d %b, %H:00}", f"{one.p50_s:.2f} s", f"{one.p95_s:.2f} s", f"{one.count:,}")
            for one in reversed(took)
        ],
    }
