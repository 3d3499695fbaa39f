"""Votes on answers that people compared side by side."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from bot.domain.events import now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis

MAX_VOTES = 10_000
"""The oldest beyond this are deleted."""

Choice = Literal["a", "b", "c", "tie", "none"]
"""The side with the better answer; `tie`: equally good; `none`: all are bad."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a comparison: a template as `name@digest`, and its deployments."""

    template: str
    deployment: str


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One person's vote on one comparison."""

    comparison: str
    voter: str
    author: str
    at: datetime
    choice: Choice
    sides: tuple[Side, ...]

    @property
    def better(self) -> Side | None:
        """The better side, if one was chosen."""
        place = "abc".find(self.choice) if len(self.choice) == 1 else -1
        return self.sides[place] if 0 <= place < len(self.sides) else None


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How often a template or deployment was compared, and the results."""

    name: str
    compared: int = 0
    won: int = 0
    tied: int = 0
    lost: int = 0
    none: int = 0


_vote = msgspec.json.Decoder(Vote)


class Votes:
    """Stores votes for `keys.VOTE_S`. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def cast(
        self, comparison: str, voter: str, author: str, choice: Choice, sides: Sequence[tuple[str, str]]
    ) -> None:
        """Store a vote; it replaces an earlier one of this person on this comparison.

        `sides` are pairs of a template as `name@digest` and its deployments.
        """
        vote = Vote(
            comparison=comparison,
            voter=voter,
            author=author,
            at=now(),
            choice=choice,
            sides=tuple(Side(template=template, deployment=deployment) for template, deployment in sides),
        )
        answers = await self._redis.many(
            [
                ("HSET", keys.VOTES, _field(vote), msgspec.json.encode(vote)),
                ("EXPIRE", keys.VOTES, keys.VOTE_S),
                ("HLEN", keys.VOTES),
            ]
        )
        if answers[-1] > MAX_VOTES:
            await self.all()

    async def all(self) -> list[Vote]:
        """All votes, newest first; expired and surplus ones are deleted."""
        stored: list[bytes] = await self._redis.call("HVALS", keys.VOTES)
        found = sorted(map(_vote.decode, stored), key=lambda vote: vote.at, reverse=True)
        oldest = now() - timedelta(seconds=keys.VOTE_S)
        kept = [vote for vote in found[:MAX_VOTES] if vote.at >= oldest]
        if gone := [_field(vote) for vote in found[len(kept) :]]:
            await self._redis.call("HDEL", keys.VOTES, *gone)
        return kept

    async def scores(self) -> tuple[list[Score], list[Score]]:
        """The scores of deployments, and of templates."""
        votes = await self.all()
        deployments = count_votes(votes, lambda side: side.deployment)
        return deployments, count_votes(votes, lambda side: side.template)


def count_votes(votes: Sequence[Vote], name: Callable[[Side], str]) -> list[Score]:
    """Scores by number of wins. Votes between equal sides are ignored."""
    counts: dict[str, dict[str, int]] = {}
    for vote in votes:
        names = dict.fromkeys(map(name, vote.sides))
        if len(names) < 2:
            continue
        better = name(vote.better) if vote.better else ""
        for side in names:
            column = {"tie": "tied", "none": "none"}.get(vote.choice) or ("won" if side == better else "lost")
            totals = counts.setdefault(side, {"compared": 0})
            totals["compared"] += 1
            totals[column] = totals.get(column, 0) + 1
    found = [Score(name=side, **totals) for side, totals in counts.items()]
    return sorted(found, key=lambda score: (-score.won, score.lost, score.name))


def _field(vote: Vote) -> str:
    return f"{vote.comparison}:{vote.voter}"
