"""Parley in the Microsoft 365 Agents Playground: what people see, and whether our simulator has drifted."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import aiohttp
from aiohttp import web

from adapters.teams.activities.parser import FILE
from adapters.teams.manifest import manifest
from bot.conversation.commands.registry import menu
from tests.adapters.teams.test_manifest import problems
from tests.emulators import teams_page
from tests.simulators.teams import BOT, TeamsSimulator

HERE = Path(__file__).parent
PARLEY, RECORDER, PLAYGROUND = 3978, 3977, 56150
Fields = dict[str, Any]

NOT_SIMULATED = {
    # What the Playground sends and Parley never reads.
    "conversation.name",
    "entities.timezone",
    "channelData.source",
    "channelData.source.name",
    "channelData.settings",
    "channelData.settings.selectedChannel",
    "channelData.settings.selectedChannel.id",
    "channelData.teamsChannelId",
    "channelData.teamsTeamId",
    "channelData.team",
    "channelData.team.id",
    "value.actionValue.feedback.feedbackText",
}
NOT_IN_PLAYGROUND = {
    # What Teams sends and the Playground leaves out.
    "from.name",
    "replyToId",
    "locale",
    "localTimestamp",
    "localTimezone",
    "entities",
    "entities.type",
    "entities.locale",
    "entities.country",
    "entities.platform",
    "channelData.tenant",
    "channelData.tenant.id",
}


def saw(what: str) -> None:
    """One line for each thing that was looked at."""
    print(f"  saw {what}", flush=True)


class Playground:
    """The Playground's page without a browser: its own HTTP and WebSocket routes, which nobody documents."""

    def __init__(self) -> None:
        self.base = f"http://127.0.0.1:{PLAYGROUND}"
        self.events: list[Fields] = []
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession()
        # Without a page that listens the Playground refuses what the bot says.
        self._socket = await self.http.ws_connect(f"{self.base}/_ws_conversation/v1/conversations/stream")
        self._reading = asyncio.create_task(self._read())
        async with self.http.get(f"{self.base}/_internal/v1/config") as response:
            config: Fields = (await response.json())["config"]
        self.bot: Fields = config["bot"]
        self.user: str = config["currentUser"]["id"]
        self.personal: str = config["personalChat"]["id"]
        self.group: str = config["groupChats"][0]["id"]
        self.channel: str = config["teams"][0]["channels"][1]["id"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.cancel()
        await self._socket.close()
        await self.http.close()

    async def _read(self) -> None:
        async for frame in self._socket:
            async with self._changed:
                self.events.append(json.loads(frame.data))
                self._changed.notify_all()

    async def post(self, path: str, body: Fields) -> Fields:
        """Do what the page does when a person clicks."""
        async with self.http.post(self.base + path, json=body) as response:
            text = await response.text()
            assert response.status == 200, f"{path}: {response.status} {text}"
            return json.loads(text) if text.startswith("{") else {}

    async def install(self, conversation: str) -> None:
        """Add the bot."""
        await self.post(f"/_debug/conversation/{conversation}/installation", {})

    async def say(self, conversation: str, text: str, mention: bool = False) -> Fields:
        """Write something; `mention` names the bot first."""
        body: Fields = {"type": "text", "text": text, "textFormat": "plain", "from": {"id": self.user}}
        if mention:
            tag = f"<at>{self.bot['name']}</at>"
            body["text"] = f"{tag} {text}"
            body["mentions"] = [{"mentioned": self.bot, "text": tag}]
        return await self.post(f"/_conversation/v1/conversations/{conversation}/messages", body)

    async def invoke(self, conversation: str, name: str, value: Fields, message_id: str = "") -> Fields:
        """Press a button, of a message where one is named."""
        body = {"name": name, "value": value, "from": {"id": self.user}, "conversation": {"id": conversation}}
        return await self.post(
            "/_conversation/v1/invoke", body | ({"replyToId": message_id} if message_id else {})
        )

    async def press(self, conversation: str, message_id: str, verb: str, **data: str) -> Fields:
        """Press an `Action.Execute` of a card; what the card is replaced by."""
        action = {"type": "Action.Execute", "verb": verb, "data": data}
        value: Fields = {"action": action, "trigger": "manual"}
        return await self.invoke(conversation, "adaptiveCard/action", value, message_id)

    async def deliver(self, activity: Fields) -> None:
        """Send what the page has no button for: an edit, a file."""
        await self.post("/_internal/v1/customActivities", activity)

    async def until(self, what: str, true: Callable[[Fields], bool], since: int = 0) -> Fields:
        """The first event since then for which something is true."""

        async def look() -> Fields:
            async with self._changed:
                while True:
                    for event in self.events[since:]:
                        if true(event):
                            return event
                    await self._changed.wait()

        try:
            return await asyncio.wait_for(look(), 30)
        except TimeoutError:
            raise AssertionError(f"never saw {what} in {self.events[since:]}") from None


# ------------------------------------------------------------------ processes


@asynccontextmanager
async def process(*command: str, folder: str, **environment: str) -> AsyncGenerator[None]:
    """A program that is ended afterwards; what it said is shown when something fails."""
    log = Path(folder) / f"{Path(command[0]).name}.log"
    with log.open("wb") as out:
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


async def answers(url: str) -> None:
    """Wait until a server answers."""
    async with aiohttp.ClientSession() as http, asyncio.timeout(90):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(url):
                    return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def recorded() -> AsyncGenerator[list[Fields]]:
    """A server between the Playground and Parley that keeps what passes."""
    seen: list[Fields] = []

    async def forward(request: web.Request) -> web.Response:
        body = await request.read()
        headers = {"Content-Type": request.headers.get("Content-Type", "")}
        url = f"http://127.0.0.1:{PARLEY}/api/messages"
        async with http.post(url, data=body, headers=headers) as response:
            seen.append(
                {"activity": json.loads(body), "status": response.status, "body": await response.text()}
            )
            return web.Response(status=response.status, body=await response.read(), headers=response.headers)

    async def notes(_: web.Request) -> web.Response:
        seen.append({"activity": {"type": "file", "name": "notes.txt"}, "status": 200, "body": ""})
        return web.Response(text="The bicycle is red.")

    async with aiohttp.ClientSession() as http:
        app = web.Application()
        app.router.add_post("/api/messages", forward)
        app.router.add_get("/files/notes.txt", notes)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", RECORDER).start()
        try:
            yield seen
        finally:
            await runner.cleanup()


@asynccontextmanager
async def playground(folder: str) -> AsyncGenerator[Playground]:
    """The Playground, and a page that is connected to it."""
    cache = Path(os.environ.get("PARLEY_EMULATORS", Path.home() / ".cache/parley-emulators"))
    cli = cache / "n-playground/node_modules/@microsoft/m365agentsplayground/cli.js"
    base = f"http://127.0.0.1:{PLAYGROUND}"
    bot = f"http://127.0.0.1:{RECORDER}/api/messages"
    start = ["-e", bot, "-c", "msteams", "-p", str(PLAYGROUND), "--su", f"{base}/_connector", "--dt"]
    async with process(
        "node",
        str(cli),
        "start",
        *start,
        folder=folder,
        M365_AGENTS_PLAYGROUND_CONFIG_PATH=str(HERE / "playground.yml"),
        APPLICATION_INSIGHTS_NO_STATSBEAT="1",
        TEAMSAPPTESTER_BROWSER="none",
    ):
        await answers(base)
        async with Playground() as page:
            yield page


# ------------------------------------------------------------------ what people see


def _shown(event: Fields, conversation: str) -> Fields:
    """The message of the bot that an event shows there, or nothing."""
    message: Fields = event.get("message") or {}
    sender: Fields = message.get("from") or {}
    by_bot = str(sender.get("id", "")).startswith("28:")
    return message if by_bot and event.get("actionConversationId") == conversation else {}


def _final(message: Fields) -> bool:
    info: Fields = message.get("streamEntity") or {}
    return info.get("streamType") == "final"


async def personal(page: Playground) -> None:
    """One-to-one the answer grows in one message."""
    await page.install(page.personal)
    await page.until("a welcome", lambda event: "Hello" in _shown(event, page.personal).get("text", ""))
    saw("a welcome")
    since = len(page.events)
    await page.say(page.personal, "What can you do?")
    await page.until("a finished stream", lambda event: _final(_shown(event, page.personal)), since)
    shown = [_shown(event, page.personal) for event in page.events[since:]]
    frames = [message for message in shown if message.get("streamEntity")]
    assert len({frame["messageId"] for frame in frames}) == 1, frames
    kinds = [frame["streamEntity"]["streamType"] for frame in frames]
    assert kinds[0] == "informative"
    assert kinds[-1] == "final"
    growing = [frame["text"] for frame in frames if frame["streamEntity"]["streamType"] == "streaming"]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(growing))
    saw(f"a personal answer that grew {len(growing)} times: {frames[-1]['text'][:60]!r}")
    assert frames[-1]["aiEntity"]["additionalType"] == ["AIGeneratedContent"], frames[-1]
    saw("its AI label")


