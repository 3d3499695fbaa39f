"""The adapter protocol, what adapters use of the engine, and the lease on a conversation."""

import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

from aiohttp import web

from bot.domain.errors import LeaseLost
from bot.domain.events import (
    Address,
    AppUninstalled,
    Attachment,
    Event,
    MessageReceived,
    PostedMessage,
    QuotedMessage,
    User,
)
from bot.domain.prompts import Image
from bot.domain.turns import CheckResult, Reply, UserProfile
from bot.domain.words import marked

Receipt = Literal["accepted", "duplicate", "ignored", "busy", "denied"]
"""`accepted`, `duplicate`: the event is stored, or was before. `ignored`: it is not for the bot. `busy`: too
many events are waiting in this conversation; the adapter tells the person. `denied`: the conversation
belongs to another user than the owner of the address."""

Accept = Callable[[Event], Awaitable[Receipt]]
"""Stores an event before it is acknowledged. Raises StateUnavailable (respond with 503)."""


class Lease:
    """The lease on a conversation, valid until `until`, in seconds of `time.monotonic()`.

    It ends before another worker can claim the conversation, so a process that was suspended, or cut off from
    Redis, for longer shows nothing more.
    """

    def __init__(self, until: float) -> None:
        self.until = until
        self._settled = False

    def extend(self, until: float) -> None:
        """Renew the lease, unless it has been ended or kept."""
        if not self._settled:
            self.until = max(self.until, until)

    def end(self, until: float) -> None:
        """Release the lease; no other worker has it before `until`."""
        self._settled = True
        self.until = min(self.until, until)

    def keep(self) -> None:
        """Allow final calls, such as stopping a stream, after the answer is stored."""
        self._settled = True
        self.until = math.inf


current_lease: ContextVar[Lease] = ContextVar("speaking")
"""The lease of the answer that a task works on; tasks and timers that it starts inherit it."""


def require_lease() -> None:
    """Called by adapters before each visible request. Raises LeaseLost.

    Messages outside of an answer, such as a greeting, need no lease.
    """
    lease = current_lease.get(None)
    if lease is not None and time.monotonic() >= lease.until:
        raise LeaseLost("the lease has expired; another worker may be answering")


class Adapter(Protocol):
    """A platform; an async context manager that opens and closes its connections.

    Invariants: `open`, `update` and `close` may be called in another process than the one that parsed the
    event, or by a second worker after a crash; everything they need is in `Address` and `PostedMessage`.
    Before every visible request they call `require_lease`, and let LeaseLost pass.

    Calls to the platform raise PlatformUnavailable, or ConfigError for errors that waiting can't fix, such as
    a revoked token or an archived channel; the worker then stops retrying and alerts the operator. An adapter
    that keeps its tokens in the secret store also raises StateUnavailable.
    """

    @property
    def name(self) -> str:
        """The prefix of its conversation ids, without the colon."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        """The HTTP routes, mounted in web processes."""
        ...

    async def listen(self, accept: Accept) -> None:
        """Receive events by an outgoing connection until cancelled. Returns at once if there is none."""
        ...

    async def open(self, address: Address, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        """Start an answer, and show that the bot is working on it.

        `begun` is the message that an earlier attempt recorded; continue it. With `retry`, an earlier attempt
        may have posted without recording; look for its message if the platform allows it.
        Raises PlatformUnavailable and ConfigError.
        """
        ...

    async def update(self, post: PostedMessage, text: str) -> bool:
        """Show the whole text so far, throttled. Never raises, never waits for the platform.

        Returns False if the person has asked, on the platform, to stop.
        """
        ...

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        """Show the complete reply, and return the post that shows it.

        Idempotent: a second call with the same reply changes nothing that a person sees. What the platform refuses is
        shown in a simpler form or at another place, so ConfigError means that no form and no place was left.
        Raises PlatformUnavailable, with `post` if a part is shown, and ConfigError.
        """
        ...

    async def context(self, address: Address, include_channel: bool = False) -> tuple[QuotedMessage, ...]:
        """Earlier messages of others in the thread, oldest first; with `include_channel`, if the question began the
        thread, recent messages of the channel.

        Empty if there are none, or the platform has no such call. A last one of the kind "gap" says in its text
        why some were left out ("could not be read, because ..."). Raises PlatformUnavailable, ConfigError, and
        Refused if permission is missing.
        """
        ...

    async def linked(self, address: Address, link: str) -> tuple[QuotedMessage, ...]:
        """The message or thread that a link in the question leads to, oldest first, of the kind "linked".

        A last one of the kind "gap" says why some were left out, as in `context`. Empty if the platform has no such
        links. Raises Refused, with a sentence for the person, if the bot or the asker may not read it, or it is gone;
        PlatformUnavailable and ConfigError.
        """
        ...

    async def fetch(self, attachment: Attachment) -> bytes:
        """The bytes of a file. Raises Refused if it is not available, PlatformUnavailable and ConfigError."""
        ...

    async def check(self) -> list[CheckResult]:
        """The checks of `parley check`: credentials, scopes, reachability. Never raises."""
        ...


@runtime_checkable
class PartialImageSink(Protocol):
    """An adapter that can show partial images; others show a text meanwhile."""

    async def show_partial_image(self, post: PostedMessage, picture: Image) -> None:
        """Show a partial image in place of an earlier one. Raises only LeaseLost."""
        ...


@runtime_checkable
class HasSurface(Protocol):
    """An adapter that says for the model where its answers are shown, and what of Markdown is."""

    @property
    def surface(self) -> str:
        """One or two sentences. They are part of the cached prefix of every prompt, so they never change."""
        ...


@runtime_checkable
class KnowsSenders(Protocol):
    """An adapter that can look up what its events leave out: who people are, and what channels are called."""

    async def with_sender(self, received: MessageReceived) -> MessageReceived:
        """The message with the name, locale and zone of its sender, and the name of its channel, as far as they are
        known after a second or two. Never raises.
        """
        ...


def person_key(user: User) -> str:
    """The name in the secret store under which an adapter may keep what it knows of a person; `forget` deletes it."""
    return f"person:{user.tenant}:{user.id}"


@runtime_checkable
class FindsIds(Protocol):
    """An adapter that can look ids up. Its methods raise PlatformUnavailable, and ConfigError without permission.

    They may take minutes, because platforms limit such calls.
    """

    async def find_channels(self, names: Collection[str]) -> Mapping[str, str]:
        """The ids of channels by their names in lower case, without "#"; those that the bot can't see are left out."""
        ...

    async def find_person(self, email: str) -> str:
        """The id of the person with this e-mail address; empty if there is none."""
        ...


