"""The Home tab, forms, shortcuts, and the older assistant threads."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import msgspec
import pytest
from aiohttp import ClientSession
from msgspec.structs import replace

from adapters.slack.formatting.mrkdwn import from_markdown
from adapters.slack.inbound import home_and_modals
from bot.domain.errors import ConfigError, NotAllowed, StateUnavailable
from bot.domain.events import QuotedMessage, User
from bot.domain.turns import Reply, UserProfile
from tests.adapters.slack.conftest import FakeAdapter, room_with

CHANNEL = "C0GENERAL"
TABLE = "Used:\n\n| | Answers |\n|---|---|\n| Today | **3** |"

MODES = (("follow", "Answers everything"), ("quiet", "Answers privately"))
ABOUT = UserProfile(
    templates=(("assistant", "Answers questions"), ("pirate", "Speaks like a pirate, " + "arr " * 40)),
    usual="assistant",
    deployments=(("small", "gpt-small"), ("large", "gpt-large")),
    usage=TABLE,
    conversations=1,
    answers=3,
)


@dataclass
class FakePreferences:
    """Replaces the self-service of the engine."""

    shown: UserProfile = ABOUT
    away: bool = False
    forgotten: list[User] = field(default_factory=list[User])
    confirmed: list[str] = field(default_factory=list[str])
    modes: dict[str, str] = field(default_factory=dict[str, str])
    roles: list[str] = field(default_factory=list[str])

    async def profile(self, user: User, channel: str) -> UserProfile:
        self._demand()
        if not channel:
            return self.shown
        return replace(self.shown, modes=MODES, mode=self.modes.get(channel, ""), usual_mode="dialogue")

    async def choose(
        self,
        user: User,
        channel: str,
        *,
        template: str | None = None,
        deployment: str | None = None,
        mode: str | None = None,
    ) -> None:
        self._demand()
        self.roles.append(user.role)
        assert user.tenant == "T0SIM"
        assert (mode is None) == (channel == "")
        self.modes[channel] = mode or ""
        if deployment == "large":
            raise NotAllowed("Large is for engineers.")
        if template is not None:
            self.shown = msgspec.structs.replace(self.shown, template=template)
        if deployment is not None:
            self.shown = msgspec.structs.replace(self.shown, deployment=deployment)

    async def ask_forget(self, user: User) -> str:
        return "This deletes 3 answers."

    async def confirm_forget(self, user: User, event: str) -> str:
        self.forgotten.append(user)
        self.confirmed.append(event)
        self.shown = UserProfile(templates=self.shown.templates)
        return "Done. I deleted 3 answers."

    async def sent(self, user: User, conversation: str, post: str) -> str:
        raise AssertionError("the button says it in the conversation")

    def _demand(self) -> None:
        if self.away:
            raise StateUnavailable("Redis is away.")


@pytest.fixture
async def home() -> AsyncIterator[tuple[FakeAdapter, FakePreferences]]:
    """Open the Home tab."""
    self_service = FakePreferences()
    async with room_with(self_service=self_service) as room:
        await room.slack.open_home("U0ALICE", tab="home")
        await room.slack.until(lambda: room.slack.workspace.views.homes)
        yield room, self_service


def read(room: FakeAdapter) -> str:
    """The Home tab that was published last."""
    return str(room.slack.workspace.views.homes["U0ALICE"]["blocks"])


async def test_the_home_tab_shows_settings_usage_and_data(
    home: tuple[FakeAdapter, FakePreferences],
) -> None:
    room, _ = home
    shown = read(room)
    for words in ("assistant", "pirate", "gpt-large", "*Today*: Answers 3", "3 answers in 1 conversation"):
        assert words in shown
    menus = [
        b["accessory"] for b in room.slack.workspace.views.homes["U0ALICE"]["blocks"] if "accessory" in b
    ]
    assert [menu.get("initial_option", {}).get("value") for menu in menus] == ["=", "=", None, None]
    assert menus[0]["options"][0]["description"]["text"] == "Default: assistant"
    assert menus[-1]["text"]["text"] == "Delete my data…"
    assert room.engine.events == []


async def test_a_choice_in_the_home_tab_is_stored(
    home: tuple[FakeAdapter, FakePreferences],
) -> None:
    room, self_service = home
    await room.slack.choose_at_home("U0ALICE", "choose_template", "pirate")
    assert self_service.shown.template == "pirate"
    await room.slack.until(lambda: room.slack.calls["views.publish"] == 2)
    await room.slack.choose_at_home("U0ALICE", "choose_template", "Automatic")
    assert self_service.shown.template == ""


async def test_the_home_tab_sets_a_channels_mode(home: tuple[FakeAdapter, FakePreferences]) -> None:
    """Field fault 105: the participation mode was hidden in the last lines of `help`."""
    room, self_service = home
    assert "Pick a channel" in read(room)
    await room.slack.choose_at_home("U0ALICE", "choose_channel", CHANNEL)
    await room.slack.until(lambda: "Answers privately" in read(room))
    assert "Default: dialogue" in read(room)
    await room.slack.choose_at_home("U0ALICE", "choose_mode", "quiet")
    await room.slack.until(lambda: "the mode of this channel is now quiet" in read(room))
    assert self_service.modes == {CHANNEL: "quiet"}
    await room.slack.choose_at_home("U0ALICE", "choose_mode", "Automatic")
    await room.slack.until(lambda: "is now the default one" in read(room))
    assert self_service.modes == {CHANNEL: ""}


async def test_the_home_tab_says_who_chooses() -> None:
    """Field fault 123: the decision on a guest is the same as for commands, so their role comes along."""
    settings = FakePreferences()
    async with room_with(self_service=settings) as room:
        room.slack.workspace.guests.add("U0ALICE")
        await room.slack.open_home("U0ALICE", tab="home")
        await room.slack.until(lambda: "U0ALICE" in room.slack.workspace.views.homes)
        await room.slack.choose_at_home("U0ALICE", "choose_channel", CHANNEL)
        await room.slack.until(lambda: "Answers privately" in read(room))
        await room.slack.choose_at_home("U0ALICE", "choose_mode", "quiet")
        await room.slack.until(lambda: bool(settings.roles))
    assert settings.roles == ["guest"]


async def test_only_members_set_the_mode_of_a_channel(home: tuple[FakeAdapter, FakePreferences]) -> None:
    room, self_service = home
    await room.slack.choose_at_home("U0ALICE", "choose_channel", CHANNEL)
    await room.slack.until(lambda: "Answers privately" in read(room))
    room.slack.workspace.channels[CHANNEL].discard("U0ALICE")
    await room.slack.choose_at_home("U0ALICE", "choose_mode", "quiet")
    await room.slack.until(lambda: "Only members" in read(room))
    room.slack.fault("conversations.members", "error", code="missing_scope")
    await room.slack.choose_at_home("U0ALICE", "choose_mode", "quiet")
    await room.slack.until(lambda: "Invite me there" in read(room))
    assert self_service.modes == {}


async def test_a_refused_choice_is_explained(home: tuple[FakeAdapter, FakePreferences]) -> None:
    room, self_service = home
    await room.slack.choose_at_home("U0ALICE", "choose_deployment", "large")
    await room.slack.until(lambda: "Large is for engineers." in read(room))
    assert self_service.shown.deployment == ""


async def test_deleting_data_first_shows_the_amount(
    home: tuple[FakeAdapter, FakePreferences],
) -> None:
    """Field fault 81: the confirmation says how many items are deleted."""
    room, self_service = home
    await room.slack.choose_at_home("U0ALICE", "forget")
    await room.slack.until(lambda: "This deletes 3 answers." in read(room))
    assert self_service.forgotten == []
    await room.slack.choose_at_home("U0ALICE", "keep")
    await room.slack.until(lambda: "This deletes" not in read(room))
    assert self_service.forgotten == []
    await room.slack.choose_at_home("U0ALICE", "forget")
    await room.slack.until(lambda: "This deletes 3 answers." in read(room))
    await room.slack.choose_at_home("U0ALICE", "forget_now")
    await room.slack.until(lambda: "I deleted 3 answers" in read(room))
    assert [user.id for user in self_service.forgotten] == ["U0ALICE"]
    assert self_service.confirmed[0].startswith("slack:T0SIM:home:U0ALICE:")
    assert "0 answers in 0 conversations" in read(room)


async def test_without_redis_the_home_tab_says_so(home: tuple[FakeAdapter, FakePreferences]) -> None:
    """Field note 32."""
    room, self_service = home
    self_service.away = True
    delivery = await room.slack.choose_at_home("U0ALICE", "choose_template", "pirate")
    assert delivery.status == 503
    await room.slack.open_home("U0ALICE", tab="home")
    await room.slack.until(lambda: home_and_modals.HOME_AWAY in read(room))


async def test_without_self_service_the_home_tab_is_empty(room: FakeAdapter) -> None:
    await room.slack.open_home("U0ALICE", tab="home")
    await room.slack.until(lambda: room.slack.workspace.views.homes)
    assert home_and_modals.HOME_EMPTY in read(room)


def test_markdown_becomes_mrkdwn_in_views() -> None:
    text = (
        "# Use\n\n**bold** & [a page](https://example.com)\n\n| a | bb |\n|---|---|\n| ccc | `d` |\n\n- one"
    )
    assert from_markdown(text) == (
        "*Use*\n\n*bold* &amp; <https://example.com|a page>\n\n*ccc*: bb d\n\n- one"
    )


# ------------------------------------------------------------------ older assistants


async def test_an_assistant_thread_gets_prompts_and_a_title(room: FakeAdapter) -> None:
    thread = await room.slack.start_assistant("U0ALICE")
    await room.slack.until(lambda: room.slack.workspace.prompts)
    (prompts,) = room.slack.workspace.prompts
    assert prompts["thread_ts"] == thread
    channel = room.slack.workspace.direct("U0ALICE")
    await room.asked("how do bicycles work?", channel=channel, thread_ts=thread)
    await room.asked("and trains?", channel=channel, thread_ts=thread)
    await room.slack.until(lambda: room.slack.workspace.titles)
    assert room.slack.workspace.titles == {(channel, thread): "how do bicycles work?"}
    assert room.slack.calls["assistant.threads.setTitle"] == 1


# ------------------------------------------------------------------ questions by commands and forms


async def test_a_question_about_a_message_quotes_it(room: FakeAdapter) -> None:
    text = "the printer, <@U0ALICE>, is on fire" + " really" * 1_000
    ts = await room.slack.say(CHANNEL, "U0BOB", text)
    await room.slack.shortcut_at(CHANNEL, ts, "U0ALICE", "ask_about")
    await room.slack.until(lambda: room.slack.workspace.views.forms)
    await room.slack.submit("U0ALICE", "What shall we do?")
    (received,) = room.engine.received
    assert received.text == "What shall we do?"
    (quote,) = received.quotes
    assert (quote.at or received.at).timestamp() == pytest.approx(float(ts))
    assert replace(quote, at=None) == QuotedMessage(
        author="bob", text=text.replace("<@U0ALICE>", "@alice"), by="U0BOB", kind="quoted", origin="#general"
    )
    await room.answer(received, "Run.")
    assert room.slack.answers(CHANNEL, ts) == ["Run."]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"attachments": [{"title": "CPU", "text": "95 %", "color": "danger"}]}, "CPU\n95 %"),
        ({"attachments": [{"fallback": "Build failed"}]}, "Build failed"),
        ({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "Outage"}}]}, "Outage"),
        (
            {"attachments": [{"is_share": True, "author_name": "Carl", "text": "Monday"}]},
            "[forwarded: Carl]\nMonday",
        ),
        ({"text": "", "files": [{"id": "F1", "mode": "tombstone"}]}, "was deleted in Slack"),
    ],
)
async def test_a_question_about_an_alert_quotes_it(
    room: FakeAdapter, message: dict[str, Any], text: str
) -> None:
    """Field fault 43: "Ask about this" on an alert."""
    app = {"bot_id": "B0ALARM", "bot_profile": {"name": "Alarms"}}
    ts = room.slack.workspace.add(CHANNEL, app, None, **({"text": ""} | message))["ts"]
    await room.slack.shortcut_at(CHANNEL, ts, "U0ALICE", "ask_about")
    await room.slack.until(lambda: room.slack.workspace.views.forms)
    await room.slack.submit("U0ALICE", "What is this?")
    (quote,) = room.engine.received[0].quotes
    assert quote.author == "Alarms"
    assert text in quote.text


async def test_a_question_about_a_file_can_read_it(room: FakeAdapter) -> None:
    """Field fault 43: "Ask about this" on a message with a file."""
    url = f"{room.slack.workspace.origin}/files/F1"
    file = {"id": "F1", "name": "log.txt", "mimetype": "text/plain", "url_private": url}
    room.slack.workspace.files["F1"] = file | {"content": b"line 1"}
    ts = await room.slack.say(CHANNEL, "U0BOB", "", files=[file])
    await room.slack.shortcut_at(CHANNEL, ts, "U0ALICE", "ask_about")
    await room.slack.until(lambda: room.slack.workspace.views.forms)
    await room.slack.submit("U0ALICE", "What is in it?")
    (quote,) = room.engine.received[0].quotes
    assert await room.adapter.fetch(quote.attachments[0]) == b"line 1"


async def test_without_membership_only_the_asker_sees_the_answer(room: FakeAdapter) -> None:
    ts = await room.slack.say("C0OTHER", "U0ALICE", "the printer is on fire")
    await room.slack.shortcut_at("C0OTHER", ts, "U0ALICE", "ask_about")
    await room.slack.until(lambda: room.slack.workspace.views.forms)
    await room.slack.submit("U0ALICE", "What now?")
    (received,) = room.engine.received
    post = await room.open(received)
    done = await room.adapter.close(post, Reply(text="Run."))
    assert await room.adapter.close(done, Reply(text="Run.")) == done
    assert [message["markdown"] for message in room.slack.workspace.ephemeral] == ["Run."]


async def test_a_question_from_the_shortcut_is_a_dm(
    room: FakeAdapter,
) -> None:
    await room.slack.shortcut("U0ALICE", "ask")
    await room.slack.until(lambda: room.slack.workspace.views.forms)
    await room.slack.submit("U0ALICE", "Why?\n\nAnd <!channel>, how?")
    (received,) = room.engine.received
    assert (received.text, received.direct, received.channel) == (
        "Why?\n\nAnd <!channel>, how?",
        True,
        "D0ALICE",
    )
    await room.answer(received, "Because.")
    question, answer = [
        m["markdown"] for m in room.slack.workspace.thread("D0ALICE", received.id.split(":")[3])
    ]
    assert question.startswith("You asked:\n> Why?\n> \n> And")
    assert "<!channel>" not in question
    assert answer == "Because."
    follow_up = await room.asked("and?", channel="D0ALICE", thread_ts=received.address.data["thread"])
    assert follow_up.address.conversation == received.address.conversation


async def test_ask_is_public_where_the_bot_is_member(room: FakeAdapter) -> None:
    said_at_once = await room.slack.command(CHANNEL, "U0ALICE", "/ask", "why, <@U0BOB>?")
    (received,) = room.engine.received
    assert said_at_once == {"text": ""}
    assert received.text == "why, @bob?"
    await room.answer(received, "Because.")
    root = room.slack.workspace.messages[CHANNEL, received.address.data["thread"]]
    assert root["markdown"] == "**alice** asks:\n> why, @bob?"
    assert room.shown(received) == ["Because."]
    assert await room.adapter.context(received.address) == ()


async def test_without_membership_ask_is_ephemeral(room: FakeAdapter) -> None:
    said_at_once = await room.slack.command("C0OTHER", "U0ALICE", "/ask", "why?")
    assert "Working on it" in said_at_once["text"]
    (received,) = room.engine.received
    await room.answer(received, "Because.")
    assert room.slack.workspace.ephemeral[-1]["markdown"] == "Because."


async def test_ask_without_text_opens_the_form(room: FakeAdapter) -> None:
    await room.slack.command(CHANNEL, "U0ALICE", "/ask")
    await room.slack.until(lambda: room.slack.workspace.views.forms)
    assert room.engine.events == []


async def test_a_posted_question_is_deleted_if_not_stored(room: FakeAdapter) -> None:
    """Field note 02."""
    room.engine.error = StateUnavailable("Redis is away")
    await room.slack.command(CHANNEL, "U0ALICE", "/ask", "why?")
    assert room.slack.deliveries[-1].status == 503
    await room.slack.until(lambda: room.slack.calls["chat.delete"] == 1)
    assert not room.slack.workspace.messages


async def test_a_form_that_cannot_be_stored_stays_open(room: FakeAdapter) -> None:
    await room.slack.shortcut("U0ALICE", "ask")
    await room.slack.until(lambda: room.slack.workspace.views.forms)
    room.slack.fault("chat.postMessage", "500")
    delivery = await room.slack.submit("U0ALICE", "Why?")
    assert delivery.status == 503
    assert room.slack.workspace.views.forms
    assert room.engine.events == []


async def test_a_busy_conversation_deletes_the_posted_question(room: FakeAdapter) -> None:
    room.engine.receipt = "busy"
    told = await room.slack.command(CHANNEL, "U0ALICE", "/ask", "why?")
    assert "try again in a moment" in told["text"]
    await room.slack.until(lambda: not room.slack.workspace.messages)


async def test_an_expired_form_is_only_logged(room: FakeAdapter) -> None:
    with mock.patch("tests.simulators.slack_views.TRIGGER_LIFE_S", -1.0):
        delivery = await room.slack.shortcut("U0ALICE", "ask")
    assert delivery.status == 200
    await room.slack.until(lambda: room.slack.calls["views.open"])
    assert not room.slack.workspace.views.forms


# ------------------------------------------------------------------ hints for the operator


@pytest.mark.parametrize(
    ("code", "what", "calls"),
    [
        ("invalid_auth", "copy SLACK_BOT_TOKEN again", 1),
        ("token_revoked", "/slack/install", 1),
        ("not_in_channel", "invite the bot", 2),  # and a direct message
        ("channel_not_found", "invite the bot", 2),
        ("missing_scope", "parley check", 1),
    ],
)
async def test_a_permanent_refusal_gives_a_hint_without_retry(
    room: FakeAdapter, code: str, what: str, calls: int
) -> None:
    received = await room.asked()
    post = await room.open(received)
    room.slack.fault("chat.postMessage", "error", count=99, code=code)
    with pytest.raises(ConfigError, match=what):
        await room.adapter.close(post, Reply(text="Because."))
    assert room.slack.calls["chat.postMessage"] == calls


# ------------------------------------------------------------------ the simulator's page


async def test_the_simulator_draws_what_people_see(home: tuple[FakeAdapter, FakePreferences]) -> None:
    room, _ = home
    received = await room.asked("<@U0BOT> which fruit?")
    table = "| Fruit | Price |\n|---|---|\n| **Pear** | 2 |"
    await room.adapter.close(await room.open(received), Reply(text=table, rate=True))
    async with ClientSession() as http, http.get(f"{room.slack.workspace.origin}/_control/page") as response:
        page = await response.text()
    for drawn in ("This is not Slack", "@parley", "<strong>Pear</strong>", "Try again", "Your data"):
        assert drawn in page
