"""The way in: one HTTP request becomes one event that is written down before anyone is thanked."""

import json
import logging
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web
from botbuilder.core import TurnContext
from botbuilder.integration.aiohttp import CloudAdapter
from botbuilder.schema import Activity as SdkActivity

from adapters.teams.activities import Activity, installed, parse, read
from adapters.teams.cloud import Cloud
from adapters.teams.gate import Gate
from bot.adapter import Accept
from bot.errors import Malformed, StateUnavailable, Unauthentic, Unavailable

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 1024 * 1024
"""Teams' own activities are a few kilobytes; its messages end at about 100."""

Greet = Callable[[Activity], None]
"""Begins to say something short, and returns at once."""


class Inbound:
    """POST /api/messages.

    200 only after `accept` has the event; 400 malformed, 401 not from Microsoft, 413 too large, 415 not
    JSON, 501 an invoke that Parley doesn't know, 503 nothing can be written down now: deliver it again.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        app_id: str,
        cloud: Cloud,
        authenticate: bool,
        accept: Accept,
        greet: Greet,
        too_busy: Greet,
    ) -> None:
        self._cloud = cloud
        self._authenticate = authenticate
        self._accept = accept
        self._greet = greet
        self._too_busy = too_busy
        self._sdk: Any = CloudAdapter(Gate(session, app_id, cloud, authenticate))  # its types are partial

    async def handle(self, request: web.Request) -> web.Response:
        """The route."""
        try:
            return await self._handle(request)
        except Unauthentic as error:
            log.info("a request to /api/messages was refused: %s", error)
            return web.json_response({"error": "not signed by the Bot Framework"}, status=401)
        except Malformed as error:
            return web.json_response({"error": str(error)[:200]}, status=400)
        except StateUnavailable:
            return _later("nothing can be written down now")
        except Unavailable as error:
            log.warning("a request to /api/messages can't be checked now: %s", error)
            return _later("the sender can't be checked now")

    async def _handle(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.json_response({"error": "only application/json is read"}, status=415)
        header = request.headers.get("Authorization", "")
        if self._authenticate and not header.startswith("Bearer "):
            raise Unauthentic("no bearer token")
        body = await _read_capped(request)
        if body is None:
            return web.json_response({"error": f"larger than {BODY_LIMIT_BYTES} bytes"}, status=413)
        try:
            activity = read(json.loads(body))
        except (ValueError, RecursionError) as error:
            raise Malformed("not JSON") from error
        return await self._process(header, activity)

    async def _process(self, header: str, activity: Activity) -> web.Response:
        response = web.Response()

        async def turn(_: TurnContext) -> None:
            nonlocal response
            response = await self._turn(activity)

        signed = SdkActivity(
            type=activity.type, channel_id=activity.channel_id, service_url=activity.service_url
        )
        await self._sdk.process_activity(header, signed, turn)
        return response

    async def _turn(self, activity: Activity) -> web.Response:
        if not self._cloud.serves(activity.service_url):
            raise Unauthentic("the service URL is not one of Microsoft's")
        if installed(activity):
            self._greet(activity)
        event = parse(activity)
        if event is not None and await self._accept(event) == "busy":
            self._too_busy(activity)
        if activity.type != "invoke":
            return web.Response(status=200)
        if event is None and activity.name != "message/submitAction":
            return web.Response(status=501)
        return web.json_response({})


def _later(why: str) -> web.Response:
    return web.json_response({"error": why}, status=503, headers={"Retry-After": "5"})


async def _read_capped(request: web.Request) -> bytes | None:
    """The raw body, or nothing when it is larger than the limit, whatever its headers say."""
    if (request.content_length or 0) > BODY_LIMIT_BYTES:
        return None
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > BODY_LIMIT_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
