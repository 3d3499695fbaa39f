"""Sessions end when they are not used, when they are old, and when somebody ends them."""

from datetime import timedelta

import pytest

from bot.domain.events import now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.studio.sessions import Session, Sessions

IDLE_S, ABSOLUTE_S = 600, 3600


@pytest.fixture
def sessions(redis: Redis) -> Sessions:
    return Sessions(redis, idle_s=IDLE_S, absolute_s=ABSOLUTE_S)


async def begin(sessions: Sessions, id: str, person: str = "ada") -> Session:
    at = now()
    session = Session(
        id=id, person=person, name=person.title(), role="viewer", way="viewer", began_at=at, ends_at=at
    )
    return await sessions.begin(session)


async def test_a_session_is_found_until_it_ends(sessions: Sessions) -> None:
    one, other = await begin(sessions, "1"), await begin(sessions, "2")
    assert await sessions.get("1") == one
    assert await sessions.get("unknown") is None
    assert await sessions.alive(["1", "2", "unknown"]) == {"1", "2"}
    assert await sessions.end(["1", "unknown"]) == 1
    assert await sessions.get("1") is None
    assert await sessions.alive(["1"]) == set()
    assert [found.id for found in await sessions.all()] == [other.id]


async def test_only_use_postpones_the_idle_limit(sessions: Sessions, redis: Redis) -> None:
    await begin(sessions, "1")
    name = keys.session("1")
    await redis.call("EXPIRE", name, 10)
    assert await sessions.get("1", used=False) is not None
    await sessions.alive(["1"])
    (listed,) = await sessions.all()
    assert await redis.call("TTL", name) <= 10
    assert listed.seen_at is not None
    assert now() - listed.seen_at > timedelta(seconds=IDLE_S - 20)
    await sessions.get("1")
    assert await redis.call("TTL", name) > 10


async def test_use_does_not_postpone_the_absolute_limit(
    sessions: Sessions, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(sessions, "1")
    later = now() + timedelta(seconds=ABSOLUTE_S + 1)
    monkeypatch.setattr("bot.storage.studio.sessions.now", lambda: later)
    assert await sessions.get("1") is None
    assert await sessions.alive(["1"]) == set()
    assert await sessions.all() == []
    await begin(sessions, "2")  # over, too, by now
    assert await redis.call("ZCARD", keys.SESSIONS) == 1, "the list drops those that are over"


async def test_the_sessions_of_a_person_end_together(sessions: Sessions) -> None:
    for id, person in (("1", "ada"), ("2", "ada"), ("3", "bob")):
        await begin(sessions, id, person)
    assert [one.id for one in await sessions.end_of("ada", besides="2")] == ["1"]
    assert {one.id for one in await sessions.all()} == {"2", "3"}
    assert len(await sessions.end_of()) == 2
    assert await sessions.all() == []
    assert await sessions.end_of("ada") == []


async def test_a_change_does_not_revive_a_session(sessions: Sessions, redis: Redis) -> None:
    begun = await begin(sessions, "1")
    await redis.call("EXPIRE", keys.session("1"), 10)
    await sessions.change(begun)
    assert await redis.call("TTL", keys.session("1")) <= 10
    await sessions.end(["1"])
    await sessions.change(begun)
    assert await sessions.get("1") is None
