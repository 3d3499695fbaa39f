"""What a worker takes from the inbox, and what it puts in the place of that."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.domain.events import Event, PostedMessage
from bot.domain.turns import Turn
from bot.storage.redis import keys
from bot.storage.usage.charges import Charge


@dataclass(slots=True, kw_only=True)
class Claim:
    """A conversation held by this worker, its oldest waiting event, and what was said before.

    `event` is None when the stored event can't be read (`raw` has it); `stop` is a wish to stop that came
    before; `erasures` tells whether something was forgotten here since; `more_in_ms` is when the shard has
    something else due, -1 for never. `lost` counts the holders before this one that ended without a word;
    `certain` is whether the last one ended because of the event.
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
    more_in_ms: int
    lost: int = 0
    certain: bool = False
    turns: tuple[Turn, ...]
    places: tuple[int, ...]

    @property
    def shard(self) -> int:
        """The shard of this conversation."""
        return keys.shard_of(self.conversation)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRequest:
    """What a commit writes. `place` is the index, in the claim's turns, of the one to replace; None appends.

    Without a turn the event ends with nothing kept, or, with a place, with that turn removed. `sent` is
    stored as it is; `pictures` by their refs; `dead_letter_reason` is why the event was given up; `charge` is what is
    owed for it, until it is settled.
    """

    turn: Turn | None = None
    place: int | None = None
    sent: bytes = b""
    pictures: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    dead_letter_reason: str = ""
    charge: Charge | None = None
