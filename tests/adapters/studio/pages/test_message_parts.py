"""What the pages show of a message besides its text: quotes, earlier messages, and what could not be read."""

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from html import unescape
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace
from pydantic import SecretStr

from adapters.studio import StudioAdapter
from adapters.studio.auth.guard import Guard
from adapters.studio.auth.session import ROLES
from adapters.studio.pages.conversations import ConversationsPage
from bot.domain.events import Attachment, QuotedMessage, UnreadPart
from bot.domain.turns import Turn, past_turn
from bot.generation.prompt_report import describe
from bot.storage.conversations.search import ConversationSearch
from tests.adapters.studio.stand_ins import MemoryFeed, MemoryHistory, MemorySessions
from tests.adapters.studio.test_registry import Client, accept, sign_in
from tests.support.acts import received

ROOM = "slack:T1:C1:1700000000.000100"
FORWARD = QuotedMessage(
    author="Bob Stone",
    text="We ship on <b>Friday</b>.",
    at=datetime(2026, 11, 27, 9, 30, tzinfo=UTC),
    kind="forwarded",
    origin="#releases",
    attachments=(Attachment(id="f", name="plan.pdf", mime="application/pdf"),),
)
LONG = QuotedMessage(author="", text="build failed\n" * 100, kind="alert")
EARLIER = QuotedMessage(author="Cem", text="The printer is on fire.")
CLIP = UnreadPart(name="demo.mp4", reason="is a video, which I can't watch. Please describe it.")
ZIP = UnreadPart(name="logs.zip", reason="is a ZIP file, which I can't read.")


def turn() -> Turn:
    """A turn without own words, with all kinds of parts."""
    asked = replace(received("", conversation=ROOM), quotes=(EARLIER, FORWARD, LONG), unread=(CLIP,))
    return replace(past_turn(asked, "", "So.", id="e1"), unread=(CLIP, ZIP))


class OneConversation:
    """Stands for the search: one conversation with one turn."""

    async def turns(self, conversation: str) -> Sequence[Turn]:
        return [turn()]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    registry = cast("Any", SimpleNamespace(pools=dict))
    page = ConversationsPage(cast("ConversationSearch", OneConversation()), MemoryHistory(), registry)
    guard = Guard({role: SecretStr(f"the {role}'s long token") for role in ROLES}, sessions=MemorySessions())
    adapter = StudioAdapter(MemoryFeed(), MemoryHistory(), guard, [page])
    app = web.Application()
    app.add_routes(adapter.routes(accept))
    async with adapter, TestClient(TestServer(app)) as client:
        await sign_in(client, "operator")
        yield client


async def record(client: Client) -> str:
    text = await (await client.get(f"/studio/log/{ROOM}")).text()
    found = re.search(r'<article class="record".*?</article>', text, re.DOTALL)
    assert found is not None
    return found[0]


async def test_a_quote_has_author_kind_and_text(client: Client) -> None:
    """Field fault 97: what was asked could not be seen, because the question was in a forwarded message."""
    html = await record(client)
    quotes = re.findall(r'<details class="quoted" open>(.*?)</details>', html, re.DOTALL)
    quote = quotes[0]
    assert "We ship on &lt;b&gt;Friday&lt;/b&gt;." in quote
    words = unescape(re.sub(r"<[^>]+>", "", quote))
    assert words.startswith("Bob Stone · forwarded · #releases · with plan.pdf · 27 Nov 2026, 09:30 UTC")


async def test_a_long_quote_is_shown_on_demand(client: Client) -> None:
    html = await record(client)
    (quote,) = re.findall(r'<details class="quoted">(.*?)</details>', html, re.DOTALL)
    assert quote.startswith('<summary dir="auto">alert</summary>')
    assert quote.count("build failed") == 100


async def test_earlier_messages_are_apart(client: Client) -> None:
    html = await record(client)
    _, apart = html.split('<details class="earlier">')
    assert apart.startswith("<summary>1 earlier message of the conversation</summary>")
    assert "The printer is on fire." in apart
    assert "We ship" not in apart


async def test_what_was_not_read_is_listed(client: Client) -> None:
    """Field fault 97: of the message, and of what was found while it was answered."""
    html = unescape(await record(client))
    assert re.findall(r'<li dir="auto">(.*?)</li>', html) == [CLIP.sentence, ZIP.sentence]
    assert '<div class="question">' not in html, "there are no own words"


def test_what_was_sent_names_all_parts() -> None:
    """Field fault 97: "What did you send?" told only the text of a question."""
    lines = describe(turn(), ()).splitlines()
    assert "- Quoted: Bob Stone · forwarded · #releases · with plan.pdf: “We ship on <b>Friday</b>.”" in lines
    assert any(line.startswith("- Quoted: alert: “build failed build") for line in lines)
    assert "- Earlier messages of the conversation: 1" in lines
    assert f"- Not read: {ZIP.sentence}" in lines