async def picture(page: Playground) -> None:
    """`/image` draws."""
    since = len(page.events)
    await page.say(page.personal, "/image a red bicycle")
    event = await page.until(
        "a picture", lambda event: bool(_shown(event, page.personal).get("attachments")), since
    )
    (attachment,) = _shown(event, page.personal)["attachments"]
    # The Playground keeps no more of a picture than its kind, and takes no request above 100 KB.
    assert attachment["contentType"] in ("image/png", "image/jpeg"), attachment
    saw(f"a picture, {attachment['contentType']}")


async def together(page: Playground, conversation: str, name: str) -> None:
    """In groups and channels: typing, then one message, in the thread."""
    await page.install(conversation)
    await page.until("a welcome", lambda event: bool(event.get("message")), len(page.events))
    for text in ("What can you do?", "And what else?"):
        since = len(page.events)
        received = await page.say(conversation, text, mention=True)
        conversation = received.get("postConversationId", conversation)
        where = conversation
        await page.until("an answer", lambda event, where=where: bool(_shown(event, where)), since)
        kinds = [event["action"] for event in page.events[since:] if event["actionConversationId"] == where]
        assert kinds.count("createMessage") == 1, kinds
        saw(f"one answer in a {name}, after {kinds.index('createMessage')} signs of typing")


