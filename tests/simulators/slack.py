"""Slack as a local server: its Web API, its deliveries and retries, its limits, and faults on demand.

In a test: `async with SlackSimulator() as slack:`; by itself: `python -m tests.simulators.slack --port 3200`.
"""

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import io
import json
import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlencode

import aiohttp
import msgspec
from aiohttp import web

from tests.simulators.slack_methods import FORM_ONLY, Answer, Args, Failure, Message, Workspace, methods
from tests.simulators.slack_rules import SLACK_LIMITS, RateLimits

Kind = Literal["limited", "error", "500", "drop", "drop_after", "latency"]
Payload = dict[str, Any]

DELIVERY_TIMEOUT_S = 3.0
RETRY_PAUSES_S = (0.0, 60.0, 300.0)
ALL_SCOPES = (
    "app_mentions:read,assistant:write,channels:history,chat:write,commands,files:read,files:write,"
    "groups:history,im:history,im:write,mpim:history,users:read"
)


@dataclass
class Fault:
    """What goes wrong with the next `count` calls of `method` (`*`: any); `drop_after` carries it out."""

    method: str
    kind: Kind
    count: int = 1
    code: str = "internal_error"
    seconds: float = 1.0


@dataclass
class Delivery:
    """One attempt to hand over a payload; `status` is None when there was no answer."""

    event_id: str
    retry: int
    status: int | None
    body: str = ""


