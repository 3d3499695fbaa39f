"""Wrong tokens slow down whoever sends them; and odd requests to the studio are refused in words."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar, web
from pydantic import SecretStr

from adapters.shared.client_address import TrustedProxies
from adapters.shared.http_server import serving
from adapters.studio import StudioAdapter
from adapters.studio.auth import login_throttle
from adapters.studio.auth.guard import Guard
from adapters.studio.auth.login_throttle import PAUSE_S, WRONG_TOKENS_PER_MINUTE, LoginThrottle
from adapters.studio.chat import event_streams
from tests.adapters.studio.conftest import Studio
from tests.adapters.studio.stand_ins import MemoryFeed, MemoryHistory, MemorySessions

TOKEN = "a token of some length"
WRITE = {"X-Parley": "studio", "Content-Type": "application/json"}
C, M = "c" * 32, "a" * 32


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(login_throttle, "time", clock)
    return clock


def wrong(table: LoginThrottle, address: str, count: int = WRONG_TOKENS_PER_MINUTE) -> None:
    for _ in range(count):
        table.wrong(address)


def test_wrong_tokens_slow_down_only_their_sender(clock: Clock) -> None:
    """Field fault 93: ten wrong tokens locked out the right one for everybody."""
    table = LoginThrottle()
    wrong(table, "192.0.2.1", WRONG_TOKENS_PER_MINUTE - 1)
    assert table.wait_s("192.0.2.1") == 0
    wrong(table, "192.0.2.1", 1)
    assert table.wait_s("192.0.2.1") == PAUSE_S
    assert table.wait_s("192.0.2.2") == 0
    clock.now_s += PAUSE_S
    assert table.wait_s("192.0.2.1") == 0, "whoever waits may try again"
    wrong(table, "192.0.2.1", 1)
    assert table.wait_s("192.0.2.1") == PAUSE_S
    clock.now_s += 60
    wrong(table, "192.0.2.1", 1)
    assert table.wait_s("192.0.2.1") == 0, "after a quiet minute it begins anew"


@pytest.mark.usefixtures("clock")
def test_an_ipv6_network_is_one_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 93: who has 2^64 addresses has no 2^64 attempts, and can't fill the memory."""
    table = LoginThrottle()
    for number in range(WRONG_TOKENS_PER_MINUTE):
        table.wrong(f"2001:db8::{number:x}")
    assert len(table) == 1
    assert table.wait_s("2001:db8::ffff") == PAUSE_S
    assert table.wait_s("2001:db8:0:1::1") == 0
    monkeypatch.setattr(login_throttle, "_MOST_SENDERS", 100)
    table = LoginThrottle()
    for number in range(1000):
        table.wrong(f"2001:db8:{number:x}::1")
    assert len(table) == 100


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A studio with a token, behind a proxy on this machine."""

    async def accept(_: object) -> str:
        return "accepted"

    app = web.Application()
    guard = Guard({"operator": SecretStr(TOKEN)}, sessions=MemorySessions())
    async with StudioAdapter(MemoryFeed(), MemoryHistory(), guard) as adapter:
        app.add_routes(adapter.routes(accept))  # pyright: ignore[reportArgumentType]
        async with serving(app, "127.0.0.1", 0, TrustedProxies(["127.0.0.1"]), 64) as port:
            yield f"http://127.0.0.1:{port}"


async def test_the_right_token_works_from_another_address(url: str, clock: Clock) -> None:
    """Field fault 93: and from the same address after the time that the answer names."""

    async def try_token(http: ClientSession, token: str, client: str) -> ClientResponse:
        headers = {"X-Forwarded-For": client}
        data = {"token": token}
        return await http.post(url + "/studio/sign-in", data=data, headers=headers, allow_redirects=False)

    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as http:
        for _ in range(WRONG_TOKENS_PER_MINUTE):
            assert (await try_token(http, "guess", "192.0.2.1")).status == 401
        refused = await try_token(http, "guess", "192.0.2.1")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "10")
        assert "Try again in 10 seconds" in await refused.text()
        assert (await try_token(http, TOKEN, "192.0.2.2")).status == 303
        clock.now_s += float(refused.headers["Retry-After"])
        assert (await try_token(http, TOKEN, "192.0.2.1")).status == 303


# ------------------------------------------------------------------ what can't be read


@pytest.mark.parametrize("origin", ["http://[::", "http://a:99999", "http://a:b", "http://[v1"])
async def test_an_invalid_origin_is_400(
    studio: Studio, origin: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 93: `Origin: http://[::` was answered 500."""
    async with ClientSession() as http:
        answer = await http.post(
            f"{studio.url}/studio/conversations/{C}/messages",
            json={"id": M, "text": "hello"},
            headers={**WRITE, "Origin": origin},
        )
        assert answer.status == 400
        assert "Origin" in (await answer.json())["words"]
    assert studio.engine.events == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_lone_surrogate_is_replaced(studio: Studio) -> None:
    """Field fault 56: a lone surrogate in a message becomes U+FFFD."""
    async with ClientSession() as http:
        body = b'{"id": "%s", "text": "hello \\ud800"}' % M.encode()
        path = f"{studio.url}/studio/conversations/{C}/messages"
        assert (await http.post(path, data=body, headers=WRITE)).status == 202
    assert [event.text for event in studio.engine.events if hasattr(event, "text")] == ["hello \ufffd"]  # pyright: ignore


@pytest.mark.parametrize(
    ("body", "mime", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"--x", "multipart/form-data", 415),
        (b'{"id":' * 3000, "application/json", 400),
        (b'{"id": "%s", "text": "%s"}' % (M.encode(), b"x" * 300_000), "application/json", 413),
    ],
    ids=["not JSON", "an upload", "nested", "large"],
)
async def test_each_invalid_body_has_its_status(studio: Studio, body: bytes, mime: str, status: int) -> None:
    """Field fault 93: 400, 413 or 415, never 500."""
    async with ClientSession() as http:
        path = f"{studio.url}/studio/conversations/{C}/messages"
        answer = await http.post(path, data=body, headers={**WRITE, "Content-Type": mime})
        assert answer.status == status
        assert (await answer.json())["words"]


async def test_event_streams_per_session_are_limited(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 93: open event streams must leave connections to others."""
    monkeypatch.setattr(event_streams, "MOST_OF_ONE", 2)
    path = f"{studio.url}/studio/conversations/{C}/events"
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as http:
        await http.get(studio.url)  # a browser is known by the cookie of its first page
        first, second = await http.get(path), await http.get(path)
        assert (first.status, second.status) == (200, 200)
        refused = await http.get(path)
        assert refused.status == 429
        assert "Too many studio pages" in (await refused.json())["words"]
        first.close()
        second.close()
