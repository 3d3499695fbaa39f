"""Earlier messages of a conversation: read with permission, explained without."""

from datetime import UTC, datetime

import pytest

from adapters.teams.activities.html_text import html_to_text
from adapters.teams.api.graph_history import UNREADABLE
from bot.domain.errors import NotAllowed, PlatformUnavailable
from tests.adapters.teams.conftest import Rig, rigged
from tests.simulators.teams import TENANT

CHANNEL, GROUP = "19:news@thread.tacv2", "19:group@thread.v2"


async def thread(rig: Rig, count: int = 2) -> str:
    """A thread between people; returns its name."""
    root = await rig.teams.say(CHANNEL, "bob", "The printer is on fire.")
    for number in range(1, count):
        await rig.teams.say(root.conversation, "carol", f"Again, no. {number}?")
    return root.conversation


@pytest.fixture
def allowed(rig: Rig) -> Rig:
    rig.teams.graph.consents = {CHANNEL, GROUP}
    return rig


async def test_a_channel_thread_is_read_with_its_authors(allowed: Rig) -> None:
    """Field note 17."""
    received = await allowed.asked(await thread(allowed), "what now?", mention=True)
    quotes = await allowed.adapter.context(received.address)
    assert [(quote.author, quote.text) for quote in quotes] == [
        ("Bob", "The printer is on fire."),
        ("Carol", "Again, no. 1?"),
    ]


async def test_a_group_chat_is_read_without_bot_messages(allowed: Rig) -> None:
    await allowed.teams.say(GROUP, "bob", "Lunch?")
    post = await allowed.adapter.open((await allowed.asked(GROUP, mention=True)).address, None, retry=False)
    assert post.data["kind"] == "groupChat"
    await allowed.teams.say(GROUP, "carol", "At noon.")
    received = await allowed.asked(GROUP, "when?", mention=True)
    quotes = await allowed.adapter.context(received.address)
    assert [(quote.author, quote.text) for quote in quotes] == [
        ("Bob", "Lunch?"),
        ("Alice", "hello"),
        ("Carol", "At noon."),
    ]


@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_long_thread_returns_its_newest_messages(allowed: Rig, newest_first: bool) -> None:
    allowed.teams.graph.newest_first = newest_first
    received = await allowed.asked(await thread(allowed, 120), "what now?", mention=True)
    quotes = await allowed.adapter.context(received.address)
    assert [quotes[0].text, quotes[-1].text, len(quotes)] == ["Again, no. 70?", "Again, no. 119?", 50]


async def test_deleted_later_and_system_messages_are_left_out(allowed: Rig) -> None:
    await allowed.teams.say(GROUP, "bob", "Deleted.")
    await allowed.teams.say(GROUP, "bob", "Somebody joined.")
    first, second = (message.id for message in allowed.teams.messages[GROUP])
    allowed.teams.graph.changes = {
        first: {"deletedDateTime": "2026-11-22T10:00:00Z"},
        second: {"messageType": "systemEventMessage", "from": None},
    }
    received = await allowed.asked(GROUP, mention=True)
    await allowed.teams.say(GROUP, "bob", "Later.")
    assert await allowed.adapter.context(received.address) == ()


async def test_a_message_with_a_file_names_it(allowed: Rig) -> None:
    await allowed.teams.say(GROUP, "bob", "Look.")
    (message,) = allowed.teams.messages[GROUP]
    allowed.teams.graph.changes = {message.id: {"attachments": [{"name": "plan.pdf"}]}}
    (quote,) = await allowed.adapter.context((await allowed.asked(GROUP, mention=True)).address)
    assert quote.text == "Look.\n[with plan.pdf]"


async def test_a_new_thread_has_no_history(rig: Rig) -> None:
    """No request is made."""
    received = await rig.asked(CHANNEL, mention=True)
    assert await rig.adapter.context(received.address) == ()
    assert rig.teams.graph.calls == []


