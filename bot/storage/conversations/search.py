"""Finds what was said, in every conversation, newest first; and who has written lately."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from bot.domain.turns import Turn
from bot.storage.conversations.turns import read_turns
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, literal

_BATCH = 40
_MOST_LOOKED = 400
"""Conversations that one search reads: it then says where it stopped, and can be taken up there."""


class ConversationMatch(NamedTuple):
    """A conversation with turns that match, newest first; `turns` is how many it has in all."""

    conversation: str
    matching: Sequence[Turn]
    turns: int


class SearchResults(NamedTuple):
    """What was found, and where to go on: Unix ms of the last conversation that was looked at."""

    found: Sequence[ConversationMatch]
    before_ms: int | None


class ConversationSearch:
    """Knows the conversations by the time of their last answer. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis, retention_s: int) -> None:
        self._redis = redis
        self._retention_s = retention_s

    async def note(self, answered: Mapping[str, datetime]) -> None:
        """Remember when conversations were last answered; those past their retention go."""
        at_ms = {name: int(at.timestamp() * 1000) for name, at in answered.items()}
        await self._redis.many(
            [
                *(("ZADD", keys.RECENT, "GT", ms, name) for name, ms in at_ms.items()),
                ("ZREMRANGEBYSCORE", keys.RECENT, "-inf", max(at_ms.values()) - self._retention_s * 1000),
                ("EXPIRE", keys.RECENT, self._retention_s),
            ]
        )

    async def forget(self, beginning: str, gone: Callable[[str], bool]) -> None:
        """Remember no more when these conversations were answered, whose ids begin like this."""
        place = 0
        while True:
            command = ("ZSCAN", keys.RECENT, place, "MATCH", f"{literal(beginning)}*", "COUNT", 500)
            place, pairs = await self._redis.call(*command)
            names = [name for name in (member.decode() for member, _ in pairs) if gone(name)]
            if names:
                await self._redis.call("ZREM", keys.RECENT, *names)
            if int(place) == 0:
                return

    async def search(
        self, matches: Callable[[Turn], bool], *, before_ms: int | None = None, count: int = 25
    ) -> SearchResults:
        """Up to `count` conversations with turns that match, the one that was answered last first."""
        found: list[ConversationMatch] = []
        for _ in range(_MOST_LOOKED // _BATCH):
            batch = await self._recent(before_ms)
            stored = [("LRANGE", keys.of("turns", name), 0, -1) for name, _ in batch]
            answers = await self._redis.many(stored) if stored else []
            for (name, at_ms), answer in zip(batch, answers, strict=True):
                before_ms = at_ms
                turns = read_turns(answer)
                matching = [turn for turn in reversed(turns) if matches(turn)]
                if matching:
                    found.append(ConversationMatch(name, matching, len(turns)))
                if len(found) == count:
                    return SearchResults(found, before_ms)
            if len(batch) < _BATCH:
                return SearchResults(found, None)
        return SearchResults(found, before_ms)

    async def turns(self, conversation: str) -> Sequence[Turn]:
        """Every turn that is kept of a conversation, oldest first."""
        return read_turns(await self._redis.call("LRANGE", keys.of("turns", conversation), 0, -1))

    async def _recent(self, before_ms: int | None) -> list[tuple[str, int]]:
        low = "+inf" if before_ms is None else f"({before_ms}"
        command = ("ZREVRANGEBYSCORE", keys.RECENT, low, "-inf", "WITHSCORES", "LIMIT", 0, _BATCH)
        pairs = await self._redis.call(*command)
        flat = [item for pair in pairs for item in pair] if pairs and isinstance(pairs[0], list) else pairs
        return [(flat[n].decode(), int(float(flat[n + 1]))) for n in range(0, len(flat), 2)]
