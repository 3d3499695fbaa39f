"""The model protocol, and the errors of its calls."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from bot.domain.errors import (
    BotError,
    ConfigError,
    ContentFiltered,
    ModelUnavailable,
    NotAllowed,
    Refused,
    TooLong,
)
from bot.domain.prompts import Image, Prompt
from bot.domain.turns import Delta, Usage
from bot.domain.words import Value, marked
from bot.llm.failures.waits import LONGEST_REST_S

OnPartialImage = Callable[[Image], Awaitable[None]]
"""Called with each partial image."""


class DeploymentBroken(ConfigError):
    """This deployment fails until its operator fixes it, or for everybody; other deployments may serve instead.

    It rests for `rest_s` seconds before it is tried again.
    """

    def __init__(self, text: str, rest_s: float = LONGEST_REST_S) -> None:
        super().__init__(text)
        self.rest_s = rest_s


class RequestRejected(ConfigError):
    """This deployment rejected this request. Others may accept it, and this one other requests, so it does not rest.

    `person` is what the person reads if none accepts it; empty for a general apology.
    """

    def __init__(self, text: str, person: str = "") -> None:
        super().__init__(text)
        self.person = person

    def last(self) -> BotError:
        """The error if no other deployment is left."""
        return NotAllowed(self.person) if self.person else self


class ServiceFault(ModelUnavailable):
    """The service returned an error, so its cool-down is shared with all processes.

    Connection errors are not shared, because they may be local to this process.
    """


class AnswerTimeout(ModelUnavailable):
    """The whole answer took too long; it is not continued."""


class EmptyAnswer(Refused):
    """The model ended without any text or tool call. Another deployment is asked once; then the text is the reply.

    `usage` is what the call cost; `exhausted`: its reasoning took all of the output.
    """

    def __init__(self, message: str, /, usage: Usage, *, exhausted: bool = False, **values: Value) -> None:
        super().__init__(message, **values)
        self.usage = usage
        self.exhausted = exhausted


class ImageInterrupted(ModelUnavailable):
    """An image stream broke off. It is retried once, then reported to the person."""


class ImageNotDownloaded(Refused):
    """An image was created and is charged, but could not be downloaded. It is not created again; the text is the reply.

    `usage` is what it cost.
    """

    def __init__(self, usage: Usage) -> None:
        super().__init__(
            marked(
                "The image was generated, but it could not be downloaded from the service that stores it. Send `again` "
                "to generate a new one, which is charged again. If this keeps happening, tell your administrator."
            )
        )
        self.usage = usage


NOT_EMBEDDED = (ConfigError, TooLong, ContentFiltered)
"""What `embed` raises beside Unavailable and NotAllowed: an answer does without vectors then, too."""


class Model(Protocol):
    """Answers, creates images and embeds: a deployment, or a gateway over many.

    Every method raises ContentFiltered, TooLong, NotAllowed, EmptyAnswer, ModelUnavailable or ConfigError.
    """

    def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Stream an answer; the last delta has the usage."""
        ...

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        """Create images from the last user message, or edit the images in it.

        Models without partial images never call `on_partial_image`. Raises ImageInterrupted if a stream broke off,
        ImageNotDownloaded if the images are charged but can't be downloaded.
        """
        ...

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """One vector per text, each of length 1."""
        ...
