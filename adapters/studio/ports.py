"""What the studio asks of the store: a feed to publish and follow, and the turns that were kept."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from bot.types import Image, Turn


class Feed(Protocol):
    """Short-lived frames of each channel, in order, shared by web and worker processes.

    Raises StateUnavailable.
    """

    async def publish(self, channel: str, frame: bytes) -> None:
        """Add a frame; kept for about ten minutes, so that a reader who comes back misses nothing."""
        ...

    def follow(self, channel: str, after: str) -> AsyncIterator[tuple[str, bytes]]:
        """Every frame later than the id `after`, then each new one, without end.

        Ids are opaque and increase; "0" stands before the oldest frame that is kept.
        """
        ...


class History(Protocol):
    """What was said and answered in a conversation. Raises StateUnavailable."""

    async def turns(self, conversation: str) -> Sequence[Turn]:
        """The turns that are kept, oldest first; empty for a conversation that nobody knows."""
        ...

    async def image(self, conversation: str, ref: str) -> Image | None:
        """The picture with its bytes, if this conversation has one of that name."""
        ...
