"""Events: what a person did, in the same form for all platforms."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, dataclass_transform

import msgspec
from msgspec.structs import replace

from bot.domain.words import english, marked, tr


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Frozen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of all stored values."""


def now() -> datetime:
    """The current time, aware and in UTC."""
    return datetime.now(UTC)


Role = Literal["member", "guest", "partner", "bot", "admin", "operator"]
"""What somebody is where they write. `guest`: an account with limited access. `partner`: of another organisation, in a
channel that both share. `bot`: an app, a workflow or a webhook. `admin`: of the workspace. `operator`: of Parley."""


class User(Frozen):
    """A person on a platform; `id` is unique within `tenant`.

    `locale` is their language and region (BCP 47, "de-DE"), `zone` their time zone (IANA, "Europe/Berlin"), `role` what
    the platform says they are in this tenant; empty where it does not say. `home` is the tenant of a partner.
    `organisation` is set where one installation serves several tenants, in which the same id is the same person.
    """

    id: str
    tenant: str
    name: str = ""
    locale: str = ""
    zone: str = ""
    role: Role | Literal[""] = ""
    home: str = ""
    organisation: str = ""

    @property
    def visits_from(self) -> str:
        """The tenant that a guest or a partner belongs to; empty for everybody else."""
        return (self.home or self.tenant) if self.role in ("guest", "partner") else ""

    def is_same(self, other: "User") -> bool:
        """Whether both are the same person, whatever their names."""
        return (self.id, self.tenant) == (other.id, other.tenant)


class Address(Frozen):
    """Where an answer goes. `data` belongs to the adapter that created it.

    `conversation` begins with the adapter's name and a colon: `slack:T1:C1:1700000000.000100`. `event` is the
    id of the event that is answered; an adapter that can attach it to its messages finds them again after a
    crash. `owner` is the id of the only user who may act in this conversation; empty means everybody.
    """

    conversation: str
    event: str
    data: dict[str, str] = {}
    owner: str = ""

    @property
    def adapter(self) -> str:
        return self.conversation.partition(":")[0]


class PostedMessage(Frozen):
    """A message of an adapter; `id` is unique within the adapter, `data` belongs to it."""

    id: str
    data: dict[str, str] = {}


class Attachment(Frozen):
    """A file that came with a message; the adapter fetches its bytes on demand."""

    id: str
    name: str
    mime: str
    size_bytes: int | None = None
    data: dict[str, str] = {}


GAP = "gap"
"""The kind of what stands for messages that are missing; its text says why."""
EARLIER = " earlier"
"""The end of the kind of what an earlier message quotes."""
_AUTOMATIC = ("preview", "linked", "card")
"""The kinds that also come to a message after it was sent, without an edit by its author."""


class QuotedMessage(Frozen):
    """A message, or a part of one, that is not the asker's own words; data for the model, never instructions.

    `at` is its time and `by` the author's id, if the platform provides them. `kind` says how it came here: empty
    for an earlier message of the thread or channel, otherwise a word such as "forwarded", "quoted", "linked",
    "alert", "preview" (of a link), "table" or "transcript"; `origin` is where it was written: a channel's name or
    a link. `attachments` are its files. What an earlier message itself quotes is "forwarded earlier" and so on.
    """

    author: str
    text: str
    at: datetime | None = None
    by: str = ""
    kind: str = ""
    origin: str = ""
    attachments: tuple[Attachment, ...] = ()

    @property
    def is_earlier(self) -> bool:
        """Whether it is, or belongs to, an earlier message of the thread or channel, and not to the question."""
        return not self.kind or self.kind.endswith(EARLIER)

    @property
    def is_automatic(self) -> bool:
        """Whether the platform or the bot may have added it later: a preview of a link, a message linked to."""
        return self.kind in _AUTOMATIC

    @property
    def label(self) -> str:
        """Who wrote it, how it came here, where it was written, and its files."""
        files = ", ".join(file.name for file in self.attachments)
        facts = self.author, self.kind, self.origin, f"with {files}" if files else ""
        return " · ".join(" ".join(fact.split()) for fact in facts if fact) or "unknown author"


_DESCRIPTION = re.compile(r"(?:the|an?|some) (?!.*\.\w{1,5}\Z)", re.IGNORECASE)
"""Words instead of a name; a name such as "The plan.pdf" is one all the same."""


class UnreadPart(Frozen):
    """A part of a message that could not be read. “`name`” followed by `reason` is a sentence for the person.

    A name with an article, such as "the linked message", describes the part: it has no quotation marks.
    A reason that begins with a capital letter is a sentence of its own. Both are messages of `bot.domain.words`, in
    English, whose placeholders are filled with `values`.
    """

    name: str
    reason: str
    values: tuple[tuple[str, str | int | float], ...] = ()

    @property
    def sentence(self) -> str:
        """What the model is told, in English."""
        return self._sentence(english)

    @property
    def worded(self) -> str:
        """The sentence in the reader's language."""
        return self._sentence(tr)

    def _sentence(self, write: Callable[..., str]) -> str:
        values = dict(self.values)
        name, reason = write(self.name, **values), write(self.reason, **values)
        if _DESCRIPTION.match(self.name):
            name = name[:1].upper() + name[1:]
        else:
            name = write(marked("“{name}”"), name=self.name)
        if self.reason[:1].islower():
            return write(marked("{name} {reason}"), name=name, reason=reason)
        if self.name in english(self.reason, **values):
            return reason
        return write(marked("{name}: {reason}"), name=name, reason=reason)


