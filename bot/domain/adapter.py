"""What a platform must do, the one thing that it may ask of the engine, and for how long it may speak."""

import math
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

from aiohttp import web

from bot.domain.errors import LeaseLost
from bot.domain.events import Address, Attachment, Event, PostedMessage, QuotedMessage, User
from bot.domain.prompts import Image
from bot.domain.turns import CheckResult, Reply, UserProfile

Receipt = Literal["accepted", "duplicate", "ignored", "busy", "denied"]
"""`accepted` and `duplicate`: the event is, or was, written down. `ignored`: it was not for the bot.
`busy`: too much is waiting in this conversation; the adapter tells the person so. `denied`: the
conversation belongs to another user than the address's owner."""

Accept = Callable[[Event], Awaitable[Receipt]]
"""Writes an event down before anyone is thanked for it. Raises StateUnavailable (answer 503)."""


class Lease:
    """The right to speak in a conversation: until `until`, in seconds of `time.monotonic()`.

    The worker ends it before another one can have the lease. A process that was stopped, starved or cut off
    from Redis for longer than that finds, when it goes on, that it may not show any more what it had in hand.
    """

    def __init__(self, until: float) -> None:
        self.until = until
        self._settled = False

    def extend(self, until: float) -> None:
        """The lease was renewed; one that was given back in the meantime stays so."""
        if not self._settled:
            self.until = max(self.until, until)

    def end(self, until: float) -> None:
        """The lease is given back, and will not be another's before `until`."""
        self._settled = True
        self.until = min(self.until, until)

    def keep(self) -> None:
        """The answer is written down: what remains to be tidied, such as a stream to stop, may be."""
        self._settled = True
        self.until = math.inf


current_lease: ContextVar[Lease] = ContextVar("speaking")
"""The lease of the answer that a task works on; the tasks and timers that it begins inherit it."""


def require_lease() -> None:
    """Called by adapters before each request that people may see. Raises LeaseLost.

    What belongs to no answer, such as a greeting, needs no lease.
    """
    lease = current_lease.get(None)
    if lease is not None and time.monotonic() >= lease.until:
        raise LeaseLost("the lease has run out: another worker may be answering")


class Adapter(Protocol):
    """A platform. Used as an async context manager, which opens and closes its connections.

    Invariants: `open`, `update` and `close` may be called in another process than the one that parsed the
    event, and after a crash by a second worker; what they need is in `Address` and `PostedMessage`. Before every
    request that people may see they call `require_lease`, whose LeaseLost they let pass.

    What asks the platform raises PlatformUnavailable, or ConfigError for what no waiting mends, such as a
    token that was taken back or a channel that is closed: the worker then tries no more, and tells the
    operator. An adapter that keeps its tokens in the secret store also raises StateUnavailable.
    """

    @property
    def name(self) -> str:
        """The prefix of its conversation ids, without the colon."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        """The HTTP routes, mounted in web processes."""
        ...

    async def listen(self, accept: Accept) -> None:
        """Receive events by a connection of the adapter's own until cancelled.

        Returns at once if it has none.
        """
        ...

    async def open(self, address: Address, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        """Begin to answer: show that the bot is at work.

        `begun` is the message that an earlier attempt recorded: continue it. `retry` is true when an
        earlier attempt may have posted without recording it: look for that orphan where the platform can.
        Raises PlatformUnavailable and ConfigError.
        """
        ...

    async def update(self, post: PostedMessage, text: str) -> bool:
        """Show the whole text so far. Never raises, never waits for the platform; skipped for pace.

        Returns False when the person asked, on the platform, to stop.
        """
        ...

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        """Make the whole reply visible, and return the post that now shows it.

        Safe to repeat: a second call with the same reply changes nothing that a person sees.
        Raises PlatformUnavailable and ConfigError.
        """
        ...

    async def context(self, address: Address, include_channel: bool = False) -> tuple[QuotedMessage, ...]:
        """What was said in this thread before the bot was called into it, oldest first; with `include_channel`, where
        the question began the thread, what was said lately in the room around it.

        Empty where nothing was, or where the platform does not tell. Raises PlatformUnavailable and
        ConfigError, and Refused (in words) where somebody has to allow it first.
        """
        ...

    async def fetch(self, attachment: Attachment) -> bytes:
        """The bytes of a file.

        Raises Refused (in words) when it can't be had, PlatformUnavailable and ConfigError.
        """
        ...

    async def check(self) -> list[CheckResult]:
        """What `parley check` says of the platform's settings: credentials, scopes, reachability.

        Never raises.
        """
        ...


@runtime_checkable
class PartialImageSink(Protocol):
    """An adapter that can also show a picture while it is drawn; others show words meanwhile."""

    async def show_partial_image(self, post: PostedMessage, picture: Image) -> None:
        """Show a picture as far as it is drawn, in place of an earlier one. Raises LeaseLost only."""
        ...


class MenuCommand(NamedTuple):
    """A command as a platform's own list shows it; `channels_only`: it means nothing in a one-to-one chat."""

    name: str
    description: str
    channels_only: bool


class SelfService(Protocol):
    """What a platform may show a person about themselves, and change for them, beside conversations.

    Every method raises StateUnavailable; `choose` raises Refused for what is not available.
    """

    async def profile(self, user: User, channel: str) -> UserProfile:
        """What a person may choose here, what is chosen, what they used, and what is remembered of them."""
        ...

    async def choose(
        self, user: User, channel: str, *, template: str | None = None, deployment: str | None = None
    ) -> None:
        """Choose a template or a deployment: for a channel, or, without one, for this person everywhere.

        An empty name takes the choice back; `None` leaves it.
        """
        ...

    async def ask_forget(self, user: User) -> str:
        """Count what is kept about a person, and wait ten minutes for them to confirm that it is deleted.

        Returns the counts, and how to confirm, in words.
        """
        ...

    async def confirm_forget(self, user: User, event: str) -> str:
        """Delete what is kept about a person, everywhere; what was deleted, in words.

        `event` is the id of the act that confirms: a second delivery of it is answered with the same words.
        Raises NotAllowed where nothing waits for this person's confirmation.
        """
        ...

    async def sent(self, user: User, conversation: str, post: str) -> str:
        """What was sent to the model for the answer that this post shows, as Markdown.

        Raises NotAllowed for anybody but the asker and the operators.
        """
        ...


class Secrets(Protocol):
    """Secrets that an adapter keeps: encrypted at rest, shared by all processes. Raises StateUnavailable."""

    async def get(self, name: str) -> bytes | None:
        """What is kept under a name."""
        ...

    async def put(self, name: str, value: bytes, life_s: int | None = None) -> None:
        """Keep something, for so long, or until it is deleted."""
        ...

    async def take(self, name: str) -> bytes | None:
        """Get and delete in one step: for what may be used once."""
        ...

    async def delete(self, name: str) -> None:
        """Delete what is kept under a name."""
        ...

    async def names(self, prefix: str) -> list[str]:
        """The names that begin like this."""
        ...


class Limiter(Protocol):
    """One limit for all processes together."""

    async def take(self, name: str, per_minute: int, *, keep: int = 0) -> float:
        """Take a place in the minute, but none of the last `keep`: 0.0, or the seconds until there is one.

        Never raises.
        """
        ...
