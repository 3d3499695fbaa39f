"""Sessions are on the server: what ends them, who sees them, and what they cost."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, CookieJar, web
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace
from pydantic import SecretStr

from adapters.studio import StudioAdapter
from adapters.studio.auth import session_cache
from adapters.studio.auth.guard import COOKIE, Guard
from adapters.studio.auth.session import ROLES, browser_name
from adapters.studio.chat.event_streams import open_stream, write_line
from adapters.studio.page import Page, Route
from adapters.studio.pages.sessions import SessionsPage
from bot.domain.adapter import Receipt
from bot.domain.events import Event, User
from bot.storage.erasure.studio_data import Publications
from bot.storage.redis.client import Redis
from bot.storage.studio.sessions import Sessions
from tests.adapters.studio.auth.test_entra import sign_in as sign_in_by_entra
from tests.adapters.studio.conftest import Studio, start
from tests.adapters.studio.directory import open_directory
from tests.adapters.studio.stand_ins import MemoryFeed, MemoryHistory, MemorySessions

Client = TestClient[web.Request, web.Application]
TOKEN = "a token of some length"
WITHIN_S = 5.0
"""How soon the streams of an ended session are closed, in every process."""
EVENTS = f"/studio/conversations/{'c' * 32}/events"
WRITE = {"X-Parley": "studio"}


def stored(redis: Redis) -> Sessions:
    return Sessions(redis, idle_s=600, absolute_s=3600)


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


async def sign_in(http: ClientSession, studio: Studio, name: str = "Ada") -> str:
    """The cookie of a new session."""
    data = {"token": TOKEN, "name": name}
    answer = await http.post(studio.url + "/studio/sign-in", data=data, allow_redirects=False)
    return answer.cookies[COOKIE].value


async def ends(http: ClientSession, url: str, act: AsyncIterator[None]) -> bytes:
    """What a stream says from when it is open to its end, which `act` causes."""
    async with http.get(url) as stream:
        assert stream.status == 200
        assert b"here" in await stream.content.readline()
        await anext(act)
        async with asyncio.timeout(WITHIN_S):
            return await stream.content.read()


# ------------------------------------------------------------------ what ends a session


async def test_signing_out_ends_streams_in_every_process(redis: Redis, http: ClientSession) -> None:
    """Field fault 121: streams outlived the session, and a copied cookie worked after signing out."""
    one, other = [await start(TOKEN, sessions=stored(redis)) for _ in range(2)]
    copied = {"Cookie": f"{COOKIE}={await sign_in(http, one)}"}

    async def sign_out() -> AsyncIterator[None]:
        yield (await http.post(one.url + "/studio/sign-out", allow_redirects=False)).close()

    assert b"event: signed-out" in await ends(http, other.url + EVENTS, sign_out())
    async with ClientSession() as elsewhere:
        for studio in (one, other):
            assert (await elsewhere.get(studio.url + EVENTS, headers=copied)).status == 401
    for studio in (one, other):
        await studio.stop()


async def test_a_new_role_ends_the_earlier_sessions(redis: Redis, http: ClientSession) -> None:
    """Field fault 121: a session went on with a role that the person no longer had."""
    async with open_directory() as directory, ClientSession(cookie_jar=CookieJar(unsafe=True)) as laptop:
        studio = await start(registration=directory.registration(), sessions=stored(redis))
        await sign_in_by_entra(http, studio)
        await sign_in_by_entra(laptop, studio)
        assert (await http.get(studio.url, allow_redirects=False)).status == 200, "two at once are fine"

        async def lose_the_role() -> AsyncIterator[None]:
            directory.person["roles"] = ["Parley.Viewer"]
            yield (await sign_in_by_entra(laptop, studio)).close()

        assert b"signed-out" in await ends(http, studio.url + EVENTS, lose_the_role())
        assert (await http.get(studio.url, allow_redirects=False)).status == 303
        assert (await laptop.get(studio.url, allow_redirects=False)).status == 200
        await studio.stop()


async def test_a_removed_person_is_signed_out(redis: Redis, http: ClientSession) -> None:
    """Field fault 121: what an operator removes with `parley forget` was signed in for hours."""
    studio, sessions = await start(TOKEN, sessions=stored(redis)), stored(redis)
    await sign_in(http, studio)
    (found,) = await sessions.all()

    async def remove() -> AsyncIterator[None]:
        publications = Publications(redis)
        assert await publications.end_sessions(User(id=found.person, tenant="acme")) == 0
        yield
        assert await publications.end_sessions(User(id=found.person, tenant="studio")) == 1

    assert await anext(act := remove()) is None
    assert b"signed-out" in await ends(http, studio.url + EVENTS, _rest(act))
    await studio.stop()


async def _rest(act: AsyncIterator[None]) -> AsyncIterator[None]:
    async for _ in act:
        pass
    yield


# ------------------------------------------------------------------ streams that are not events


class EndlessPage(Page):
    """Streams lines of JSON until the page is closed."""

    name = "Endless"
    path = "/studio/endless"

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    def routes(self) -> list[Route]:
        return [Route("post", self.path, self._stream)]

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        try:
            while True:
                await write_line(response, {"kind": "text"})
                await asyncio.sleep(0.02)
        finally:
            self.closed.set()


async def accept(event: Event) -> Receipt:
    return "accepted"


@pytest.fixture
def endless() -> EndlessPage:
    return EndlessPage()


@pytest.fixture
def sessions() -> MemorySessions:
    return MemorySessions()


@pytest.fixture
async def client(endless: EndlessPage, sessions: MemorySessions) -> AsyncIterator[Client]:
    guard = Guard({role: SecretStr(f"the {role}'s long token") for role in ROLES}, sessions=sessions)
    pages = [endless, SessionsPage(guard)]
    adapter = StudioAdapter(MemoryFeed(), MemoryHistory(), guard, pages)
    app = web.Application()
    app.add_routes(adapter.routes(accept))
    async with adapter, TestClient(TestServer(app)) as client:
        yield client


async def enter(client: Client, role: str = "viewer", name: str = "Ada") -> None:
    data = {"token": f"the {role}'s long token", "name": name}
    assert (await client.post("/studio/sign-in", data=data, allow_redirects=False)).status == 303


async def test_an_answer_stops_with_its_session(
    client: Client, endless: EndlessPage, sessions: MemorySessions
) -> None:
    """Field fault 121: trying, drawing and evaluating stream, too."""
    await enter(client)
    answer = await client.post("/studio/endless", headers=WRITE)
    await answer.content.readline()
    await sessions.end(list(sessions.kept))
    async with asyncio.timeout(WITHIN_S):
        await endless.closed.wait()


# ------------------------------------------------------------------ who sees and ends them


async def test_people_end_their_own_sessions(client: Client, sessions: MemorySessions) -> None:
    await enter(client)
    (first,) = sessions.kept.values()
    await sessions.begin(replace(first, id="1" * 32, browser="Firefox on Linux"))
    await sessions.begin(replace(first, id="2" * 32, person="bob", name="Bob Stranger"))
    page = await (await client.get("/studio/sessions")).text()
    assert "Firefox on Linux" in page
    assert "Bob Stranger" not in page
    answer = await client.post("/studio/sessions/end", data={"id": "2" * 32})
    assert answer.status == 404
    assert (await client.post("/studio/sessions/end-others", data={})).status == 200
    assert set(sessions.kept) == {first.id, "2" * 32}


async def test_operators_end_the_sessions_of_others(
    client: Client, sessions: MemorySessions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await enter(client, "operator", "Olga")
    (own,) = sessions.kept.values()
    await sessions.begin(replace(own, id="2" * 32, person="bob", name="Bob Stranger"))
    assert "Bob Stranger" in await (await client.get("/studio/sessions")).text()
    assert (await client.post("/studio/sessions/end", data={"id": "2" * 32})).status == 200
    assert set(sessions.kept) == {own.id}
    assert "a session of Bob Stranger (id bob) was ended by Olga" in caplog.text


async def test_signing_in_again_replaces_the_session(client: Client, sessions: MemorySessions) -> None:
    await enter(client, "viewer")
    before = set(sessions.kept)
    await enter(client, "editor")
    assert len(sessions.kept) == 1
    assert not before & set(sessions.kept)


# ------------------------------------------------------------------ what they cost


async def test_requests_share_one_read_of_a_session(
    client: Client, sessions: MemorySessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enter(client)
    clock = [1000.0]
    monkeypatch.setattr(session_cache.time, "monotonic", lambda: clock[0])
    sessions.reads = 0
    for _ in range(20):
        assert (await client.get("/studio/sessions")).status == 200
    assert sessions.reads == 1
    clock[0] += session_cache.FRESH_S
    await client.get("/studio/sessions")
    assert sessions.reads == 2


async def test_a_forged_cookie_is_not_looked_up(client: Client, sessions: MemorySessions) -> None:
    sessions.reads = 0
    for value in ("operator." + "a" * 43 + "." + "0" * 64, "x", "entra." + "a" * 43 + "." + "0" * 64):
        answer = await client.get("/studio/sessions", cookies={COOKIE: value}, allow_redirects=False)
        assert answer.status == 303
    assert sessions.reads == 0


async def test_without_storage_nobody_is_let_in(client: Client, sessions: MemorySessions) -> None:
    await enter(client)
    sessions.away = True
    answer = await client.get("/studio/sessions")
    assert answer.status == 503
    assert "Storage is unavailable" in await answer.text()


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/126.0 Safari/537.36 Edg/126.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        ("curl/8.0", ""),
    ],
)
def test_a_browser_is_named_for_people(user_agent: str, words: str) -> None:
    assert browser_name(user_agent) == words
