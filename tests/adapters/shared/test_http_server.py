"""The web server with clients that send too slowly, too much, too often, or read nothing."""

import asyncio
import errno
import hashlib
import hmac
import json
import socket
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout, web

from adapters.shared import http_connections, http_server
from adapters.shared.client_address import TrustedProxies, network_of
from adapters.shared.http_body import read_body
from adapters.shared.http_connections import ConnectionPool, HttpConnection
from adapters.shared.http_server import connection_limit, serving
from bot.domain.errors import ConfigError, Malformed
from tests.support.processes import end, free_port, listening, start

PATIENCE_S = 60.0
HALF_SENT = (
    b"",
    b"G",
    b"GET /ok HTTP/1.1\r\nHo",
    b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{",
    b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
)
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _remote(request: web.Request) -> web.Response:
    return web.Response(text=request.remote or "")


async def _body(request: web.Request) -> web.Response:
    try:
        return web.Response(text=str(len(await read_body(request, 1024 * 1024))))
    except Malformed:
        return web.Response(status=400)


async def _stream(request: web.Request) -> web.StreamResponse:
    """An endless stream of server-sent events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    while True:
        await response.write(b": here\n\n")
        await asyncio.sleep(0.05)


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


@asynccontextmanager
async def server(most: int = 16, proxies: tuple[str, ...] = ()) -> AsyncGenerator[int]:
    """A small application on the real server."""
    app = web.Application()
    app.add_routes(
        [
            web.get("/ok", _ok),
            web.get("/remote", _remote),
            web.post("/body", _body),
            web.get("/stream", _stream),
            web.get("/endless", _endless),
        ]
    )
    try:
        async with serving(app, "127.0.0.1", 0, TrustedProxies(proxies), most) as port:
            yield port
    finally:
        for writer in _writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        _writers.clear()


_writers: list[asyncio.StreamWriter] = []
"""The sockets of all clients of a test."""


async def connect(port: int, data: bytes = b"") -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    _writers.append(writer)
    writer.write(data)
    return reader, writer


async def status(port: int, path: str = "/ok") -> int:
    async with (
        ClientSession(timeout=ClientTimeout(total=PATIENCE_S)) as http,
        http.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status


async def rest(client: Client) -> bytes:
    """Everything received until the server closes the connection."""
    try:
        return await asyncio.wait_for(client[0].read(), PATIENCE_S)
    except ConnectionError:
        return b""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short limits."""
    for name, value in {"HEAD_S": 0.3, "BODY_S": 0.3, "WRITE_S": 0.3, "CLOSE_S": 0.1}.items():
        monkeypatch.setattr(http_connections, name, value)
    monkeypatch.setattr(http_server, "_CHECK_S", 0.05)


# ------------------------------------------------------------------ number of connections


async def test_incomplete_requests_do_not_block_the_server() -> None:
    """Field fault 93: three times as many as allowed; the next one is answered all the same."""
    async with server(most=16) as port:
        clients = [await connect(port, HALF_SENT[number % len(HALF_SENT)]) for number in range(48)]
        for _ in range(5):
            assert await status(port) == 200
        for _, writer in clients:
            writer.close()


async def test_an_event_stream_is_not_closed() -> None:
    async with server(most=8) as port:
        stream = await connect(port, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.wait_for(stream[0].readuntil(b": here\n"), PATIENCE_S)
        clients = [await connect(port, b"GET /ok HT") for _ in range(30)]
        assert await status(port) == 200
        for _ in range(3):
            await asyncio.wait_for(stream[0].readuntil(b": here\n"), PATIENCE_S)
        for _, writer in [stream, *clients]:
            writer.close()


async def test_without_closable_connections_new_ones_get_503() -> None:
    async with server(most=2) as port:
        streams = [await connect(port, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(2)]
        for reader, _ in streams:
            await asyncio.wait_for(reader.readuntil(b": here\n"), PATIENCE_S)
        refused = await rest(await connect(port))
        assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"Retry-After: 5" in refused
        for _, writer in streams:
            writer.close()


class _Waiting(HttpConnection):
    """A connection on which nothing was sent yet."""

    def __init__(self, pool: ConnectionPool, client: str) -> None:
        self.client, self.closing, self._pool = client, False, pool
        self._link, self._request, self._handling, self._begun, self._head_bytes = None, None, False, 0, 0
        self._request_count, self._since_s = 0, 0.0


def _admitted(pool: ConnectionPool, address: str) -> bool:
    client = pool.admit(address)
    if client is not None:
        pool.add(_Waiting(pool, client))
    return client is not None


def test_one_client_has_at_most_half_the_connections() -> None:
    """Field fault 93: an IPv6 network counts as one client; a client's own connections are closed first."""
    pool = ConnectionPool(8, TrustedProxies([]))
    for number in range(20):
        assert _admitted(pool, f"2001:db8:0:1::{number + 1:x}")
    assert len(pool) == 4
    assert _admitted(pool, "203.0.113.7")
    assert len(pool) == 5


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3"])
def test_a_proxy_may_have_all_connections(address: str) -> None:
    """Field fault 93: behind a proxy, everybody has the same address."""
    pool = ConnectionPool(8, TrustedProxies(["10.0.0.0/8"]))
    for _ in range(8):
        assert _admitted(pool, address)
    assert len(pool) == 8


def test_the_limit_follows_from_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, most in {16: 16, 256: 96, 1024: 480, 65_536: 4096}.items():
        monkeypatch.setattr("bot.domain.telemetry.open_files_limit", lambda files=files: files)
        assert connection_limit() == most


# ------------------------------------------------------------------ time limits


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("sent", HALF_SENT, ids=repr)
async def test_slow_requests_are_closed(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Field fault 93: in the request line, in the headers, in a body; without filling the log."""
    async with server() as port:
        received = await rest(await connect(port, sent))
        assert received == b"" if not sent else received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("start", [b"GET /ok HTTP/1.1\r\nX: ", HALF_SENT[3][:-1]], ids=["headers", "body"])
async def test_a_byte_at_a_time_is_too_slow(start: bytes) -> None:
    """Field fault 93: the limit is for the whole request, so a trickle does not extend it."""
    async with server() as port:
        client = await connect(port, start)
        reading = asyncio.create_task(rest(client))
        while not reading.done():
            client[1].write(b"x")
            await asyncio.sleep(0.05)
        assert not reading.result() or b" 408 " in reading.result()


@pytest.mark.usefixtures("quick")
async def test_clients_that_read_nothing_are_disconnected() -> None:
    """Field fault 93: A response that nobody reads would hold its memory for ever."""
    async with server(most=1) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            until_s = time.monotonic() + PATIENCE_S
            while await _refused(port):
                assert time.monotonic() < until_s
                await asyncio.sleep(0.05)


async def _refused(port: int) -> bool:
    client = await connect(port, b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return b" 200 " not in await rest(client)


async def test_an_idle_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "HEAD_S", 0.1)
    monkeypatch.setattr(http_server, "_CHECK_S", 0.02)
    async with server() as port:
        reader, writer = await connect(port)
        for _ in range(3):
            writer.write(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"ok" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\nok"), PATIENCE_S)
            await asyncio.sleep(0.3)
        writer.close()


# ------------------------------------------------------------------ size limits


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /ok HTTP/1.1\r\nX: " + b"a" * 100_000,
        b"GET /ok HTTP/1.1\r\n" + b"X: a\r\n" * 100_000,
        b"\x16\x03\x01\x02\x00",
        b"nonsense\r\n\r\n",
    ],
    ids=["line", "header", "headers", "TLS", "nonsense"],
)
async def test_header_size_is_limited(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Field fault 93: 400 or 431, without a traceback."""
    async with server() as port:
        received = await rest(await connect(port, sent))
        assert received == b"" or received.split(b" ")[1] in (b"400", b"431")
        assert await status(port) == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_large_body_is_not_a_large_header() -> None:
    async with server() as port, ClientSession() as http:
        async with http.post(f"http://127.0.0.1:{port}/body", data=BytesIO(b"x" * 900_000)) as response:
            assert (response.status, await response.text()) == (200, "900000")
        async with http.post(f"http://127.0.0.1:{port}/body", data=BytesIO(b"x" * 2_000_000)) as response:
            assert response.status == 400


@pytest.mark.parametrize("sent", [b"zz\r\n", b"5\r\nab", b"-1\r\n"], ids=repr)
async def test_a_broken_transfer_is_no_server_error(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Field fault 56: invalid chunks, or a body that ends too early."""
    async with server() as port:
        head = b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        client = await connect(port, head + sent)
        client[1].write_eof()
        assert b" 500 " not in await rest(client)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


# ------------------------------------------------------------------ file descriptors


async def test_the_server_recovers_from_exhausted_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Field fault 93: uvloop's own server would close its socket for good."""
    accept, left = socket.socket.accept, 3

    def failing(self: socket.socket) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    async with server() as port:
        assert await status(port) == 200
    assert left == 0


def signed(secret: str, body: bytes) -> dict[str, str]:
    at = str(int(time.time()))
    digest = hmac.new(secret.encode(), b"v0:" + at.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": at,
        "X-Slack-Signature": f"v0={digest}",
    }


@pytest.mark.timeout(300)
async def test_health_checks_and_events_pass_during_an_attack(
    tmp_path: Path,
) -> None:
    """Field faults 93 300: 300 incomplete requests to a process with 256 descriptors."""
    port = free_port()
    env = {
        "PORT": str(port),
        "PARLEY_DATA_DIR": str(tmp_path),
        "SLACK_BOT_TOKEN": "xoxb-none",
        "SLACK_SIGNING_SECRET": "secret",
        "SLACK_API_URL": "http://127.0.0.1:1/api/",
    }
    parley = Path(sys.executable).with_name("parley")
    process = await start(["/bin/sh", "-c", f"ulimit -n 256; exec {parley} serve"], env)
    try:
        await listening(port, 120)
        clients = [await connect(port, HALF_SENT[number % len(HALF_SENT)]) for number in range(300)]
        assert await status(port, "/healthz") == 200
        body = json.dumps({"type": "url_verification", "challenge": "c"}).encode()
        async with (
            ClientSession(timeout=ClientTimeout(total=PATIENCE_S)) as http,
            http.post(
                f"http://127.0.0.1:{port}/slack/events", data=body, headers=signed("secret", body)
            ) as answer,
        ):
            assert (answer.status, await answer.json()) == (200, {"challenge": "c"})
        for _, writer in clients:
            writer.close()
    finally:
        await end(process)


# ------------------------------------------------------------------ client addresses


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ([], "127.0.0.1"),
        (["203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["nonsense"], "127.0.0.1"),
        (["nonsense, 10.0.0.9"], "10.0.0.9"),
        ([""], "127.0.0.1"),
        (["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
    ],
)
async def test_a_trusted_proxy_names_the_client(forwarded: list[str], client: str) -> None:
    async with server(proxies=("127.0.0.1", "10.0.0.0/8")) as port, ClientSession() as http:
        headers = [("X-Forwarded-For", value) for value in forwarded]
        async with http.get(f"http://127.0.0.1:{port}/remote", headers=headers) as response:
            assert await response.text() == client


async def test_others_are_not_trusted() -> None:
    async with server() as port, ClientSession() as http:
        headers = {"X-Forwarded-For": "203.0.113.7"}
        async with http.get(f"http://127.0.0.1:{port}/remote", headers=headers) as response:
            assert await response.text() == "127.0.0.1"


def test_an_invalid_proxy_address_is_explained() -> None:
    with pytest.raises(ConfigError, match="PARLEY_TRUSTED_PROXIES: proxy is not an IP address"):
        TrustedProxies(["proxy"])


def test_clients_are_identified_by_network() -> None:
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::9") == "2001:db8:1:2::"
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("192.0.2.2") != network_of("192.0.2.1")
    assert network_of("a socket") == "a socket"
