"""Proposals of examples for pools."""

from datetime import timedelta

import msgspec

from bot.domain.events import now
from bot.domain.publications import Proposal
from bot.storage.redis import keys
from bot.storage.redis.client import Redis

_proposal = msgspec.json.Decoder(Proposal)


class Proposals:
    """Stores proposals for `keys.PROPOSAL_S`; see also `expire`. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, proposal: Proposal) -> None:
        """Store a proposal; it replaces one with the same id."""
        await self._redis.many(
            [
                ("HSET", keys.PROPOSALS, proposal.id, msgspec.json.encode(proposal)),
                ("EXPIRE", keys.PROPOSALS, keys.PROPOSAL_S),
            ]
        )

    async def get(self, id: str) -> Proposal | None:
        stored: bytes | None = await self._redis.call("HGET", keys.PROPOSALS, id)
        return _proposal.decode(stored) if stored else None

    async def all(self) -> list[Proposal]:
        """All proposals, newest first; expired ones are deleted."""
        stored: list[bytes] = await self._redis.call("HVALS", keys.PROPOSALS)
        found = [_proposal.decode(item) for item in stored]
        oldest = now() - timedelta(seconds=keys.PROPOSAL_S)
        await self._delete([entry.id for entry in found if entry.at < oldest])
        kept = (entry for entry in found if entry.at >= oldest)
        return sorted(kept, key=lambda entry: entry.at, reverse=True)

    async def expire(self, life: timedelta) -> int:
        """Delete proposals that were made longer ago than this and are not accepted. Returns their number."""
        oldest = now() - life
        gone = [each.id for each in await self.all() if each.at < oldest and each.state != "accepted"]
        await self._delete(gone)
        return len(gone)

    async def _delete(self, ids: list[str]) -> None:
        if ids:
            await self._redis.call("HDEL", keys.PROPOSALS, *ids)
