"""Commands that wait for the confirmation of the person who typed them."""

from bot.domain.events import User
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_CONFIRM = Script("confirm")


class Confirmations:
    """One for each person and command: it lasts ten minutes, and works once. Raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ask(self, user: User, command: str) -> None:
        """Wait for a confirmation from now on, whatever came of an earlier one."""
        name = _key(user, command)
        await self._redis.many([("DEL", name), ("HSET", name, "asked", 1), ("EXPIRE", name, keys.CONFIRM_S)])

    async def confirm(self, user: User, command: str, event: str) -> str | None:
        """Use the confirmation: None where none waits, or another event has used it already.

        The event that uses it may do so again, after a crash: it gets what was written down as its outcome,
        and an empty string before.
        """
        outcome: bytes | None = await self._redis.run(
            _CONFIRM, [_key(user, command)], [event, keys.CONFIRMED_S]
        )
        return None if outcome is None else outcome.decode()

    async def done(self, user: User, command: str, outcome: str) -> None:
        """Write down what came of it, in words."""
        name = _key(user, command)
        await self._redis.many([("HSET", name, "outcome", outcome), ("EXPIRE", name, keys.CONFIRMED_S)])


def _key(user: User, command: str) -> str:
    return keys.of_tenant("confirm", user.tenant, command, user.id)
