"""The only room that speaks to models; outside it a model is one protocol."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from bot.models.breaker import Unfinished
from bot.types import Delta, Image, Prompt, Usage

__all__ = ["Glimpse", "Model", "Unfinished"]

Glimpse = Callable[[Image], Awaitable[None]]
"""Is shown a picture as far as it is drawn, each time there is more of it."""


class Model(Protocol):
    """Something that answers, draws and embeds: a deployment, or a gateway over many.

    Every method raises ContentFiltered, TooLong, NotAllowed, ModelUnavailable or ConfigError.
    """

    def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Stream an answer; the last delta carries the usage.

        Where calls were left, or broke off, before they said what they cost, a delta before it has an
        estimate of each.
        """
        ...

    async def draw(self, prompt: Prompt, glimpse: Glimpse | None = None) -> tuple[tuple[Image, ...], Usage]:
        """Draw the last user message; pictures in that message are edited instead.

        A model that can't show what it has so far never calls `glimpse`. Raises Unfinished when a drawing
        that could be watched broke off.
        """
        ...

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """One vector per text, each of length 1."""
        ...
