"""What a platform must do, and the one thing that it may ask of the engine."""

from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Literal, Protocol, Self

from aiohttp import web

from bot.types import Address, Attachment, Event, Finding, Post, Reply

Receipt = Literal["accepted", "duplicate", "ignored", "busy"]
"""`accepted` and `duplicate`: the event is, or was, written down. `ignored`: it was not for the bot.
`busy`: too much is waiting in this conversation; the adapter tells the person so."""

Accept = Callable[[Event], Awaitable[Receipt]]
"""Writes an event down before anyone is thanked for it. Raises StateUnavailable (answer 503)."""


class Adapter(Protocol):
    """A platform. Used as an async context manager, which opens and closes its connections.

    Invariants: `open`, `update` and `close` may be called in another process than the one that parsed the
    event, and after a crash by a second worker; what they need is in `Address` and `Post`.
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

    async def open(self, address: Address, begun: Post | None, retry: bool) -> Post:
        """Begin to answer: show that the bot is at work.

        `begun` is the message that an earlier attempt recorded: continue it. `retry` is true when an
        earlier attempt may have posted without recording it: look for that orphan where the platform can.
        Raises PlatformUnavailable.
        """
        ...

    async def update(self, post: Post, text: str) -> bool:
        """Show the whole text so far. Never raises, never waits for the platform; skipped for pace.

        Returns False when the person asked, on the platform, to stop.
        """
        ...

    async def close(self, post: Post, reply: Reply) -> Post:
        """Make the whole reply visible, and return the post that now shows it.

        Safe to repeat: a second call with the same reply changes nothing that a person sees.
        Raises PlatformUnavailable.
        """
        ...

    async def fetch(self, attachment: Attachment) -> bytes:
        """The bytes of a file. Raises Refused (in words) when it can't be had, PlatformUnavailable."""
        ...

    async def check(self) -> list[Finding]:
        """What `parley check` says of the platform's settings: credentials, scopes, reachability.

        Never raises.
        """
        ...
