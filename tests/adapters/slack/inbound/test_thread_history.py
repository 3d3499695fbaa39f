"""Messages in a thread before the bot was mentioned in it."""

from typing import Any
from unittest import mock

import pytest
from msgspec.structs import replace

from adapters.slack.inbound import thread_history
from bot.domain.errors import ConfigError, NotAllowed, PlatformUnavailable
from bot.domain.events import QuotedMessage
from tests.adapters.slack.conftest import FakeAdapter

CHANNEL = "C0GENERAL"


async def test_a_mention_in_a_thread_includes_earlier_messages(room: FakeAdapter) -> None:
    """Field note 17: the earlier messages of a thread are context."""
    root = await room.slack.say(CHANNEL, "U0ALICE", "the printer is on fire")
    await room.slack.say(CHANNEL, "U0BOB", "again, <@U0ALICE>?", thread_ts=root)
    author = {"bot_id": "B0ALARM", "bot_profile": {"name": "Alarms"}}
    room.slack.workspace.add(CHANNEL, author, root, text="Fire in room 3", subtype="bot_message")
    received = await room.asked("<@U0BOT> what now?", thread_ts=root)
    await room.slack.say(CHANNEL, "U0BOB", "said after the question", thread_ts=root)
    quotes = await room.adapter.context(received.address)
    assert all(quote.at is not None and quote.at < received.at for quote in quotes)
    assert tuple(replace(quote, at=None) for quote in quotes) == (
        QuotedMessage(author="alice", text="the printer is on fire", by="U0ALICE"),
        QuotedMessage(author="bob", text="again, @alice?", by="U0BOB"),
        QuotedMessage(author="Alarms", text="Fire in room 3", by="B0ALARM"),
    )


async def test_the_bots_own_messages_are_left_out(room: FakeAdapter) -> None:
    first = await room.asked("<@U0BOT> hello")
    await room.answer(first, "Hello.")
    again = await room.asked("<@U0BOT> and now?", thread_ts=first.address.data["thread"])
    assert [quote.text for quote in await room.adapter.context(again.address)] == ["hello"]


async def test_the_root_of_a_thread_has_no_history(room: FakeAdapter) -> None:
    received = await room.asked()
    assert await room.adapter.context(received.address) == ()
    await room.slack.command("C0OTHER", "U0ALICE", "/image", "a bicycle")
    assert await room.adapter.context(room.engine.received[-1].address) == ()
    assert room.slack.calls["conversations.replies"] == 0


async def test_only_the_newest_messages_come_with_file_names(room: FakeAdapter) -> None:
    root = room.slack.workspace.add(CHANNEL, {"user": "U0ALICE"}, None, text="the start")["ts"]
    for number in range(70):
        room.slack.workspace.add(CHANNEL, {"user": "U0BOB"}, root, text=f"number {number}")
    files = [{"id": "F1", "name": "plan.pdf"}]
    room.slack.workspace.add(CHANNEL, {"user": "U0BOB"}, root, text="", files=files, subtype="file_share")
    room.slack.workspace.add(CHANNEL, {"user": "U0BOB"}, root, text="joined", subtype="channel_join")
    received = await room.asked("<@U0BOT> sum up", thread_ts=root)
    with mock.patch.object(thread_history, "PAGE", 20):
        quotes = await room.adapter.context(received.address)
    assert room.slack.calls["conversations.replies"] == 4
    assert len(quotes) == thread_history.MESSAGES - 1, "a notice that somebody joined says nothing"
    assert quotes[0].text == "number 22"
    assert quotes[-1].text == "[with plan.pdf]"


