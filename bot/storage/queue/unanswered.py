"""Records of messages that were not answered: which, when, and why. They hold no text and no people."""

from datetime import datetime, timedelta

import msgspec

from bot.domain.events import BaseEvent, now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis


class UnansweredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was not answered; `event` is its event id, `reason` one of `bot.conversation.addressing`."""

    event: str
    conversation: str
    at: datetime
    reason: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(UnansweredMessage).decode


def record(event: BaseEvent, reason: str) -> bytes:
    """A record as it is stored."""
    conversation = event.address.conversation
    return _encode(UnansweredMessage(event=event.id, conversation=conversation, at=event.at, reason=reason))


class UnansweredMessages:
    """Reads the records of the last day, of each shard the newest (`keys.UNANSWERED_KEPT`)."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def all(self) -> list[UnansweredMessage]:
        """The records, newest first; unreadable ones are left out. Raises StateUnavailable."""
        lists = [("ZRANGE", keys.unanswered(shard), 0, -1) for shard in range(keys.SHARDS)]
        since, found = now() - timedelta(seconds=keys.UNANSWERED_S), list[UnansweredMessage]()
        for stored in await self._redis.many(lists):
            for raw in stored:
                try:
                    message = _decode(raw)
                except msgspec.MsgspecError:
                    continue
                if message.at >= since:
                    found.append(message)
        return sorted(found, key=lambda message: message.at, reverse=True)