async def alone(page: Playground, seen: list[Fields]) -> None:
    """What no model wrote has no label; a thread that can't be read is no thread to sum up; and a goodbye."""
    since = len(page.events)
    await page.say(page.personal, "help")
    event = await page.until("help", lambda event: _final(_shown(event, page.personal)), since)
    assert not _shown(event, page.personal).get("aiEntity"), event
    saw("help, without the label of a model")
    since = len(page.events)
    await page.say(page.group, "summarise this thread", mention=True)
    event = await page.until("words", lambda event: bool(_shown(event, page.group).get("text")), since)
    assert "I could only read messages addressed to me" in _shown(event, page.group)["text"], event
    saw("a chat that it can't read, which it says")
    asked = next(one["activity"] for one in reversed(seen) if one["activity"]["type"] == "message")
    since = len(page.events)
    recipient = {**asked["recipient"], "isTargeted": True}
    await page.deliver({**asked, "id": "alone-1", "text": "help", "entities": [], "recipient": recipient})
    event = await page.until(
        "help", lambda event: "/image" in _shown(event, page.group).get("text", ""), since
    )
    saw("help for one person, whom the Playground takes for everybody")
    gone = {"type": "installationUpdate", "action": "remove", "text": ""}
    await page.deliver({**asked, **gone, "id": "gone-1"})
    async with asyncio.timeout(30):
        while not (taken := [one for one in seen if one["activity"].get("action") == "remove"]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert [one["status"] for one in taken] == [200], taken
    saw("a goodbye that was taken")


async def buttons(page: Playground) -> None:
    """Below a personal answer stand buttons that say something for the person."""
    since = len(page.events)
    await page.say(page.personal, "What date is it in 100 days?")
    event = await page.until("a finished stream", lambda event: _final(_shown(event, page.personal)), since)
    offered = _shown(event, page.personal)["suggestedActions"]["actions"]
    answered = _shown(event, page.personal)["messageId"]
    saw(f"buttons: {[action['title'] for action in offered]}")
    since = len(page.events)
    await page.say(page.personal, offered[1]["value"])
    event = await page.until("what was sent", lambda event: _final(_shown(event, page.personal)), since)
    saw(f"what {offered[1]['title']!r} brings: {_shown(event, page.personal)['text'][:60]!r}")
    value = {"commandId": "sent", "commandContext": "message", "messagePayload": {"id": answered}}
    dialog = await page.invoke(page.personal, "composeExtension/fetchTask", value)
    card: Fields = dialog["task"]["value"]["card"]["content"]
    assert len(card["body"]) > 1, card
    saw(f"the same from the menu of the answer: {card['body'][0]['text']!r}")


async def settings(page: Playground) -> None:
    """A word brings a card, and the card is refreshed in place."""
    since = len(page.events)
    await page.say(page.personal, "settings")
    event = await page.until(
        "a card", lambda event: bool(_shown(event, page.personal).get("attachments")), since
    )
    message = _shown(event, page.personal)
    card: Fields = message["attachments"][0]["content"]
    (templates,) = [one for one in card["body"] if one.get("id") == "template"]
    first, chosen = templates["value"], str(templates["choices"][-1]["value"])
    saw(f"settings: {[one['type'] for one in card['body']]}")
    refreshed = await page.press(page.personal, message["messageId"], "choose", template=chosen)
    (templates,) = [one for one in refreshed["value"]["body"] if one.get("id") == "template"]
    assert templates["value"] == chosen, refreshed
    saw(f"the card in its place again, with {chosen!r} chosen")
    back = await page.press(page.personal, message["messageId"], "choose", template=first)
    assert "Saved." in json.dumps(back), back
    value = {"commandId": "settings", "commandContext": "compose"}
    dialog = await page.invoke(page.group, "composeExtension/fetchTask", value)
    assert dialog["task"]["value"]["card"]["content"]["type"] == "AdaptiveCard", dialog
    saw("the same in a dialog")


async def edited(page: Playground, seen: list[Fields]) -> None:
    """An edited question edits its answer."""
    since = len(page.events)
    await page.say(page.personal, "What is 2 + 3?")
    event = await page.until("a finished stream", lambda event: _final(_shown(event, page.personal)), since)
    answer = _shown(event, page.personal)
    (asked,) = [one["activity"] for one in seen if one["activity"].get("text") == "What is 2 + 3?"]
    since = len(page.events)
    data = {**asked["channelData"], "eventType": "editMessage"}
    await page.deliver({**asked, "type": "messageUpdate", "text": "What is 20 + 3?", "channelData": data})

    def changed(event: Fields) -> bool:
        return _shown(event, page.personal).get("messageId") == answer["messageId"]

    event = await page.until("the answer, updated", changed, since)
    assert "23" in _shown(event, page.personal)["text"], event
    saw(f"an answer that changed with its question: {event['action']}")


async def file(page: Playground, seen: list[Fields]) -> None:
    """A file is fetched from where Teams says that it is, and read."""
    asked = next(one["activity"] for one in seen if one["activity"].get("text") == "What is 2 + 3?")
    link = f"http://127.0.0.1:{RECORDER}/files/notes.txt"
    content = {"downloadUrl": link, "uniqueId": "notes", "fileType": "txt"}
    attached = {"contentType": FILE, "contentUrl": link, "name": "notes.txt", "content": content}
    since = len(page.events)
    await page.deliver({**asked, "id": "file-1", "text": "What does it say?", "attachments": [attached]})

    def reading(event: Fields) -> bool:
        return _shown(event, page.personal).get("text") == "Reading your file…"

    await page.until("that the file is read", reading, since)
    await page.until("a finished stream", lambda event: _final(_shown(event, page.personal)), since)
    assert [one for one in seen if one["activity"].get("name") == "notes.txt"], "nobody asked for the file"
    saw("a file that was fetched and read")


async def feedback(page: Playground, seen: list[Fields]) -> None:
    """A thumb is taken without an error."""
    rating = {"reaction": "dislike", "feedback": {"feedbackText": "too long"}}
    await page.invoke(
        page.personal, "message/submitAction", {"actionName": "feedback", "actionValue": rating}
    )
    (invoke,) = [one for one in seen if one["activity"].get("name") == "message/submitAction"]
    assert (invoke["status"], invoke["body"]) == (200, "{}"), invoke
    saw("a rating with words that was taken")


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


async def simulated() -> list[Fields]:
    """What the simulator sends for the acts of this run."""
    seen: list[Fields] = []

    async def keep(request: web.Request) -> web.Response:
        seen.append(await request.json())
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/api/messages", keep)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", RECORDER + 10).start()
    async with TeamsSimulator(f"http://127.0.0.1:{RECORDER + 10}/api/messages") as teams:
        await teams.install("a:1", "alice")
        await teams.say("a:1", "alice", "hi")
        await teams.say("19:1@thread.v2", "alice", "hi", mention=True)
        await teams.say("19:1@thread.tacv2", "alice", "hi", mention=True)
        await teams.rate("a:1", "alice", "1", good=True)
        await teams.press("a:1", "alice", "choose", "1", {"template": "assistant"})
        await teams.extend("19:1@thread.v2", "alice", "settings")
    await runner.cleanup()
    return seen


