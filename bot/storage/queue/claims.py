"""What a worker claims from the inbox, and what it commits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.domain.events import Event, PostedMessage
from bot.domain.turns import Turn
from bot.storage.redis import keys
from bot.storage.usage.charges import Charge


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is due in a shard: in `in_ms`, 0 for now and -1 for never, conversations of these `flows`.

    A flow is what shares the places of a tenant: the conversations of one channel (`keys.flow_of`). One that is empty
    says that there may be others.
    """

    in_ms: int
    flows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wakeup:
    """Something became due in a shard: of this flow, or of any if it is empty."""

    shard: int
    flow: str = ""


@dataclass(slots=True, kw_only=True)
class Claim:
    """A conversation claimed by this worker, with its oldest waiting event and newest turns within the retention time.

    `event` is None if the stored event can't be read (`raw` holds it); `stop` is an earlier stop request;
    `erasures` is the number of erasures so far, to detect later ones; `more` is what else is due in the
    shard. `lost` counts earlier workers that ended without releasing; `certain` says
    whether the last one ended because of the event. `failures` counts the attempts that failed because the
    platform was unavailable, since `unreachable_s` seconds; `attempt` does not include them. `others_speak`: somebody
    else has spoken, or was tagged, since the bot was last mentioned.
    """

    conversation: str
    token: int
    attempt: int
    begun: PostedMessage | None
    stop: str = ""
    erasures: str = "0"
    event: Event | None
    raw: bytes
    waited_ms: int
    more: Due
    lost: int = 0
    certain: bool = False
    failures: int = 0
    unreachable_s: float = 0.0
    others_speak: bool = False
    turns: tuple[Turn, ...]
    places: tuple[int, ...]

    @property
    def shard(self) -> int:
        return keys.shard_of(self.conversation)

    @property
    def retry(self) -> bool:
        """Whether an earlier attempt may have shown something."""
        return self.attempt > 1 or self.failures > 0

    @property
    def reply_place(self) -> int | None:
        """The index, from the end, of the turn with the finished reply to this event; None if there is none yet."""
        for place, turn in enumerate(reversed(self.turns), 1):
            if self.event is not None and turn.undelivered and turn.undelivered.event == self.event.id:
                return -place
        return None

    @property
    def counted_attempts(self) -> int:
        """The attempts at what is being done: generating the reply or, once it is stored, delivering it."""
        place = self.reply_place
        reply = None if place is None else self.turns[place].undelivered
        return self.attempt - (reply.attempts if reply is not None else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRequest:
    """What a commit writes. `place` is the index in the claim's turns of the one to replace; None appends.

    Without a turn, the event ends without a record or, with a `place`, that turn is removed. `sent` is stored as
    it is, `pictures` by their refs. `dead_letter_reason` moves the event to the dead letters. `charge` is
    pending until it is settled. `stored`: `Inbox.store_reply` has stored all of it under this claim, except how
    the reply was delivered. `unanswered` is the reason for which a message gets no answer; `others_speak`: only a
    mention is answered in this conversation from now on.
    """

    turn: Turn | None = None
    place: int | None = None
    sent: bytes = b""
    pictures: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    dead_letter_reason: str = ""
    charge: Charge | None = None
    stored: bool = False
    unanswered: str = ""
    others_speak: bool = False
