"""Linked messages: read where asker and owner allow it, otherwise refused with a reason."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from adapters.teams.api import graph_history
from bot.domain.errors import NotAllowed, PlatformUnavailable
from bot.domain.events import MessageReceived
from tests.adapters.teams.conftest import Rig, rigged
from tests.simulators.teams import TENANT
from tests.simulators.teams_graph import GROUP as TEAM_GROUP

CHANNEL, CHAT, HERE = "19:news@thread.tacv2", "19:secret@thread.v2", "19:group@thread.v2"


@pytest.fixture
def open_rig(rig: Rig) -> Rig:
    """Alice and the bot are members everywhere, and owners allow the bot to read."""
    rig.teams.graph.consents = {CHANNEL, CHAT, HERE}
    rig.teams.members = {CHANNEL: {"alice"}, CHAT: {"alice"}}
    return rig


def link(room: str, message: str, root: str = "", **named: str) -> str:
    query = {
        "tenantId": TENANT,
        "groupId": TEAM_GROUP if "tacv2" in room else "",
        "parentMessageId": root,
        **named,
    }
    given = "&".join(f"{name}={value}" for name, value in query.items() if value)
    return f"https://teams.microsoft.com/l/message/{quote(room, safe='')}/{message}?{given}"


async def asked(rig: Rig, address: str) -> MessageReceived:
    received = await rig.asked(HERE, f"summarise this thread {address}", mention=True)
    assert received.links == (address,)
    return received


async def thread(rig: Rig) -> tuple[str, str]:
    """A thread of a channel; returns the ids of its messages."""
    root = await rig.teams.say(CHANNEL, "bob", "The printer is on fire.")
    reply = await rig.teams.say(root.conversation, "carol", "Again?")
    return root.activity["id"], reply.activity["id"]


async def refusal(rig: Rig, address: str) -> str:
    received = (
        await asked(rig, address) if "/l/message/" in address else await rig.asked(HERE, "x", mention=True)
    )
    with pytest.raises(NotAllowed) as refused:
        await rig.adapter.linked(received.address, address)
    return str(refused.value)


async def test_a_linked_thread_is_read(open_rig: Rig) -> None:
    """Field fault 46: a link to another thread summarised the wrong one."""
    root, _ = await thread(open_rig)
    address = link(CHANNEL, root)
    quotes = await open_rig.adapter.linked((await asked(open_rig, address)).address, address)
    assert [(quote.author, quote.text) for quote in quotes] == [
        ("Bob", "The printer is on fire."),
        ("Carol", "Again?"),
    ]
    assert {(quote.kind, quote.origin) for quote in quotes} == {("linked", address)}
    assert all(quote.at for quote in quotes)


async def test_a_linked_reply_is_read_alone(open_rig: Rig) -> None:
    root, reply = await thread(open_rig)
    address = link(CHANNEL, reply, root)
    quotes = await open_rig.adapter.linked((await asked(open_rig, address)).address, address)
    assert [quote.text for quote in quotes] == ["Again?"]


@pytest.mark.parametrize("room", [CHAT, HERE])
async def test_a_linked_message_of_a_chat_is_read(open_rig: Rig, room: str) -> None:
    said = await open_rig.teams.say(room, "bob", "Lunch at noon")
    address = link(room, said.activity["id"], context="%7B%22contextType%22:%22chat%22%7D")
    quotes = await open_rig.adapter.linked((await asked(open_rig, address)).address, address)
    assert [(quote.author, quote.text) for quote in quotes] == [("Bob", "Lunch at noon")]


def unspoiled(rig: Rig) -> None:
    pass


def without_consent(rig: Rig) -> None:
    rig.teams.graph.consents = set()


def without_membership(rig: Rig) -> None:
    rig.teams.members = {CHAT: {"bob"}}


def deleted(rig: Rig) -> None:
    message = rig.teams.messages[CHAT][0]
    rig.teams.graph.changes = {message.id: {"deletedDateTime": "2026-11-22T10:00:00Z"}}


def missing(rig: Rig) -> None:
    rig.teams.messages[CHAT].clear()


@pytest.mark.parametrize(
    ("spoil", "changed", "reason"),
    [
        (without_consent, {}, graph_history.NOT_PERMITTED),
        (without_membership, {}, graph_history.NO_MEMBER),
        (deleted, {}, graph_history.NOT_FOUND),
        (missing, {}, graph_history.NOT_FOUND),
        (unspoiled, {"tenantId": "another"}, graph_history.ELSEWHERE),
    ],
)  # fmt: skip
async def test_what_may_not_be_read_is_refused(
    open_rig: Rig, spoil: Callable[[Rig], None], changed: dict[str, Any], reason: str
) -> None:
    """Field fault 46: the person is told why; a link opens no chat that the asker is not in."""
    said = await open_rig.teams.say(CHAT, "bob", "our secret")
    spoil(open_rig)
    assert await refusal(open_rig, link(CHAT, said.activity["id"], **changed)) == reason


async def test_a_missing_consent_is_asked_for_once(open_rig: Rig) -> None:
    open_rig.teams.graph.consents = set()
    said = await open_rig.teams.say(CHAT, "bob", "our secret")
    for _ in range(2):
        assert await refusal(open_rig, link(CHAT, said.activity["id"])) == graph_history.NOT_PERMITTED
    assert len(open_rig.teams.graph.calls) == 1


async def test_another_address_is_no_link(open_rig: Rig) -> None:
    assert await refusal(open_rig, "https://example.com/19:x/1700000000001") == graph_history.NO_LINK


async def test_a_link_without_its_team_is_refused(open_rig: Rig) -> None:
    root, _ = await thread(open_rig)
    assert await refusal(open_rig, link(CHANNEL, root, groupId="")) == graph_history.NOT_PERMITTED


async def test_without_authentication_no_link_is_read() -> None:
    async with rigged(authenticate=False) as local:
        assert await refusal(local, link(HERE, "1700000000001")) == graph_history.NOT_PERMITTED


async def test_an_outage_refuses_no_link(open_rig: Rig) -> None:
    said = await open_rig.teams.say(CHAT, "bob", "Lunch")
    address = link(CHAT, said.activity["id"])
    received = await asked(open_rig, address)
    open_rig.teams.graph.status = 503
    with pytest.raises(PlatformUnavailable):
        await open_rig.adapter.linked(received.address, address)


async def test_earlier_cards_and_quotes_are_read(open_rig: Rig) -> None:
    """Field fault 76: alerts of a channel consist of cards only."""
    await open_rig.teams.say(HERE, "bob", "")
    (message,) = open_rig.teams.messages[HERE]
    card = json.dumps({"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "CPU at 95 %"}]})
    preview = {"messagePreview": "Look", "messageSender": {"user": {"displayName": "Ann"}}}
    open_rig.teams.graph.changes = {message.id: {
        "body": {"contentType": "html", "content": '<attachment id="1"></attachment>'},
        "attachments": [
            {"id": "1", "contentType": "application/vnd.microsoft.card.adaptive", "content": card},
            {"id": "2", "contentType": "messageReference", "content": preview},
            {"id": "3", "contentType": "reference", "name": "plan.docx", "contentUrl": "https://x.sharepoint.com/p"},
            {"id": "4", "contentType": None},
        ],
    }}  # fmt: skip
    quotes = await open_rig.adapter.context((await open_rig.asked(HERE, "why?", mention=True)).address)
    assert [quote.text for quote in quotes] == ["> Ann: Look\nCPU at 95 %\n[with plan.docx]"]
