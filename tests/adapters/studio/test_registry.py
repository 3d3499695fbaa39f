"""A page is one class and one entry in the registry: the menu, the routes and the guard follow from it."""

import re
from collections.abc import AsyncIterator, Iterable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from adapters.studio import StudioAdapter
from adapters.studio.auth.guard import Guard, HttpError, person_of
from adapters.studio.auth.session import ROLES
from adapters.studio.page import Page, Route, render
from bot.domain.adapter import Receipt
from bot.domain.errors import NotAllowed
from bot.domain.events import Event
from tests.adapters.studio.stand_ins import MemoryFeed, MemoryHistory, MemorySessions

Client = TestClient[web.Request, web.Application]
SCRIPT = {"X-Parley": "studio"}


class CounterPage(Page):
    """A page that nothing else in the tree knows of."""

    name = "Counter"
    path = "/studio/counter"
    icon = "chart"
    role = "editor"

    def __init__(self) -> None:
        self.count = 0

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", self.path, self._show),
            Route("form", self.path, self._add),
            Route("get", "/studio/counter/missing", self._missing),
            Route("form", "/studio/counter/lower", self._lower),
            Route("post", "/studio/counter/reset", self._reset, "operator"),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        return render(request, "live.html")

    async def _add(self, request: web.Request) -> web.Response:
        self.count += 1
        return web.Response(text=f"{person_of(request).role}: {self.count}")

    async def _missing(self, request: web.Request) -> web.Response:
        raise HttpError(404, "There is no such counter.")

    async def _lower(self, request: web.Request) -> web.Response:
        raise NotAllowed("Counters only go up.")

    async def _reset(self, request: web.Request) -> web.Response:
        self.count = 0
        return web.json_response({})


async def accept(event: Event) -> Receipt:
    return "accepted"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A studio that three kinds of people sign in to, with one more page."""
    guard = Guard({role: SecretStr(f"the {role}'s long token") for role in ROLES}, sessions=MemorySessions())
    adapter = StudioAdapter(MemoryFeed(), MemoryHistory(), guard, [CounterPage()])
    app = web.Application()
    app.add_routes(adapter.routes(accept))
    async with adapter, TestClient(TestServer(app)) as client:
        yield client


async def sign_in(client: Client, role: str) -> None:
    answer = await client.post("/studio/sign-in", data={"token": f"the {role}'s long token"})
    assert answer.status == 200


async def menu(client: Client, path: str = "/") -> list[tuple[str, str]]:
    html = await (await client.get(path)).text()
    return re.findall(r'<a href="([^"]+)"( aria-current="page")?><svg', html)


async def test_a_registered_page_is_listed_and_answers(client: Client) -> None:
    await sign_in(client, "editor")
    assert await menu(client) == [("/", ' aria-current="page"'), ("/studio/counter", "")]
    assert await menu(client, "/studio/counter") == [("/", ""), ("/studio/counter", ' aria-current="page"')]
    assert await (await client.post("/studio/counter", data={})).text() == "editor: 1"


async def test_a_page_of_the_registry_is_guarded(client: Client) -> None:
    stranger = await client.get("/studio/counter", allow_redirects=False)
    assert (stranger.status, stranger.headers["Location"]) == (303, "/studio/sign-in?to=%2Fstudio%2Fcounter")
    assert (await client.get("/studio/counter/missing")).status == 401
    await sign_in(client, "viewer")
    assert await menu(client) == []
    refused = await client.get("/studio/counter")
    assert (refused.status, refused.content_type) == (403, "text/html")
    assert "requires the editor role" in await refused.text()


async def test_a_route_may_require_a_higher_role(client: Client) -> None:
    await sign_in(client, "editor")
    assert (await client.post("/studio/counter/reset", headers=SCRIPT)).status == 403
    await sign_in(client, "operator")
    assert (await client.post("/studio/counter/reset", headers=SCRIPT)).status == 200


async def test_a_refusal_is_shown_as_a_page(client: Client) -> None:
    await sign_in(client, "editor")
    answer = await client.post("/studio/counter/lower", data={})
    assert (answer.status, answer.content_type) == (409, "text/html")
    assert "Counters only go up." in await answer.text()


async def test_script_routes_answer_json_and_require_a_header(client: Client) -> None:
    await sign_in(client, "operator")
    missing = await client.get("/studio/counter/missing")
    assert (missing.status, await missing.json()) == (404, {"words": "There is no such counter."})
    assert (await client.post("/studio/counter/reset")).status == 403
    assert "default-src 'none'" in missing.headers["Content-Security-Policy"]