async def inbound_shapes(seen: list[Fields]) -> None:
    """Each kind of activity has the same fields here and there, but for the lists above."""

    def kinds(activities: list[Fields]) -> dict[tuple[str, str, str], Fields]:
        return {
            (one["type"], one.get("name", ""), one["conversation"]["conversationType"]): one
            for one in reversed(activities)
            if one["type"] != "file"
        }

    theirs, ours = kinds([one["activity"] for one in seen]), kinds(await simulated())
    assert set(ours) <= set(theirs), set(ours) - set(theirs)
    for kind, activity in ours.items():
        missing = shape(theirs[kind]) - shape(activity) - NOT_SIMULATED
        invented = shape(activity) - shape(theirs[kind]) - NOT_IN_PLAYGROUND
        assert not missing, f"{kind}: the simulator lacks {missing}"
        assert not invented, f"{kind}: the simulator invents {invented}"
    saw(f"{len(ours)} kinds of activities with the same fields in Playground and simulator")


async def outbound_answers(page: Playground) -> None:
    """The connector answers alike to what Parley sends."""
    async with TeamsSimulator(authenticate=False) as teams:
        theirs = await probe(page.http, f"{page.base}/_connector", page.personal)
        ours = await probe(page.http, teams.service_url.rstrip("/"), "a:1")
    assert theirs == ours, f"Playground {theirs}, simulator {ours}"
    saw(f"the same answers of Playground and simulator to {len(ours)} calls")


