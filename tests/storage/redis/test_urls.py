"""What a REDIS_URL may be: a server, a cluster, sentinels, in plain and by TLS; and words for the rest."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from bot.domain.errors import ConfigError, StateUnavailable
from bot.domain.events import Event
from bot.storage.queue.inbox import Claim, Inbox, Wakeup
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support import servers
from tests.support.acts import received
from tests.support.patience import PATIENCE_S
from tests.support.servers import HOST, Server, free_port
from tests.support.tls import Authority, terminator

CONVERSATION = "test:room"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def inbox_at(url: str) -> AsyncGenerator[tuple[Inbox, Redis]]:
    redis = Redis(url)
    try:
        yield Inbox(redis, lease_s=30, limit=3, retention_s=3600), redis
    finally:
        await redis.close()


async def works(url: str) -> None:
    """An event goes in, its nudge arrives, and it comes out again."""
    async with inbox_at(url) as (inbox, redis):
        wakeups: AsyncGenerator[Wakeup | str] = inbox.wakeups()
        async with aclosing(wakeups), asyncio.timeout(PATIENCE_S):
            assert await anext(wakeups) == ""
            assert await inbox.accept(received("hello")) == "accepted"
            assert await anext(wakeups) == Wakeup(keys.shard_of(CONVERSATION), CONVERSATION)
        assert isinstance(await inbox.claim(keys.shard_of(CONVERSATION)), Claim)
        assert len([name async for name in redis.scan("parley:*")]) >= 3
        assert (await redis.check())[0].level == "ok"


# ------------------------------------------------------------------ TLS


async def test_a_server_is_reached_by_tls(tmp_path: Path, authority: Authority) -> None:
    server, port = Server(tmp_path), free_port()
    with servers.running(server):
        async with terminator(authority, port, server.port) as seen:
            await works(f"rediss://{HOST}:{port}?ssl_ca_certs={authority.ca}")
            assert seen


async def test_an_untrusted_certificate_is_refused(tmp_path: Path, authority: Authority) -> None:
    server, port = Server(tmp_path), free_port()
    with servers.running(server):
        async with (
            terminator(authority, port, server.port),
            inbox_at(f"rediss://{HOST}:{port}") as (inbox, _),
        ):
            with pytest.raises(StateUnavailable, match="certificate"):
                await inbox.accept(received())


async def test_every_node_of_a_cluster_uses_tls(tmp_path: Path, authority: Authority) -> None:
    doors = [free_port() for _ in range(3)]
    async with AsyncExitStack() as stack:
        nodes = stack.enter_context(servers.cluster(tmp_path, announce=doors))
        seen = [
            await stack.enter_async_context(terminator(authority, door, node.port))
            for door, node in zip(doors, nodes, strict=True)
        ]
        url = f"rediss+cluster://{HOST}:{doors[0]}?ssl_ca_certs={authority.ca}"
        await works(url)
        async with inbox_at(url) as (inbox, _):
            await inbox.due()
        assert all(seen)


# ------------------------------------------------------------------ sentinels


@asynccontextmanager
async def watched(folder: Path, master: int, *, down_after_ms: int = 60_000) -> AsyncGenerator[Server]:
    """A sentinel that watches the master on this port."""
    sentinel = Server(
        folder / "sentinel",
        "protected-mode no",
        f"sentinel monitor mymaster {HOST} {master} 1",
        f"sentinel down-after-milliseconds mymaster {down_after_ms}",
        "sentinel failover-timeout mymaster 1000",
        sentinel=True,
    )
    with servers.running(sentinel):
        servers.until(lambda: _replicas(sentinel) is not None, "the sentinel's view of its master")
        yield sentinel


def _replicas(sentinel: Server) -> object:
    """What it knows of the master's replicas; None while it does not answer."""
    return sentinel.ask("SENTINEL", "REPLICAS", "mymaster")


async def test_the_master_is_found_through_available_sentinels(tmp_path: Path) -> None:
    master = Server(tmp_path / "master")
    with servers.running(master):
        async with watched(tmp_path, master.port) as sentinel:
            hosts = f"{HOST}:{free_port()},{HOST}:{sentinel.port}"
            await works(f"redis+sentinel://{hosts}/mymaster/2")
            assert master.ask("DBSIZE") == 0, "the state is in database 2"


