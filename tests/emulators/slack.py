"""Parley in local-slack: what people see, and whether our simulator has drifted.

local-slack knows no native streams, so a small shim in front of its Web API keeps each stream as a message
that is posted and updated there.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from tests.simulators.slack import SlackSimulator

HERE = Path(__file__).parent
PARLEY, RECORDER, SHIM, LOCAL_SLACK = 3978, 3977, 3101, 3100
TOKEN, APP_TOKEN, SECRET = "xoxb-emulated-token", "xapp-emulated-token", "emulated-signing-secret"
ALICE, CHANNEL = "U01ALICE", "C01GEN"
Fields = dict[str, Any]

# What local-slack sends and Parley never reads.
NOT_SIMULATED: set[str] = {"event.edited", "event.message.channel", "event.previous_message.channel"}
# What Slack sends and local-slack leaves out (docs.slack.dev/reference/events).
NOT_IN_LOCAL_SLACK = {
    "event.team",
    "event.message.team",
    "event.previous_message.team",
    "event.hidden",
    "event.channel_type",
    "token",
    "is_enterprise_install",
    "api_app_id",
    "enterprise_id",
    "team_domain",
}


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

    async def control(self, what: str, **body: Any) -> Fields:
        """Do what a person would do at its page."""
        async with self.http.post(f"{self.base}/_control/{what}", json=body) as response:
            text = await response.text()
            assert response.status == 200, f"{what}: {response.status} {text}"
            return cast("Fields", json.loads(text))

    async def say(self, channel: str, text: str, thread_ts: str | None = None) -> str:
        """Write something; the message's ts."""
        thread = {"thread_ts": thread_ts} if thread_ts else {}
        said = await self.control("message", channel=channel, user=ALICE, text=text, **thread)
        return str(said["message"]["ts"])

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
        self._streams.pop((str(args["channel"]), str(args["ts"])), None)
        return answer


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
        async with http.post(f"http://127.0.0.1:{PARLEY}/slack/events", data=body, headers=head) as response:
            seen.append({"body": body.decode(), "headers": set(request.headers), "status": response.status})
            said = await response.read()
            return web.Response(status=response.status, body=said, content_type=response.content_type)

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


# ------------------------------------------------------------------ what people see


def calls_of(slack: LocalSlack, ts: str, *methods: str) -> list[Fields]:
    """The calls that wrote into one message or thread."""
    mine = [(m, args) for m, args, _ in slack.calls if m in methods]
    return [args for _, args in mine if ts in (args.get("ts"), args.get("thread_ts"))]


async def streamed_answer(slack: LocalSlack, channel: str, thread_ts: str, number: int = 1) -> str:
    """Wait for the whole of the `number`th answer in a thread; it came as one stream."""

    async def whole() -> list[Fields]:
        answers = await slack.answers(channel, thread_ts)
        ended = [m for m in answers if calls_of(slack, m["ts"], "chat.stopStream")]
        return answers if len(ended) == number else []

    answers = await slack.until("a finished stream", whole)
    assert len(answers) == number, answers
    answer = answers[-1]
    appended = calls_of(slack, answer["ts"], "chat.appendStream")
    (stopped,) = calls_of(slack, answer["ts"], "chat.stopStream")
    assert stopped["metadata"]["event_type"] == "parley_answer", stopped
    saw(f"a streamed answer, {len(appended)} appends: {answer['text'][:60]!r}")
    return str(answer["text"])


async def mention(slack: LocalSlack) -> None:
    """One mention is two events and one answer; a follow-up in the thread needs no mention."""
    ts = await slack.say(CHANNEL, "<@U0BOT> my name is Ada. What can you do?")
    await streamed_answer(slack, CHANNEL, ts)
    await slack.say(CHANNEL, "and what is my name?", thread_ts=ts)
    assert "Ada" in await streamed_answer(slack, CHANNEL, ts, number=2)
    saw("that it remembers what was said before")


async def direct(slack: LocalSlack) -> None:
    """A direct message needs no mention."""
    channel = await slack.direct()
    ts = await slack.say(channel, "What can you do?")
    await streamed_answer(slack, channel, ts)


async def nothing(slack: LocalSlack) -> None:
    """People who talk to each other are left alone."""
    ts = await slack.say(CHANNEL, "good morning, Bob")
    marker = await slack.say(CHANNEL, "<@U0BOT> hello")
    await streamed_answer(slack, CHANNEL, marker)
    assert not await slack.answers(CHANNEL, ts)
    saw("silence where the bot was not asked")


