"""Proposals for pools, kept until they are reviewed and for a while after."""

from datetime import timedelta

import msgspec

from bot.domain.events import now
from bot.domain.publications import Proposal
from bot.storage.redis import keys
from bot.storage.redis.client import Redis

_proposal = msgspec.json.Decoder(Proposal)


class Proposals:
    """Every method raises StateUnavailable. A proposal lives for `keys.PROPOSAL_S` from when it was made."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, proposal: Proposal) -> None:
        """Keep a proposal, in place of the one with its id."""
        await self._redis.many(
            [
                ("HSET", keys.PROPOSALS, proposal.id, msgspec.json.encode(proposal)),
                ("EXPIRE", keys.PROPOSALS, keys.PROPOSAL_S),
            ]
        )

    async def get(self, id: str) -> Proposal | None:
        """A proposal; None when there is none of this id."""
        stored: bytes | None = await self._redis.call("HGET", keys.PROPOSALS, id)
        return _proposal.decode(stored) if stored else None

    async def all(self) -> list[Proposal]:
        """Every proposal, newest first; those that are too old are deleted."""
        stored: list[bytes] = await self._redis.call("HVALS", keys.PROPOSALS)
        found = [_proposal.decode(item) for item in stored]
        oldest = now() - timedelta(seconds=keys.PROPOSAL_S)
        await self._delete([entry.id for entry in found if entry.at < oldest])
        return sorted(
            (entry for entry in found if entry.at >= oldest), key=lambda item: item.at, reverse=True
        )

    async def _delete(self, ids: list[str]) -> None:
        if ids:
            await self._redis.call("HDEL", keys.PROPOSALS, *ids)