class SlackSimulator:
    """One workspace with one app. Set `bot_url` to where the app listens, unless it uses Socket Mode."""

    def __init__(
        self,
        *,
        port: int = 0,
        bot_token: str = "xoxb-simulated",
        app_token: str = "xapp-simulated",
        signing_secret: str = "simulated-signing-secret",
        team: str = "T0SIM",
        limits: Mapping[str, tuple[int, float]] | None = None,
        retry_pauses_s: Sequence[float] = RETRY_PAUSES_S,
        echoes: bool = False,
    ) -> None:
        self.workspace = Workspace(team, bot_user="U0BOT", bot_id="B0BOT", bot_name="parley")
        self.bot_token, self.app_token, self.signing_secret = bot_token, app_token, signing_secret
        self.bot_url = ""
        self.scopes = ALL_SCOPES
        self.faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.log: deque[tuple[str, Args, Answer]] = deque(maxlen=2_000)
        self.deliveries: list[Delivery] = []
        self.leaked: list[str] = []
        self.times = 1
        self.shuffle: random.Random | None = None
        self.retry_pauses_s = tuple(retry_pauses_s)
        self.echoes = echoes
        self._port = port
        self._limits = RateLimits(limits or {})
        self._methods = methods(self.workspace)
        self._responses: dict[str, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._sockets: list[web.WebSocketResponse] = []
        self._acks: dict[str, asyncio.Future[Payload]] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=DELIVERY_TIMEOUT_S), connector=aiohttp.TCPConnector(limit=0)
        )
        server = web.Server(self._handle, access_log=None, keepalive_timeout=75)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.workspace.origin = f"http://127.0.0.1:{self._port}"
        self.api_url = f"{self.workspace.origin}/api/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for socket in self._sockets:
            await socket.close()
        await self._session.close()
        await self._runner.cleanup()

    # -------------------------------------------------------------- what a test looks at

    def thread(self, channel: str, ts: str) -> list[Message]:
        """The answers in a thread: everything but its root."""
        return self.workspace.thread(channel, ts)[1:]

    def answers(self, channel: str, ts: str) -> list[str]:
        """What a person reads of the bot in a thread."""
        return [m["markdown"] for m in self.thread(channel, ts) if m.get("bot_id") == self.workspace.bot_id]

    async def until(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
        """Wait until `condition` holds; it is looked at whenever something happened here."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def fault(
        self, method: str, kind: Kind, count: int = 1, code: str = "internal_error", seconds: float = 1.0
    ) -> None:
        """Let the next `count` calls of `method` go wrong."""
        self.faults.append(Fault(method, kind, count, code, seconds))

    # -------------------------------------------------------------- what people do

    async def say(
        self,
        channel: str,
        user: str,
        text: str,
        thread_ts: str | None = None,
        files: Sequence[Payload] = (),
        **more: Any,
    ) -> str:
        """A person writes; returns the message's ts once every delivery was answered."""
        content = {"text": text, "markdown": text} | (
            {"files": list(files), "subtype": "file_share"} if files else {}
        )
        message = self.workspace.add(channel, {"user": user}, thread_ts, **content, **more)
        self._changed.set()
        event = {k: v for k, v in message.items() if k != "markdown"} | {"channel": channel}
        event |= {"channel_type": "im" if channel.startswith("D") else "channel", "event_ts": message["ts"]}
        events: list[Payload] = []
        if self.workspace.bot_user in self.workspace.channels.get(channel, ()):
            events.append(event)
        if f"<@{self.workspace.bot_user}>" in text and not channel.startswith("D"):
            hidden = ("channel_type", "subtype")
            events.append({k: v for k, v in event.items() if k not in hidden} | {"type": "app_mention"})
        await self.deliver(events)
        return str(message["ts"])

    async def edit(self, channel: str, ts: str, text: str) -> None:
        """A person changes a message."""
        message = self.workspace.messages[channel, ts]
        before = _as_event(message)
        message |= {
            "text": text,
            "markdown": text,
            "edited": {"user": message["user"], "ts": self.workspace.ts()},
        }
        await self._deliver_change(
            channel, "message_changed", message=_as_event(message), previous_message=before
        )

    async def unfurl(self, channel: str, ts: str) -> None:
        """Slack adds a preview to a message: a change without changed text."""
        message = self.workspace.messages[channel, ts]
        before = _as_event(message)
        after = before | {"attachments": [{"from_url": "https://example.com", "title": "Example"}]}
        await self._deliver_change(channel, "message_changed", message=after, previous_message=before)

    async def delete(self, channel: str, ts: str) -> None:
        """A person deletes a message."""
        message = self.workspace.messages.pop((channel, ts))
        await self._deliver_change(
            channel, "message_deleted", deleted_ts=ts, previous_message=_as_event(message)
        )

    async def command(self, channel: str, user: str, command: str, text: str = "") -> Payload:
        """A person types a slash command; returns what Slack shows at once, if anything."""
        token = uuid.uuid4().hex
        self._responses[token] = {
            "channel": channel,
            "user": user,
            "uses": 0,
            "until": time.monotonic() + 1800,
        }
        form = {
            "token": "retired",
            "team_id": self.workspace.team,
            "team_domain": "simulated",
            "channel_id": channel,
            "channel_name": "directmessage" if channel.startswith("D") else "general",
            "user_id": user,
            "user_name": self.workspace.people.get(user, user),
            "command": command,
            "text": text,
            "api_app_id": "A0SIM",
            "is_enterprise_install": "false",
            "response_url": f"{self.workspace.origin}/response/{token}",
            "trigger_id": f"{self.workspace.ts()}.{token[:8]}",
        }
        delivery = await self._hand_over("slash_commands", form, urlencode(form), form["trigger_id"])
        said: Payload = (
            json.loads(delivery.body) if delivery.body.startswith("{") else {"text": delivery.body}
        )
        if said.get("text"):
            self.workspace.ephemeral.append(
                {"channel": channel, "user": user, "markdown": said["text"], **said}
            )
        return said

    async def press(self, message: Message, channel: str, user: str, good: bool = True) -> Delivery:
        """A person presses a rating button under a message."""
        elements = [e for b in message["blocks"] if b["type"] == "context_actions" for e in b["elements"]]
        element = elements[0]
        button = element["positive_button" if good else "negative_button"]
        payload = {
            "type": "block_actions",
            "user": {"id": user, "username": self.workspace.people[user], "team_id": self.workspace.team},
            "api_app_id": "A0SIM",
            "container": {
                "type": "message",
                "message_ts": message["ts"],
                "channel_id": channel,
                "is_ephemeral": False,
                **({"thread_ts": message["thread_ts"]} if message.get("thread_ts") else {}),
            },
            "trigger_id": self.workspace.ts(),
            "team": {"id": self.workspace.team, "domain": "simulated"},
            "channel": {"id": channel, "name": "general"},
            "message": {"ts": message["ts"], "text": message["text"], "team": self.workspace.team},
            "response_url": f"{self.workspace.origin}/response/unknown",
            "actions": [
                {
                    "type": "feedback_buttons",
                    "action_id": element["action_id"],
                    "block_id": "b1",
                    "value": button["value"],
                    "action_ts": self.workspace.ts(),
                }
            ],
        }
        form = urlencode({"payload": json.dumps(payload)})
        return await self._hand_over("interactive", payload, form, str(payload["trigger_id"]))

    async def stop_stream(self, channel: str, ts: str, user: str) -> None:
        """A person presses the stop button of a stream."""
        message = self.workspace.messages[channel, ts]
        message |= {"streaming": False, "streaming_state": "stopped", "stopped_by": user}
        event = {
            "type": "agent_session_stopped",
            "channel": channel,
            "streaming_message_ts": [ts],
            "thread_ts": message["thread_ts"],
            "user": user,
            "event_ts": self.workspace.ts(),
        }
        await self.deliver([event])

    async def open_home(self, user: str, tab: str = "messages") -> None:
        """A person opens the app."""
        channel = self.workspace.direct(user)
        event = {"type": "app_home_opened", "user": user, "channel": channel, "tab": tab}
        await self.deliver([event | {"event_ts": self.workspace.ts()}])

    # -------------------------------------------------------------- deliveries

    def envelope(self, event: Payload, event_id: str = "") -> Payload:
        """An event as the Events API wraps it."""
        return {
            "token": "retired",
            "team_id": self.workspace.team,
            "api_app_id": "A0SIM",
            "event": event,
            "type": "event_callback",
            "event_id": event_id or f"Ev{uuid.uuid4().hex[:10].upper()}",
            "event_time": int(float(event.get("event_ts") or 0)),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": self.workspace.team,
                    "user_id": self.workspace.bot_user,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": False,
        }

    async def deliver(self, events: Sequence[Payload]) -> list[Delivery]:
        """Hand events over, each `times` times, in order or shuffled."""
        envelopes = [self.envelope(event) for event in events]
        attempts = [(envelope, retry) for retry in range(self.times) for envelope in envelopes]
        if self.shuffle:
            self.shuffle.shuffle(attempts)
        handing_over = [
            self._hand_over("events_api", e, msgspec.json.encode(e).decode(), e["event_id"], retry)
            for e, retry in attempts
        ]
        return list(await asyncio.gather(*handing_over))

    async def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """Send anything to the app, well signed or not."""
        async with self._session.post(self.bot_url, data=io.BytesIO(body), headers=headers) as response:
            return response.status, await response.text()

    def signed(self, body: bytes, at_s: float | None = None, retry: int = 0) -> dict[str, str]:
        """The headers that Slack would send with `body`."""
        timestamp = str(int(time.time() if at_s is None else at_s))
        base = b"v0:" + timestamp.encode() + b":" + body
        signature = hmac.new(self.signing_secret.encode(), base, hashlib.sha256).hexdigest()
        mime = "application/json" if body.startswith(b"{") else "application/x-www-form-urlencoded"
        headers = {
            "Content-Type": mime,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": f"v0={signature}",
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        }
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"}
        return headers

    async def _deliver_change(self, channel: str, subtype: str, **more: Any) -> None:
        event = {
            "type": "message",
            "subtype": subtype,
            "hidden": True,
            "channel": channel,
            "ts": self.workspace.ts(),
        }
        event |= {"channel_type": "im" if channel.startswith("D") else "channel", "event_ts": event["ts"]}
        await self.deliver([event | more])

    async def _hand_over(
        self, kind: str, payload: Payload, body: str, event_id: str, retry: int = 0
    ) -> Delivery:
        """One attempt; a failed one is repeated later, as Slack does."""
        try:
            if self._sockets:
                status, answer = await self._by_socket(kind, payload, retry)
            else:
                raw = body.encode()
                status, answer = await self.post(raw, self.signed(raw, retry=retry))
        except (aiohttp.ClientError, TimeoutError, OSError):
            status, answer = None, ""
        delivery = Delivery(event_id, retry, status, answer)
        self.deliveries.append(delivery)
        self._changed.set()
        if status != 200 and kind == "events_api" and retry < len(self.retry_pauses_s):
            self._later(self._again(self.retry_pauses_s[retry], kind, payload, body, event_id, retry + 1))
        return delivery

    async def _again(self, pause_s: float, *attempt: Any) -> None:
        await asyncio.sleep(pause_s)
        await self._hand_over(*attempt)

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -------------------------------------------------------------- Socket Mode

    async def _by_socket(self, kind: str, payload: Payload, retry: int) -> tuple[int, str]:
        envelope_id = str(uuid.uuid4())
        envelope = {
            "envelope_id": envelope_id,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": True,
        }
        envelope |= {"retry_attempt": retry, "retry_reason": "timeout" if retry else ""}
        self._acks[envelope_id] = asyncio.get_running_loop().create_future()
        await self._sockets[-1].send_json(envelope)
        async with asyncio.timeout(DELIVERY_TIMEOUT_S):
            ack = await self._acks[envelope_id]
        said = ack.get("payload")
        return 200, json.dumps(said) if said else ""

    async def _socket(self, request: web.BaseRequest) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(
            {"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0SIM"}}
        )
        self._sockets.append(socket)
        self._changed.set()
        async for message in socket:
            ack: Payload = json.loads(message.data) if message.type == aiohttp.WSMsgType.TEXT else {}
            if (waiting := self._acks.pop(ack.get("envelope_id", ""), None)) and not waiting.done():
                waiting.set_result(ack)
        self._sockets.remove(socket)
        return socket

    @property
    def connected(self) -> bool:
        """Whether the app holds a Socket Mode connection."""
        return bool(self._sockets)

    # -------------------------------------------------------------- requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        _, first, *rest = request.path.split("/")
        name = "/".join(rest)
        match first:
            case "api":
                return await self._call(request, name)
            case "upload":
                self.workspace.files[name]["content"] = await request.content.read()
                return web.Response(text="OK")
            case "files":
                if isinstance(early := await self._fault_of("files", request), web.Response):
                    return early
                return self._download(request, name)
            case "redirect":
                return web.Response(status=302, headers={"Location": f"{self.workspace.origin}/elsewhere"})
            case "elsewhere":
                self.leaked.append(request.headers.get("Authorization", ""))
                return web.Response(text="elsewhere")
            case "response":
                return await self._respond(request, name)
            case "socket":
                return await self._socket(request)
            case "_control":
                return await self._control(request, name)
            case _:
                return web.Response(status=404)

    async def _call(self, request: web.BaseRequest, method: str) -> web.StreamResponse:
        self.calls[method] += 1
        raw = await request.read()
        args = self._args(method, request.content_type, raw)
        early = await self._fault_of(method, request) if self.faults else None
        if isinstance(early, web.Response):
            return early
        retry_after_s = (
            self._limits.retry_after_s(method, str(args.get("channel"))) if self._limits.limits else None
        )
        if retry_after_s is not None:
            return _limited(retry_after_s)
        answer = self._answer(method, args, request.headers.get("Authorization", ""))
        self.log.append((method, args, answer))
        self._changed.set()
        if self.echoes and answer["ok"] and method.startswith("chat.") and "message" in answer:
            self._echo(method, answer)
        if early == "drop_after":
            _drop(request)
        headers = {"x-oauth-scopes": self.scopes} if method == "auth.test" else None
        return web.Response(
            body=msgspec.json.encode(answer), content_type="application/json", headers=headers
        )

    def _args(self, method: str, mime: str, raw: bytes) -> Args:
        if mime == "application/json":
            return {} if method in FORM_ONLY else msgspec.json.decode(raw or b"{}", type=dict[str, Any])
        return dict(parse_qsl(raw.decode()))

    def _answer(self, method: str, args: Args, authorization: str) -> Answer:
        token = self.app_token if method == "apps.connections.open" else self.bot_token
        if authorization != f"Bearer {token}":
            return {"ok": False, "error": "invalid_auth" if authorization else "not_authed"}
        if method == "apps.connections.open":
            return {"ok": True, "url": self.workspace.origin.replace("http", "ws") + "/socket?ticket=1"}
        if method not in self._methods:
            return {"ok": False, "error": "unknown_method"}
        try:
            return {"ok": True, **self._methods[method](args)}
        except Failure as failure:
            return {"ok": False, "error": failure.code}
        except KeyError:
            return {"ok": False, "error": "invalid_arguments"}

    async def _fault_of(self, method: str, request: web.BaseRequest) -> web.Response | Kind | None:
        """What goes wrong now: the response to give at once, or the kind of what is still to come."""
        fault = next((fault for fault in self.faults if fault.method in (method, "*")), None)
        if fault is None:
            return None
        fault.count -= 1
        if fault.count <= 0:
            self.faults.remove(fault)
        match fault.kind:
            case "limited":
                return _limited(fault.seconds)
            case "error":
                return web.json_response({"ok": False, "error": fault.code})
            case "500":
                return web.Response(status=500, text="internal error")
            case "drop":
                _drop(request)
                return web.Response(status=500)
            case "latency":
                await asyncio.sleep(fault.seconds)
            case "drop_after":
                pass
        return fault.kind

    def _echo(self, method: str, answer: Answer) -> None:
        """The app hears its own messages, and their changes, too."""
        kind = {"channel_type": "channel", "channel": answer["channel"], "event_ts": self.workspace.ts()}
        event: Payload = dict(answer["message"]) | kind
        if method != "chat.postMessage":
            message = answer["message"]
            before = message | {"text": "earlier"}
            event = {"type": "message", "subtype": "message_changed", "ts": kind["event_ts"], **kind}
            event |= {"message": message, "previous_message": before}
        self._later(self.deliver([event]))

    def _download(self, request: web.BaseRequest, file_id: str) -> web.Response:
        """Without a token Slack shows its sign-in page, with status 200."""
        file = self.workspace.files.get(file_id)
        if (
            request.headers.get("Authorization") != f"Bearer {self.bot_token}"
            or "files:read" not in self.scopes
        ):
            page = "<!DOCTYPE html><html><head><title>Sign in | Slack</title></head></html>"
            return web.Response(text=page, content_type="text/html")
        if file is None:
            return web.Response(status=404)
        return web.Response(
            body=file["content"], content_type=file.get("mimetype", "application/octet-stream")
        )

    async def _respond(self, request: web.BaseRequest, token: str) -> web.Response:
        told = self._responses.get(token)
        if told is None or told["uses"] >= 5 or time.monotonic() > told["until"]:
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        told["uses"] += 1
        body: Payload = json.loads(await request.read())
        read = "\n\n".join(b["text"] for b in body.get("blocks", ()) if b["type"] == "markdown")
        where = {"channel": told["channel"], "user": told["user"], "ts": self.workspace.ts()}
        self.workspace.ephemeral.append(body | where | {"markdown": read or body.get("text", "")})
        self._changed.set()
        return web.json_response({"ok": True})

    # -------------------------------------------------------------- control, for the standalone server

    async def _control(self, request: web.BaseRequest, name: str) -> web.Response:
        raw = await request.read()
        args: Payload = json.loads(raw) if raw else {}
        match request.method, name:
            case "GET", "messages":
                shown = [{"channel": c, **m} for (c, _), m in self.workspace.messages.items()]
                return web.json_response({"messages": shown, "ephemeral": self.workspace.ephemeral})
            case "GET", "log":
                return web.json_response({"calls": self.calls, "log": list(self.log)})
            case "POST", "say":
                return web.json_response({"ts": await self.say(**args)})
            case "POST", "command":
                return web.json_response(await self.command(**args))
            case "POST", "edit":
                await self.edit(**args)
            case "POST", "delete":
                await self.delete(**args)
            case "POST", "faults":
                self.fault(**args)
            case _:
                return web.Response(status=404)
        return web.json_response({"ok": True})


def _as_event(message: Message) -> Message:
    return {
        name: value
        for name, value in message.items()
        if name not in ("markdown", "streaming", "began", "grew")
    }


def _limited(retry_after_s: float) -> web.Response:
    headers = {"Retry-After": str(retry_after_s if retry_after_s < 1 else int(retry_after_s + 0.999))}
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)


def _drop(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


async def serve(options: argparse.Namespace) -> None:
    """Run until interrupted."""
    limits = SLACK_LIMITS if options.limited else None
    simulator = SlackSimulator(
        port=options.port, bot_token=options.token, signing_secret=options.secret, limits=limits
    )
    simulator.bot_url = options.bot_url
    async with simulator:
        print(f"Slack is simulated: {simulator.api_url} delivers to {simulator.bot_url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=3200)
    parser.add_argument("--bot-url", default="http://127.0.0.1:3978/slack/events")
    parser.add_argument("--token", default="xoxb-simulated")
    parser.add_argument("--secret", default="simulated-signing-secret")
    parser.add_argument("--limited", action="store_true", help="enforce Slack's rate limits")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args()))