async def test_a_summary_says_what_it_leaves_out(room: FakeAdapter) -> None:
    """Field fault 53: of a long thread or channel only the newest messages are summarised, and the person is told."""
    root = room.slack.workspace.add(CHANNEL, {"user": "U0ALICE"}, None, text="the start")["ts"]
    room.slack.workspace.add(CHANNEL, {"user": "U0BOB"}, root, text="the end")
    in_thread = await room.asked("<@U0BOT> sum up this thread", thread_ts=root)
    in_channel = await room.asked("<@U0BOT> sum up this channel")
    for address in (in_thread.address, in_channel.address):
        quotes = await room.adapter.context(address, True)
        assert "gap" not in [quote.kind for quote in quotes]
    room.slack.workspace.add(CHANNEL, {"user": "U0BOB"}, None, text="another")
    in_channel = await room.asked("<@U0BOT> sum up this channel")
    with mock.patch.object(thread_history, "MESSAGES", 1):
        for address in (in_thread.address, in_channel.address):
            *_, gap = await room.adapter.context(address, True)
            assert (gap.kind, gap.text) == ("gap", thread_history.NEWEST)
        assert len(await room.adapter.context(in_thread.address)) == 1


async def test_a_rate_limited_thread_is_no_empty_thread(room: FakeAdapter) -> None:
    """Field fault 53: what could not be read is not taken for nothing. Field note 13."""
    root = room.slack.workspace.add(CHANNEL, {"user": "U0ALICE"}, None, text="the start")["ts"]
    received = await room.asked("<@U0BOT> sum up", thread_ts=root)
    room.slack.fault("conversations.replies", "limited", seconds=60)
    with pytest.raises(PlatformUnavailable):
        await room.adapter.context(received.address)


async def test_a_thread_that_is_read_partly_says_so(room: FakeAdapter) -> None:
    """Field fault 53."""
    root = room.slack.workspace.add(CHANNEL, {"user": "U0ALICE"}, None, text="the start")["ts"]
    for number in range(50):
        room.slack.workspace.add(CHANNEL, {"user": "U0BOB"}, root, text=f"number {number}")
    received = await room.asked("<@U0BOT> sum up", thread_ts=root)
    with mock.patch.object(thread_history, "PAGE", 5):
        *quotes, gap = await room.adapter.context(received.address)
    assert (gap.kind, "more than" in gap.text) == ("gap", True)
    room.slack.limit({"conversations.replies": (1, 60)})
    with mock.patch.object(thread_history, "PAGE", 20):
        *quotes, gap = await room.adapter.context(received.address)
    assert [quotes[0].text, quotes[-1].text, len(quotes)] == ["the start", "number 19", 21]
    assert (gap.kind, "Slack limits" in gap.text) == ("gap", True)


async def test_a_bot_outside_the_channel_says_so(room: FakeAdapter) -> None:
    """Field fault 53."""
    root = room.slack.workspace.add(CHANNEL, {"user": "U0ALICE"}, None, text="the start")["ts"]
    received = await room.asked("<@U0BOT> sum up", thread_ts=root)
    room.slack.fault("conversations.replies", "error", code="not_in_channel")
    with pytest.raises(NotAllowed, match="/invite"):
        await room.adapter.context(received.address)


FORWARD = {"is_share": True, "author_id": "U0CARL", "author_name": "Carl", "text": "We ship on Monday"}
ALERT = {"color": "danger", "title": "CPU", "fields": [{"title": "host", "value": "web-1"}]}
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "Disk of *web-2* is full"}}
TABLE = {"type": "table", "rows": [[{"type": "raw_text", "text": "tea"}, {"type": "raw_text", "text": "3"}]]}
RICH = {
    "type": "rich_text",
    "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "only rich"}]}],
}
CLIP = {"id": "F1", "subtype": "slack_audio", "transcription": {"preview": {"content": "spoken words"}}}


