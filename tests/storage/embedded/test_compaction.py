"""What was deleted is in the embedded Redis's files no longer."""

from pathlib import Path

import pytest

from bot.domain.events import QuotedMessage
from bot.storage.embedded import compaction
from bot.storage.embedded.compaction import Compaction
from bot.storage.embedded.lifecycle import embedded
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, BOB, received
from tests.support.harness import Harness

CANARY = "zebra-canary-4711"


def in_files(folder: Path, text: str) -> list[str]:
    """The files of a data directory that hold this text."""
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def test_a_deleted_question_is_in_no_file(folder: Path) -> None:
    """Field fault 120: after `forget`, question and answer were still in the append-only file."""
    async with embedded(folder) as url:
        redis = Redis(url)
        harness = Harness(redis)
        tidying = Compaction(redis, embedded=True)
        harness.erasure = type(harness.erasure)(redis, harness.secret_store, tidying)
        await harness.answer(received(f"Remember {CANARY}.", event="a"))
        quotes = (QuotedMessage(author="Ada", text=CANARY, by=ADA.id),)
        await harness.accept(received("Why?", event="b", user=BOB))
        await harness.redis.call("SET", "other", f"{quotes}")
        assert in_files(folder, CANARY)
        await redis.call("DEL", "other")
        await harness.personal_data.forget(ADA)
        await tidying.settled()
        assert in_files(folder, CANARY) == []
        assert int(await redis.call("GET", keys.COMPACTION)) == 0
        await redis.close()


async def test_rewrites_are_delayed_but_not_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 120: A request soon after the last rewrite is served later, by any process."""
    monkeypatch.setattr(compaction, "EVERY_S", 600)
    async with embedded(folder) as url:
        redis = Redis(url)
        first, second = (Compaction(redis, embedded=True) for _ in range(2))
        await first.request()
        await first.settled()
        await redis.call("SET", "key", CANARY)
        await redis.call("DEL", "key")
        await first.request()
        await first.settled()
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
    assert not await tidying.run()
    assert not await redis.call("EXISTS", keys.COMPACTION)
