"""The button that ends the cool-down of a deployment: who may press it, and what it says."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from adapters.studio import StudioAdapter
from adapters.studio.auth.guard import Guard
from adapters.studio.auth.session import ROLES
from adapters.studio.pages.deployments import DeploymentsPage
from bot.domain.errors import StateUnavailable
from bot.storage.usage.latency import Latency
from tests.adapters.studio.stand_ins import MemoryFeed, MemoryHistory, MemorySessions
from tests.adapters.studio.test_registry import Client, accept, sign_in

WAKE = "/studio/deployments/wake"


class OneDeployment:
    """A gateway with the deployment `gpt`. Notes which cool-downs are ended."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.away = False

    async def wake(self, name: str) -> bool:
        """As in Gateway."""
        if self.away:
            raise StateUnavailable("Redis is unavailable")
        self.woken.append(name)
        return name == "gpt"


@pytest.fixture
def gateway() -> OneDeployment:
    return OneDeployment()


@pytest.fixture
async def client(gateway: OneDeployment) -> AsyncIterator[Client]:
    """A studio that three kinds of people sign in to, with the page of the deployments."""
    guard = Guard({role: SecretStr(f"the {role}'s long token") for role in ROLES}, sessions=MemorySessions())
    page = DeploymentsPage(cast("Any", gateway), cast("Latency", None))
    adapter = StudioAdapter(MemoryFeed(), MemoryHistory(), guard, [page])
    app = web.Application()
    app.add_routes(adapter.routes(accept))
    async with adapter, TestClient(TestServer(app)) as client:
        yield client


async def test_an_operator_is_led_back_to_the_page(client: Client, gateway: OneDeployment) -> None:
    """Field fault 60."""
    await sign_in(client, "operator")
    answer = await client.post(WAKE, data={"name": "gpt"}, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/studio/deployments")
    assert gateway.woken == ["gpt"]


@pytest.mark.parametrize("role", ["viewer", "editor"])
async def test_others_may_not_end_a_cool_down(client: Client, gateway: OneDeployment, role: str) -> None:
    await sign_in(client, role)
    answer = await client.post(WAKE, data={"name": "gpt"}, allow_redirects=False)
    assert (answer.status, answer.content_type) == (403, "text/html")
    assert "requires the operator role" in await answer.text()
    assert gateway.woken == []


async def test_a_stranger_is_asked_to_sign_in(client: Client, gateway: OneDeployment) -> None:
    answer = await client.post(WAKE, data={"name": "gpt"}, allow_redirects=False)
    assert answer.status in (303, 401)
    assert gateway.woken == []


async def test_an_unknown_name_is_told(client: Client) -> None:
    """The settings may have been read again since the page was drawn."""
    await sign_in(client, "operator")
    for name in ("gpt-9", "<b>", ""):
        answer = await client.post(WAKE, data={"name": name}, allow_redirects=False)
        assert (answer.status, answer.content_type) == (404, "text/html")
        text = await answer.text()
        assert "no longer a deployment of this bot" in text
        assert "<b>" not in text.partition('class="words"')[2]


async def test_storage_that_is_away_is_told(client: Client, gateway: OneDeployment) -> None:
    gateway.away = True
    await sign_in(client, "operator")
    answer = await client.post(WAKE, data={"name": "gpt"}, allow_redirects=False)
    assert (answer.status, answer.content_type) == (503, "text/html")
    assert "Storage is unavailable. Try again in a moment." in await answer.text()
