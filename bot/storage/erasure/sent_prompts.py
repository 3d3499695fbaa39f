"""The prompts and images that are stored beside turns, tidied after turns were deleted."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from bot.domain.turns import Turn
from bot.storage.conversations.turns import read_turns, refs
from bot.storage.erasure.collection import read
from bot.storage.erasure.redaction import KnownText, Redaction
from bot.storage.redis.client import Redis, Script

_REWRITE = Script("rewrite")
ATTEMPTS = 5
"""How often something is read again that changes concurrently."""


class PromptRedaction(Protocol):
    """What to remove from the sent prompts of turns that stay."""

    def known(self, conversation: str, turns: Sequence[Turn]) -> KnownText:
        """The text that may stay in the history of a prompt; `turns` are those of the conversation that stay."""
        ...

    def prompts(self, packed: bytes, known: KnownText) -> bytes:
        """Redact stored prompts; returns the same object if there is nothing to remove."""
        ...


class SentPrompts:
    """Tidies sent prompts and images. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def without_examples(self, redaction: Redaction) -> None:
        """Remove a person's examples from the prompts of all conversations: anybody may have been shown them."""
        if redaction.has_examples:
            async for key in self._redis.scan("parley:{p*}:sent:*"):
                await self._replace(key, redaction.without_examples)

    async def tidy(self, names: Iterable[str], redaction: PromptRedaction) -> None:
        """Redact the sent prompts of the turns of these conversations; delete prompts and images of no turn."""
        wanted, beside = set(names), dict[str, list[tuple[str, str, str]]]()
        async for key in self._redis.scan("parley:{p*}:*"):
            kind, _, rest = key.split("}:", 1)[1].partition(":")
            if kind in ("sent", "picture") and (name := _conversation_of(rest, wanted)) is not None:
                beside.setdefault(name, []).append((kind, rest[len(name) + 1 :], key))
        for name, found in beside.items():
            (stored,) = await read(self._redis, [name])
            turns = read_turns(stored.turns)
            await self._sort(found, turns, redaction.known(name, turns), redaction)

    async def _sort(
        self,
        found: Sequence[tuple[str, str, str]],
        turns: Sequence[Turn],
        known: KnownText,
        redaction: PromptRedaction,
    ) -> None:
        """Delete keys without a turn, which are unreachable, because commits write both atomically."""
        ids = {turn.id for turn in turns}
        pictures = {ref for turn in turns for ref in refs(turn)}
        for kind, rest, key in found:
            if rest not in (ids if kind == "sent" else pictures):
                await self._redis.call("DEL", key)
            elif kind == "sent":
                await self._replace(key, partial(redaction.prompts, known=known))

    async def _replace(self, key: str, redact: Callable[[bytes], bytes]) -> None:
        for _ in range(ATTEMPTS):
            old: bytes | None = await self._redis.call("GET", key)
            if old is None:
                return
            new = await asyncio.to_thread(redact, old)
            if new is old or await self._redis.run(_REWRITE, [key], [old, new]):
                return


def _conversation_of(rest: str, names: set[str]) -> str | None:
    """The conversation with which the rest of a key begins; the id after it may contain colons."""
    at = rest.rfind(":")
    while at >= 0:
        if rest[:at] in names:
            return rest[:at]
        at = rest.rfind(":", 0, at)
    return None
