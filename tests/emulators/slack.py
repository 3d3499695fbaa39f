"""Parley in local-slack: what people see, and whether our simulator has drifted."""

import json
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any, cast
from urllib.parse import parse_qsl

from aiohttp import web

from tests.emulators import slack_page
from tests.emulators.local_slack import (
    ALICE,
    APP_TOKEN,
    CHANNEL,
    RECORDER,
    SECRET,
    TOKEN,
    Fields,
    LocalSlack,
    local_slack,
    parley,
    recorded,
    saw,
    serving,
)
from tests.simulators.slack import SlackSimulator

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


async def whisper(slack: LocalSlack, what: str, act: Callable[[], Awaitable[object]], count: int = 1) -> str:
    """What Alice alone reads after an act."""
    before = {message["ts"] for message in await slack.messages(CHANNEL)}
    await act()

    async def told() -> list[Fields]:
        new = [message for message in await slack.messages(CHANNEL) if message["ts"] not in before]
        mine = [message for message in new if message.get("ephemeral_to") == ALICE]
        return mine if len(mine) == count else []

    text = str((await slack.until(what, told))[-1]["text"])
    saw(f"{what}, for the asker alone: {text[:50]!r}")
    return text


async def commands(slack: LocalSlack) -> None:
    """`/parley help` is for the asker alone; `/ask` is for all to read, or else opens a form."""

    def command(word: str, text: str) -> Awaitable[Fields]:
        return slack.control("command", channel=CHANNEL, user=ALICE, command=word, text=text)

    await whisper(slack, "an answer to /parley help", lambda: command("/parley", "help"), count=2)
    await command("/ask", "What can you do?")

    async def asked() -> str:
        found = [m for m in await slack.messages(CHANNEL) if str(m.get("text", "")).find("asks:") > 0]
        return found[-1]["ts"] if found else ""

    await streamed_answer(slack, CHANNEL, await slack.until("a question for all to read", asked))
    await command("/ask", "")
    view = await slack.form(1)
    await slack.submit("What can you do in two sentences?")
    direct = await slack.direct()

    async def root() -> str:
        found = [m for m in await slack.messages(direct) if str(m.get("text", "")).startswith("You asked:")]
        return found[-1]["ts"] if found else ""

    await streamed_answer(slack, direct, await slack.until("the question of a form", root))
    saw(f"the form {view['title']['text']!r}, answered in the asker's own messages")


async def buttons(slack: LocalSlack) -> None:
    """What was sent, once more, and what was wrong."""
    ts = await slack.say(CHANNEL, "<@U0BOT> What can you do?")
    await streamed_answer(slack, CHANNEL, ts)
    (answer,) = await slack.answers(CHANNEL, ts)

    async def sent() -> None:
        await slack.press(CHANNEL, answer, "sent")

    assert "system" in (await whisper(slack, "what was sent", sent)).lower()
    opened = len([one for one in slack.calls if one[0] == "views.open"])
    bad = answer["blocks"][-2]["elements"][0]["negative_button"]
    action = {"type": "feedback_buttons", "action_id": "feedback", "value": bad["value"]}
    await slack.control("interact", channel=CHANNEL, messageTs=answer["ts"], user=ALICE, action=action)
    view = await slack.form(opened + 1)
    await slack.submit("It is too short.")
    saw(f"the form {view['title']['text']!r} after a bad rating")


async def anew(slack: LocalSlack) -> None:
    """An answer that is given anew stays in its place, and says so where it came out the same."""
    ts = await slack.say(CHANNEL, "<@U0BOT> What can you do?")
    await streamed_answer(slack, CHANNEL, ts)
    (answer,) = await slack.answers(CHANNEL, ts)
    await slack.press(CHANNEL, answer, "again")

    async def told() -> list[str]:
        (again,) = await slack.answers(CHANNEL, ts)
        shown = [block["text"] for block in again["blocks"] if block["type"] == "markdown"]
        return [text for text in shown if "the answer is the same" in text]

    (text,) = await slack.until("the same answer anew", told)
    saw(f"an answer anew, in its place: {text.splitlines()[-1]!r}")


async def room(slack: LocalSlack) -> None:
    """What was said in the channel is read where somebody asks about it, and only there."""

    def read() -> list[Fields]:
        return [answer for method, _, answer in slack.calls if method == "conversations.history"]

    assert not read()
    await slack.say(CHANNEL, "Shall we have lunch at noon?")
    ts = await slack.say(CHANNEL, "<@U0BOT> summarise this channel")
    await streamed_answer(slack, CHANNEL, ts)
    assert [answer["ok"] for answer in read()] == [True]
    saw(f"a summary of a channel of {len(read()[0]['messages'])} messages")


async def home(slack: LocalSlack) -> None:
    """The home tab is filled when it is opened."""
    await slack.control("open-home", user=ALICE)

    def published() -> list[Fields]:
        return [args for method, args, answer in slack.calls if method == "views.publish" and answer["ok"]]

    blocks = (await slack.until("a home tab", published))[-1]["view"]["blocks"]
    headers = [block["text"]["text"] for block in blocks if block["type"] == "header"]
    assert headers == ["Settings", "Channels", "Usage", "Your data"], headers
    saw(f"a home tab with {', '.join(headers)}")


async def file(slack: LocalSlack) -> None:
    """A file that comes with a question is fetched with the bot's token."""
    note = "The code of the safe is 4711."
    ts = await slack.upload(CHANNEL, "<@U0BOT> what does it say?", "note.txt", note.encode(), "text/plain")
    await streamed_answer(slack, CHANNEL, ts)
    assert slack.downloads
    saw(f"a file that was read: {slack.downloads[-1].rpartition('/')[2]}")


async def deleted(slack: LocalSlack) -> None:
    """A deleted question is no longer remembered."""
    ts = await slack.say(CHANNEL, "<@U0BOT> hello")
    await streamed_answer(slack, CHANNEL, ts)
    secret = await slack.say(CHANNEL, "my name is Ada", thread_ts=ts)
    await streamed_answer(slack, CHANNEL, ts, number=2)
    await slack.control("delete-message", channel=CHANNEL, ts=secret, user=ALICE)
    await slack.say(CHANNEL, "what is my name?", thread_ts=ts)
    assert "Ada" not in await streamed_answer(slack, CHANNEL, ts, number=3)
    saw("that what was deleted is forgotten")


async def without_streams(slack: LocalSlack) -> None:
    """local-slack as it is: streams are unknown, answers are posted and edited."""
    slack.streams_on = False
    ts = await slack.say(CHANNEL, "<@U0BOT> What can you do?")

    async def whole() -> list[Fields]:
        answers = await slack.answers(CHANNEL, ts)
        rated = [m for m in answers if any(b["type"] == "context_actions" for b in m.get("blocks", ()))]
        return answers if rated else []

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
    form = dict(parse_qsl(body, keep_blank_values=True))
    return cast("Fields", json.loads(form["payload"])) if "payload" in form else form


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
            for look in (mention, direct, nothing, edited, deleted, picture, file, home):
                await look(slack)
            for look in (commands, buttons, anew, room, without_streams):
                await look(slack)
            for sight in await slack_page.look(slack):
                saw(sight)
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
