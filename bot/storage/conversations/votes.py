"""Which answer people found better, side by side: kept one by one, so that every count is exact."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from bot.domain.events import now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis

MOST_VOTES = 10_000
"""How many are kept; the oldest go first."""

Choice = Literal["a", "b", "c", "tie", "none"]
"""The place of the better answer; tie: all are as good; none: none is good."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What answered on one side: a template as `name@digest`, and the deployments that served."""

    template: str
    deployment: str


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One person's verdict on one comparison."""

    comparison: str
    voter: str
    author: str
    at: datetime
    choice: Choice
    sides: tuple[Side, ...]

    @property
    def better(self) -> Side | None:
        """The side that was found better."""
        place = "abc".find(self.choice) if len(self.choice) == 1 else -1
        return self.sides[place] if 0 <= place < len(self.sides) else None


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How often something was compared with others, and what came of it."""

    name: str
    compared: int = 0
    won: int = 0
    tied: int = 0
    lost: int = 0
    none: int = 0


_vote = msgspec.json.Decoder(Vote)


class Votes:
    """Every method raises StateUnavailable. A vote lives for `keys.VOTE_S`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def cast(
        self, comparison: str, voter: str, author: str, choice: Choice, sides: Sequence[tuple[str, str]]
    ) -> None:
        """Keep a verdict in place of the one that this person gave on this comparison before.

        `sides` are pairs of a template as `name@digest` and who served.
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
        if answers[-1] > MOST_VOTES:
            await self.all()

    async def all(self) -> list[Vote]:
        """Every vote, newest first; those that are too old, or too many, are deleted."""
        stored: list[bytes] = await self._redis.call("HVALS", keys.VOTES)
        found = sorted(map(_vote.decode, stored), key=lambda vote: vote.at, reverse=True)
        oldest = now() - timedelta(seconds=keys.VOTE_S)
        kept = [vote for vote in found[:MOST_VOTES] if vote.at >= oldest]
        if gone := [_field(vote) for vote in found[len(kept) :]]:
            await self._redis.call("HDEL", keys.VOTES, *gone)
        return kept

    async def scores(self) -> tuple[list[Score], list[Score]]:
        """How the deployments stand, and how the templates do."""
        votes = await self.all()
        return count_votes(votes, lambda side: side.deployment), count_votes(
            votes, lambda side: side.template
        )


def count_votes(votes: Sequence[Vote], name: Callable[[Side], str]) -> list[Score]:
    """The standings, the one that won most first. A vote between equals says nothing of them."""
    counts: dict[str, dict[str, int]] = {}
    for vote in votes:
        names = dict.fromkeys(map(name, vote.sides))
        if len(names) < 2:
            continue
        better = name(vote.better) if vote.better else ""
        for item in names:
            column = {"tie": "tied", "none": "none"}.get(vote.choice) or ("won" if item == better else "lost")
            totals = counts.setdefault(item, {"compared": 0})
            totals["compared"] += 1
            totals[column] = totals.get(column, 0) + 1
    found = [Score(name=count, **totals) for count, totals in counts.items()]
    return sorted(found, key=lambda item: (-item.won, item.lost, item.name))


def _field(vote: Vote) -> str:
    return f"{vote.comparison}:{vote.voter}"
