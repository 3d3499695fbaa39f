"""Edited messages: what was not a question may become one, and what stays the same is not answered again."""

from typing import Any

import pytest

from bot.domain.errors import StateUnavailable
from bot.domain.events import Event, MessageEdited, MessageParts, MessageReceived
from tests.adapters.teams.conftest import Rig
from tests.simulators.teams import BOT

GROUP, CHANNEL, ALONE = "19:project@thread.v2", "19:help@thread.tacv2", "a:alice"


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


@pytest.mark.parametrize("place", [GROUP, CHANNEL])
@pytest.mark.parametrize("known", [True, False], ids=["received before", "new to this process"])
async def test_an_edit_that_adds_the_mention_asks(rig: Rig, place: str, known: bool) -> None:
    """Field fault 79: it was ignored, because the message had not been answered."""
    first = await rig.teams.say(place, "alice", "What is 2+2?")
    if not known:
        await rig.restart_web()
    rig.events.clear()
    await rig.teams.edit(first, "What is 2+2?", mention=True)
    changed, asked = rig.events
    assert isinstance(changed, MessageEdited)
    assert isinstance(asked, MessageReceived)
    assert (asked.text, asked.addressed) == ("What is 2+2?", True)
    assert asked.restores == asked.address.event == changed.target
    assert asked.id not in (changed.id, changed.target)


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("What is 2+2?", {}),
        ("one two", {"text": "one  two\n"}),
        ("bold words", {"attachments": [{"contentType": "text/html", "content": "<p><b>bold</b> words</p>"}]}),
        ("words", {"attachments": [{"contentType": "text/html", "content": '<p style="color:red">words</p>'}]}),
        ("see https://x.example", {"attachments": [
            {"contentType": "text/html", "content": '<p>see <a href="https://x.example">https://x.example</a></p>'}]}),
        ("a link", {"attachments": [
            {"contentType": "application/vnd.microsoft.card.thumbnail", "content": {"title": "T"}}]}),
        ("reacted", {"reactionsAdded": [{"type": "like"}]}),
        ("help", {"importance": "high"}),
        ("/image a cat", {}),
        ("words", {"entities": [{"type": "clientInfo", "platform": "iOS"}]}),
    ],
)  # fmt: skip
async def test_an_unchanged_text_is_no_edit(rig: Rig, text: str, edited: dict[str, Any]) -> None:
    """Field fault 79: formatting, a preview or a reaction paid for a new answer."""
    first = await rig.teams.say(ALONE, "alice", text)
    rig.events.clear()
    changed: dict[str, Any] = {"text": text, **edited}
    assert (await rig.teams.edit(first, changed.pop("text"), **changed)).status == 200
    assert rig.events == []


def file(token: str) -> dict[str, Any]:
    url = f"https://contoso.sharepoint.com/plan?tempauth={token}"
    kind = "application/vnd.microsoft.teams.file.download.info"
    return {"contentType": kind, "name": "plan.pdf", "content": {"downloadUrl": url, "uniqueId": "1150D938"}}


FILE = file("1")
QUOTE = {
    "type": "quotedReply",
    "quotedReply": {"messageId": "1763630142094", "senderName": "Bob", "preview": "We ship on Friday."},
}
VIDEO = {"contentType": "video/mp4", "name": "demo.mp4", "contentUrl": "https://contoso.sharepoint.com/demo"}


def html(text: str) -> dict[str, str]:
    return {"contentType": "text/html", "content": f"<p>{text}</p>"}


