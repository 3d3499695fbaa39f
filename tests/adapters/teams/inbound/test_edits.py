"""Edited messages: what was not a question may become one, and what stays the same is not answered again."""

from typing import Any

import pytest

from bot.domain.errors import StateUnavailable
from bot.domain.events import Event, MessageEdited, MessageReceived
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
