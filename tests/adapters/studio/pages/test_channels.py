"""The studio's page of channels, over a real Redis."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from adapters.studio import StudioAdapter
from adapters.studio.auth.guard import Guard
from adapters.studio.auth.session import ROLES
from adapters.studio.pages.channels import ChannelsPage
from bot.domain import permissions
from bot.domain.adapter import Receipt
from bot.domain.events import Event, now
from bot.prompts.assignments import Assignments
from bot.prompts.registry import TemplateRegistry
from bot.storage.conversations.search import ConversationSearch
from bot.storage.prompts.preferences import PreferenceStore
from bot.storage.prompts.versions import Versions
from tests.adapters.studio.stand_ins import MemoryFeed, MemoryHistory, MemorySessions
from tests.support.acts import ADA, received
from tests.support.harness import CONVERSATION, Harness

Client = TestClient[web.Request, web.Application]


async def accept(event: Event) -> Receipt:
    return "accepted"


@pytest.fixture
def permitted() -> str:
    """The setting PARLEY_PERMISSIONS."""
    return ""


@pytest.fixture
async def client(harness: Harness, permitted: str) -> AsyncIterator[Client]:
    """A browser in a studio with one recent channel."""
    search = ConversationSearch(harness.redis, 3600)
    await harness.answer(received("hello", channel="C0123"))
    await search.note({CONVERSATION: now()})
    assignments = Assignments(
        preferences=PreferenceStore(harness.redis),
        search=search,
        registry=TemplateRegistry((), {}, Versions(harness.redis)),
        default_mode="mention",
        permissions=permissions.read(permitted),
    )
    guard = Guard({role: SecretStr(f"the {role}'s long token") for role in ROLES}, sessions=MemorySessions())
    adapter = StudioAdapter(MemoryFeed(), MemoryHistory(), guard, [ChannelsPage(assignments)])
    app = web.Application()
    app.add_routes(adapter.routes(accept))
    async with adapter, TestClient(TestServer(app)) as client:
        yield client


async def sign_in(client: Client, role: str) -> None:
    answer = await client.post("/studio/sign-in", data={"token": f"the {role}'s long token"})
    assert answer.status == 200


async def test_editors_choose_the_mode_of_a_channel(client: Client, harness: Harness) -> None:
    """Field fault 105: the participation mode was hidden in the last lines of `help`."""
    await sign_in(client, "editor")
    html = await (await client.get("/studio/channels")).text()
    assert "C0123" in html
    assert "Default (mention-only)" in html
    form = {"tenant": "acme", "channel": "C0123", "mode": "quiet"}
    assert (
        "<option selected>quiet</option>" in await (await client.post("/studio/channels", data=form)).text()
    )
    assert (await harness.preferences.store.of(ADA, "C0123")).participation == "mute"
    await client.post("/studio/channels", data=form | {"mode": ""})
    assert (await harness.preferences.store.of(ADA, "C0123")).participation == ""


@pytest.mark.parametrize(
    "form",
    [
        {"tenant": "acme", "channel": "#general", "mode": "quiet"},
        {"tenant": "acme", "channel": "C0123", "mode": "loud"},
        {"tenant": "", "channel": "C0123", "mode": "quiet"},
    ],
)
async def test_what_is_not_a_channel_is_refused(client: Client, form: dict[str, str]) -> None:
    await sign_in(client, "editor")
    assert (await client.post("/studio/channels", data=form)).status == 409


async def test_viewers_see_the_modes_only(client: Client) -> None:
    await sign_in(client, "viewer")
    html = await (await client.get("/studio/channels")).text()
    assert "C0123" in html
    assert "<select" not in html
    form = {"tenant": "acme", "channel": "C0123", "mode": "quiet"}
    assert (await client.post("/studio/channels", data=form)).status == 403


@pytest.mark.parametrize("permitted", ["mute: operator"])
async def test_the_table_counts_on_this_page(client: Client, harness: Harness) -> None:
    """Field fault 123: every surface takes the same decision; an editor is what an administrator is elsewhere."""
    form = {"tenant": "acme", "channel": "C0123", "mode": "quiet"}
    await sign_in(client, "editor")
    refused = await client.post("/studio/channels", data=form)
    assert refused.status == 409
    assert "PARLEY_PERMISSIONS" in await refused.text()
    assert (await harness.preferences.store.of(ADA, "C0123")).participation == ""
    await sign_in(client, "operator")
    await client.post("/studio/channels", data=form)
    assert (await harness.preferences.store.of(ADA, "C0123")).participation == "mute"