class BaseEvent(Frozen):
    """The fields of every event. `id` is equal for every delivery of the same event."""

    id: str
    address: Address
    user: User
    at: datetime


class MessageReceived(BaseEvent, tag="said"):
    """A person sent a message.

    `text` is plain or Markdown text, without the bot's mention, with other mentions as names; a command is
    text such as `/image a red bicycle`. `addressed` is false for a message in a thread that does not mention
    the bot; it counts only where the bot already participates. `channel` is the platform's id of the channel,
    for templates and limits, `channel_name` what people call it, if that is known. `direct` is true in one-on-one
    chats. `threaded` is false in a group chat, where all messages form one conversation. `superseded` is set if the
    same person has sent another message since, and only that is answered. `restores` is the event id of a deleted
    message that its author has restored. `links` are links to other messages of the platform, which the adapter
    reads on demand. `mentions_others` is true if it tags another person, a group, everybody or another bot in the
    author's own words. `registered` is true if the platform itself took it for a command: a slash command of the app,
    or a button. `seen_since` is from when on its author may see what was said in the conversation; None is from the
    beginning, or not known.
    """

    text: str
    attachments: tuple[Attachment, ...] = ()
    quotes: tuple[QuotedMessage, ...] = ()
    unread: tuple[UnreadPart, ...] = ()
    links: tuple[str, ...] = ()
    addressed: bool = True
    channel: str = ""
    channel_name: str = ""
    direct: bool = False
    threaded: bool = True
    superseded: bool = False
    restores: str = ""
    mentions_others: bool = False
    registered: bool = False
    seen_since: datetime | None = None

    @property
    def command(self) -> tuple[str, str] | None:
        """`/word rest` as (word in lower case, rest); None if the text is not a command.

        A path (`/etc/hosts`) or a single slash is not a command.
        """
        text = self.text.strip()
        if not text.startswith("/"):
            return None
        head, *rest = text[1:].split(maxsplit=1)[:2] if len(text) > 1 else [""]
        if not head.replace("-", "").isalnum():
            return None
        return head.lower(), rest[0] if rest else ""


class MessageParts(Frozen):
    """Everything that a message consists of beside its text, as in `MessageReceived`."""

    attachments: tuple[Attachment, ...] = ()
    quotes: tuple[QuotedMessage, ...] = ()
    unread: tuple[UnreadPart, ...] = ()
    links: tuple[str, ...] = ()


def own_parts(message: MessageReceived | MessageParts) -> tuple[object, ...]:
    """What a message consists of beside its text that only an edit by its author changes. Links to files may change."""
    quotes = tuple(quote for quote in message.quotes if not (quote.is_earlier or quote.is_automatic))
    return quotes, tuple(attachment.id for attachment in message.attachments), message.unread, message.links


class MessageEdited(BaseEvent, tag="edited"):
    """A person edited an earlier message; `target` is that message's event id.

    `parts` are what it consists of now; None if the platform does not say, so that they stay as they were.
    `regenerate` is true if the person asks for a new answer; otherwise only a changed message gets one.
    """

    target: str
    text: str
    parts: MessageParts | None = None
    regenerate: bool = False

    def applied_to(self, received: MessageReceived) -> MessageReceived:
        """The edited message: its parts are those of the edit, and the messages read before it stay."""
        if self.parts is None:
            return replace(received, text=self.text)
        earlier = tuple(quote for quote in received.quotes if quote.is_earlier)
        return replace(
            received,
            text=self.text,
            attachments=self.parts.attachments,
            quotes=(*earlier, *self.parts.quotes),
            unread=self.parts.unread,
            links=self.parts.links,
        )

    def changes(self, received: MessageReceived) -> bool:
        """Whether the message needs a new answer: not if only the formatting or a preview has changed."""
        if self.regenerate or self.text.split() != received.text.split():
            return True
        return self.parts is not None and own_parts(self.parts) != own_parts(received)


class MessageDeleted(BaseEvent, tag="deleted"):
    """A person deleted an earlier message; `target` is that message's event id."""

    target: str


class FeedbackGiven(BaseEvent, tag="rated"):
    """A person rated an answer; `post` is the id of the `PostedMessage` that showed it."""

    post: str
    good: bool
    comment: str = ""


class StopRequested(BaseEvent, tag="stopped"):
    """A person asked to stop the answers in this conversation or, with a `target`, the answer to that event."""

    target: str = ""


class MessageWithdrawn(BaseEvent, tag="withdrawn"):
    """Replaces an event of a person whose data was deleted.

    `asked` is true if it was a question; the person is told that it will not be answered.
    """

    asked: bool = False


class AppUninstalled(BaseEvent, tag="departed"):
    """The bot was removed from a chat, team or tenant; its data until `at` is deleted.

    `conversation_prefix` is the prefix of the ids of the conversations; `marks` are values in the data of their
    addresses that also have to match. `whole` is true if the tenant itself is gone, so that the data of its people
    is deleted, too; an empty `user.tenant` means the tenants of the conversations found. `user.id` is empty,
    and nothing is posted at `address`. `installation` is the id of the tenant or organisation whose installation
    ended, `organisation` that of the tenant's organisation, if any: another installation may still serve the tenant.
    """

    conversation_prefix: str = msgspec.field(name="rooms")
    marks: dict[str, str] = {}
    whole: bool = False
    installation: str = ""
    organisation: str = ""


Event = (
    MessageReceived
    | MessageEdited
    | MessageDeleted
    | FeedbackGiven
    | StopRequested
    | MessageWithdrawn
    | AppUninstalled
)
