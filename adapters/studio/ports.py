"""What the studio asks of the rest of the house, beside taking events."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, Protocol, Self

from bot.published import Binding, Place
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


class Trial(Protocol):
    """Who meets a version that is only tried."""

    @property
    def percent(self) -> int: ...
    @property
    def channels(self) -> Sequence[str]: ...


class Release(Protocol):
    """A template as it was published; an empty text takes the publication back."""

    @property
    def number(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def reason(self) -> str: ...
    @property
    def trial(self) -> Trial | None: ...


class Held(Protocol):
    """What counts for a template: by which version, what is tried, and the file under it."""

    @property
    def template(self) -> Template | None: ...
    @property
    def file(self) -> Template | None: ...
    @property
    def version(self) -> Release | None: ...
    @property
    def trial(self) -> Release | None: ...


class Proposal(Protocol):
    """An answer that somebody proposed as an example for a pool."""

    @property
    def id(self) -> str: ...
    @property
    def pool(self) -> str: ...
    @property
    def example(self) -> Example: ...
    @property
    def author(self) -> str: ...
    @property
    def at(self) -> datetime: ...


class Press(Protocol):
    """Templates and their versions; pools and what is proposed for them.

    Its methods raise StateUnavailable, TemplateError and NotAllowed, in words.
    """

    def held(self, name: str) -> Held:
        """What counts for a template, and why."""
        ...

    def pools(self) -> Sequence[str]:
        """The pools of few-shot examples."""
        ...

    async def history(self, name: str) -> Sequence[Release]:
        """Every version that was published, newest first."""
        ...

    async def publish(
        self, template: Template, *, author: str, reason: str, percent: int = 0, channels: Sequence[str] = ()
    ) -> Release:
        """Publish for everybody, or, with a share or channels, for a trial."""
        ...

    async def roll_back(self, name: str, number: int, *, author: str, reason: str) -> Release:
        """Make an earlier version count again; 0 is the file."""
        ...

    def text(self, template: Template) -> str:
        """The template as `.prompty`."""
        ...

    def diff(self, old: str, new: str) -> str:
        """What became of a text, line by line; empty when nothing did."""
        ...

    def read(self, file: str, data: bytes, name: str) -> Template:
        """A template from a file: `.prompty`, Azure OpenAI Studio's `.json`, or chat `.jsonl`."""
        ...

    def write(self, template: Template, form: str) -> str:
        """A template as a file's text: prompty, json or jsonl."""
        ...

    async def propose(self, turn: Turn, pool: str, *, author: str) -> Proposal:
        """Propose a well-rated answer for a pool."""
        ...

    async def proposals(self) -> Sequence[Proposal]:
        """What waits for a review, newest first."""
        ...

    async def accept(self, id: str, *, reviewer: str, user: str, assistant: str) -> Proposal:
        """Publish a proposal into its pool, as the reviewer worded it."""
        ...

    async def reject(self, id: str, *, reviewer: str) -> Proposal:
        """Decide against a proposal."""
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


class Bindings(Protocol):
    """Who gets which template: as people choose it on their platform, and as editors give it.

    Its methods raise StateUnavailable.
    """

    async def listed(self, template: str) -> Sequence[Binding]:
        """Where a template was chosen."""
        ...

    async def known(self) -> Sequence[Place]:
        """Places that somebody wrote from of late, the last one first; people with their names."""
        ...

    async def bind(self, place: Place, template: str, *, author: str) -> None:
        """Give a template to a place; an empty one takes back what was given. Raises NotAllowed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What stands behind the pages beside the chat; `sent` tells what was sent for a conversation's turn.

    `live` tells, again and again, how many workers there are and what they are answering; it raises
    StateUnavailable.
    """

    workbench: Workbench
    press: Press
    bindings: Bindings
    archive: Archive
    books: Books
    fleet: Fleet
    sent: Callable[[str, str], Awaitable[Sequence[Prompt]]]
    votes: Votes
    live: Callable[[], AsyncGenerator[tuple[int, Sequence[Scene]]]]
