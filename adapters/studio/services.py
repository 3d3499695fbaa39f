"""What the studio asks of the rest of the house, beside taking events."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from adapters.studio.publishing import AssignmentsPort, PromptEditorPort, SavedConfigsPort
from adapters.studio.records import (
    ConversationSearchPort,
    DeploymentsPort,
    EvaluationsPort,
    HourlyLatencyView,
    RunningAnswerView,
    UsageReportsPort,
    VotesPort,
)
from bot.domain.events import User
from bot.domain.prompts import Example, Image, Message, Prompt, Template
from bot.domain.turns import Deployment, Turn


class EventStreamPort(Protocol):
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


class HistoryPort(Protocol):
    """What was said and answered in a conversation. Raises StateUnavailable."""

    async def turns(self, conversation: str) -> Sequence[Turn]:
        """The turns that are kept, oldest first; empty for a conversation that nobody knows."""
        ...

    async def image(self, conversation: str, ref: str) -> Image | None:
        """The picture with its bytes, if this conversation has one of that name."""
        ...

    async def owner(self, conversation: str) -> str | None:
        """The id of the user whose conversation this is; None while nobody has written in it."""
        ...


Exchange = tuple[str, str]
"""A question and its answer."""

ParameterRange = tuple[float, float] | tuple[str, ...]
"""What a parameter may be: from one number to another, or one of these words."""
Show = Callable[[str], Awaitable[bool]]
"""Takes the whole text so far; False stops it."""


class PlaygroundPort(Protocol):
    """Tries a template as it stands on the page, by the path that a person's question takes.

    What is tried counts as use by its `user`, without one by "playground"; no turn is written down. Its
    methods raise Refused, Unavailable and ConfigError.
    """

    def templates(self) -> Sequence[Template]:
        """The templates in force, by name."""
        ...

    def deployments(self) -> Sequence[Deployment]:
        """Every deployment, of every capability."""
        ...

    def parameter_ranges(self, deployment: Deployment) -> Mapping[str, ParameterRange]:
        """What each parameter may be that this deployment takes: a range, or some words."""
        ...

    def changes(self, deployment: Deployment) -> tuple[bool, bool]:
        """Whether it changes a whole picture, and whether it changes the part that a mask leaves open."""
        ...

    def placeholders(self, text: str) -> Sequence[str]:
        """The placeholders of a system message that an input has to fill, in order, each once."""
        ...

    def count_tokens(self, message: Message) -> int:
        """Tokens, as they are counted for the window."""
        ...

    def example(self, user: str, assistant: str) -> Example:
        """A few-shot pair with the pictures that its words show. Raises TemplateError."""
        ...

    async def preview(
        self, template: Template, past: Sequence[Exchange], question: str, *, user: User | None = None
    ) -> Prompt:
        """Exactly what would be sent."""
        ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector of length 1 for each text."""
        ...

    async def rank(self, pool: str, question: str) -> Sequence[tuple[Example, float]]:
        """A whole pool, nearest first, with the similarity of each."""
        ...

    async def run(
        self,
        template: Template,
        past: Sequence[Exchange],
        question: str,
        show: Show,
        *,
        user: User | None = None,
        picture: Image | None = None,
        on_partial_image: Callable[[Image], Awaitable[None]] | None = None,
    ) -> tuple[Turn, Sequence[Prompt]]:
        """Answer, and tell what was sent: a prompt for each round of tools.

        `picture` is to be changed, where its mask is open; `on_partial_image` gets a picture as far as it is drawn.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioServices:
    """What stands behind the pages beside the chat; `sent` tells what was sent for a conversation's turn.

    `latency` tells how long deployments took in the last hours; `image` has a picture of a conversation.
    `live` tells, again and again, how many workers there are and what they are answering; it raises
    StateUnavailable.
    """

    playground: PlaygroundPort
    editor: PromptEditorPort
    assignments: AssignmentsPort
    saved_configs: SavedConfigsPort
    search: ConversationSearchPort
    usage_reports: UsageReportsPort
    deployments: DeploymentsPort
    sent: Callable[[str, str], Awaitable[Sequence[Prompt]]]
    votes: VotesPort
    latency: Callable[[int], Awaitable[Sequence[HourlyLatencyView]]]
    image: Callable[[str, str], Awaitable[Image | None]]
    evaluations: EvaluationsPort
    live: Callable[[], AsyncGenerator[tuple[int, Sequence[RunningAnswerView]]]]
