"""Messages and threads to which people link: read if the bot and the asker may read them."""

from collections.abc import Callable
from unittest import mock

import pytest

from adapters.slack.inbound import linked_messages, thread_history
from bot.domain.errors import ConfigError, NotAllowed, PlatformUnavailable
from bot.domain.events import QuotedMessage
from tests.adapters.slack.conftest import FakeAdapter
from tests.simulators.slack import Kind
from tests.simulators.slack_methods import Workspace

HERE, THERE, OUTSIDE = "C0GENERAL", "C0SALES", "C0OTHER"
ALICE, BOB, BOT = "U0ALICE", "U0BOB", "U0BOT"


def permalink(channel: str, ts: str, thread: str = "") -> str:
    query = f"?thread_ts={thread}&cid={channel}" if thread else ""
    return f"https://acme.slack.com/archives/{channel}/p{ts.replace('.', '')}{query}"


@pytest.fixture
async def place(room: FakeAdapter) -> tuple[FakeAdapter, str, str]:
    """A room with a thread in another channel; returns its first and last message."""
    room.slack.workspace.channels[THERE] = {BOB, BOT}
    root = room.slack.workspace.add(THERE, {"user": BOB}, None, text="Shall we sell?")["ts"]
    room.slack.workspace.add(THERE, {"user": BOB}, root, text="I say yes")
    last = room.slack.workspace.add(THERE, {"user": BOB}, root, text="Decided: yes")["ts"]
    return room, root, last


async def read(room: FakeAdapter, link: str, channel: str = HERE) -> tuple[QuotedMessage, ...]:
    """What is read for a question of Alice that holds a link."""
    received = await room.asked(f"<@U0BOT> summarise this thread <{link}>", channel=channel)
    (found,) = received.links
    return await room.adapter.linked(received.address, found)


async def test_the_linked_thread_is_read(place: tuple[FakeAdapter, str, str]) -> None:
    """Field fault 46: "summarise this thread", with a link to another one."""
    room, root, last = place
    expected = ["Shall we sell?", "I say yes", "Decided: yes"]
    for link in (permalink(THERE, root), permalink(THERE, last, root), permalink(THERE, last)):
        quotes = await read(room, link)
        assert [quote.text for quote in quotes] == expected, link
        assert {(quote.author, quote.kind, quote.origin) for quote in quotes} == {("bob", "linked", link)}


async def test_one_linked_message_is_read(place: tuple[FakeAdapter, str, str]) -> None:
    """Field fault 46."""
    room, _, _ = place
    ts = room.slack.workspace.add(THERE, {"user": BOB}, None, text="", attachments=[{"title": "CPU"}])["ts"]
    assert [quote.text for quote in await read(room, permalink(THERE, ts))] == ["CPU"]


async def test_a_link_within_the_channel_is_read(room: FakeAdapter) -> None:
    """Field fault 46."""
    ts = await room.slack.say(HERE, BOB, "Lunch at noon")
    assert [quote.text for quote in await read(room, permalink(HERE, ts))] == ["Lunch at noon"]
    channel = room.slack.workspace.direct(ALICE)
    ts = await room.slack.say(channel, ALICE, "Remember this")
    assert [quote.text for quote in await read(room, permalink(channel, ts), channel)] == ["Remember this"]


def private(workspace: Workspace) -> str:
    workspace.private.add(THERE)
    return "only members"


def not_ours(workspace: Workspace) -> str:
    workspace.channels[THERE] = {BOB}
    return "/invite"


def hidden(workspace: Workspace) -> str:
    workspace.channels[THERE] = {BOB}
    workspace.private.add(THERE)
    return "/invite"


def guest(workspace: Workspace) -> str:
    workspace.guests.add(ALICE)
    return "only members"


def gone(workspace: Workspace) -> str:
    for key in [key for key in workspace.messages if key[0] == THERE]:
        del workspace.messages[key]
    return "no longer exists"


def unknown(workspace: Workspace) -> str:
    del workspace.channels[THERE]
    return "isn't in this workspace"


@pytest.mark.parametrize("change", [private, not_ours, hidden, guest, gone, unknown])
async def test_what_may_not_be_read_is_explained(
    place: tuple[FakeAdapter, str, str], change: Callable[[Workspace], str]
) -> None:
    """Field fault 46: otherwise the person is told."""
    room, root, _ = place
    reason = change(room.slack.workspace)
    with pytest.raises(NotAllowed, match=reason):
        await read(room, permalink(THERE, root))


async def test_members_may_read_their_private_channel(place: tuple[FakeAdapter, str, str]) -> None:
    """Field fault 46: a private channel's messages only if the asker is a member."""
    room, root, _ = place
    room.slack.workspace.private.add(THERE)
    room.slack.workspace.channels[THERE].add(ALICE)
    assert len(await read(room, permalink(THERE, root))) == 3
    room.slack.workspace.guests.add(ALICE)
    assert len(await read(room, permalink(THERE, root))) == 3


