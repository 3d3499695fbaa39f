"""The tenants that share an installation, in which the same id is the same person."""

from collections.abc import Sequence

from bot.domain.events import Event
from bot.storage.redis import keys
from bot.storage.redis.client import Redis


class Organisations:
    """The organisation of each tenant that an installation of its organisation serves. Raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._noted: set[tuple[str, str]] = set()

    async def note(self, event: Event) -> None:
        """Store the organisation of the sender's tenant, once per process."""
        user = event.user
        if not user.organisation or (user.tenant, user.organisation) in self._noted:
            return
        await self._redis.many(
            [
                ("HSET", keys.ORGANISATIONS, user.tenant, user.organisation),
                ("EXPIRE", keys.ORGANISATIONS, keys.ORGANISATIONS_S),
            ]
        )
        self._noted.add((user.tenant, user.organisation))

    async def sharing(self, tenant: str) -> Sequence[str]:
        """The tenants that share an installation with this one, which is the first."""
        pairs: dict[bytes, bytes] = await self._redis.call("HGETALL", keys.ORGANISATIONS)
        own = pairs.get(tenant.encode())
        others = sorted(name.decode() for name, organisation in pairs.items() if organisation == own)
        return [tenant, *(name for name in others if name != tenant)]
