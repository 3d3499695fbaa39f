"""Commands that wait for a confirmation by their author."""

from bot.domain.events import User
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_CONFIRM = Script("confirm")


class Confirmations:
    """One per person and command, valid for ten minutes and once. Methods raise StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ask(self, user: User, command: str) -> None:
        """Start waiting for a confirmation; an earlier one is discarded."""
        name = _key(user, command)
        await self._redis.many([("DEL", name), ("HSET", name, "asked", 1), ("EXPIRE", name, keys.CONFIRM_S)])

    async def confirm(self, user: User, command: str, event: str) -> str | None:
        """Use the confirmation. None if none is waiting, or another event has used it.

        The same event may use it again after a crash: returns the stored outcome, or "" if there is none yet.
        """
        outcome: bytes | None = await self._redis.run(
            _CONFIRM, [_key(user, command)], [event, keys.CONFIRMED_S]
        )
        return None if outcome is None else outcome.decode()

    async def done(self, user: User, command: str, outcome: str) -> None:
        name = _key(user, command)
        await self._redis.many([("HSET", name, "outcome", outcome), ("EXPIRE", name, keys.CONFIRMED_S)])


def _key(user: User, command: str) -> str:
    return keys.of_tenant("confirm", user.tenant, command, user.id)
