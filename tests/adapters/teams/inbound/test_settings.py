"""Settings, usage and sent prompts: by command, button, or message menu."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from adapters.teams.answers import cards
from bot.domain.errors import BotError, NotAllowed, StateUnavailable
from bot.domain.events import MessageReceived, User
from bot.domain.turns import UserProfile
from tests.adapters.teams.card_rules import problems
from tests.adapters.teams.conftest import Rig, rigged
from tests.simulators.teams import BOT, TENANT, Delivery

GROUP = "19:project@thread.v2"
CHANNEL = "19:help@thread.tacv2"
Fields = dict[str, Any]


@dataclass
class Counter:
    """A self-service that records its calls."""

    about_it: UserProfile = field(
        default_factory=lambda: UserProfile(
            templates=(("default", ""), ("translator", "")), answers=3, conversations=1
        )
    )
    asked: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    error: BotError | None = None

    def _take(self, *what: Any) -> None:
        if self.error is not None:
            raise self.error
        self.asked.append(what)

    async def profile(self, user: User, channel: str) -> UserProfile:
        self._take("about", user.id, channel)
        return self.about_it

    async def choose(
        self,
        user: User,
        channel: str,
        *,
        template: str | None = None,
        deployment: str | None = None,
        mode: str | None = None,
    ) -> None:
        self._take("choose", user.id, channel, template, deployment, *([] if mode is None else [mode]))

    async def ask_forget(self, user: User) -> str:
        self._take("ask_forget", user.id)
        return "This deletes 3 answers. Reply `forget me now`."

    async def confirm_forget(self, user: User, event: str) -> str:
        self._take("confirm_forget", user.id, event)
        return "Done. I deleted 3 answers."

    async def sent(self, user: User, conversation: str, post: str) -> str:
        self._take("sent", user.id, conversation, post)
        return "**system** You are Parley.\n\n| Left out | Why |\n|---|---|\n| 4 turns | no room |"


@pytest.fixture
def self_service() -> Counter:
    return Counter()


@pytest.fixture
async def rig(self_service: Counter) -> AsyncIterator[Rig]:
    async with rigged(self_service=self_service) as rig:
        yield rig


def card_of(delivery: Delivery) -> Fields:
    assert delivery.status == 200, delivery
    answer: Fields = json.loads(delivery.body)
    assert (answer["statusCode"], answer["type"]) == (200, cards.CARD), answer
    assert not problems(answer["value"])
    return answer["value"]


def dialog_of(delivery: Delivery) -> Fields:
    assert delivery.status == 200, delivery
    answer: Fields = json.loads(delivery.body)
    assert answer["task"]["type"] == "continue"
    card: Fields = answer["task"]["value"]["card"]["content"]
    assert not problems(card)
    return card


@pytest.mark.parametrize("word", ["settings", "Settings", "/settings"])
async def test_the_settings_command_shows_the_card(rig: Rig, self_service: Counter, word: str) -> None:
    await rig.teams.say("a:alice", "alice", word)
    message = await rig.teams.answered("a:alice")
    (attachment,) = message.activity["attachments"]
    assert attachment["contentType"] == cards.CARD
    assert not problems(attachment["content"])
    assert "Stored: 3 answers" in json.dumps(attachment)
    assert (rig.events, self_service.asked) == ([], [("about", "29:alice", "")])


async def test_a_redelivery_of_the_word_brings_one_card(rig: Rig) -> None:
    received = await rig.teams.say("a:alice", "alice", "settings")
    await rig.teams.deliver(received.activity, times=2)
    await rig.teams.answered("a:alice")
    await rig.teams.say("a:alice", "alice", "settings")
    await rig.teams.answered("a:alice", 2)
    assert len(rig.teams.answers("a:alice")) == 2


async def test_a_group_sees_only_a_neutral_card(rig: Rig, self_service: Counter) -> None:
    await rig.teams.say(GROUP, "alice", "settings", mention=True)
    message = await rig.teams.answered(GROUP)
    assert "Stored: 3 answers" not in json.dumps(message.activity)
    assert self_service.asked == []
    card = card_of(await rig.teams.press(GROUP, "bob", "settings", message.id))
    assert "Stored: 3 answers" in json.dumps(card)
    assert self_service.asked == [("about", "29:bob", GROUP)]


async def test_without_a_mention_settings_is_no_command(rig: Rig) -> None:
    await rig.teams.say(GROUP, "alice", "settings")
    assert isinstance(rig.events[-1], MessageReceived)


async def test_choosing_saves_and_refreshes_the_card_in_place(rig: Rig, self_service: Counter) -> None:
    chosen = {"template": "translator", "deployment": cards.AUTOMATIC}
    card = card_of(await rig.teams.press("a:alice", "alice", "choose", "1", chosen))
    assert self_service.asked == [("choose", "29:alice", "", "translator", ""), ("about", "29:alice", "")]
    assert "Saved." in json.dumps(card)


async def test_a_choice_in_a_channel_covers_its_threads(rig: Rig, self_service: Counter) -> None:
    thread = f"{CHANNEL};messageid=1700000000001"
    card_of(await rig.teams.press(thread, "alice", "choose", "1", {"template": "translator"}))
    assert self_service.asked[0] == ("choose", "29:alice", CHANNEL, "translator", None)


async def test_a_channels_card_sets_its_mode(rig: Rig, self_service: Counter) -> None:
    """Field fault 105: the participation mode was hidden in the last lines of `help`."""
    offered = (("follow", "Everything"), ("mention-only", "Mentions"))
    self_service.about_it = UserProfile(modes=offered, mode="mention-only", usual_mode="dialogue")
    shown = json.dumps(card_of(await rig.teams.press(CHANNEL, "alice", "settings", "1")))
    for words in ("Participation", "mention-only: Mentions", "Automatic (dialogue)"):
        assert words in shown
    card_of(await rig.teams.press(CHANNEL, "alice", "choose", "1", {"mode": "follow"}))
    assert self_service.asked[1] == ("choose", "29:alice", CHANNEL, None, None, "follow")
    card_of(await rig.teams.press(CHANNEL, "alice", "choose", "1", {"mode": cards.AUTOMATIC}))
    assert self_service.asked[3] == ("choose", "29:alice", CHANNEL, None, None, "")


async def test_deleting_shows_the_amount_first(rig: Rig, self_service: Counter) -> None:
    """Field fault 81: the confirmation says how many items are deleted."""
    card = card_of(await rig.teams.press("a:alice", "alice", "forget", "1"))
    assert "This deletes 3 answers" in json.dumps(card)
    assert [action["verb"] for action in card["actions"]] == ["forget_now", "settings"]
    assert self_service.asked == [("ask_forget", "29:alice")]
    card = card_of(await rig.teams.press("a:alice", "alice", "forget_now", "1"))
    assert "I deleted 3 answers" in json.dumps(card)
    assert self_service.asked[1][:2] == ("confirm_forget", "29:alice")


@pytest.mark.parametrize("text", ["Settings!", "settings.", "settings?"])
async def test_settings_must_match_exactly(rig: Rig, text: str) -> None:
    """Field fault 81: any punctuation passed for a command."""
    assert (await rig.asked("a:alice", text)).text == text


@pytest.mark.parametrize(
    ("error", "words"),
    [(NotAllowed("That model is not for you."), "not for you"), (StateUnavailable("x"), "again")],
)
async def test_a_refused_choice_is_explained(
    rig: Rig, self_service: Counter, error: BotError, words: str
) -> None:
    self_service.error = error
    pressed = json.loads((await rig.teams.press("a:alice", "alice", "choose", "1", {"template": "x"})).body)
    assert (pressed["statusCode"], pressed["type"]) == (200, cards.WORDS)
    assert words in pressed["value"]
    for command in ("settings", "sent"):
        assert words in json.dumps(dialog_of(await rig.teams.extend("a:alice", "alice", command, "1")))


async def test_without_redis_the_command_is_delivered_again(rig: Rig, self_service: Counter) -> None:
    """Field note 32."""
    self_service.error = StateUnavailable("away")
    received = await rig.teams.say("a:alice", "alice", "settings")
    assert received.status == 503
    self_service.error = None
    await rig.teams.deliver(received.activity)
    await rig.teams.answered("a:alice")


async def test_the_message_menu_shows_the_sent_prompt(rig: Rig, self_service: Counter) -> None:
    """Field note 41."""
    dialog = dialog_of(await rig.teams.extend("a:alice", "alice", "sent", "1700000000009"))
    assert "You are Parley." in json.dumps(dialog)
    assert self_service.asked == [("sent", "29:alice", f"teams:{TENANT}:a:alice", "a:alice|1700000000009")]


async def test_the_sent_prompt_lists_omissions(rig: Rig) -> None:
    """Field note 29."""
    dialog = dialog_of(await rig.teams.extend("a:alice", "alice", "sent", "1700000000009"))
    (table,) = [element for element in dialog["body"] if element["type"] == "Table"]
    rows = [[cell["items"][0]["text"] for cell in row["cells"]] for row in table["rows"]]
    assert rows == [["Left out", "Why"], ["4 turns", "no room"]]


@pytest.mark.parametrize("named", [True, False])
async def test_an_answer_in_a_thread_is_found(rig: Rig, self_service: Counter, named: bool) -> None:
    """Field note 41."""
    thread = f"{CHANNEL};messageid=1700000000001"
    where = thread if named else CHANNEL
    await rig.teams.extend(where, "alice", "sent", "1700000000009", root="1700000000001")
    assert self_service.asked == [("sent", "29:alice", f"teams:{TENANT}:{thread}", f"{thread}|1700000000009")]


async def test_the_settings_dialog_submits_and_shows_changes(rig: Rig, self_service: Counter) -> None:
    first = dialog_of(await rig.teams.extend(GROUP, "alice", "settings"))
    assert first["actions"][0]["data"] == {"verb": "choose"}
    chosen = {"verb": "choose", "template": "translator"}
    second = dialog_of(await rig.teams.extend(GROUP, "alice", "settings", data=chosen))
    assert ("choose", "29:alice", GROUP, "translator", None) in self_service.asked
    assert "Saved." in json.dumps(second)


async def test_an_unknown_button_only_refreshes(rig: Rig, self_service: Counter) -> None:
    card_of(await rig.teams.press("a:alice", "alice", "launch", "1"))
    assert [what[0] for what in self_service.asked] == ["about"]


async def test_another_extension_is_501(rig: Rig) -> None:
    assert (await rig.teams.extend("a:alice", "alice", "weather")).status == 501


async def test_a_welcome_has_buttons_once_per_installation(rig: Rig) -> None:
    installed = await rig.teams.install("a:alice", "alice")
    await rig.teams.deliver(installed.activity, times=2)
    message = await rig.teams.answered("a:alice")
    (attachment,) = message.activity["attachments"]
    says = [action["data"]["msteams"]["value"] for action in attachment["content"]["actions"]]
    assert says == ["help", "Draw a red bicycle", "settings"]
    await rig.teams.install("a:alice", "alice")
    await rig.teams.answered("a:alice", 2)
    assert len(rig.teams.answers("a:alice")) == 2


@pytest.mark.parametrize("conversation", [GROUP, CHANNEL])
async def test_a_group_is_welcomed_without_buttons(rig: Rig, conversation: str) -> None:
    await rig.teams.install(conversation, "alice")
    message = await rig.teams.answered(conversation)
    assert "Mention me" in message.text
    assert "attachments" not in message.activity


async def test_without_self_service_settings_is_a_question() -> None:
    async with rigged() as plain:
        await plain.teams.say("a:alice", "alice", "settings")
        assert isinstance(plain.events[-1], MessageReceived)
        await plain.teams.install("a:alice", "alice")
        message = await plain.teams.answered("a:alice")
        assert "settings" not in json.dumps(message.activity)
        assert message.sender == BOT
        assert (await plain.teams.press("a:alice", "alice", "settings", "1")).status == 501
