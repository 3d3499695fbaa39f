"""Masters that were replaced, and do not know it yet: what they take is not acknowledged."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import cast

import pytest

from bot.domain.errors import StateUnavailable
from bot.storage.queue.inbox import Inbox
from bot.storage.redis.client import Redis
from tests.failover.systems import Watched, by_sentinels, paused
from tests.support import servers
from tests.support.acts import received
from tests.support.servers import HOST, Server

pytestmark = pytest.mark.timeout(600)


@asynccontextmanager
async def connected(system: Watched) -> AsyncGenerator[Inbox]:
    redis = Redis(system.url, replicas=1)
    try:
        yield Inbox(redis, lease_s=30, limit=9, retention_s=3600)
    finally:
        await redis.close()


def role(server: Server) -> bytes:
    return cast("list[bytes]", server.ask("ROLE") or [b""])[0]


async def accepted(inbox: Inbox, event: str) -> str:
    """Deliver until it is acknowledged, as platforms do."""
    while True:
        try:
            return await inbox.accept(received(event=event))
        except StateUnavailable:
            continue


async def test_a_replica_left_behind_confirms_nothing(tmp_path: Path) -> None:
    """Field fault 127: a replica that still follows the former master confirms what will be discarded."""
    with by_sentinels(tmp_path) as system:
        async with connected(system) as inbox:
            await accepted(inbox, "before")
            former = system.master(Random(1))
            with paused(former):
                servers.until(lambda: system.replaced(former), "a failover")
            with paused(*system.sentinels):  # too early to tell everybody who the master is
                left = next(node for node in system.nodes if node is not former and role(node) == b"slave")
                left.ask("REPLICAOF", HOST, former.port)
                servers.until(lambda: former.ask("WAIT", 1, 100) == 1, "the replica that was left behind")
                with pytest.raises(StateUnavailable, match="sentinels"):
                    await inbox.accept(received(event="after"))
            assert await accepted(inbox, "after") in ("accepted", "duplicate")
            servers.until(lambda: role(former) == b"slave", "the end of the failover")
            assert await accepted(inbox, "after") == "duplicate", "acknowledged, and lost"
