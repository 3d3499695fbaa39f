"""A model is one protocol: what it is asked, and what a call of it can end in."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from bot.domain.errors import ConfigError, ModelUnavailable
from bot.domain.prompts import Image, Prompt
from bot.domain.turns import Delta, Usage

OnPartialImage = Callable[[Image], Awaitable[None]]
"""Is shown a picture as far as it is drawn, each time there is more of it."""


class DeploymentBroken(ConfigError):
    """This deployment answers nobody until its operator mends it; others may serve in its place."""


class ServiceFault(ModelUnavailable):
    """The service itself said that it failed: when it rests for that, it rests for every process.

    Where it could not be reached at all, the fault may be this process' own, and the others are not told.
    """


class AnswerTimeout(ModelUnavailable):
    """The whole answer took longer than it may: it is not gone on with."""


class ImageInterrupted(ModelUnavailable):
    """A drawing that was watched broke off: it is begun once more, and then told to the person.

    `spent` is what each time cost, about.
    """

    spent: tuple[Usage, ...] = ()


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

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        """Draw the last user message; pictures in that message are edited instead.

        A model that can't show what it has so far never calls `on_partial_image`. Raises ImageInterrupted when a
        drawing that could be watched broke off.
        """
        ...

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """One vector per text, each of length 1."""
        ...
