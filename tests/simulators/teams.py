"""Microsoft Teams for a bot, as a local HTTP server: Bot Connector v3, its limits, its tokens, its faults.

In a test: `async with TeamsSimulator(bot="http://127.0.0.1:1/api/messages") as teams: await teams.say(...)`.
By itself: `python -m tests.simulators.teams --port 3979 --bot http://127.0.0.1:3978/api/messages`, driven by
GET /_control/messages, POST /_control/say and POST /_control/faults.
"""

import argparse
import asyncio
import io
import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
from aiohttp import web
from cryptography import x509

from adapters.teams.cloud import LOOPBACK, Cloud
from tests.simulators import teams_tokens
from tests.simulators.teams_display import as_shown
from tests.simulators.teams_graph import GROUP, TEAM, Graph, told
from tests.support.patience import PATIENCE_S

APP_ID = "11111111-2222-4333-8444-555555555555"
PASSWORD = "simulated-secret"
TENANT = "99999999-8888-4777-a666-555555555555"
BOT = f"28:{APP_ID}"
Activity = dict[str, Any]


@dataclass
class Message:
    """A message as people see it: a single newline is a space. `frames` are all the texts as they were sent."""

    id: str
    conversation: str
    sender: str
    text: str
    state: Literal["whole", "informative", "streaming", "stopped"] = "whole"
    began_at: float = 0.0
    updated_at: float = 0.0
    sequence: int = 0
    edits: int = 0
    only: str = ""
    frames: list[str] = field(default_factory=list[str])
    activity: Activity = field(default_factory=Activity)

    def show(self, text: str) -> None:
        """Show a text that was sent."""
        self.text = as_shown(text)
        self.frames.append(text)

    @property
    def growing(self) -> bool:
        """Whether it is a stream that has not been finished."""
        return self.state in ("informative", "streaming")


@dataclass
class Fault:
    """What goes wrong with the next `times` calls of a kind (`stream`, `message`, `typing`, `put`, `any`)."""

    status: int = 502
    times: int = 1
    on: str = "any"
    retry_after: str | None = None
    code: str = "ServiceError"
    words: str = "simulated"
    body: dict[str, Any] | None = None
    drop: bool = False
    after: bool = False


@dataclass(frozen=True)
class Delivery:
    """What the bot answered to an activity."""

    status: int
    body: str
    activity: Activity

    @property
    def conversation(self) -> str:
        """Where it was said; for a new post in a channel its own thread."""
        return str(self.activity["conversation"]["id"])


class Refusal(Exception):
    """An error of the connector."""

    def __init__(self, status: int, code: str, words: str, retry_after: str | None = None) -> None:
        super().__init__(words)
        self.status, self.code, self.words, self.retry_after = status, code, words, retry_after
        self.body: dict[str, Any] | None = None

    def response(self) -> web.Response:
        """As the connector words it."""
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        body: dict[str, Any] = {"error": {"code": self.code, "message": self.words}}
        body = body if self.body is None else self.body
        return web.json_response(body, status=self.status, headers=headers)


