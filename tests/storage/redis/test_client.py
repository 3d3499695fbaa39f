"""What is said of a Redis that could lose what was acknowledged, that is full, or that is away."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from bot.domain.errors import StateUnavailable
from bot.storage.queue.inbox import Inbox
from bot.storage.redis.client import Redis, Script
from tests.support import servers
from tests.support.acts import received
from tests.support.servers import Server

KEPT = ("--appendonly", "yes")
DURABLE = (*KEPT, "--appendfsync", "always")


@asynccontextmanager
async def redis_with(folder: Path, *settings: str) -> AsyncGenerator[Redis]:
    """A Redis of its own, with these settings."""
    server = Server(folder, *settings)
    with servers.running(server):
        client = Redis(server.url)
        yield client
        await client.close()


async def test_a_redis_that_keeps_everything_has_no_risks(tmp_path: Path) -> None:
    async with redis_with(tmp_path, *DURABLE) as redis:
        assert await redis.risks() == []
        (finding,) = await redis.check()
        assert finding.level == "ok"
        assert finding.words.endswith(" answers")


async def test_missing_persistence_is_explained(tmp_path: Path) -> None:
    async with redis_with(tmp_path) as redis:
        (risk,) = await redis.risks()
        assert (risk.level, risk.subject) == ("warning", "redis")
        assert "a restart of Redis loses messages" in risk.words
        assert [finding.level for finding in await redis.check()] == ["ok", "warning"]


@pytest.mark.parametrize(("setting", "lost"), [("everysec", "the last second"), ("no", "half a minute")])
async def test_delayed_syncs_are_explained(tmp_path: Path, setting: str, lost: str) -> None:
    async with redis_with(tmp_path, *KEPT, "--appendfsync", setting) as redis:
        (risk,) = await redis.risks()
        assert (risk.level, risk.subject) == ("warning", "redis")
        assert risk.words.startswith(
            f"appendfsync is {setting}: a crash of the server or its machine can lose {lost}"
        )


async def test_hidden_settings_of_a_managed_redis_are_explained(tmp_path: Path) -> None:
    async with redis_with(tmp_path, *KEPT, "--rename-command", "CONFIG", "") as redis:
        (risk,) = await redis.risks()
        assert "appendfsync can't be read here" in risk.words


@pytest.mark.parametrize(
    ("policy", "lost"),
    [("allkeys-lru", "waiting messages"), ("volatile-ttl", "history and the record of handled events")],
)
async def test_an_evicting_policy_is_explained(tmp_path: Path, policy: str, lost: str) -> None:
    async with redis_with(tmp_path, *DURABLE, "--maxmemory-policy", policy) as redis:
        (risk,) = await redis.risks()
        assert risk.words == f"maxmemory-policy is {policy}: {lost} can be evicted. Set it to noeviction."


async def test_the_risks_of_a_cluster_are_said_once(tmp_path: Path) -> None:
    with servers.cluster(tmp_path) as nodes:
        for node in nodes[1:]:
            node.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        nodes[2].ask("CONFIG", "SET", "appendonly", "no")
        nodes[0].ask("CONFIG", "SET", "appendfsync", "always")
        redis = Redis(nodes[0].url.replace("redis://", "redis+cluster://"))
        said_ = [finding.words.split(":")[0] for finding in await redis.check()]
        await redis.close()
    assert said_[1:] == [
        "maxmemory-policy is allkeys-lfu",
        "appendfsync is no",
        "There is no append-only file",
    ]


async def test_a_full_redis_is_state_unavailable(tmp_path: Path) -> None:
    """So that the platform delivers again."""
    async with redis_with(tmp_path, *DURABLE, "--maxmemory", "1") as redis:
        with pytest.raises(StateUnavailable, match="does not accept writes"):
            await Inbox(redis, lease_s=30, limit=3, retention_s=3600).accept(received())
        with pytest.raises(StateUnavailable, match="does not accept writes"):
            await redis.call("SET", "parley:x", 1)


async def test_a_replica_is_state_unavailable(tmp_path: Path) -> None:
    async with redis_with(tmp_path, "--replicaof", f"{servers.HOST} {servers.free_port()}") as redis:
        with pytest.raises(StateUnavailable):
            await Inbox(redis, lease_s=30, limit=3, retention_s=3600).accept(received())


async def test_a_script_error_is_not_an_outage(redis: Redis) -> None:
    wrong = Script("due")
    wrong.body, wrong.digest = "return redis.call('GET')", "0" * 40
    with pytest.raises(ResponseError):
        await redis.run(wrong, ["parley:{p00}:x"], [])


async def test_the_check_reports_an_outage() -> None:
    redis = Redis(f"redis://{servers.HOST}:{servers.free_port()}")
    (finding,) = await redis.check()
    await redis.close()
    assert finding.level == "error"
    assert "Check REDIS_URL" in finding.words