async def edited(slack: LocalSlack) -> None:
    """A changed question changes its answer in place."""
    ts = await slack.say(CHANNEL, "<@U0BOT> what is my name?")
    before = await streamed_answer(slack, CHANNEL, ts)
    await slack.control("edit-message", channel=CHANNEL, ts=ts, user=ALICE, text="<@U0BOT> hello")

    async def changed() -> list[Fields]:
        answers = await slack.answers(CHANNEL, ts)
        return answers if answers[0]["text"] != before and answers[0]["text"].startswith("Hello") else []

    (answer,) = await slack.until("a changed answer", changed)
    saw(f"the answer changed in place: {answer['text'][:60]!r}")


async def picture(slack: LocalSlack) -> None:
    """`/image` draws, as a command and in a mention."""
    await slack.control("command", channel=CHANNEL, user=ALICE, command="/image", text="a red bicycle")
    ts = await slack.say(CHANNEL, "<@U0BOT> /image a blue bicycle")

    async def files(thread_ts: str | None) -> list[Fields]:
        found = [m for m in await slack.messages(CHANNEL) if m.get("files")]
        return [file for m in found if m.get("thread_ts") == thread_ts for file in m["files"]]

    for thread_ts, where in ((None, "channel"), (ts, "thread")):
        (file, *more) = await slack.until(f"a picture in the {where}", lambda t=thread_ts: files(t))
        assert not more
        assert file["size"] > 1_000, file
        saw(f"a picture of {file['size'] // 1024} KB in the {where}: {file['name']}")


async def commands(slack: LocalSlack) -> None:
    """`/ask` and `/parley help` are acknowledged and answered, for the asker alone."""
    for command, text in (("/ask", "What can you do?"), ("/parley", "help")):
        before = {message["ts"] for message in await slack.messages(CHANNEL)}
        await slack.control("command", channel=CHANNEL, user=ALICE, command=command, text=text)

        async def answered(before: set[str] = before) -> list[Fields]:
            new = [message for message in await slack.messages(CHANNEL) if message["ts"] not in before]
            return new if len(new) == 2 else []

        working, answer = await slack.until(f"an answer to {command}", answered)
        assert {working.get("ephemeral_to"), answer.get("ephemeral_to")} == {ALICE}
        saw(f"an answer to {command} {text}, for the asker alone: {answer['text'][:40]!r}")


async def without_streams(slack: LocalSlack) -> None:
    """local-slack as it is: streams are unknown, answers are posted and edited."""
    slack.streams_on = False
    ts = await slack.say(CHANNEL, "<@U0BOT> What can you do?")

    async def whole() -> list[Fields]:
        answers = await slack.answers(CHANNEL, ts)
        return answers if answers and answers[0].get("blocks", [{}])[-1]["type"] == "context_actions" else []

    (answer,) = await slack.until("a whole answer", whole)
    edits = calls_of(slack, answer["ts"], "chat.update")
    refusals = [
        a for m, _, a in slack.calls if m == "chat.startStream" and a.get("error") == "unknown_method"
    ]
    assert len(refusals) == 1
    assert edits
    saw(f"an answer without native streams, {len(edits)} edits")
    slack.streams_on = True


# ------------------------------------------------------------------ whether the simulator has drifted


def shape(value: Any, path: str = "") -> set[str]:
    """The names in a JSON value, as paths."""
    names: set[str] = {path} if path else set()
    if isinstance(value, dict):
        for name, one in cast("Fields", value).items():
            names |= shape(one, f"{path}.{name}".lstrip("."))
    if isinstance(value, list):
        for one in cast("list[Any]", value):
            names |= shape(one, path)
    return names


def payload_of(body: str) -> Fields:
    """A delivered body as an object."""
    if body.startswith("{"):
        return cast("Fields", json.loads(body))
    return dict(parse_qsl(body, keep_blank_values=True))


def kind_of(payload: Fields) -> str:
    """What a payload is an example of."""
    event: Fields = payload.get("event") or {}
    thread = " in a thread" if event.get("thread_ts") else ""
    kind = event.get("subtype") or event.get("type") or payload.get("type") or "command"
    where = f" {event['channel_type']}" if kind == "message" else ""
    return f"{kind}{thread}{where}"


