"""Deletes what is kept of one person, everywhere, and takes their words out of what others said."""

import msgspec

from bot.state import keys
from bot.state.buried import Graveyard, read_event
from bot.state.redis import Redis
from bot.state.turns import Turns, read_turns, refs
from bot.types import User

_BATCH = 10
"""Conversations that are read at once: each holds two hundred turns at most."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept of a person: what `forget` would delete now.

    `waiting` are messages that are not answered yet, `given_up` those that could not be answered.
    """

    conversations: int = 0
    answers: int = 0
    pictures: int = 0
    waiting: int = 0
    given_up: int = 0


def is_by(user: User, other: User) -> bool:
    """Whether both are the same person."""
    return (user.id, user.tenant) == (other.id, other.tenant)


class Erasure:
    """Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._turns = Turns(redis)
        self._graveyard = Graveyard(redis)

    async def preview(self, user: User, *conversations: str) -> Preview:
        """Count what would be deleted of a person: everywhere, and in these conversations.

        Reads the person's own conversations only, so it is cheap.
        """
        names = list(dict.fromkeys([*await self._turns.talks(user), *conversations]))
        rooms = answers = pictures = waiting = 0
        for at in range(0, len(names), _BATCH):
            batch = names[at : at + _BATCH]
            commands = [("LRANGE", keys.of(kind, one), 0, -1) for one in batch for kind in ("turns", "inbox")]
            stored = await self._redis.many(commands)
            for turns, events in zip(stored[::2], stored[1::2], strict=True):
                theirs = [turn for turn in read_turns(turns) if is_by(user, turn.said.user)]
                rooms += bool(theirs)
                answers += len(theirs)
                pictures += sum(len(refs(turn)) for turn in theirs)
                found = [event for event in map(read_event, events) if event is not None]
                waiting += sum(is_by(user, event.user) for event in found)
        return Preview(
            conversations=rooms,
            answers=answers,
            pictures=pictures,
            waiting=waiting,
            given_up=await self._graveyard.count_person(user),
        )
