"""Slack's documented payloads, replayed through the parser."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.slack.events.parser import Bot, parse, people
from bot.domain.events import Event, FeedbackGiven, MessageEdited, MessageReceived

RECORDED = Path(__file__).parents[3] / "recorded" / "slack"
BOT = Bot(team="T123ABC456", user="U0BOT", bot="B0BOT")
NAMES = {"U123ABC456": "Ann"}


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())["payload"]


def facts(event: Event) -> dict[str, Any]:
    """The fields of an event that the recordings state."""
    found: dict[str, Any] = {
        "type": type(event).__name__,
        "id": event.id,
        "conversation": event.address.conversation,
        "user": event.user.id,
        "user_name": event.user.name,
        "user_team": event.address.data.get("user_team"),
    }
    for name in ("text", "addressed", "direct", "channel", "target", "post", "good"):
        if hasattr(event, name):
            found[name] = getattr(event, name)
    if isinstance(event, MessageReceived):
        found["attachments"] = [
            [a.id, a.name, a.mime, a.size_bytes, a.data.get("url")] for a in event.attachments
        ]
    return found


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.glob("*.json")))
def test_a_recorded_payload_is_parsed_as_expected(name: str) -> None:
    recording = json.loads((RECORDED / f"{name}.json").read_text())
    event = parse(recording["payload"], BOT, NAMES)
    if recording["event"] is None:
        assert event is None
    else:
        assert event is not None
        assert event.address.event == event.id
        assert facts(event) | recording["event"] == facts(event)


def test_both_events_of_a_mention_have_one_id() -> None:
    """Field note 01."""
    twins = [parse(recorded(name), BOT, NAMES) for name in ("app_mention", "message_channels_mention_twin")]
    assert twins[0] is not None
    assert twins[1] is not None
    assert twins[0].id == twins[1].id
    assert twins[0].address == twins[1].address


@pytest.mark.parametrize(
    "name",
    ["message_changed_unfurl", "message_changed_thread_grew", "message_changed_of_our_own_answer"],
)
def test_a_change_without_changed_text_is_no_edit(name: str) -> None:
    """Field note 07."""
    assert parse(recorded(name), BOT, NAMES) is None


def test_changed_text_is_an_edit_of_its_message() -> None:
    """Field note 07."""
    event = parse(recorded("message_changed_edit"), BOT, NAMES)
    assert isinstance(event, MessageEdited)
    assert event.target == event.id.partition(":edit:")[0]


def test_equal_channels_of_two_workspaces_are_two_conversations() -> None:
    """Field note 20."""
    payload = recorded("app_mention")
    here = parse(payload, BOT, NAMES)
    granted = [grant | {"team_id": "T0OTHER"} for grant in payload["authorizations"]]
    there = parse(payload | {"team_id": "T0OTHER", "authorizations": granted}, BOT, NAMES)
    assert here is not None
    assert there is not None
    assert here.id != there.id
    assert here.address.conversation != there.address.conversation
    assert here.user != there.user


def test_commands_of_two_people_are_two_conversations() -> None:
    """Field note 20."""
    payload = recorded("command_ask")
    alices = parse(payload, BOT, NAMES)
    two = parse(payload | {"user_id": "U0OTHER", "trigger_id": "2.2.b"}, BOT, NAMES)
    assert alices is not None
    assert two is not None
    assert alices.address.conversation != two.address.conversation


def test_a_mention_without_text_is_an_empty_question() -> None:
    """Field note 17."""
    payload = recorded("app_mention")
    payload["event"]["text"] = " <@U0BOT> "
    event = parse(payload, BOT, NAMES)
    assert isinstance(event, MessageReceived)
    assert event.text == ""
    assert event.addressed


def test_a_longer_id_is_not_the_bots() -> None:
    payload = recorded("message_channels_without_mention")
    payload["event"]["text"] = "<@U0BOTTLE> hi"
    assert parse(payload, BOT, NAMES) is None


def test_people_are_the_mentioned_and_the_asker() -> None:
    def asker(name: str) -> str:
        return recorded(name)["event"]["user"]

    broadcast = "thread_broadcast"
    assert people(recorded(broadcast)) == {"U0BOT", "U123ABC456", asker(broadcast)}
    assert people(recorded("command_ask")) == {"U123ABC456"}
    assert people(recorded("message_changed_edit")) == {"U0BOT"}
    assert people(recorded("message_im")) == {asker("message_im")}
    assert people(recorded("message_channels_without_mention")) == set()


def test_a_person_without_a_name_is_the_id() -> None:
    payload = recorded("app_mention")
    payload["event"]["text"] = "<@U0BOT> ask <@U0NOBODY> or <@U123ABC456|old name>"
    event = parse(payload, BOT, NAMES)
    assert isinstance(event, MessageReceived)
    assert event.text == "ask @U0NOBODY or @Ann"


def test_a_rating_names_the_answer_of_its_button() -> None:
    event = parse(recorded("feedback_good_of_a_long_answer"), BOT, NAMES)
    assert isinstance(event, FeedbackGiven)
    assert event.post == "T123ABC456:C123ABC456:1548261230.000100"