async def simulated() -> list[Fields]:
    """What the simulator sends for the acts of this run."""
    seen: list[Fields] = []

    async def keep(request: web.Request) -> web.Response:
        seen.append({"body": (await request.read()).decode(), "headers": set(request.headers)})
        return web.Response(text="")

    async with SlackSimulator() as slack, serving(RECORDER + 10, keep):
        slack.bot_url = f"http://127.0.0.1:{RECORDER + 10}/slack/events"
        ts = await slack.say("C0GENERAL", "U0ALICE", "<@U0BOT> hi")
        await slack.say("C0GENERAL", "U0ALICE", "and then?", thread_ts=ts)
        await slack.say(slack.workspace.direct("U0ALICE"), "U0ALICE", "hi")
        await slack.edit("C0GENERAL", ts, "<@U0BOT> hello")
        await slack.command("C0GENERAL", "U0ALICE", "/ask", "why?")
    return seen


async def inbound_shapes(seen: list[Fields]) -> None:
    """Each kind of payload has the same fields here and there, but for the lists above."""

    def kinds(deliveries: list[Fields]) -> dict[str, tuple[Fields, set[str]]]:
        read = [(payload_of(one["body"]), one["headers"]) for one in deliveries]
        return {kind_of(payload): (payload, headers) for payload, headers in read}

    theirs, ours = kinds(seen), kinds(await simulated())
    assert set(ours) <= set(theirs), set(ours) - set(theirs)
    drift: list[str] = []
    for kind, (payload, headers) in ours.items():
        their_payload, their_headers = theirs[kind]
        missing = shape(their_payload) - shape(payload) - NOT_SIMULATED
        invented = shape(payload) - shape(their_payload) - NOT_IN_LOCAL_SLACK
        drift += [f"{kind}: the simulator lacks {sorted(missing)}"] if missing else []
        drift += [f"{kind}: the simulator invents {sorted(invented)}"] if invented else []
        signed = {name for name in their_headers if name.lower().startswith("x-slack")}
        assert {name.lower() for name in signed} <= {name.lower() for name in headers}
    assert not drift, drift
    saw(f"{len(ours)} kinds of payloads with the same fields in local-slack and simulator")


# Without limits: local-slack takes everything, even nothing.
PROBES: tuple[tuple[str, Fields], ...] = (
    ("auth.test", {}),
    ("chat.postMessage", {"text": "hello", "blocks": [{"type": "markdown", "text": "hello"}]}),
    ("chat.update", {"ts": "1.1", "text": "x"}),
    ("chat.delete", {"ts": "1.1"}),
    ("no.suchMethod", {}),
)


async def outbound_answers(slack: LocalSlack) -> None:
    """The Web API answers alike to what Parley calls."""

    async def probe(base: str, token: str, channel: str) -> list[tuple[str, bool, str, set[str]]]:
        found: list[tuple[str, bool, str, set[str]]] = []
        for method, args in PROBES:
            head = {"Authorization": f"Bearer {token}"}
            body = args if method == "auth.test" else args | {"channel": channel}
            async with slack.http.post(base + method, json=body, headers=head) as response:
                answer: Fields = await response.json()
            names = {name for name in answer if name in ("ts", "channel", "team_id", "user_id", "bot_id")}
            found.append((method, answer["ok"], answer.get("error", ""), names))
        return found

    async with SlackSimulator() as simulator:
        ours = await probe(simulator.api_url, simulator.bot_token, "C0GENERAL")
    theirs = await probe(f"{slack.base}/api/", TOKEN, CHANNEL)
    assert theirs == ours, f"local-slack {theirs}, simulator {ours}"
    saw(f"the same answers of local-slack and simulator to {len(ours)} calls")


async def run() -> None:
    """Everything, in a network that has loopback only. Raises AssertionError at what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            local_slack(folder, "local-slack.yaml") as slack,
            recorded(slack.http) as seen,
            parley(folder, SLACK_SIGNING_SECRET=SECRET),
        ):
            for look in (mention, direct, nothing, edited, picture, commands, without_streams):
                await look(slack)
            assert {one["status"] for one in seen} == {200}, [one["status"] for one in seen]
            await inbound_shapes(seen)
            await outbound_answers(slack)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            local_slack(folder, "local-slack.socket.yaml") as slack,
            parley(folder, SLACK_APP_TOKEN=APP_TOKEN),
        ):
            await slack.until("a Socket Mode connection", lambda: _connected(slack))
            saw("a Socket Mode connection")
            await mention(slack)


async def _connected(slack: LocalSlack) -> bool:
    async with slack.http.get(f"{slack.base}/_control/log") as response:
        log: Fields = await response.json()
    return any("socket connected" in entry["summary"] for entry in log["log"])
