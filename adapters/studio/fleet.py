"""The deployments: what each takes and costs, how it is and was, and a small call to each on demand."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web

from adapters.studio.gate import Gate
from adapters.studio.paper import Draw, page
from adapters.studio.ports import Office
from adapters.studio.records import Took
from bot.types import now

PERIODS = {24: "24 hours", 168: "7 days"}
MEASURES = {"first": "First token", "whole": "Whole answer"}
WIDTH, HEIGHT, ROOM = 420, 90, 18
"""Of a chart: units of its view box; ROOM is for the words under it."""


class FleetPage:
    """Everybody may look; trying them costs a little, so that is for editors."""

    def __init__(self, office: Office, gate: Gate, draw: Draw) -> None:
        self._fleet = office.fleet
        self._latency = office.latency
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
        return await self._page(request, {})

    async def _probe(self, request: web.Request) -> web.Response:
        probes = await self._fleet.probe()
        return await self._page(
            request, {(one.deployment.name, one.deployment.endpoint): one for one in probes}
        )

    async def _page(self, request: web.Request, probes: object) -> web.Response:
        hours = next((each for each in PERIODS if request.query.get("hours") == str(each)), 24)
        took = await self._latency(hours)
        states = self._fleet.states()
        names = {state.deployment.name for state in states}
        values = {
            "states": states,
            "probes": probes,
            "hours": hours,
            "periods": PERIODS,
            "charts": {
                name: charts([one for one in took if one.deployment == name], hours) for name in names
            },
        }
        return page(self._draw(request, "deployments.html", "Deployments", **values))


def charts(took: Sequence[Took], hours: int) -> list[dict[str, Any]]:
    """For each measure that was taken: two bars for each hour, and both in words."""
    return [
        _chart(name, mine, hours)
        for measure, name in MEASURES.items()
        if (mine := [one for one in took if one.measure == measure])
    ]


def _chart(name: str, took: Sequence[Took], hours: int) -> dict[str, Any]:
    last = now().replace(minute=0, second=0, microsecond=0)
    top, step = max(one.p95_s for one in took), WIDTH / hours
    bars = [
        {
            "x": round((hours - 1 - (last - one.hour) / timedelta(hours=1)) * step + step * 0.1, 2),
            "width": round(step * 0.8, 2),
            "p50": round(HEIGHT * one.p50_s / top, 2),
            "p95": round(HEIGHT * one.p95_s / top, 2),
            "words": f"{one.hour:%d %b, %H:00}: {one.p50_s:.2f} s, 95 % within {one.p95_s:.2f} s, "
            f"{one.count:,} {'call' if one.count == 1 else 'calls'}",
        }
        for one in took
    ]
    first = last - timedelta(hours=hours - 1)
    return {
        "name": name,
        "bars": bars,
        "width": WIDTH,
        "ground": HEIGHT,
        "height": HEIGHT + ROOM,
        "top": f"{top:.2f}",
        "first": f"{first:%d %b, %H:00}",
        "newest": took[-1],
    }
