"""The HTTP endpoint for Teams: requests are verified, stored, then acknowledged."""

import logging
from collections.abc import Callable, Collection
from typing import Any

from aiohttp import web
from botbuilder.core import TurnContext
from botbuilder.integration.aiohttp import CloudAdapter
from botbuilder.schema import Activity as SdkActivity

from adapters.shared.bounded_cache import BoundedCache
from adapters.shared.http_body import TooLarge, parse_json, read_body
from adapters.teams.activities.activity import Activity, read, user_of
from adapters.teams.activities.parser import installed, parse
from adapters.teams.answers import cards
from adapters.teams.api.connector import Fields
from adapters.teams.cloud import Cloud
from adapters.teams.inbound.edits import RecentMessages
from adapters.teams.inbound.jwt_auth import JwtAuthentication
from adapters.teams.inbound.settings import SettingsDialogs, asks_for_settings
from bot.domain.adapter import Accept
from bot.domain.errors import Malformed, StateUnavailable, Unauthentic, Unavailable
from bot.domain.events import Event, MessageReceived
from bot.domain.words import marked, tr, write_for

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 1024 * 1024
"""Activities of Teams are a few kilobytes, messages at most about 100."""

WELCOME = marked(
    "Hello! Send me a message here, or mention me in a chat or a channel. "
    "“Draw a red bicycle” creates an image, and `help` shows what else I can do."
)
WELCOME_ALL = marked(
    "Hello, everybody! Mention me to ask a question here, or mention me with `help` to see what I can do. "
    "For private questions, or to send files, use a one-on-one chat with me."
)
BUSY = marked(
    "Several of your messages are still waiting for an answer here. Please send this one again later."
)
STRANGER = marked("Sorry, I'm not set up for your organisation. Please contact the people who run this bot.")
_MAX_SEEN = 1024

SendSoon = Callable[[Activity, Fields], None]
"""Posts a message in the conversation of an activity, in the background."""


class WebhookHandler:
    """POST /api/messages.

    Status 200 after the event is stored, 400 malformed, 401 not signed by Microsoft, 413 too large, 415 not
    JSON, 501 unknown invoke, 503 storage or signing keys are unavailable (Teams delivers again).
    """

    def __init__(
        self,
        auth: JwtAuthentication,
        cloud: Cloud,
        accept: Accept,
        send_soon: SendSoon,
        dialogs: SettingsDialogs | None,
        tenants: Collection[str],
    ) -> None:
        """`tenants` are the organisations that are served; empty serves all."""
        self._auth = auth
        self._cloud = cloud
        self._accept = accept
        self._send_soon = send_soon
        self._dialogs = dialogs
        self._tenants = tenants
        self._seen = BoundedCache[str, None](_MAX_SEEN)
        self._recent = RecentMessages()
        self._sdk: Any = CloudAdapter(auth)  # its types are partial

    async def handle(self, request: web.Request) -> web.Response:
        try:
            return await self._handle(request)
        except Unauthentic as error:
            log.info("Rejected a request to /api/messages: %s", error)
            return web.json_response({"error": "not signed by the Bot Framework"}, status=401)
        except TooLarge as error:
            log.warning("Rejected a request to /api/messages: its body is %s", error)
            return web.json_response({"error": str(error)}, status=413)
        except Malformed as error:
            log.warning("Rejected a malformed request to /api/messages: %s", error)
            return web.json_response({"error": str(error)[:200]}, status=400)
        except StateUnavailable:
            return _retry_later("events can't be stored at the moment")
        except Unavailable as error:
            log.warning("A request to /api/messages can't be authenticated at the moment: %s", error)
            return _retry_later("the sender can't be authenticated at the moment")

    async def _handle(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.json_response({"error": "the content type must be application/json"}, status=415)
        header = request.headers.get("Authorization", "")
        if self._auth.required and not header.startswith("Bearer "):
            raise Unauthentic("no bearer token")
        activity = read(parse_json(await read_body(request, BODY_LIMIT_BYTES)))
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
            raise Unauthentic("the service URL is not a Microsoft endpoint")
        sender = user_of(activity)
        write_for(sender.locale, sender.zone)
        if self._tenants and activity.tenant.lower() not in self._tenants:
            return self._decline(activity)
        if installed(activity) and self._first_time(f"installed {activity.id}"):
            self._send_soon(activity, self._welcome(activity))
        if activity.type == "invoke" and self._dialogs is not None:
            answer = await self._dialogs.answer(activity)
            if answer is not None:
                return web.json_response(answer)
        event = parse(activity)
        if isinstance(event, MessageReceived) and self._dialogs is not None and asks_for_settings(event):
            card = await self._dialogs.settings(activity)
            if self._first_time(event.id):
                self._send_soon(activity, {"type": "message", "attachments": [cards.attached(card)]})
        else:
            await self._store(activity, event)
        if activity.type != "invoke":
            return web.Response(status=200)
        if event is None and activity.name != "message/submitAction":
            return web.Response(status=501)
        return web.json_response({})

    async def _store(self, activity: Activity, event: Event | None) -> None:
        """Raises StateUnavailable; Teams then delivers the activity again, and what is stored is a duplicate."""
        for change in self._recent.changes(activity, event):
            receipt = await self._accept(change)
            if receipt == "busy":
                self._send_soon(activity, {"type": "message", "text": tr(BUSY)})
            elif receipt in ("accepted", "duplicate", "ignored"):
                self._recent.remember(change)

    def _welcome(self, activity: Activity) -> Fields:
        if activity.kind == "personal":
            card = cards.attached(cards.welcome(self._dialogs is not None))
            return {"type": "message", "text": tr(WELCOME), "attachments": [card]}
        return {"type": "message", "text": tr(WELCOME_ALL)}

    def _decline(self, activity: Activity) -> web.Response:
        """Tell each conversation of a tenant that is not served once."""
        if activity.type == "message" and self._first_time(f"stranger {activity.conversation.id}"):
            self._send_soon(activity, {"type": "message", "text": tr(STRANGER)})
        return web.Response(status=403 if activity.type == "invoke" else 200)

    def _first_time(self, what: str) -> bool:
        """Whether this process sees this for the first time, so that redeliveries repeat no notice."""
        if what in self._seen:
            return False
        self._seen[what] = None
        return True


def _retry_later(why: str) -> web.Response:
    return web.json_response({"error": why}, status=503, headers={"Retry-After": "5"})