class TeamsSimulator:
    """One tenant with one bot; conversations come to be when somebody speaks in them.

    `a:...` is a personal chat, `19:...@thread.v2` a group chat, `19:...@thread.tacv2` a channel.
    """

    def __init__(self, bot: str = "", app_id: str = APP_ID, authenticate: bool = True, port: int = 0) -> None:
        self.bot = bot
        self.app_id = app_id
        self.authenticate = authenticate
        self.port = port
        self.stream_limit_s = 120.0
        self.latency_s = 0.0
        self.size_limit_bytes = 100 * 1024
        self.throttled = False
        self.streams = True
        self.targets = True
        self.keys = True
        self.key_id = teams_tokens.KEY_ID
        self.key_reads = 0
        self.odd_keys: list[Any] = []
        self.issuer = teams_tokens.ISSUER
        self.certificate: x509.Certificate | None = None
        self.endorsements = ["msteams"]
        self.messages: dict[str, list[Message]] = {}
        self.calls: list[tuple[str, str]] = []
        self.token_requests: list[dict[str, str]] = []
        self.typing: dict[str, int] = {}
        self.files: dict[str, tuple[bytes, str]] = {}
        self.faults: list[Fault] = []
        self.members: dict[str, set[str]] = {}
        self.channels: dict[str, str | None] = {}
        self.channel_lists = 0
        self.locales: dict[str, tuple[str, str]] = {}
        """Locale and time zone of people who are not in London."""
        self.graph = Graph(self._told)
        self._ids = itertools.count(1_700_000_000_001)
        self._sent: dict[str, deque[float]] = {}
        self._changed = asyncio.Condition()

    # ------------------------------------------------------------------ life

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        at = "/teams/v3/conversations/{conversation}/activities"
        app.add_routes(
            [
                web.post(at, self._on_post),
                web.post(at + "/{id}", self._on_post),
                web.put(at + "/{id}", self._on_put),
                web.delete(at + "/{id}", self._on_delete),
                web.get("/teams/v3/teams/{team}", self._on_team),
                web.get("/teams/v3/teams/{team}/conversations", self._on_channels),
                web.get("/teams/v3/conversations/{conversation}/members/{user}", self._on_member),
                web.get("/teams/files/{name}", self._on_file),
                web.get("/teams/v3/attachments/{name}", self._on_attachment),
                web.get("/teams/v3/attachments/{name}/views/{view}", self._on_attachment),
                web.post("/entra/{tenant}/oauth2/v2.0/token", self._on_token),
                web.get("/keys/openid", self._on_openid),
                web.get("/keys/jwks", self._on_jwks),
                web.get("/_control/messages", self._on_control_messages),
                web.post("/_control/say", self._on_control_say),
                web.post("/_control/faults", self._on_control_faults),
                *self.graph.routes(),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.service_url = f"{self.url}/teams/"
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._runner.cleanup()

    @property
    def cloud(self) -> Cloud:
        """The endpoints for an adapter that speaks with this simulator, with authentication."""
        return Cloud(
            login_url=f"{self.url}/entra",
            keys_url=f"{self.url}/keys/openid",
            issuer=self.issuer,
            graph_url=f"{self.url}/graph",
            service_hosts=LOOPBACK,
            file_hosts=LOOPBACK,
            insecure=True,
        )

    # ------------------------------------------------------------------ what people do

    async def say(
        self, conversation: str, user: str, text: str, mention: bool = False, **fields: Any
    ) -> Delivery:
        """A person writes something; `mention` puts the bot's name in front of it."""
        id = str(next(self._ids))
        if "@thread.tacv2" in conversation and ";messageid=" not in conversation:
            conversation = f"{conversation};messageid={id}"
        activity = self.activity("message", conversation, user, id=id, text=text, textFormat="plain")
        if mention:
            _mention(activity, text)
        activity.update(fields)
        self._show(Message(id=id, conversation=conversation, sender=user, text=text, activity=activity))
        return await self.deliver(activity)

    async def say_alone(self, conversation: str, user: str, text: str) -> Delivery:
        """A person writes to the bot in a group, by its slash command: nobody else sees it."""
        return await self.say(
            conversation, user, text, recipient={"id": BOT, "name": "Parley", "isTargeted": True}
        )

    async def edit(self, received: Delivery, text: str, mention: bool = False, **fields: Any) -> Delivery:
        """The person changes an earlier message; `mention` puts the bot's name in front of it."""
        changed: Activity = {
            **received.activity,
            "type": "messageUpdate",
            "text": text,
            "timestamp": _timestamp(),
            **fields,
        }
        if mention:
            _mention(changed, text)
        changed["channelData"] = {**changed["channelData"], "eventType": "editMessage"}
        return await self.deliver(changed)

    async def delete(self, received: Delivery) -> Delivery:
        """The person deletes an earlier message."""
        gone: Activity = {**received.activity, "type": "messageDelete", "timestamp": _timestamp()}
        gone.pop("text", None)
        gone["channelData"] = {**gone["channelData"], "eventType": "softDeleteMessage"}
        return await self.deliver(gone)

    async def rate(
        self, conversation: str, user: str, message_id: str, good: bool, comment: str = ""
    ) -> Delivery:
        """A person presses a thumb below an answer; Teams sends the comment as JSON in a string."""
        feedback = json.dumps({"feedbackText": comment})
        value = {"reaction": "like" if good else "dislike", "feedback": feedback}
        action = {"actionName": "feedback", "actionValue": value}
        return await self._invoke(conversation, user, "message/submitAction", action, replyToId=message_id)

    async def install(self, conversation: str, user: str) -> Delivery:
        """A person adds the bot."""
        activity = self.activity(
            "installationUpdate", conversation, user, id=f"f:{next(self._ids)}", action="add"
        )
        return await self.deliver(activity)

    async def remove(self, conversation: str, user: str) -> Delivery:
        """A person takes the bot away from a chat, or from the team of a channel."""
        id = f"f:{next(self._ids)}"
        return await self.deliver(
            self.activity("installationUpdate", conversation, user, id=id, action="remove")
        )

    async def press(
        self, conversation: str, user: str, verb: str, message_id: str, data: Activity | None = None
    ) -> Delivery:
        """A person presses an `Action.Execute` on a card; Teams shows them the card that is answered."""
        action = {"type": "Action.Execute", "verb": verb, "data": data or {}}
        value = {"action": action, "trigger": "manual"}
        return await self._invoke(conversation, user, "adaptiveCard/action", value, replyToId=message_id)

    async def extend(
        self,
        conversation: str,
        user: str,
        command: str,
        message_id: str = "",
        root: str = "",
        data: Activity | None = None,
    ) -> Delivery:
        """A person takes a command from the menu of a message, or of the field to write in; or submits it."""
        value: Activity = {"commandId": command, "commandContext": "message" if message_id else "compose"}
        if message_id:
            value["messagePayload"] = {"id": message_id, "replyToId": root or None}
        if data is not None:
            value["data"] = data
        kind = "submitAction" if data is not None else "fetchTask"
        return await self._invoke(conversation, user, f"composeExtension/{kind}", value)

    async def _invoke(
        self, conversation: str, user: str, name: str, value: Activity, **fields: Any
    ) -> Delivery:
        id = f"f:{next(self._ids)}"
        activity = self.activity("invoke", conversation, user, id=id, name=name, value=value, **fields)
        return await self.deliver(activity)

    def stop(self, conversation: str) -> None:
        """The person presses Stop below the message that is growing."""
        for message in self.messages.get(conversation, []):
            if message.growing:
                message.state = "stopped"

    async def deliver(self, activity: Activity, times: int = 1, token: str | None = None) -> Delivery:
        """Send an activity to the bot, the same one `times` times; the last answer."""
        claims = teams_tokens.inbound_claims(self.app_id, activity["serviceUrl"], iss=self.issuer)
        signed = token or teams_tokens.sign(claims, self.key_id)
        headers = {"Authorization": f"Bearer {signed}"} if self.authenticate else {}
        answers = [await self.post(json.dumps(activity), headers) for _ in range(times)]
        return Delivery(*answers[-1], activity)

    async def post(
        self, body: str | bytes, headers: dict[str, str], mime: str = "application/json"
    ) -> tuple[int, str]:
        """Send any bytes to the bot."""
        headers = {"Content-Type": mime, **headers}
        raw = body.encode() if isinstance(body, str) else body
        async with self._session.post(self.bot, data=io.BytesIO(raw), headers=headers) as response:
            return response.status, await response.text()

    def activity(self, type: str, conversation: str, user: str, **fields: Any) -> Activity:
        """What every activity of Teams has."""
        personal = conversation.startswith("a:")
        kind = "personal" if personal else "channel" if "@thread.tacv2" in conversation else "groupChat"
        locale, zone = self.locales.get(user, ("en-GB", "Europe/London"))
        client = {"locale": locale, "country": locale[-2:], "platform": "Web", "type": "clientInfo"}
        room = {"channel": {"id": conversation.partition(";")[0]}, "team": {"id": TEAM}}
        channel = room if kind == "channel" else {}
        return {
            "type": type,
            "timestamp": _timestamp(),
            "serviceUrl": self.service_url,
            "channelId": "msteams",
            "from": {"id": f"29:{user}", "name": user.title(), "aadObjectId": f"aad-{user}"},
            "conversation": {
                "conversationType": kind,
                "tenantId": TENANT,
                "id": conversation,
                **({} if personal else {"isGroup": True}),
            },
            "recipient": {"id": BOT, "name": "Parley"},
            "locale": locale,
            "localTimezone": zone,
            "localTimestamp": _timestamp().replace("Z", "+00:00"),
            "entities": [client],
            "channelData": {"tenant": {"id": TENANT}, **channel},
            **fields,
        }

    # ------------------------------------------------------------------ what tests ask

    def _told(self, conversation: str) -> list[dict[str, Any]]:
        """What was said in a conversation, as Graph tells it."""
        received = self.messages.get(conversation, [])
        return [
            told(message.id, "" if message.sender == BOT else message.sender, message.text, self.app_id)
            for message in received
        ]

    def answers(self, conversation: str) -> list[Message]:
        """What the bot shows there, in order."""
        return [message for message in self.messages.get(conversation, []) if message.sender == BOT]

    async def until(self, true: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Wait for a condition; it is looked at after each change."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(true)

    async def answered(self, conversation: str, count: int = 1, timeout_s: float = PATIENCE_S) -> Message:
        """Wait until the bot has said `count` whole messages there; the last of them."""

        def whole() -> list[Message]:
            return [message for message in self.answers(conversation) if message.state == "whole"]

        await self.until(lambda: len(whole()) >= count, timeout_s)
        return whole()[-1]

    # ------------------------------------------------------------------ the connector

    async def _on_post(self, request: web.Request) -> web.Response:
        return await self._serve(request, self._posted)

    async def _on_put(self, request: web.Request) -> web.Response:
        return await self._serve(request, self._put)

    async def _on_delete(self, request: web.Request) -> web.Response:
        return await self._serve(request, self._deleted)

    async def _serve(
        self, request: web.Request, act: Callable[[str, str, Activity], web.Response]
    ) -> web.Response:
        conversation, id = request.match_info["conversation"], request.match_info.get("id", "")
        activity: Activity = await request.json() if request.can_read_body else {}
        kind = (
            "put" if request.method == "PUT" else "delete" if request.method == "DELETE" else _kind(activity)
        )
        self.calls.append((kind, conversation))
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        fault = self._fault(kind)
        targeted = request.query.get("isTargetedActivity") == "true"
        try:
            self._check_token(request)
            if fault and not fault.after:
                raise _failed(fault, request)
            self._check_limits(conversation, activity, kind)
            if targeted:
                self._check_target(conversation, activity, request.method)
            response = act(conversation, id, activity)
            if targeted and kind == "message":
                self.messages[conversation][-1].only = activity["recipient"]["id"]
            if fault:
                raise _failed(fault, request)
        except Refusal as refusal:
            response = refusal.response()
        async with self._changed:
            self._changed.notify_all()
        return response

    def _fault(self, kind: str) -> Fault | None:
        for fault in self.faults:
            if fault.on in (kind, "any"):
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    def _check_token(self, request: web.Request) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.authenticate and not teams_tokens.is_outbound(token):
            raise Refusal(401, "BotNotAuthorized", "Authorization has been denied for this request.")

    def _check_limits(self, conversation: str, activity: Activity, kind: str) -> None:
        shown = {name: value for name, value in activity.items() if name != "attachments"}
        if len(json.dumps(shown, ensure_ascii=False).encode("utf-16-le")) > self.size_limit_bytes:
            if kind == "stream":
                raise Refusal(403, "ContentStreamNotAllowed", "Message size too large")
            raise Refusal(413, "MessageSizeTooBig", "Message size too large")
        if (
            sum(entity.get("type") == "https://schema.org/Message" for entity in activity.get("entities", []))
            > 1
        ):
            raise Refusal(400, "BadSyntax", "Only one root message entity is allowed")
        sent, now = self._sent.setdefault(conversation, deque()), time.monotonic()
        while sent and sent[0] < now - 1:
            sent.popleft()
        if self.throttled and len(sent) >= 7:
            raise Refusal(429, "TooManyRequests", "API calls quota exceeded", "1")
        sent.append(now)

    def _check_target(self, conversation: str, activity: Activity, method: str) -> None:
        if not self.targets:
            raise Refusal(403, "Forbidden", "Targeted messages are not enabled")
        if conversation.startswith("a:") or (method == "POST") != ("recipient" in activity):
            raise Refusal(400, "BadArgument", "Bad argument")

    def _posted(self, conversation: str, _: str, activity: Activity) -> web.Response:
        info = _stream_info(activity)
        if info is not None:
            return self._streamed(conversation, activity, info)
        if activity["type"] == "typing":
            self.typing[conversation] = self.typing.get(conversation, 0) + 1
            return web.json_response({}, status=202)
        if not activity.get("text") and not activity.get("attachments"):
            raise Refusal(
                400, "BadSyntax", "Activity must include non empty 'text' field or at least 1 attachment"
            )
        message = Message(str(next(self._ids)), conversation, BOT, "", activity=activity)
        message.show(str(activity.get("text", "")))
        self._show(message)
        return web.json_response({"id": message.id}, status=201)

    def _put(self, conversation: str, id: str, activity: Activity) -> web.Response:
        message = self._find(conversation, id)
        if message.growing and time.monotonic() - message.began_at < self.stream_limit_s:
            raise Refusal(400, "BadSyntax", "A message that is being streamed can't be updated")
        message.state = "whole"
        message.edits += 1
        message.activity = activity
        message.show(str(activity.get("text", "")))
        return web.json_response({"id": id})

    def _deleted(self, conversation: str, id: str, _: Activity) -> web.Response:
        self.messages[conversation].remove(self._find(conversation, id))
        return web.Response(status=200)

    # ------------------------------------------------------------------ streams

    def _streamed(self, conversation: str, activity: Activity, info: dict[str, Any]) -> web.Response:
        if not self.streams or not conversation.startswith("a:"):
            raise Refusal(403, "ContentStreamNotAllowed", "Content stream is not allowed")
        if not info.get("streamId"):
            return self._stream_begun(conversation, activity, info)
        message = self._find(conversation, str(info["streamId"]))
        self._check_stream(message)
        kind, text = info["streamType"], str(activity.get("text", ""))
        if kind == "final":
            if activity["type"] != "message" or "streamSequence" in info:
                raise Refusal(400, "BadSyntax", "Only end streaming types are allowed as a message activity")
            self._check_continued(message, text)
            message.state, message.activity = "whole", activity
            message.show(text)
            return web.json_response({}, status=202)
        self._check_update(message, activity, info)
        message.state = "informative" if kind == "informative" else "streaming"
        message.activity, message.sequence = activity, info["streamSequence"]
        message.updated_at = time.monotonic()
        message.show(text)
        return web.json_response({}, status=202)

    def _stream_begun(self, conversation: str, activity: Activity, info: dict[str, Any]) -> web.Response:
        if activity["type"] != "typing" or info.get("streamSequence") != 1:
            raise Refusal(400, "BadSyntax", "Only start streaming types are allowed without a streamId")
        now = time.monotonic()
        if any(m.growing and now - m.began_at < self.stream_limit_s for m in self.answers(conversation)):
            raise Refusal(403, "ContentStreamNotAllowed", "Content stream is not allowed")
        message = Message(str(next(self._ids)), conversation, BOT, "", activity=activity)
        message.state = "informative" if info["streamType"] == "informative" else "streaming"
        message.began_at = message.updated_at = now
        message.sequence = 1
        message.show(str(activity["text"]))
        self._show(message)
        return web.json_response({"id": message.id}, status=201)

    def _check_stream(self, message: Message) -> None:
        if message.state == "stopped":
            raise Refusal(403, "ContentStreamNotAllowed", "Content stream was canceled by user")
        if message.state == "whole":
            words = "Content stream is not allowed on an already completed streamed message"
            raise Refusal(403, "ContentStreamNotAllowed", words)
        if time.monotonic() - message.began_at >= self.stream_limit_s:
            words = "Content stream finished due to exceeded streaming time."
            raise Refusal(403, "ContentStreamNotAllowed", words)

    def _check_update(self, message: Message, activity: Activity, info: dict[str, Any]) -> None:
        if activity["type"] != "typing" or activity.get("attachments"):
            raise Refusal(400, "BadSyntax", "Only start and continue streaming types are allowed")
        if info.get("streamSequence", 0) <= message.sequence:
            code = "ContentStreamSequenceOrderPreConditionFailed"
            raise Refusal(202, code, "PreCondition failed exception when processing streaming activity.")
        if self.throttled and time.monotonic() - message.updated_at < 0.95:
            raise Refusal(429, "TooManyRequests", "API calls quota exceeded")
        self._check_continued(message, str(activity.get("text", "")))

    def _check_continued(self, message: Message, text: str) -> None:
        """Refuse what does not continue the streamed text, also as the final message."""
        if message.state == "streaming" and not text.startswith(message.frames[-1]):
            words = "Request streamed content should contain the previously streamed content"
            raise Refusal(403, "ContentStreamNotAllowed", words)

    def _find(self, conversation: str, id: str) -> Message:
        for message in self.messages.get(conversation, []):
            if message.id == id and message.sender == BOT:
                return message
        raise Refusal(404, "ActivityNotFoundInConversation", "The activity was not found in the conversation")

    def _show(self, message: Message) -> None:
        self.messages.setdefault(message.conversation, []).append(message)

    # ------------------------------------------------------------------ tokens and files

    async def _on_token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.token_requests.append({"tenant": request.match_info["tenant"], **form})
        words = ""
        if "client_assertion" in form:
            if not teams_tokens.proves(form, self.app_id, str(request.url), self.certificate):
                words = "AADSTS700027: The certificate with identifier used to sign is not registered."
        elif form.get("client_id") != self.app_id or form.get("client_secret") != PASSWORD:
            words = "AADSTS7000215: Invalid client secret provided."
        if words:
            return web.json_response({"error": "invalid_client", "error_description": words}, status=401)
        if form["scope"].startswith(self.cloud.graph_url):
            token = self.graph.token(request.match_info["tenant"])
        else:
            token = teams_tokens.outbound_token(self.app_id)
        return web.json_response({"token_type": "Bearer", "expires_in": 3599, "access_token": token})

    async def _on_openid(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.issuer, "jwks_uri": f"{self.url}/keys/jwks"})

    async def _on_jwks(self, request: web.Request) -> web.Response:
        if not self.keys:
            return web.Response(status=503)
        self.key_reads += 1
        keys = teams_tokens.jwks(self.endorsements, self.key_id)
        return web.json_response({"keys": [*self.odd_keys, *keys["keys"]]})

    async def _on_team(self, request: web.Request) -> web.Response:
        try:
            self._check_token(request)
        except Refusal as refusal:
            return refusal.response()
        return web.json_response({"id": request.match_info["team"], "name": "Team", "aadGroupId": GROUP})

    async def _on_channels(self, request: web.Request) -> web.Response:
        """The channels of a team: `channels` holds their names by id, None for the first."""
        try:
            self._check_token(request)
        except Refusal as refusal:
            return refusal.response()
        self.channel_lists += 1
        listed = [{"id": id, "name": name} for id, name in self.channels.items()]
        return web.json_response({"conversations": listed})

    async def _on_member(self, request: web.Request) -> web.Response:
        """A member; `members` holds their names by room, and nobody else is in other rooms than their own."""
        room, user = request.match_info["conversation"], request.match_info["user"]
        try:
            self._check_token(request)
            if user.removeprefix("29:") not in self.members.get(room, set()):
                raise Refusal(404, "MemberNotFoundInConversation", "Member not found.")
        except Refusal as refusal:
            return refusal.response()
        return web.json_response({"id": user, "name": user})

    async def _on_file(self, request: web.Request) -> web.Response:
        data, mime = self.files[request.match_info["name"]]
        if "inline" in request.match_info["name"]:
            try:
                self._check_token(request)
            except Refusal as refusal:
                return refusal.response()
        return web.Response(body=data, content_type=mime)

    async def _on_attachment(self, request: web.Request) -> web.Response:
        """Metadata of a stored picture or, for the view `original`, the picture."""
        data, mime = self.files[request.match_info["name"]]
        try:
            self._check_token(request)
        except Refusal as refusal:
            return refusal.response()
        if request.match_info.get("view") == "original":
            return web.Response(body=data, content_type=mime)
        views = [{"viewId": "thumbnail", "size": 9}, {"viewId": "original", "size": len(data)}]
        return web.json_response({"name": request.match_info["name"], "type": mime, "views": views})

    # ------------------------------------------------------------------ control

    async def _on_control_messages(self, request: web.Request) -> web.Response:
        return web.json_response(
            {conversation: [asdict(text) for text in shown] for conversation, shown in self.messages.items()}
        )

    async def _on_control_say(self, request: web.Request) -> web.Response:
        asked: dict[str, Any] = await request.json()
        received = await self.say(
            asked["conversation"], asked.get("user", "alice"), asked["text"], asked.get("mention", False)
        )
        return web.json_response(
            {"status": received.status, "body": received.body, "conversation": received.conversation}
        )

    async def _on_control_faults(self, request: web.Request) -> web.Response:
        self.faults.append(Fault(**await request.json()))
        return web.json_response({"faults": len(self.faults)})


def _mention(activity: Activity, text: str) -> None:
    """Put the bot's name in front of the text."""
    tag = "<at>Parley</at>"
    mentioned = {"type": "mention", "mentioned": {"id": BOT, "name": "Parley"}, "text": tag}
    others = [entity for entity in activity["entities"] if entity.get("type") != "mention"]
    activity["text"], activity["entities"] = f"{tag} {text}", [*others, mentioned]


def _stream_info(activity: Activity) -> dict[str, Any] | None:
    return next((item for item in activity.get("entities", []) if item.get("type") == "streaminfo"), None)


def _kind(activity: Activity) -> str:
    return "stream" if _stream_info(activity) else str(activity.get("type", ""))


def _failed(fault: Fault, request: web.Request) -> Refusal:
    if fault.drop and request.transport is not None:
        request.transport.abort()
    refusal = Refusal(fault.status, fault.code, fault.words, fault.retry_after)
    refusal.body = fault.body
    return refusal


def _timestamp() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def _main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--port", type=int, default=3979)
    arguments.add_argument("--bot", default="http://127.0.0.1:3978/api/messages")
    arguments.add_argument("--authenticate", action="store_true", help="demand and sign tokens")
    chosen = arguments.parse_args()
    simulator = TeamsSimulator(chosen.bot, authenticate=chosen.authenticate, port=chosen.port)
    async with simulator:
        print(f"Teams at {simulator.url}, speaking to {simulator.bot}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
