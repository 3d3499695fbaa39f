"""local-slack with a shim in front of it, and a Parley that it talks to, as processes of a run.

local-slack knows no native streams, so the shim in front of its Web API keeps each stream as a message that
is posted and updated there.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

HERE = Path(__file__).parent
PARLEY, RECORDER, SHIM, LOCAL_SLACK = 3978, 3977, 3101, 3100
TOKEN, APP_TOKEN, SECRET = "xoxb-emulated-token", "xapp-emulated-token", "emulated-signing-secret"
ALICE, CHANNEL = "U01ALICE", "C01GEN"
FILES_THERE, FILES_HERE = (f"http://127.0.0.1:{port}/files-pri".encode() for port in (LOCAL_SLACK, SHIM))
Fields = dict[str, Any]


def saw(what: str) -> None:
    """One line for each thing that was looked at."""
    print(f"  saw {what}", flush=True)


class LocalSlack:
    """The emulator, by its control API; and the shim, which tells what Parley called."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.base = f"http://127.0.0.1:{LOCAL_SLACK}"
        self.calls: list[tuple[str, Fields, Fields]] = []
        self.streams_on = True
        self._streams: dict[tuple[str, str], str] = {}
        self.downloads: list[str] = []

    async def control(self, what: str, **body: Any) -> Fields:
        """Do what a person would do at its page."""
        async with self.http.post(f"{self.base}/_control/{what}", json=body) as response:
            text = await response.text()
            assert response.status == 200, f"{what}: {response.status} {text}"
            return cast("Fields", json.loads(text))

    async def say(self, channel: str, text: str, thread_ts: str | None = None) -> str:
        """Write something; the message's ts."""
        thread = {"thread_ts": thread_ts} if thread_ts else {}
        received = await self.control("message", channel=channel, user=ALICE, text=text, **thread)
        return str(received["message"]["ts"])

    async def direct(self) -> str:
        """Alice's own channel with the bot."""
        return str((await self.call("conversations.open", {"users": ALICE}))["channel"]["id"])

    async def call(self, method: str, args: Fields) -> Fields:
        """A call of the Web API as the bot."""
        head = {"Authorization": f"Bearer {TOKEN}"}
        async with self.http.post(f"{self.base}/api/{method}", json=args, headers=head) as response:
            return cast("Fields", await response.json())

    async def messages(self, channel: str) -> list[Fields]:
        """Everything in a channel."""
        async with self.http.get(f"{self.base}/_control/messages/{channel}") as response:
            return cast("list[Fields]", (await response.json())["messages"])

    async def answers(self, channel: str, thread_ts: str) -> list[Fields]:
        """The bot's messages in a thread."""
        mine = [m for m in await self.messages(channel) if m.get("user") == "U0BOT"]
        return [m for m in mine if m.get("thread_ts") == thread_ts]

    async def until(self, what: str, look: Callable[[], Any]) -> Any:
        """The first true result of `look`, which is a coroutine function or a plain one."""
        try:
            async with asyncio.timeout(30):
                while True:
                    found = look()
                    found = await found if asyncio.iscoroutine(found) else found
                    if found:
                        return found
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"never saw {what}; the last calls were {self.calls[-8:]}") from None

    # -------------------------------------------------------------- the shim

    async def handle(self, request: web.Request) -> web.Response:
        """Streams and statuses are answered here, everything else by local-slack."""
        method, raw = request.path.removeprefix("/api/"), await request.read()
        is_json = request.content_type == "application/json"
        args: Fields = json.loads(raw or b"{}") if is_json else dict(parse_qsl(raw.decode("latin-1")))
        known = {
            "chat.startStream": self._start,
            "chat.appendStream": self._append,
            "chat.stopStream": self._stop,
        }
        if method in known and self.streams_on:
            answer = await known[method](args)
        elif method.startswith("assistant.threads."):
            answer = {"ok": True}
        else:
            return await self._pass_on(request, method, args, raw)
        self.calls.append((method, args, answer))
        return web.json_response(answer)

    async def _pass_on(self, request: web.Request, method: str, args: Fields, raw: bytes) -> web.Response:
        names = ("Authorization", "Content-Type")
        head = {name: request.headers[name] for name in names if name in request.headers}
        url = f"{self.base}{request.path_qs}"
        async with self.http.request(request.method, url, data=raw, headers=head) as response:
            body, mime = await response.read(), response.content_type
            if response.status == 200 and request.path.startswith("/files-pri"):
                self.downloads.append(request.path)
            if request.path.startswith("/api/"):
                self.calls.append((method, args, json.loads(body)))
            return web.Response(status=response.status, body=body, content_type=mime)

    async def _start(self, args: Fields) -> Fields:
        if not args.get("thread_ts"):
            return {"ok": False, "error": "invalid_thread_ts"}
        if not str(args["channel"]).startswith("D") and not args.get("recipient_user_id"):
            return {"ok": False, "error": "missing_recipient_user_id"}
        text = str(args.get("markdown_text", ""))
        post = {"channel": args["channel"], "thread_ts": args["thread_ts"], "text": text or "…"}
        posted = await self.call("chat.postMessage", post)
        self._streams[args["channel"], posted["ts"]] = text
        return {"ok": True, "channel": args["channel"], "ts": posted["ts"]}

    async def _append(self, args: Fields) -> Fields:
        key = (str(args["channel"]), str(args["ts"]))
        if key not in self._streams:
            return {"ok": False, "error": "message_not_in_streaming_state"}
        self._streams[key] += str(args.get("markdown_text", ""))
        return await self.call("chat.update", {"channel": key[0], "ts": key[1], "text": self._streams[key]})

    async def _stop(self, args: Fields) -> Fields:
        answer = await self._append(args)
        text = self._streams.pop((str(args["channel"]), str(args["ts"])), "")
        if answer["ok"] and args.get("blocks"):
            blocks = [{"type": "markdown", "text": text}, *args["blocks"]]
            place = {"channel": args["channel"], "ts": args["ts"]}
            return await self.call("chat.update", place | {"text": text, "blocks": blocks})
        return answer

    # -------------------------------------------------------------- what people do beside writing

    async def press(self, channel: str, message: Fields, action: str) -> None:
        """Press a button under a message."""
        pressed = button(message, action)
        await self.control("interact", channel=channel, messageTs=message["ts"], user=ALICE, action=pressed)

    async def upload(self, channel: str, text: str, name: str, content: bytes, mime: str) -> str:
        """Send a file with some words; the message's ts."""
        form = aiohttp.FormData({"channel": channel, "user": ALICE, "text": text})
        form.add_field("file", content, filename=name, content_type=mime)
        async with self.http.post(f"{self.base}/_control/upload", data=form) as response:
            received: Fields = await response.json()
            assert response.status == 200, received
        found = [m for m in await self.messages(channel) if m.get("files") and m["user"] == ALICE]
        return str(found[-1]["ts"])

    async def submit(self, words: str) -> None:
        """Fill the one field of the form that is open, as the page does, and send it."""
        value = {"type": "plain_text_input", "value": words}
        async with self.http.ws_connect(f"{self.base}/ui") as page:
            await page.send_json({"t": "view_submit", "user": ALICE, "values": {"words": {"words": value}}})
            await asyncio.wait_for(page.receive(), 5)

    async def form(self, number: int) -> Fields:
        """Wait for the `number`th form that Parley opens."""

        def opened() -> list[Fields]:
            forms = [args for method, args, answer in self.calls if method == "views.open" and answer["ok"]]
            return forms if len(forms) == number else []

        return (await self.until("a form", opened))[-1]["view"]


