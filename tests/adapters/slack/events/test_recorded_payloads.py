"""What is read from payloads of Slack in the shapes that public fixtures and types show; words and ids are our own."""

from typing import Any, NamedTuple

import pytest

from adapters.slack.events.parser import Bot, parse
from bot.domain.events import Event, MessageDeleted, MessageEdited, MessageParts, MessageReceived

BOLT = "slackapi/bolt-python tests/scenario_tests/"
JAVA = "slackapi/java-slack-sdk json-logs/samples/events/"
CHAT = "vercel/chat packages/integration-tests/fixtures/replay/"
CLAW = "zhch158/openclaw src/slack/types.ts"
BOT = Bot(team="T1", user="U0BOT", bot="B0BOT")
NAMES = {"U1": "Ann", "U2": "Bob"}

Fields = dict[str, Any]


class Case(NamedTuple):
    """A payload; where its shape is from; and all that is read from it, in order. Nothing: it is not for the bot."""

    name: str
    source: str
    event: Fields
    read: tuple[str, ...]


def event(**fields: Any) -> Fields:
    """An event of a one-to-one conversation, unless the fields say otherwise."""
    known = {"type": "message", "user": "U1", "team": "T1", "channel": "D1", "channel_type": "im"}
    return {**known, "ts": "1763630142.000100", "event_ts": "1763630142.000100", **fields}


def rich(*elements: Fields) -> list[Fields]:
    section = {"type": "rich_text_section", "elements": list(elements)}
    return [{"type": "rich_text", "block_id": "b1", "elements": [section]}]


def word(text: str) -> Fields:
    return {"type": "text", "text": text}


def file(**fields: Any) -> Fields:
    url = "https://files.slack.com/files-pri/T1-F1/plan.png"
    known = {"id": "F1", "name": "plan.png", "mimetype": "image/png", "size": 92582, "mode": "hosted"}
    return {**known, "url_private": url, "url_private_download": url, "file_access": "visible", **fields}


def changed(after: Fields, before: Fields, **fields: Any) -> Fields:
    author = {"type": "message", "user": "U1", "team": "T1", "ts": "1763630142.000100"}
    changes = {"message": author | after, "previous_message": author | before, "hidden": True}
    return event(subtype="message_changed", ts="1763630150.000200", **changes, **fields)


def shared(**fields: Any) -> Fields:
    """A message that was forwarded."""
    known = {"is_share": True, "is_msg_unfurl": True, "author_name": "Bob", "author_id": "U2"}
    return {**known, "channel_name": "sales", "channel_id": "C2", "ts": "1763600000.000100", **fields}


