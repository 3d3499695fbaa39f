"""Writes that replicas confirm, errors that the client lets escape, subscriptions that fall silent."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bot.domain.errors import StateUnavailable
from bot.storage.queue.inbox import Inbox
from bot.storage.redis import client, keys, replication
from bot.storage.redis.client import Redis, mapped
from tests.failover.systems import paused
from tests.support import servers
from tests.support.acts import received
from tests.support.patience import PATIENCE_S
from tests.support.servers import HOST, Server


@asynccontextmanager
async def connected(server: Server, replicas: int = 0) -> AsyncGenerator[Redis]:
    redis = Redis(server.url, replicas=replicas)
    try:
        yield redis
    finally:
        await redis.close()


def inbox_of(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=30, limit=9, retention_s=3600)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Server, Server]]:
    """A master and its replica."""
    folder = tmp_path_factory.mktemp("pair")
    master = Server(folder / "master", "--appendonly", "yes", "--appendfsync", "always")
    source = f"{HOST} {master.port}"
    replica = Server(folder / "replica", "--replicaof", source, "--repl-diskless-sync-delay", "0")
    with servers.running(master, replica):
        servers.until(lambda: master.ask("WAIT", 1, 100) == 1, "the replica")
        yield master, replica


async def stored(redis: Redis, event: str) -> None:
    """Deliver until a replica has it, as platforms do: on a busy machine it may not confirm within a second."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(StateUnavailable):
                assert await inbox_of(redis).accept(received(event=event)) in ("accepted", "duplicate")
                return


async def test_what_no_replica_has_is_not_acknowledged(pair: tuple[Server, Server]) -> None:
    """Field fault 127."""
    master, replica = pair
    async with connected(master, replicas=1) as redis:
        await stored(redis, "a")
        with paused(replica):
            with pytest.raises(StateUnavailable, match="confirmed by 0 of 1 replicas"):
                await inbox_of(redis).accept(received(event="b"))
            async with connected(master, replicas=1) as other:  # a duplicate, on a connection without writes
                with pytest.raises(StateUnavailable, match="confirmed by 0 of 1 replicas"):
                    await inbox_of(other).accept(received(event="b"))
        servers.until(lambda: master.ask("WAIT", 1, 100) == 1, "the replica")
        assert await inbox_of(redis).accept(received(event="b")) == "duplicate", "it is there only once"


async def test_each_connected_replica_has_what_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 127: a sentinel may promote either of two replicas, whichever is said to have more."""
    master = Server(tmp_path / "master")
    source = ("--replicaof", f"{HOST} {master.port}", "--repl-diskless-sync-delay", "0")
    replicas = [Server(tmp_path / f"replica-{number}", *source) for number in (1, 2)]
    with servers.running(master, *replicas):
        servers.until(lambda: master.ask("WAIT", 2, 100) == 2, "the replicas")
        async with connected(master, replicas=1) as redis:
            await stored(redis, "a")
            with paused(replicas[0]):
                monkeypatch.setattr(replication, "HANGS_S", 3600)
                with pytest.raises(StateUnavailable, match="confirmed by 1 of 2 replicas"):
                    await inbox_of(redis).accept(received(event="b"))
                monkeypatch.setattr(replication, "HANGS_S", 0)  # it hangs, and is not waited for
                await stored(redis, "b")


async def test_the_check_knows_about_replicas(pair: tuple[Server, Server]) -> None:
    """Field fault 127: a setting that `parley check` looks at."""
    master, _ = pair
    words = {}
    for replicas in (0, 1, 2):
        async with connected(master, replicas) as redis:
            words[replicas] = " ".join(risk.words for risk in await redis.risks())
    assert "Set PARLEY_REDIS_REPLICAS to 1" in words[0]
    assert words[1] == ""
    assert "PARLEY_REDIS_REPLICAS is 2, but the number of connected replicas is 1" in words[2]


async def test_min_replicas_need_no_warning(pair: tuple[Server, Server]) -> None:
    """Field fault 127."""
    master, _ = pair
    master.ask("CONFIG", "SET", "min-replicas-to-write", 1)
    async with connected(master) as redis:
        assert await redis.risks() == []
    master.ask("CONFIG", "SET", "min-replicas-to-write", 0)


async def test_errors_out_of_the_driver_are_outages(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 126: a connection that ends while a command is written raises AttributeError in redis-py."""

    def gone(*_: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'writelines'")

    await redis.call("PING")
    monkeypatch.setattr(asyncio.StreamWriter, "writelines", gone)
    with pytest.raises(StateUnavailable, match="AttributeError"):
        await redis.call("PING")


def test_own_errors_are_not_taken_for_outages() -> None:
    with pytest.raises(AttributeError), mapped():
        raise AttributeError("a mistake of our own")


async def test_a_silent_subscription_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 127: a stream from a master that was paused is not open for ever."""
    monkeypatch.setattr(client, "_PING_S", 0.2)
    server = Server(tmp_path)
    with servers.running(server):
        async with connected(server) as redis, asyncio.timeout(PATIENCE_S):
            stream = redis.subscribe(keys.WAKEUPS)
            assert await anext(stream) == ("", "")
            await redis.call("PUBLISH", keys.WAKEUPS, "7")
            assert await anext(stream) == (keys.WAKEUPS, "7")
            following = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(1)  # several pings are answered meanwhile
            assert not following.done()
            with paused(server), pytest.raises(StateUnavailable, match="does not answer a subscription"):
                await following
