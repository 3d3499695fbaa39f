"""The routes for orchestrators and Prometheus: /healthz, /readyz and /metrics."""

import asyncio
import math
from collections.abc import Sequence

from aiohttp import web

from bot.app.services import Services
from bot.domain import telemetry
from bot.domain.errors import StateUnavailable
from bot.storage.embedded.supervisor import trouble
from bot.storage.queue import backlog


class Health:
    """Health and metrics of a process.

    /healthz returns 200 while the event loop runs. /readyz returns 503 while Redis is unavailable, so that a
    load balancer sends webhooks elsewhere. /metrics has the text format of Prometheus.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._counting = asyncio.Lock()

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        return (
            web.get("/healthz", self._alive),
            web.get("/readyz", self._ready),
            web.get("/metrics", self._metrics),
        )

    async def _alive(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ready(self, _: web.Request) -> web.Response:
        try:
            await self._services.storage.redis.call("PING")
        except StateUnavailable as error:
            reason = trouble(self._services.storage.redis.url) or str(error)
            return web.json_response({"status": "unavailable", "reason": reason}, status=503)
        return web.json_response({"status": "ok"})

    async def _metrics(self, _: web.Request) -> web.Response:
        async with self._counting:  # one count at a time, however many requests there are
            try:
                waiting = await backlog.count(self._services.storage.redis)
                telemetry.backlog(waiting.conversations, waiting.oldest_s)
            except StateUnavailable:
                telemetry.backlog(math.nan, math.nan)
        return web.Response(body=telemetry.metrics(), headers={"Content-Type": telemetry.METRICS_TYPE})