async def test_direct_messages_of_others_stay_closed(room: FakeAdapter) -> None:
    """Field fault 46: only if it is this direct conversation."""
    channel = room.slack.workspace.direct(BOB)
    ts = await room.slack.say(channel, BOB, "between us")
    with pytest.raises(NotAllowed, match="direct conversation"):
        await read(room, permalink(channel, ts))
    assert room.slack.calls["conversations.replies"] == 0


@pytest.mark.parametrize(
    ("method", "code", "error", "words"),
    [
        ("conversations.info", "missing_scope", NotAllowed, "parley check"),
        ("conversations.info", "channel_not_found", NotAllowed, "/invite"),
        ("users.info", "missing_scope", NotAllowed, "parley check"),
        ("conversations.replies", "thread_not_found", NotAllowed, "no longer exists"),
        ("conversations.replies", "not_in_channel", NotAllowed, "/invite"),
        ("conversations.replies", "missing_scope", NotAllowed, "parley check"),
        ("conversations.replies", "token_revoked", ConfigError, "token_revoked"),
        ("conversations.replies", "something_new", PlatformUnavailable, "something_new"),
    ],
)
async def test_refusals_of_slack_are_explained(
    place: tuple[FakeAdapter, str, str], method: str, code: str, error: type[Exception], words: str
) -> None:
    """Field fault 46."""
    room, root, _ = place
    received = await room.asked(f"<@U0BOT> what is this? {permalink(THERE, root)}")
    room.slack.fault(method, "error", code=code)
    with pytest.raises(error, match=words):
        await room.adapter.linked(received.address, received.links[0])


async def test_a_rate_limit_is_not_a_refusal(place: tuple[FakeAdapter, str, str]) -> None:
    """Field fault 46: the engine tells the person to try again."""
    room, root, _ = place
    received = await room.asked(f"<@U0BOT> what is this? {permalink(THERE, root)}")
    room.slack.fault("conversations.replies", "limited", seconds=60)
    with pytest.raises(PlatformUnavailable):
        await room.adapter.linked(received.address, received.links[0])


@pytest.mark.parametrize(("kind", "reason"), [("limited", "Slack limits"), ("500", "did not answer")])
async def test_what_was_read_before_a_failure_counts(
    place: tuple[FakeAdapter, str, str], monkeypatch: pytest.MonkeyPatch, kind: Kind, reason: str
) -> None:
    """Field fault 46: a failure at the second page loses the second page only, and says so."""
    room, root, _ = place
    monkeypatch.setattr(thread_history, "PAGE", 1)
    monkeypatch.setattr(thread_history, "PATIENCE_S", 1.0)

    def refusal(method: str, args: dict[str, object]) -> None:
        if method == "conversations.replies" and not args.get("cursor"):
            room.slack.fault(method, kind, count=9, seconds=60)

    room.slack.refusal = refusal
    *quotes, gap = await read(room, permalink(THERE, root))
    assert [quote.text for quote in quotes] == ["Shall we sell?", "I say yes"]
    assert (gap.kind, reason in gap.text) == ("gap", True)


async def test_a_long_linked_thread_says_so(place: tuple[FakeAdapter, str, str]) -> None:
    """Field fault 46: of a long thread the first message and the newest ones are read."""
    room, root, _ = place
    with mock.patch.object(thread_history, "MESSAGES", 2):
        *quotes, gap = await read(room, permalink(THERE, root))
    assert [quote.text for quote in quotes] == ["Shall we sell?", "Decided: yes"]
    assert gap.text.startswith("were not read: ")
    with mock.patch.object(thread_history, "PAGE", 1), mock.patch.object(thread_history, "PAGES", 1):
        *quotes, gap = await read(room, permalink(THERE, root))
    assert "more than" in gap.text


async def test_a_very_large_channel_is_no_refusal(
    place: tuple[FakeAdapter, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 46: a member whose membership is not found within 5,000 members is not told "you aren't one"."""
    room, root, _ = place
    room.slack.workspace.private.add(THERE)
    room.slack.workspace.channels[THERE] |= {ALICE, "U0AAA"}
    monkeypatch.setattr(linked_messages, "MEMBERS", 1)
    monkeypatch.setattr(linked_messages, "MEMBER_PAGES", 1)
    with pytest.raises(NotAllowed, match="can't check whether you may read"):
        await read(room, permalink(THERE, root))


@pytest.mark.parametrize("link", ["", "https://example.com", "https://a.slack.com/archives/C1", "x" * 9_000])
async def test_links_that_lead_elsewhere_are_refused(room: FakeAdapter, link: str) -> None:
    """Field fault 46."""
    received = await room.asked()
    with pytest.raises(NotAllowed, match="doesn't lead to a message"):
        await room.adapter.linked(received.address, link)


async def test_links_of_commands_are_found(room: FakeAdapter) -> None:
    """Field fault 46: `/ask` and `/parley summarise` take links, too."""
    link = permalink(HERE, "1700000000.000100")
    await room.slack.command(HERE, ALICE, "/ask", f"what is <{link}>?")
    await room.slack.command(OUTSIDE, ALICE, "/parley", f"summarise <{link}>")
    assert [received.links for received in room.engine.received] == [(link,), (link,)]
