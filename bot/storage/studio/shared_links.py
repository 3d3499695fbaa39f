"""Links by which the owner of a conversation lets others in the studio read it."""

import hmac
from secrets import token_urlsafe

from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_DROP = Script("drop")


class SharedLinks:
    """At most one per conversation, for `life_s` seconds or until it is closed. Methods raise StateUnavailable.

    A link is the conversation with a secret of 128 random bits. A closed one never opens anything again: the next
    one has another secret.
    """

    def __init__(self, redis: Redis, *, life_s: int) -> None:
        self._redis = redis
        self._life_s = life_s

    async def open(self, conversation: str) -> str:
        """The secret of the link to a conversation, a new one if there is none."""
        name = keys.of("shared", conversation)
        _, secret = await self._redis.many(
            [("SET", name, token_urlsafe(16), "NX", "EX", self._life_s), ("GET", name)]
        )
        return secret.decode()

    async def find(self, conversation: str) -> str:
        """The secret of the link; empty if the conversation is not shared."""
        stored: bytes | None = await self._redis.call("GET", keys.of("shared", conversation))
        return stored.decode() if stored else ""

    async def opens(self, conversation: str, secret: str) -> bool:
        """Whether this is the conversation's link."""
        right = await self.find(conversation)
        return bool(right) and hmac.compare_digest(right.encode(), secret.encode(errors="replace"))

    async def close(self, conversation: str) -> None:
        """Stop sharing a conversation."""
        await self._redis.run(_DROP, [keys.of("shared", conversation)], [])
