"""Counts the backlog of all shards for scaling workers, and makes all events due for a restore."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_BACKLOG = Script("backlog")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Conversations waiting for a worker, and the longest waiting time in seconds."""

    conversations: int
    oldest_s: float


async def count(redis: Redis) -> Backlog:
    """Count conversations that are due and not claimed, without shards of unavailable nodes.

    Raises StateUnavailable.
    """
    answers = await redis.each(_BACKLOG, [keys.ready(shard) for shard in range(keys.SHARDS)])
    shards = [answer for answer in answers if answer is not None]
    return Backlog(
        conversations=sum(due for due, _ in shards),
        oldest_s=max((waited for _, waited in shards), default=0) / 1000,
    )


async def make_due(redis: Redis) -> Sequence[int]:
    """Make all events due, also leased and backed-off ones. Returns the shards with events.

    Only for a Redis that no worker uses. Raises StateUnavailable.
    """
    waiting = await redis.many([("ZRANGE", keys.ready(shard), 0, -1) for shard in range(keys.SHARDS)])
    for shard, conversations in enumerate(waiting):
        for conversation in conversations:
            await redis.call("ZADD", keys.ready(shard), "XX", 0, conversation)
    return [shard for shard, conversations in enumerate(waiting) if conversations]
