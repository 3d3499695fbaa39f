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


# ------------------------------------------------------------------ parts beside the text

SHARED = {"is_share": True, "is_msg_unfurl": True, "author_name": "Bob", "text": "We ship on Monday"}
PREVIEW = {"from_url": "https://example.com", "title": "Example"}
LINKED = {
    "is_msg_unfurl": True,
    "from_url": "https://a.slack.com/archives/C1/p1700000000000100",
    "text": "hello",
}
FILE = {"id": "F1", "name": "a.txt", "mimetype": "text/plain"}
CLIP = FILE | {"subtype": "slack_audio", "transcription": {"preview": {"content": "why?"}}}
TABLE = {"type": "table", "rows": [[{"type": "raw_text", "text": "tea"}]]}


def direct(**message: Any) -> Any:
    payload = recorded("message_im")
    event = {name: value for name, value in payload["event"].items() if name not in ("text", "blocks")}
    return payload | {"event": event | message}


def test_a_forward_without_a_comment_is_a_question() -> None:
    """Field fault 43: a DM with a forwarded message and no comment."""
    event = parse(direct(text="", attachments=[SHARED]), BOT, NAMES)
    assert isinstance(event, MessageReceived)
    assert (event.text, [(quote.author, quote.text) for quote in event.quotes]) == (
        "",
        [("Bob", SHARED["text"])],
    )


@pytest.mark.parametrize(
    "subtype", [None, "file_share", "thread_broadcast", "message_share", "reply_broadcast"]
)
def test_forwards_of_every_subtype_are_received(subtype: str | None) -> None:
    """Field fault 43."""
    event = parse(direct(text="", attachments=[SHARED], subtype=subtype), BOT, NAMES)
    assert isinstance(event, MessageReceived)
    assert len(event.quotes) == 1


def test_a_mention_in_rich_text_counts() -> None:
    """Field fault 43."""
    pieces = [{"type": "user", "user_id": "U0BOT"}, {"type": "text", "text": " why?"}]
    rich = [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": pieces}]}]
    payload = recorded("message_channels_without_mention")
    event = parse(payload | {"event": payload["event"] | {"text": "", "blocks": rich}}, BOT, NAMES)
    assert isinstance(event, MessageReceived)
    assert (event.text, event.addressed) == ("why?", True)
    quoted = {"attachments": [{"is_share": True, "blocks": rich}], "text": "hm", "blocks": []}
    assert parse(payload | {"event": payload["event"] | quoted}, BOT, NAMES) is None


@pytest.mark.parametrize("channel_type", ["missing", None, "", "im", "channel", "nonsense"])
def test_a_direct_message_is_known_by_its_channel(channel_type: str | None) -> None:
    """Field fault 49: a DM event without `channel_type`."""
    payload = direct(text="hello")
    if channel_type == "missing":
        del payload["event"]["channel_type"]
    else:
        payload["event"]["channel_type"] = channel_type
    event = parse(payload, BOT, NAMES)
    assert isinstance(event, MessageReceived)
    assert (event.direct, event.addressed, event.address.data["direct"]) == (True, True, "1")


def changed(before: dict[str, Any], after: dict[str, Any], *, by_author: bool) -> Any:
    payload = recorded("message_changed_edit")
    event = payload["event"]
    message = {"type": "message", "user": "U061F7AUR", "ts": event["message"]["ts"], "text": "<@U0BOT> why?"}
    edited = {"edited": {"user": "U061F7AUR", "ts": "1700000009.000000"}} if by_author else {}
    return payload | {
        "event": event | {"previous_message": message | before, "message": message | after | edited}
    }


@pytest.mark.parametrize(
    ("before", "after", "by_author", "is_edit"),
    [
        ({}, {"attachments": [PREVIEW]}, False, False),
        ({}, {"attachments": [LINKED]}, False, False),
        ({}, {"attachments": [PREVIEW, LINKED]}, True, False),
        ({"attachments": [PREVIEW]}, {}, True, False),
        ({}, {"files": [FILE]}, False, False),
        ({}, {"blocks": [TABLE]}, True, True),
        ({}, {"attachments": [{"blocks": [TABLE]}]}, True, True),
        ({}, {"attachments": [SHARED]}, True, True),
        ({"attachments": [SHARED]}, {}, True, True),
        ({}, {"files": [FILE]}, True, True),
        ({}, {"text": "<@U0BOT> why not?"}, False, True),
        (
            {"text": "", "files": [FILE | {"subtype": "slack_audio"}], "thread_ts": "1.1"},
            {"text": "", "files": [CLIP], "thread_ts": "1.1"},
            False,
            True,
        ),
    ],
)
def test_an_edit_is_what_the_author_changed(
    before: dict[str, Any], after: dict[str, Any], by_author: bool, is_edit: bool
) -> None:
    """Field fault 43: edits of blocks and attachments count, previews that Slack adds do not. Field note 07."""
    event = parse(changed(before, after, by_author=by_author), BOT, NAMES)
    assert isinstance(event, MessageEdited) == is_edit


def test_an_edit_carries_all_parts() -> None:
    """Field fault 43."""
    after = {"attachments": [SHARED], "files": [FILE, {"id": "F2", "mode": "tombstone"}]}
    event = parse(changed({}, after, by_author=True), BOT, NAMES)
    assert isinstance(event, MessageEdited)
    assert event.parts is not None
    assert [quote.text for quote in event.parts.quotes] == [SHARED["text"]]
    assert [file.id for file in event.parts.attachments] == ["F1"]
    assert len(event.parts.unread) == 1