CASES = [
    Case("text with its rich text", f"{BOLT}test_message_bot.py",
         event(text="ship on Monday?", blocks=rich(word("ship on Monday?"))), ("text: ship on Monday?",)),
    Case("a mention without a channel type", f"{CHAT}channel/slack.json",
         event(type="app_mention", text="<@U0BOT> Hey", channel="C1", channel_type=None), ("text: Hey",)),
    Case("a mention in rich text", f"{CHAT}slack-multi-workspace/team1.json",
         event(type="app_mention", text="<@U0BOT> testing", channel="C1",
               blocks=rich({"type": "user", "user_id": "U0BOT"}, word(" testing"))), ("text: testing",)),
    Case("a thread of the assistant", f"{BOLT}test_events_assistant.py",
         event(text="when?", thread_ts="1763630000.000100", parent_user_id="U1", user_profile={},
               assistant_thread={"action_token": "x"}), ("text: when?",)),
    Case("the assistant names a thread", f"{BOLT}test_events_assistant.py",
         changed({"text": "New chat", "subtype": "assistant_app_thread", "edited": {}},
                 {"text": "New chat", "subtype": "assistant_app_thread", "edited": {}}), ()),
    Case("a thread grew", f"{BOLT}test_events_assistant.py",
         changed({"text": "hello", "edited": {}, "reply_count": 2, "latest_reply": "1763630150.000100"},
                 {"text": "hello", "edited": {}, "reply_count": 1}), ()),
    Case("an app that talks by itself", f"{BOLT}test_message_bot.py",
         event(text="deployed", bot_id="B9", user="U9", channel="C1", channel_type="channel",
               bot_profile={"id": "B9", "name": "ci"}), ()),
    Case("an app that mentions the bot", f"{BOLT}test_message_bot.py",
         event(text="<@U0BOT> why?", subtype="bot_message", username="ci", bot_id="B8", user=None, channel="C1",
               channel_type="channel"), ("text: why?",)),
    Case("a file with words", f"{BOLT}test_message_file_share.py",
         event(text="what is it?", subtype="file_share", files=[file()], upload=False,
               blocks=rich(word("what is it?"))), ("text: what is it?", "file: plan.png")),
    Case("a file alone", f"{JAVA}MessageFileSharePayload.json",
         event(text="", subtype="file_share", files=[file()]), ("file: plan.png",)),
    Case("a deleted file", f"{JAVA}MessageFileSharePayload.json",
         event(text="sum up", subtype="file_share", files=[{"id": "F2", "mode": "tombstone"}]),
         ("text: sum up", "unread: A file")),
    Case("a message of other people in a channel", f"{JAVA}MessagePayload.json",
         event(text="lunch?", channel="C1", channel_type="channel"), ()),
    Case("a reply that is also sent to the channel", f"{BOLT}test_message_thread_broadcast.py",
         event(subtype="thread_broadcast", text="<@U0BOT> done?", channel="C1", channel_type="channel",
               thread_ts="1763630000.000100", root={"text": "the plan", "ts": "1763630000.000100"}),
         ("text: done?",)),
    Case("an edit", f"{BOLT}test_message_changed.py",
         changed({"text": "updated", "edited": {"user": "U1", "ts": "1763630150.000000"},
                  "blocks": rich(word("updated"))}, {"text": "original", "blocks": rich(word("original"))}),
         ("edited: updated",)),
    Case("an edit that adds a file", f"{JAVA}MessageChangedPayload.json",
         changed({"text": "this?", "edited": {"user": "U1", "ts": "1763630150.000000"}, "files": [file()]},
                 {"text": "this?"}), ("edited: this?", "file: plan.png")),
    Case("a preview comes", f"{JAVA}MessageChangedPayload.json",
         changed({"text": "see https://x.example", "attachments": [
             {"service_name": "X", "title": "A page", "text": "words", "from_url": "https://x.example",
              "original_url": "https://x.example", "id": 1}]}, {"text": "see https://x.example"}), ()),
    Case("a deletion", f"{BOLT}test_message_deleted.py",
         event(subtype="message_deleted", hidden=True, deleted_ts="1763630142.000100", previous_message={
             "type": "message", "text": "gone", "user": "U1", "team": "T1", "ts": "1763630142.000100"}),
         ("deleted",)),
    Case("words in the third person", f"{JAVA}MessageMePayload.json",
         event(subtype="me_message", text="waits for the build"), ("text: waits for the build",)),
    Case("a new topic", f"{JAVA}MessageChannelTopicPayload.json",
         event(subtype="channel_topic", topic="launch", text="set the topic", channel="C1"), ()),
    Case("somebody joins", f"{JAVA}MessageChannelJoinPayload.json",
         event(subtype="channel_join", text="<@U1> has joined", channel="C1"), ()),
    Case("a reply in a thread is told twice", f"{JAVA}MessageRepliedPayload.json",
         event(subtype="message_replied", hidden=True, message={"text": "x", "ts": "1763630142.000100"}), ()),
    Case("a message that the keys of the company hide", f"{JAVA}MessageEkmAccessDeniedPayload.json",
         event(subtype="ekm_access_denied", text="", user="UREVOKEDU"), ()),
    Case("a forwarded message without words", CLAW,
         event(text="", attachments=[shared(text="We ship on Friday.")]),
         ("quote: forwarded, Bob: We ship on Friday.",)),
    Case("a forwarded message that has blocks only", CLAW,
         event(text="why?", attachments=[shared(text="", message_blocks=[
             {"team": "T1", "channel": "C2", "ts": "1", "message": {"blocks": rich(word("It is down."))}}])]),
         ("text: why?", "quote: forwarded, Bob: It is down.")),
    Case("a forwarded message with a file", CLAW,
         event(text="what is it?", attachments=[shared(text="", files=[file()])]),
         ("text: what is it?", "quote: forwarded, Bob: ", "quoted file: plan.png")),
    Case("a forwarded message that has a fallback only", CLAW,
         event(text="", attachments=[shared(fallback="[2025-11-20] Bob: It is down.")]),
         ("quote: forwarded, Bob: [2025-11-20] Bob: It is down.",)),
    Case("an older alert", f"{JAVA}MessageBotPayload.json",
         event(text="what is wrong?", attachments=[
             {"pretext": "Build 7", "title": "main", "title_link": "https://ci.example/7", "text": "failed",
              "fields": [{"title": "Step", "value": "test", "short": True}], "fallback": "Build 7 failed",
              "color": "danger", "id": 1}]),
         ("text: what is wrong?", "quote: alert, Ann: Build 7\n[main](https://ci.example/7)\nfailed\nStep: test")),
]  # fmt: skip


def read(found: Event | None) -> tuple[str, ...]:
    """All that an event says."""
    match found:
        case None:
            return ()
        case MessageReceived():
            words = [f"text: {found.text}"] if found.text else []
            parts: MessageReceived | MessageParts = found
        case MessageEdited():
            words, parts = [f"edited: {found.text}"], found.parts or MessageParts()
        case MessageDeleted():
            return ("deleted",)
        case _:
            return (type(found).__name__,)
    words += [f"file: {one.name}" for one in parts.attachments]
    for quote in parts.quotes:
        words.append(f"quote: {quote.kind}, {quote.author}: {quote.text}")
        words += [f"quoted file: {one.name}" for one in quote.attachments]
    return (*words, *(f"unread: {part.name}" for part in parts.unread))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_of_a_payload_is_read(case: Case) -> None:
    """Field fault 43: nothing that a person sends is ignored, and nothing that they did not say is a question."""
    payload: Fields = {"type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event_id": "Ev1"}
    payload["authorizations"] = [{"enterprise_id": None, "team_id": "T1", "user_id": "U0BOT", "is_bot": True}]
    assert read(parse({**payload, "event": case.event}, BOT, NAMES)) == case.read


def test_every_shape_has_a_source() -> None:
    """Each is a fact that can be looked up."""
    assert len(CASES) >= 20
    assert all("/" in case.source for case in CASES)