def contact_key(user: User) -> str:
    """The name in the secret store of where an operator can be written to; `forget` deletes it."""
    return f"{person_key(user)}:contact"


@runtime_checkable
class DirectMessages(Protocol):
    """An adapter that can write to a person who has asked nothing."""

    async def tell(self, user: User, address: Address | None, notice: str, write: Callable[[], str]) -> bool:
        """Send a direct message to a person. False if this platform can't, or doesn't know them.

        `address` is that of their last message in a one-to-one chat on this platform, if they have written any.
        `write` returns the text, in Markdown, in the language that is current when it is called. The same `notice`
        (an id) is not sent twice, where the platform allows to look it up. Raises PlatformUnavailable, ConfigError
        and StateUnavailable.
        """
        ...


class StillServed(NamedTuple):
    """What a removal of the app does not end: the `tenants` that another installation serves.

    `renewed`: the app was installed again after the removal, so that only what was said before it is deleted.
    """

    tenants: frozenset[str] = frozenset()
    renewed: bool = False


@runtime_checkable
class KnowsInstallations(Protocol):
    """An adapter whose app is installed by many tenants."""

    async def still_served(self, removal: AppUninstalled) -> StillServed:
        """What is left of the installations when a removal is processed. Raises StateUnavailable."""
        ...


VISIBLE_TO_ASKER = marked("_The answer is visible only to the person who asked._")
"""What stands in place of what everybody could read already, where the complete reply is private."""

STREAMED = "streamed"
"""The name in the data of a post under which a StreamRecorder keeps what was streamed. It is people's text: it is kept
with the lease, and not in turns."""


class StreamRecord(Protocol):
    """Where the text of a stream is recorded, for the process that may have to continue it."""

    async def record(self, post: PostedMessage) -> bool:
        """Record a post with a text (STREAMED) that is about to be shown. False: it is not stored, so don't show it.

        Recorded first, the text is never less than what the platform has, wherever the process is killed.
        """
        ...


@runtime_checkable
class StreamRecorder(Protocol):
    """An adapter whose final messages must continue what was streamed, also by another process."""

    def record_in(self, post: PostedMessage, record: StreamRecord) -> None:
        """Record each further text of this post before it is shown; whoever continues the post passes it to `open`."""
        ...


class MenuCommand(NamedTuple):
    """A command as a platform's own list shows it; `channels_only`: it means nothing in a one-to-one chat."""

    name: str
    description: str
    channels_only: bool


class SelfService(Protocol):
    """A person's settings, usage and stored data, for the platform's own views.

    Every method raises StateUnavailable; `choose` raises Refused for what is not available.
    """

    async def profile(self, user: User, channel: str) -> UserProfile:
        """A person's options and choices in this channel, their usage, and the amount of stored data."""
        ...

    async def choose(
        self,
        user: User,
        channel: str,
        *,
        template: str | None = None,
        deployment: str | None = None,
        mode: str | None = None,
    ) -> None:
        """Choose a template or a deployment for a channel or, without one, for this person everywhere.

        A participation mode (`UserProfile.modes`) is only for channels.

        An empty name resets the choice; None leaves it unchanged.
        """
        ...

    async def ask_forget(self, user: User) -> str:
        """Start the deletion of a person's data, which they can confirm within ten minutes.

        Returns a text with the amounts, and how to confirm.
        """
        ...

    async def confirm_forget(self, user: User, event: str) -> str:
        """Delete a person's data everywhere. Returns a text about what was deleted.

        `event` is the id of the confirming event; its redelivery returns the same text.
        Raises NotAllowed if no deletion is waiting for confirmation.
        """
        ...

    async def sent(self, user: User, conversation: str, post: str) -> str:
        """The prompt that was sent for the answer of this post, as Markdown.

        Raises NotAllowed for anybody but the asker and the administrators.
        """
        ...


class Secrets(Protocol):
    """Secrets of an adapter: encrypted at rest, shared by all processes. Methods raise StateUnavailable."""

    async def get(self, name: str) -> bytes | None:
        """The value under a name, or None if there is none. Raises SecretUnreadable if no key decrypts it."""
        ...

    async def put(self, name: str, value: bytes, life_s: int | None = None) -> None:
        """Store a value for `life_s` seconds, or until it is deleted."""
        ...

    async def take(self, name: str) -> bytes | None:
        """Get and delete a value atomically, for one-time use. Raises SecretUnreadable."""
        ...

    async def delete(self, name: str) -> None:
        """Delete the value under a name."""
        ...

    async def names(self, prefix: str) -> list[str]:
        """The names with this prefix, sorted."""
        ...


class Limiter(Protocol):
    """A rate limit shared by all processes."""

    async def take(self, name: str, per_minute: int, *, keep: int = 0) -> float:
        """Count a call, unless only the last `keep` of the minute are left. Never raises.

        Returns 0.0, or the seconds until a call is allowed.
        """
        ...