def button(message: Fields, action: str) -> Fields:
    """A button under a message, as Slack sends it when it is pressed."""
    blocks: list[Fields] = message["blocks"]
    elements = [one for block in blocks for one in block.get("elements", ())]
    (found,) = [one for one in elements if one.get("action_id") == action]
    return {"type": "button", "action_id": action, "value": found["value"]}


# ------------------------------------------------------------------ processes


@asynccontextmanager
async def process(*command: str, folder: str, **environment: str) -> AsyncGenerator[None]:
    """A program that is ended afterwards; what it said is shown when something fails."""
    log = Path(folder) / f"{Path(command[0]).name}.log"
    with log.open("ab") as out:
        running = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdout=out, stderr=out, env={**os.environ, **environment}
        )
        try:
            yield
        except BaseException:
            print(log.read_text(errors="replace")[-6000:], file=sys.stderr)
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                running.send_signal(signal.SIGTERM)
            await running.wait()


async def answering(url: str) -> None:
    """Wait until a server answers."""
    async with aiohttp.ClientSession() as http, asyncio.timeout(90):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(url) as response:
                    if response.status < 500:
                        return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def serving(port: int, handler: Callable[[web.Request], Any]) -> AsyncGenerator[None]:
    """One handler for everything on a port."""
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def recorded(http: aiohttp.ClientSession) -> AsyncGenerator[list[Fields]]:
    """A server between local-slack and Parley that keeps what passes."""
    seen: list[Fields] = []

    async def forward(request: web.Request) -> web.Response:
        body = await request.read()
        names = ("Content-Type", "X-Slack-Request-Timestamp", "X-Slack-Signature")
        head = {name: request.headers[name] for name in names if name in request.headers}
        if FILES_THERE in body:  # Parley takes files from where its Web API is, which is the shim
            body = body.replace(FILES_THERE, FILES_HERE)
            base = b"v0:" + head["X-Slack-Request-Timestamp"].encode() + b":" + body
            signature = hmac.new(SECRET.encode(), base, hashlib.sha256).hexdigest()
            head["X-Slack-Signature"] = f"v0={signature}"
        async with http.post(f"http://127.0.0.1:{PARLEY}/slack/events", data=body, headers=head) as response:
            seen.append({"body": body.decode(), "headers": set(request.headers), "status": response.status})
            received = await response.read()
            return web.Response(status=response.status, body=received, content_type=response.content_type)

    async with serving(RECORDER, forward):
        yield seen


@asynccontextmanager
async def local_slack(folder: str, config: str) -> AsyncGenerator[LocalSlack]:
    """local-slack with the shim in front of its Web API."""
    cache = Path(os.environ.get("PARLEY_EMULATORS", Path.home() / ".cache/parley-emulators"))
    program = cache / "n-localslack/node_modules/local-slack-linux-x64/bin/local-slack"
    options = ["--config", str(HERE / config), "--port", str(LOCAL_SLACK), "--base-host", "127.0.0.1"]
    async with aiohttp.ClientSession() as http:
        slack = LocalSlack(http)
        async with process(str(program), *options, folder=folder), serving(SHIM, slack.handle):
            await answering(slack.base)
            yield slack


@asynccontextmanager
async def parley(folder: str, **more: str) -> AsyncGenerator[None]:
    """A real Parley with the demo model, whose Slack is the shim."""
    program = str(Path(sys.executable).parent / "parley")
    environment = {
        "SLACK_BOT_TOKEN": TOKEN,
        "SLACK_API_URL": f"http://127.0.0.1:{SHIM}/api/",
        "HOST": "127.0.0.1",
        "PORT": str(PARLEY),
        "PARLEY_DATA_DIR": folder,
    }
    async with process(program, "serve", folder=folder, **environment, **more):
        await answering(f"http://127.0.0.1:{PARLEY}/readyz")
        yield
