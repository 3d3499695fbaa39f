"""What the studio asks of the rest of the house, beside taking events."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Protocol, Self

from adapters.studio.publishing import Bindings, Press, Saves
from bot.types import Deployment, Example, Finding, Image, Message, Prompt, Template, Turn


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


Exchange = tuple[str, str]
"""A question and its answer."""

Knob = tuple[float, float] | tuple[str, ...]
"""What a parameter may be: from one number to another, or one of these words."""
Show = Callable[[str], Awaitable[bool]]
"""Takes the whole text so far; False stops it."""


class Workbench(Protocol):
    """Tries a template as it stands on the page, by the path that a person's question takes.

    What is tried counts as use by the person "playground"; no turn is written down. Its methods raise
    Refused, Unavailable and ConfigError.
    """

    def templates(self) -> Sequence[Template]:
        """The templates in force, by name."""
        ...

    def deployments(self) -> Sequence[Deployment]:
        """Every deployment, of every capability."""
        ...

    def knobs(self, deployment: Deployment) -> Mapping[str, Knob]:
        """What each parameter may be that this deployment takes: a range, or some words."""
        ...

    def holes(self, text: str) -> Sequence[str]:
        """The holes of a system message that an input has to fill, in order, each once."""
        ...

    def weigh(self, message: Message) -> int:
        """Tokens, as they are counted for the window."""
        ...

    async def look(self, template: Template, past: Sequence[Exchange], question: str) -> Prompt:
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
    ) -> tuple[Turn, Sequence[Prompt]]:
        """Answer, and tell what was sent: a prompt for each round of tools."""
        ...


class Found(Protocol):
    """A conversation with turns that match, newest first; `turns` is how many it has in all."""

    @property
    def conversation(self) -> str: ...
    @property
    def matching(self) -> Sequence[Turn]: ...
    @property
    def turns(self) -> int: ...


class Search(Protocol):
    """What was found; `before_ms` is where to go on, `None` at the end."""

    @property
    def found(self) -> Sequence[Found]: ...
    @property
    def before_ms(self) -> int | None: ...


class Archive(Protocol):
    """What was said, in every conversation. Raises StateUnavailable."""

    async def search(
        self, matches: Callable[[Turn], bool], *, before_ms: int | None = None, count: int = 25
    ) -> Search:
        """Conversations with turns that match, the one that was answered last first."""
        ...

    async def turns(self, conversation: str) -> Sequence[Turn]:
        """Every turn that is kept of a conversation, oldest first."""
        ...


class Sums(Protocol):
    """`microdollars` leaves out the calls whose price is unknown; `unpriced` counts them."""

    @property
    def turns(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def images(self) -> int: ...
    @property
    def microdollars(self) -> int: ...
    @property
    def unpriced(self) -> int: ...
    def __add__(self, other: Self, /) -> Self: ...


class Line(Protocol):
    """What one thing used on one day; `kind` is day, template, deployment, channel or person."""

    @property
    def day(self) -> date: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def sums(self) -> Any: ...


class Books(Protocol):
    """What was used. Raises StateUnavailable."""

    async def lines(self, first: date, last: date) -> Sequence[Line]:
        """What was used from the first to the last of these days (UTC), oldest first."""
        ...


class State(Protocol):
    """How a deployment is: whether it rests, what only its operator can mend, its running calls here."""

    @property
    def deployment(self) -> Deployment: ...
    @property
    def rest_s(self) -> float: ...
    @property
    def broken(self) -> str: ...
    @property
    def running(self) -> int: ...


class Probe(Protocol):
    """What came of a small call; `first_s` is until the first token."""

    @property
    def deployment(self) -> Deployment: ...
    @property
    def finding(self) -> Finding: ...
    @property
    def first_s(self) -> float | None: ...


class Fleet(Protocol):
    """The deployments behind the gateway."""

    def states(self) -> Sequence[State]:
        """How each is now, in the order in which they are asked."""
        ...

    async def probe(self) -> Sequence[Probe]:
        """A small call to each. Never raises."""
        ...


class Standing(Protocol):
    """How often something was compared with others, and what came of it."""

    @property
    def name(self) -> str: ...
    @property
    def compared(self) -> int: ...
    @property
    def won(self) -> int: ...
    @property
    def tied(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def none(self) -> int: ...


class Votes(Protocol):
    """Which answers people found better, side by side. Raises StateUnavailable."""

    async def cast(
        self,
        comparison: str,
        voter: str,
        author: str,
        choice: Literal["a", "b", "c", "tie", "none"],
        sides: Sequence[tuple[str, str]],
    ) -> None:
        """Keep a verdict in place of this person's earlier one; `sides` are versions and who served."""
        ...

    async def standings(self) -> tuple[Sequence[Standing], Sequence[Standing]]:
        """How the deployments stand, and how the templates do."""
        ...


class Scene(Protocol):
    """A running answer: what was said, who answers it by what, and the last part of the text so far."""

    @property
    def event(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def deployment(self) -> str: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What stands behind the pages beside the chat; `sent` tells what was sent for a conversation's turn.

    `live` tells, again and again, how many workers there are and what they are answering; it raises
    StateUnavailable.
    """

    workbench: Workbench
    press: Press
    bindings: Bindings
    saves: Saves
    archive: Archive
    books: Books
    fleet: Fleet
    sent: Callable[[str, str], Awaitable[Sequence[Prompt]]]
    votes: Votes
    live: Callable[[], AsyncGenerator[tuple[int, Sequence[Scene]]]]
