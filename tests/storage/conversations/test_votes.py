"""Votes on answers side by side: one for each person and comparison, counted exactly."""

from datetime import timedelta

import pytest

from bot.domain.events import now
from bot.storage.conversations import votes
from bot.storage.conversations.votes import Score, Votes
from bot.storage.redis import keys
from bot.storage.redis.client import Redis

LARGE, SMALL = ("assistant@aaaaaaaaaaaa", "chat-large"), ("assistant@aaaaaaaaaaaa", "chat-small")
TERSE = ("assistant@unsaved-12345678", "chat-large")


async def test_the_last_vote_of_a_person_counts(redis: Redis) -> None:
    box = Votes(redis)
    await box.cast("one", "ada", "Ada", "a", [LARGE, SMALL])
    await box.cast("one", "ada", "Ada", "b", [LARGE, SMALL])
    await box.cast("one", "bob", "Bob", "b", [LARGE, SMALL])
    (newest, other) = await box.all()
    assert {newest.author, other.author} == {"Ada", "Bob"}
    deployments, templates = await box.scores()
    assert deployments == [
        Score(name="chat-small", compared=2, won=2),
        Score(name="chat-large", compared=2, lost=2),
    ]
    assert templates == []


async def test_ties_and_none_are_counted_separately(redis: Redis) -> None:
    box = Votes(redis)
    await box.cast("one", "ada", "Ada", "tie", [LARGE, TERSE])
    await box.cast("two", "ada", "Ada", "none", [LARGE, TERSE])
    await box.cast("three", "ada", "Ada", "c", [LARGE, SMALL, TERSE])
    deployments, templates = await box.scores()
    assert [
        (deployment.name, deployment.compared, deployment.won, deployment.lost) for deployment in deployments
    ] == [
        ("chat-large", 1, 1, 0),
        ("chat-small", 1, 0, 1),
    ]
    assert templates == [
        Score(name=TERSE[0], compared=3, won=1, tied=1, none=1),
        Score(name=LARGE[0], compared=3, lost=1, tied=1, none=1),
    ]


async def test_expired_and_surplus_votes_are_deleted(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Votes(redis)
    then = now() - timedelta(seconds=keys.VOTE_S + 60)
    monkeypatch.setattr(votes, "now", lambda: then)
    await box.cast("old", "ada", "Ada", "a", [LARGE, SMALL])
    monkeypatch.undo()
    assert await box.all() == []
    assert await redis.call("HLEN", keys.VOTES) == 0
    monkeypatch.setattr(votes, "MAX_VOTES", 3)
    for number in range(5):
        await box.cast(str(number), "ada", "Ada", "a", [LARGE, SMALL])
    assert [vote.comparison for vote in await box.all()] == ["4", "3", "2"]
