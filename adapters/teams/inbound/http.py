"""The way in: one HTTP request becomes one event that is written down before anyone is thanked."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

import aiohttp
from aiohttp import web
from botbuilder.core import TurnContext
from botbuilder.integration.aiohttp import CloudAdapter
from botbuilder.schema import Activity as SdkActivity

from adapters.shared.http_body import TooLarge, parse_json, read_body
from adapters.teams.activities.parser import Activity, installed, parse, read
from adapters.teams.activities.uninstall import uninstalled
from adapters.teams.answers import cards
from adapters.teams.api.connector import Fields
from adapters.teams.cloud import Cloud
from adapters.teams.inbound.jwt_auth import JwtAuthentication
from adapters.teams.inbound.settings import SettingsDialogs, asks_for_settings
from bot.domain.adapter import Accept
from bot.domain.errors import Malformed, StateUnavailable, Unauthentic, Unavailable
from bot.domain.events import MessageReceived

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 1024 * 1024
"""Teams' own activities are a few kilobytes; its messages end at about 100."""

WELCOME = (
    "Hello! Write to me here, or mention me in a chat or a channel, and I'll answer. "
    "`/image a red bicycle` draws a picture, and `help` shows what else I can do."
)
WELCOME_ALL = (
    "Hello, everybody! Mention me here, and I'll answer for all to see. Mention me with `help`, and I'll "
    "show what I can do. Write to me alone, and only you see it; files reach me only there."
)
BUSY = "I'm still busy with your earlier messages here. Please send this one again when I've answered them."
STRANGER = "Sorry, I don't work for your organisation. Please ask the people who run me."
_REMEMBERED = 1024

Say = Callable[[Activity, Fields], None]
"""Begins to post a message where an activity came from, and returns at once."""


class WebhookHandler:
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
        say: Say,
        reception: SettingsDialogs | None,
        tenants: Collection[str],
    ) -> None:
        """`tenants` are the organisations that are served; none named means all."""
        self._cloud = cloud
        self._authenticate = authenticate
        self._accept = accept
        self._say = say
        self._reception = reception
        self._tenants = tenants
        self._told: OrderedDict[str, None] = OrderedDict()
        self._sdk: Any = CloudAdapter(
            JwtAuthentication(session, app_id, cloud, authenticate)
        )  # its types are partial

    async def handle(self, request: web.Request) -> web.Response:
        """The route."""
        try:
            return await self._handle(request)
        except Unauthentic as error:
            log.info("a request to /api/messages was refused: %s", error)
            return web.json_response({"error": "not signed by the Bot Framework"}, status=401)
        except TooLarge as error:
            log.warning("a request to /api/messages was refused: its body is %s", error)
            return web.json_response({"error": str(error)}, status=413)
        except Malformed as error:
            log.warning("a request to /api/messages could not be read: %s", error)
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
        activity = read(parse_json(await read_body(request, BODY_LIMIT_BYTES)))
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
        if self._tenants and activity.tenant.lower() not in self._tenants:
            return self._turn_away(activity)
        if installed(activity) and self._first_time(f"installed {activity.id}"):
            self._say(activity, self._welcome(activity))
        if activity.type == "invoke" and self._reception is not None:
            answer = await self._reception.answer(activity)
            if answer is not None:
                return web.json_response(answer)
        event = parse(activity) or uninstalled(activity)
        if isinstance(event, MessageReceived) and self._reception is not None and asks_for_settings(event):
            card = await self._reception.settings(activity)
            if self._first_time(event.id):
                self._say(activity, {"type": "message", "attachments": [cards.attached(card)]})
        elif event is not None and await self._accept(event) == "busy":
            self._say(activity, {"type": "message", "text": BUSY})
        if activity.type != "invoke":
            return web.Response(status=200)
        if event is None and activity.name != "message/submitAction":
            return web.Response(status=501)
        return web.json_response({})

    def _welcome(self, activity: Activity) -> Fields:
        if activity.kind == "personal":
            card = cards.attached(cards.welcome(self._reception is not None))
            return {"type": "message", "text": WELCOME, "attachments": [card]}
        return {"type": "message", "text": WELCOME_ALL}

    def _turn_away(self, activity: Activity) -> web.Response:
        """One polite word for each conversation of a tenant that is not served, and nothing else."""
        if activity.type == "message" and self._first_time(f"stranger {activity.conversation.id}"):
            self._say(activity, {"type": "message", "text": STRANGER})
        return web.Response(status=403 if activity.type == "invoke" else 200)

    def _first_time(self, what: str) -> bool:
        """Whether this process meets this for the first time: redeliveries are told nothing twice."""
        if what in self._told:
            return False
        self._told[what] = None
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return True


def _later(why: str) -> web.Response:
    return web.json_response({"error": why}, status=503, headers={"Retry-After": "5"})