async def probe(http: aiohttp.ClientSession, service: str, conversation: str) -> dict[str, Any]:
    """The status of each call that Parley makes, and whether an id came with it."""
    base = f"{service}/v3/conversations/{conversation}/activities"
    answers: dict[str, Any] = {}

    async def call(name: str, method: str, activity: Fields, tail: str = "") -> str:
        sender = {"from": {"id": BOT}, "conversation": {"id": conversation}}
        async with http.request(method, base + tail, json={**activity, **sender}) as response:
            text = await response.text()
            body: Fields = json.loads(text) if text.startswith("{") else {}
            answers[name] = (response.status, bool(body.get("id")))
            return str(body.get("id", ""))

    def growing(text: str, sequence: int, stream: str = "") -> Fields:
        kind = "streaming" if stream else "informative"
        info: Fields = {"streamType": kind, "streamSequence": sequence}
        info |= {"streamId": stream} if stream else {}
        entities = [{"type": "streaminfo", **info}]
        return {"type": "typing", "text": text, "entities": entities, "channelData": info}

    message = {"type": "message", "text": "hello", "textFormat": "markdown"}
    id = await call("message", "POST", message)
    await call("update", "PUT", {**message, "id": id}, f"/{id}")
    await call("typing", "POST", {"type": "typing"})
    stream = await call("stream begins", "POST", growing("Working", 1))
    await call("stream grows", "POST", growing("One", 2, stream))
    info = {"streamId": stream, "streamType": "final"}
    # A final text that does not continue the stream is refused by Teams, but not by the Playground.
    final = {**message, "text": "One, two", "entities": [{"type": "streaminfo", **info}], "channelData": info}
    await call("stream ends", "POST", final)
    return answers


def packages() -> None:
    """Every manifest that `parley manifest teams` writes is valid by the schema that Microsoft publishes."""
    for all_messages, plain in itertools.product((False, True), repeat=2):
        one = manifest(
            "11111111-2222-4333-8444-555555555555",
            "bot.example.com",
            menu(),
            all_messages=all_messages,
            plain=plain,
        )
        assert (found := problems(one)) == [], found
    saw("four manifests that are valid by Microsoft's schemas")


async def run() -> None:
    """Everything, in a network that has loopback only. Raises AssertionError at what is wrong."""
    packages()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "PARLEY_TEAMS_AUTH": "off",
            "HOST": "127.0.0.1",
            "PORT": str(PARLEY),
            "PARLEY_DATA_DIR": folder,
        }
        parley = str(Path(sys.executable).parent / "parley")
        async with process(parley, "serve", folder=folder, **environment), recorded() as seen:
            await answers(f"http://127.0.0.1:{PARLEY}/readyz")
            async with playground(folder) as page:
                await personal(page)
                await picture(page)
                await together(page, page.group, "group chat")
                await together(page, page.channel, "channel")
                await feedback(page, seen)
                await buttons(page)
                await settings(page)
                await edited(page, seen)
                await file(page, seen)
                await alone(page, seen)
                for line in await teams_page.look(page.base):
                    saw(line)
                await inbound_shapes(seen)
                await outbound_answers(page)
