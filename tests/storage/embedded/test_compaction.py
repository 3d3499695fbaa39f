"""What was deleted is in the embedded Redis's files no longer."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from bot.domain.adapter import StillServed
from bot.storage.conversations.search import ConversationSearch
from bot.storage.embedded import compaction
from bot.storage.embedded.compaction import Compaction
from bot.storage.embedded.lifecycle import embedded
from bot.storage.erasure.retention import Retention
from bot.storage.erasure.tenants import Tenants
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.worker.uninstall import Uninstaller
from tests.conversation.test_uninstall import departed
from tests.support.acts import ADA, BOB, received
from tests.support.dumps import traces
from tests.support.fake_adapter import words
from tests.support.harness import CONVERSATION, Harness

CANARY = "zebra-canary-4711"


def in_files(folder: Path, text: str) -> list[str]:
    """The files of a data directory that hold this text."""
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


class Disk(NamedTuple):
    """A worker on an embedded Redis, whose files are rewritten by `tidying`."""

    harness: Harness
    tidying: Compaction

    async def forget(self) -> None:
        told = await self.harness.personal_data.forget(ADA)
        assert "It has been removed from the files on disk, too." in told

    async def expire(self) -> None:
        await self.harness.age("a")
        await Retention(self.harness.redis, 3600, self.tidying).sweep()
        assert await self.tidying.run()

    async def uninstall(self) -> None:
        tenants = Tenants(self.harness.redis, ConversationSearch(self.harness.redis, 3600))
        await Uninstaller(tenants, self.tidying).uninstall(departed(), StillServed())


WAYS: list[Callable[[Disk], Awaitable[None]]] = [Disk.forget, Disk.expire, Disk.uninstall]


@pytest.mark.parametrize("delete", WAYS)
async def test_a_deleted_question_is_in_no_file(
    folder: Path, delete: Callable[[Disk], Awaitable[None]]
) -> None:
    """Field fault 120: after `forget`, question and answer were still in the append-only file."""
    async with embedded(folder) as url:
        redis = Redis(url)
        harness = Harness(redis)
        tidying = Compaction(redis, embedded=True)
        harness.erasure = type(harness.erasure)(redis, harness.secret_store, tidying)
        harness.model.script = lambda prompt: words("Certainly.")
        await harness.answer(received(f"Remember {CANARY}.", event="a"))
        await harness.answer(received("Why?", event="b", user=BOB))
        await redis.call(
            "SET", keys.of("summary", CONVERSATION), f'{{"since":"b","text":"{CANARY}"}}', "EX", 60
        )
        assert in_files(folder, CANARY)
        assert len(await traces(redis, CANARY)) == 4, "the turn, what was sent for both, the summary"
        await delete(Disk(harness, tidying))
        assert in_files(folder, CANARY) == []
        assert await traces(redis, CANARY) == set()
        assert int(await redis.call("GET", keys.COMPACTION)) == 0
        await tidying.close()
        await redis.close()


async def test_rewrites_are_delayed_but_not_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 120: A request soon after the last rewrite is served later, by any process."""
    monkeypatch.setattr(compaction, "EVERY_S", 600)
    async with embedded(folder) as url:
        redis = Redis(url)
        first, second = (Compaction(redis, embedded=True) for _ in range(2))
        await first.request()
        assert await first.finish() == "done"
        await redis.call("SET", "key", CANARY)
        await redis.call("DEL", "key")
        await first.request()
        assert await first.finish(0.01) == "soon"
        await first.close()
        assert in_files(folder, CANARY)
        assert not await second.run()
        await redis.call("DEL", keys.COMPACTED)  # the time is over
        assert await second.run()
        assert in_files(folder, CANARY) == []
        assert not await second.run()
        await redis.close()


async def test_external_servers_are_not_rewritten(redis: Redis) -> None:
    """Field fault 120: managed servers refuse it, and replicas and backups are not ours."""
    tidying = Compaction(redis, embedded=False)
    await tidying.request()
    assert await tidying.finish() == "external"
    assert not await tidying.run()
    assert not await redis.call("EXISTS", keys.COMPACTION)
