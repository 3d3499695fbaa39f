"""Slack as a local server: its Web API, its deliveries and retries, its limits, and faults on demand.

In a test: `async with SlackSimulator() as slack:`; by itself: `python -m tests.simulators.slack --port 3200`.
"""

import argparse
import asyncio
import contextlib
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from tests.simulators.slack_courier import RETRY_PAUSES_S, Payload
from tests.simulators.slack_methods import FORM_ONLY, Answer, Args, Failure, Message, Workspace, methods
from tests.simulators.slack_page import page
from tests.simulators.slack_rules import SLACK_LIMITS, RateLimits
from tests.simulators.slack_visitors import Visitors

Kind = Literal["limited", "error", "500", "drop", "drop_after", "latency"]

ALL_SCOPES = (
    "app_mentions:read,assistant:write,channels:history,channels:read,chat:write,commands,files:read,"
    "files:write,groups:history,groups:read,im:history,im:write,mpim:history,mpim:read,usergroups:read,users:read"
)


@dataclass
class Fault:
    """What goes wrong with the next `count` calls of `method` (`*`: any); `drop_after` carries it out."""

    method: str
    kind: Kind
    count: int = 1
    code: str = "internal_error"
    seconds: float = 1.0


class SlackSimulator(Visitors):
    """One workspace with one app. Set `bot_url` to where the app listens, unless it uses Socket Mode.

    `refusal` decides from a method and its arguments with which code it is refused, for as long as it is set.
    """

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
        workspace = Workspace(team, bot_user="U0BOT", bot_id="B0BOT", bot_name="parley")
        super().__init__(workspace, signing_secret, retry_pauses_s)
        self.bot_token, self.app_token = bot_token, app_token
        self.teams: dict[str, str] = {bot_token: team}  # by token: whoever has installed the app
        self.callers: list[tuple[str, str]] = []  # (team, method), by the token of each call
        self.scopes = ALL_SCOPES
        self.faults: list[Fault] = []
        self.refusal: Callable[[str, Args], str | None] = _accept
        self.calls: Counter[str] = Counter()
        self.log: deque[tuple[str, Args, Answer]] = deque(maxlen=2_000)
        self.leaked: list[str] = []
        self.echoes = echoes
        self._port = port
        self._limits = RateLimits(limits or {})
        self._methods = methods(self.workspace)
        self.responses: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        await self.connect()
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
        await self.disconnect()
        await self._runner.cleanup()

    # -------------------------------------------------------------- what a test looks at

    def thread(self, channel: str, ts: str) -> list[Message]:
        """The answers in a thread: everything but its root."""
        return [message for message in self.workspace.thread(channel, ts) if message["ts"] != ts]

    def answers(self, channel: str, ts: str) -> list[str]:
        """What a person reads of the bot in a thread."""
        return [m["markdown"] for m in self.thread(channel, ts) if m.get("bot_id") == self.workspace.bot_id]

    def fault(
        self, method: str, kind: Kind, count: int = 1, code: str = "internal_error", seconds: float = 1.0
    ) -> None:
        """Let the next `count` calls of `method` go wrong."""
        self.faults.append(Fault(method, kind, count, code, seconds))

    def limit(self, limits: Mapping[str, tuple[int, float]]) -> None:
        """From now on let so many calls of a method through, in so many seconds."""
        self._limits = RateLimits(limits)

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
                return await self.socket(request)
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
        token = authorization.removeprefix("Bearer ")
        good = token == self.app_token if method == "apps.connections.open" else token in self.teams
        if not good and method != "oauth.v2.access":
            return {"ok": False, "error": "invalid_auth" if authorization else "not_authed"}
        self.callers.append((self.teams.get(token, ""), method))
        if method == "apps.connections.open":
            return {"ok": True, "url": self.workspace.origin.replace("http", "ws") + "/socket?ticket=1"}
        if method not in self._methods:
            return {"ok": False, "error": "unknown_method"}
        if code := self.refusal(method, args):
            return {"ok": False, "error": code}
        try:
            answer = {"ok": True, **self._methods[method](args)}
            return answer | {"team_id": self.teams[token]} if method == "auth.test" else answer
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
        self.later(self.deliver([event]))

    def _download(self, request: web.BaseRequest, file_id: str) -> web.Response:
        """Without a token Slack shows its sign-in page, with status 200."""
        file = self.workspace.files.get(file_id)
        if (
            request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.teams
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
        told = self.responses.get(token)
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
            case "GET", "page":
                return web.Response(text=page(self.workspace), content_type="text/html")
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


def _accept(method: str, args: Args) -> str | None:
    return None


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