async def test_a_missing_consent_is_explained_and_cached(rig: Rig) -> None:
    received = await rig.asked(await thread(rig), "what now?", mention=True)
    for _ in range(2):
        with pytest.raises(NotAllowed, match="paste the text"):
            await rig.adapter.context(received.address)
    assert len(rig.teams.graph.calls) == 1


async def test_a_missing_thread_says_nothing_about_others(allowed: Rig) -> None:
    received = await allowed.asked(await thread(allowed), "what now?", mention=True)
    allowed.teams.graph.status = 404
    with pytest.raises(NotAllowed):
        await allowed.adapter.context(received.address)
    allowed.teams.graph.status = 200
    assert len(await allowed.adapter.context(received.address)) == 2


async def test_an_app_without_authentication_reads_nothing() -> None:
    async with rigged(authenticate=False) as local:
        received = await local.asked(GROUP, mention=True)
        with pytest.raises(NotAllowed) as refused:
            await local.adapter.context(received.address, include_channel=True)
        assert str(refused.value) == UNREADABLE
        assert await local.adapter.context(received.address) == (), "nobody asked for the earlier messages"


async def test_an_outage_of_graph_is_no_refusal(allowed: Rig) -> None:
    await allowed.teams.say(GROUP, "bob", "Lunch?")
    received = await allowed.asked(GROUP, mention=True)
    allowed.teams.graph.status = 503
    with pytest.raises(PlatformUnavailable):
        await allowed.adapter.context(received.address)
    allowed.teams.graph.status = 200
    assert len(await allowed.adapter.context(received.address)) == 1


async def test_the_token_is_for_the_conversations_organisation(allowed: Rig) -> None:
    await allowed.adapter.context((await allowed.asked(GROUP, mention=True)).address)
    asked = [
        request for request in allowed.teams.token_requests if request["scope"].endswith("/graph/.default")
    ]
    assert [request["tenant"] for request in asked] == [TENANT]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one &amp; two</p>\n<p>&nbsp;</p><p>three</p>", "one & two\nthree"),
        ('<at id="0">Bob</at>: <b>look</b><br>here', "Bob: look\nhere"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ('<p><img alt="a cat" src="x"><emoji alt="👍"></emoji></p>', "[image: a cat]👍"),
        ('<attachment id="1"></attachment>', ""),
        ("<p>half <b>open", "half open"),
    ],
)
def test_html_becomes_text(html: str, text: str) -> None:
    assert html_to_text(html) == text


async def test_later_members_see_what_they_were_shown(allowed: Rig) -> None:
    """Field fault 125: answers were built on what was said before somebody was added."""
    await allowed.teams.say(GROUP, "bob", "The budget is 7 million.")
    id = (await allowed.teams.say(GROUP, "bob", "Welcome!")).activity["id"]
    start = datetime.fromtimestamp(int(id) / 1000, UTC)
    allowed.teams.graph.starts[GROUP] = {"alice": f"{start:%Y-%m-%dT%H:%M:%S}.{id[-3:]}Z"}
    received = await allowed.asked(GROUP, "what is the budget?", mention=True)
    assert [quote.text for quote in await allowed.adapter.context(received.address)] == ["Welcome!"]
    assert (await allowed.adapter.with_sender(received)).seen_since == start


@pytest.mark.parametrize(
    "starts", [{}, {"alice": "0001-01-01T00:00:00Z"}, {"bob": "2026-11-30T00:00:00Z"}, None]
)
async def test_everybody_else_sees_everything(allowed: Rig, starts: dict[str, str] | None) -> None:
    """Field fault 125: also without the consent to read who is a member."""
    if starts is not None:
        allowed.teams.graph.starts[GROUP] = starts
    await allowed.teams.say(GROUP, "bob", "The budget is 7 million.")
    received = await allowed.asked(GROUP, "what is the budget?", mention=True)
    assert len(await allowed.adapter.context(received.address)) == 1
    assert (await allowed.adapter.with_sender(received)).seen_since is None
