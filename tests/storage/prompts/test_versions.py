"""The log of publications: append-only, numbered by place, told to whoever listens."""

import asyncio

import pytest

from bot.domain.events import now
from bot.domain.prompts import Example
from bot.domain.publications import PoolChange, Record, Version
from bot.storage.prompts.versions import Versions
from bot.storage.redis import keys
from bot.storage.redis.client import Redis


def version(number: int, text: str = "text") -> Version:
    return Version(number=number, name="a", text=text, digest="d", author="Ada", at=now(), reason="because")


def change(number: int) -> PoolChange:
    pair = Example(user="q", assistant="a", tags=("t",))
    return PoolChange(number=number, pool="p", author="Ada", at=now(), reason="because", added=(pair,))


async def test_records_are_read_back_in_order(redis: Redis) -> None:
    versions = Versions(redis)
    written: list[Record] = [version(1), change(2), version(3, "")]
    for record in written:
        assert await versions.append(record)
    assert await versions.since(0) == (3, written)
    assert await versions.since(2) == (3, written[2:])
    assert await versions.since(3) == (3, [])


async def test_an_outdated_record_is_not_written(redis: Redis) -> None:
    versions = Versions(redis)
    assert await versions.append(version(1))
    assert not await versions.append(version(1))
    assert not await versions.append(version(3))
    assert (await versions.since(0))[0] == 1


async def test_a_lost_log_is_noticed(redis: Redis) -> None:
    assert await Versions(redis).since(5) == (0, [])


async def test_a_record_of_a_newer_version_is_skipped(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    versions = Versions(redis)
    await versions.append(version(1))
    await redis.call("RPUSH", keys.VERSIONS, b'{"type": "weather"}')
    await versions.append(version(3))
    count, read = await versions.since(0)
    assert (count, [item.number for item in read]) == (3, [1, 3])
    assert "can't be read" in caplog.text


async def test_listeners_are_notified(redis: Redis) -> None:
    versions = Versions(redis)
    told = aiter(versions.wakeups())
    await anext(told)
    waiting = asyncio.ensure_future(anext(told))
    await versions.append(version(1))
    await waiting
    await told.aclose()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