@pytest.mark.parametrize(
    ("message", "author", "text"),
    [
        ({"attachments": [ALERT]}, "Alarms", "CPU\nhost: web-1"),
        ({"blocks": [SECTION]}, "Alarms", "Disk of *web-2* is full"),
        ({"text": "Alert!", "blocks": [SECTION]}, "Alarms", "Alert!\nDisk of *web-2* is full"),
        ({"attachments": [{"fallback": "Build 12 failed"}]}, "Alarms", "Build 12 failed"),
        ({"attachments": [{"blocks": [TABLE]}]}, "Alarms", "| tea | 3 |\n|---|---|"),
        ({"blocks": [TABLE]}, "Alarms", "| tea | 3 |\n|---|---|"),
        ({"blocks": [RICH]}, "Alarms", "only rich"),
        ({"attachments": [FORWARD]}, "Carl", "We ship on Monday"),
        ({"attachments": [FORWARD | {"attachments": [ALERT]}]}, "Carl", "host: web-1"),
        (
            {"attachments": [{"from_url": "https://x.example", "title": "A page", "service_name": "Blog"}]},
            "Blog",
            "A page",
        ),
        ({"files": [CLIP]}, "Alarms", "spoken words"),
        ({"text": "listen", "files": [CLIP]}, "Alarms", "listen\nspoken words"),
        ({"files": [{"id": "F1", "mode": "tombstone"}]}, "Alarms", "was deleted in Slack"),
        ({"attachments": 5, "blocks": "x", "files": {}, "text": "odd"}, "Alarms", "odd"),
    ],
)
async def test_everything_that_a_thread_shows_is_read(
    room: FakeAdapter, message: dict[str, Any], author: str, text: str
) -> None:
    """Field fault 43: "what is wrong here?" under an alert; "summarise this channel" in a channel of alerts."""
    app = {"bot_id": "B0ALARM", "bot_profile": {"name": "Alarms"}, "subtype": "bot_message"}
    root = room.slack.workspace.add(CHANNEL, app, None, **({"text": ""} | message))["ts"]
    received = await room.asked("<@U0BOT> what is wrong here?", thread_ts=root)
    (quote,) = await room.adapter.context(received.address)
    assert quote.author == author
    assert text in quote.text
    received = await room.asked("<@U0BOT> summarise this channel")
    assert text in (await room.adapter.context(received.address, True))[0].text


async def test_files_of_earlier_messages_can_be_fetched(room: FakeAdapter) -> None:
    """Field fault 44: "@parley summarise this file", below a colleague's log."""
    url = f"{room.slack.workspace.origin}/files/F1"
    file = {"id": "F1", "name": "log.txt", "mimetype": "text/plain", "url_private": url}
    room.slack.workspace.files["F1"] = file | {"content": b"line 1"}
    root = await room.slack.say(CHANNEL, "U0BOB", "look", files=[file])
    received = await room.asked("<@U0BOT> summarise this file", thread_ts=root)
    (quote,) = await room.adapter.context(received.address)
    assert quote.text == "look\n[with log.txt]"
    assert await room.adapter.fetch(quote.attachments[0]) == b"line 1"


@pytest.mark.parametrize(
    ("code", "error"), [("missing_scope", ConfigError), ("thread_not_found", PlatformUnavailable)]
)
async def test_an_unreadable_thread_raises_the_reason(
    room: FakeAdapter, code: str, error: type[Exception]
) -> None:
    root = room.slack.workspace.add(CHANNEL, {"user": "U0ALICE"}, None, text="the start")["ts"]
    received = await room.asked("<@U0BOT> sum up", thread_ts=root)
    room.slack.fault("conversations.replies", "error", code=code)
    with pytest.raises(error, match=code):
        await room.adapter.context(received.address)


async def test_channel_messages_are_included_on_request(
    room: FakeAdapter,
) -> None:
    root = await room.slack.say("C0GENERAL", "U0ALICE", "Lunch at noon?")
    await room.slack.say("C0GENERAL", "U0BOB", "In a thread, unseen", thread_ts=root)
    await room.slack.say("C0GENERAL", "U0BOB", "At one, please")
    received = await room.asked("<@U0BOT> summarise this channel")
    assert await room.adapter.context(received.address) == ()
    told = await room.adapter.context(received.address, True)
    assert [(quote.author, quote.text) for quote in told] == [
        ("alice", "Lunch at noon?"),
        ("bob", "At one, please"),
    ]
    await room.slack.command("C0GENERAL", "U0ALICE", "/parley", "summarise")
    told = await room.adapter.context(room.engine.received[-1].address, True)
    assert [quote.author for quote in told] == ["alice", "bob", "alice"]


async def test_without_membership_a_channel_is_not_allowed(room: FakeAdapter) -> None:
    await room.slack.command("C0OTHER", "U0ALICE", "/parley", "summarise")
    with pytest.raises(NotAllowed, match="/invite"):
        await room.adapter.context(room.engine.received[-1].address, True)
