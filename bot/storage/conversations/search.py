"""Searches all conversations, newest first."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from bot.domain.turns import Turn
from bot.storage.conversations.turns import read_turns
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, literal

_BATCH = 40
_MAX_READ = 400
"""Conversations that one search reads; its result says where to continue."""


class ConversationMatch(NamedTuple):
    """A conversation with its matching turns, newest first; `turns` is its total number of turns."""

    conversation: str
    matching: Sequence[Turn]
    turns: int


class SearchResults(NamedTuple):
    """Matches, and where to continue: Unix ms of the last conversation read, None at the end."""

    found: Sequence[ConversationMatch]
    before_ms: int | None


class ConversationSearch:
    """An index of conversations by their last answer. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis, retention_s: int) -> None:
        self._redis = redis
        self._retention_s = retention_s

    async def note(self, answered: Mapping[str, datetime]) -> None:
        """Record when conversations were last answered; entries past the retention are deleted."""
        at_ms = {name: int(at.timestamp() * 1000) for name, at in answered.items()}
        await self._redis.many(
            [
                *(("ZADD", keys.RECENT, "GT", ms, name) for name, ms in at_ms.items()),
                ("ZREMRANGEBYSCORE", keys.RECENT, "-inf", max(at_ms.values()) - self._retention_s * 1000),
                ("EXPIRE", keys.RECENT, self._retention_s),
            ]
        )

    async def forget(self, beginning: str, gone: Callable[[str], bool]) -> None:
        """Remove conversations whose ids have the prefix `beginning` and for which `gone` is true."""
        cursor = 0
        while True:
            command = ("ZSCAN", keys.RECENT, cursor, "MATCH", f"{literal(beginning)}*", "COUNT", 500)
            cursor, pairs = await self._redis.call(*command)
            names = [name for name in (member.decode() for member, _ in pairs) if gone(name)]
            if names:
                await self._redis.call("ZREM", keys.RECENT, *names)
            if int(cursor) == 0:
                return

    async def search(
        self, matches: Callable[[Turn], bool], *, before_ms: int | None = None, count: int = 25
    ) -> SearchResults:
        """Up to `count` conversations with matching turns, most recently answered first."""
        found: list[ConversationMatch] = []
        for _ in range(_MAX_READ // _BATCH):
            batch = await self._recent(before_ms)
            stored = [("LRANGE", keys.of("turns", name), 0, -1) for name, _ in batch]
            answers = await self._redis.many(stored)
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
        """All stored turns of a conversation, oldest first."""
        return read_turns(await self._redis.call("LRANGE", keys.of("turns", conversation), 0, -1))

    async def _recent(self, before_ms: int | None) -> list[tuple[str, int]]:
        low = "+inf" if before_ms is None else f"({before_ms}"
        command = ("ZREVRANGEBYSCORE", keys.RECENT, low, "-inf", "WITHSCORES", "LIMIT", 0, _BATCH)
        pairs = await self._redis.call(*command)
        flat = [item for pair in pairs for item in pair] if pairs and isinstance(pairs[0], list) else pairs
        return [(flat[n].decode(), int(float(flat[n + 1]))) for n in range(0, len(flat), 2)]