@pytest.mark.parametrize(
    ("edited", "names"),
    [
        ({"attachments": [html("why?"), FILE]}, ["plan.pdf"]),
        ({"entities": [QUOTE]}, ["We ship on Friday."]),
        ({"attachments": [html("why?"), VIDEO]}, ["demo.mp4"]),
        ({"attachments": [html("why?"), FILE, VIDEO], "entities": [QUOTE]},
         ["plan.pdf", "We ship on Friday.", "demo.mp4"]),
    ],
    ids=["a file", "a quote", "an unreadable part", "all of them"],
)  # fmt: skip
async def test_an_edit_has_all_parts(rig: Rig, edited: dict[str, Any], names: list[str]) -> None:
    """Field fault 76: of an edited message only the text was read, so that the file was missing in the new answer."""
    first = await rig.teams.say(ALONE, "alice", "why?")
    rig.events.clear()
    for _ in range(2):
        await rig.teams.edit(first, "why?", **edited)
    (changed,) = rig.events
    assert isinstance(changed, MessageEdited)
    parts = changed.parts
    assert parts is not None
    read = [file.name for file in parts.attachments], [quote.text for quote in parts.quotes]
    assert [*read[0], *read[1], *(part.name for part in parts.unread)] == names


async def test_an_edit_takes_a_file_away(rig: Rig) -> None:
    """Field fault 76: only if Teams tells the attachments; their links may be other ones each time."""
    first = await rig.teams.say(ALONE, "alice", "why?", attachments=[html("why?"), FILE])
    rig.events.clear()
    await rig.teams.edit(first, "why?", attachments=[html("why?"), file("2")])
    await rig.teams.edit(first, "why?", attachments=None)
    assert rig.events == []
    await rig.teams.edit(first, "why not?", attachments=None)
    await rig.teams.edit(first, "why not?", attachments=[html("why not?")])
    assert [event.parts for event in rig.events if isinstance(event, MessageEdited)] == [None, MessageParts()]


async def test_a_changed_text_is_an_edit_each_time(rig: Rig) -> None:
    """Field note 11: also back to an earlier text."""
    first = await rig.teams.say(ALONE, "alice", "one")
    rig.events.clear()
    for text in ("two", "one", "one", "two"):
        await rig.teams.edit(first, text)
    assert [event.text for event in rig.events if isinstance(event, MessageEdited)] == ["two", "one", "two"]
    assert kinds(rig.events) == [MessageEdited] * 3, "in a personal chat it was a question from the beginning"


async def test_a_question_is_asked_by_one_edit_only(rig: Rig) -> None:
    """Field fault 79: after the mention is there, further edits change the answer in place."""
    first = await rig.teams.say(GROUP, "alice", "hello")
    rig.events.clear()
    await rig.teams.edit(first, "hello", mention=True)
    await rig.teams.edit(first, "hello", mention=True)
    await rig.teams.edit(first, "hello again", mention=True)
    assert kinds(rig.events) == [MessageEdited, MessageReceived, MessageEdited]


async def test_a_question_that_mentioned_the_bot_is_edited(rig: Rig) -> None:
    """Field fault 79: a command has no turn, and its edits must not run it again."""
    first = await rig.teams.say(GROUP, "alice", "mute", mention=True)
    rig.events.clear()
    await rig.teams.edit(first, "mute", mention=True)
    await rig.teams.edit(first, "mute!", mention=True)
    assert kinds(rig.events) == [MessageEdited]


async def test_another_mention_asks_nothing(rig: Rig) -> None:
    """Field fault 79: only the bot's own mention does."""
    first = await rig.teams.say(GROUP, "alice", "hello")
    rig.events.clear()
    other = {"type": "mention", "mentioned": {"id": "29:bob", "name": "Bob"}, "text": "<at>Bob</at>"}
    await rig.teams.edit(first, "<at>Bob</at> hello", entities=[other])
    assert kinds(rig.events) == [MessageEdited]
    assert BOT not in str(other)


async def test_a_lost_edit_is_delivered_again(rig: Rig) -> None:
    """Field note 02: what was not stored is not taken for known."""
    first = await rig.teams.say(ALONE, "alice", "one")
    rig.events.clear()
    rig.error = StateUnavailable("Redis is away")
    assert (await rig.teams.edit(first, "two")).status == 503
    rig.error = None
    assert (await rig.teams.edit(first, "two")).status == 200
    assert kinds(rig.events) == [MessageEdited]