async def test_a_master_and_its_sentinels_use_tls(tmp_path: Path, authority: Authority) -> None:
    master, door, sentinel_door = Server(tmp_path / "master"), free_port(), free_port()
    with servers.running(master):
        async with (
            terminator(authority, door, master.port) as seen,
            watched(tmp_path, door) as sentinel,
            terminator(authority, sentinel_door, sentinel.port) as asked,
        ):
            await works(f"rediss+sentinel://{HOST}:{sentinel_door}/mymaster?ssl_ca_certs={authority.ca}")
            assert seen
            assert asked


async def test_when_the_master_dies_its_successor_is_found(tmp_path: Path) -> None:
    master = Server(tmp_path / "master")
    replica = Server(
        tmp_path / "replica", "--replicaof", f"{HOST} {master.port}", "--repl-diskless-sync-delay", "0"
    )
    with servers.running(master, replica):
        servers.until(lambda: _copies(replica), "the replica's first copy")
        async with watched(tmp_path, master.port, down_after_ms=300) as sentinel:
            servers.until(lambda: bool(_replicas(sentinel)), "the sentinel's view of the replica")
            url = f"redis+sentinel://{HOST}:{sentinel.port}/mymaster"
            async with inbox_at(url) as (inbox, _):
                assert await inbox.accept(received(event="a")) == "accepted"
                servers.until(lambda: replica.ask("DBSIZE") == master.ask("DBSIZE"), "the copy of the event")
                master.stop(kill=True)
                with pytest.raises(StateUnavailable):
                    await inbox.accept(received(event="b"))
                await _accepted(inbox, received(event="b"))
                claim = await inbox.claim(keys.shard_of(CONVERSATION))
                assert isinstance(claim, Claim)
                assert claim.event is not None
                assert claim.event.id == "a", "what was accepted before is there"


def _copies(replica: Server) -> bool:
    answer = replica.ask("INFO", "replication")
    return isinstance(answer, dict) and cast("dict[str, object]", answer).get("master_link_status") == "up"


async def _accepted(inbox: Inbox, event: Event) -> None:
    """Deliver until it is taken, as platforms do."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await inbox.accept(event)
            except StateUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


# ------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:6379", "its scheme is unknown"),
        ("http://localhost:6379", "its scheme is unknown"),
        ("redis+clusters://localhost:6379", "its scheme is unknown"),
        ("redis://", "its scheme is unknown"),
        ("redis://:secret@", "has no host"),
        ("redis://localhost:port/0", "a host or port is invalid"),
        ("redis://:se/cret@localhost:6379/0", "a host or port is invalid"),
        ("redis://localhost:6379/first", "is not a number"),
        ("redis://one:6379,two:6379", "takes one host"),
        ("redis://localhost?socket_timeout=soon", "an invalid value"),
        ("redis://localhost?colour=secret", "(colour) is unknown"),
        ("redis://localhost?ssl_ca_certs=secret.pem", "(ssl_ca_certs) is unknown"),
        ("rediss://localhost?ssl_ca_certs=/nowhere/ca.pem", "the file of ssl_ca_certs does not exist"),
        ("rediss://localhost?ssl_cert_reqs=perhaps", "or has an invalid value"),
        ("redis+cluster://localhost:6379/1", "a cluster has no numbered databases"),
        ("redis+cluster://", "its scheme is unknown"),
        ("redis+sentinel://localhost:26379", "the name of the master is missing"),
        ("redis+sentinel://localhost:26379/mymaster/zero", "is not a number"),
        ("redis+sentinel://one:26379,:26379/mymaster", "a host or port is invalid"),
    ],
)
def test_an_invalid_url_is_explained_without_showing_it(url: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Redis(url)
    first, *forms = str(caught.value).splitlines()
    assert first.startswith("REDIS_URL is invalid: ")
    assert words in first
    assert "cret" not in first
    assert "redis+sentinel://" in "".join(forms)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://user:pass%2Fword@localhost:6379/3?health_check_interval=10",
        "rediss://localhost:6380?ssl_cert_reqs=none",
        "unix:///tmp/redis.sock?db=1",
        "redis+cluster://:password@one:6379,[::1]:6380",
        "rediss+cluster://one:6379/0?ssl_check_hostname=false",
        "redis+sentinel://user:password@one:26379,two/my%2Fmaster/0?sentinel_password=other",
    ],
)
async def test_the_urls_that_providers_print_are_accepted(url: str) -> None:
    await Redis(url).close()
