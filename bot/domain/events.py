"""Who does what, and where: what a person did, as every platform tells it."""

from datetime import UTC, datetime
from typing import dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Frozen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The common shape of every value below."""


def now() -> datetime:
    """The present, aware and in UTC."""
    return datetime.now(UTC)


class User(Frozen):
    """A person, as the platform knows them; `id` is unique within `tenant`."""

    id: str
    tenant: str
    name: str = ""

    def is_same(self, other: "User") -> bool:
        """Whether both are one person, whatever they are called."""
        return (self.id, self.tenant) == (other.id, other.tenant)


class Address(Frozen):
    """Where an answer goes. Only the adapter that made it reads `data`.

    `conversation` starts with the adapter's name and a colon: `slack:T1:C1:1700000000.000100`.
    `event` is the id of the act that is answered; an adapter that can mark its messages marks them
    with it, and finds its own half-written message again after a crash. `owner` is the id of the one user
    who may act in this conversation; empty where everybody who sees it may.
    """

    conversation: str
    event: str
    data: dict[str, str] = {}
    owner: str = ""

    @property
    def adapter(self) -> str:
        """The name of the adapter that opens this address."""
        return self.conversation.partition(":")[0]


class PostedMessage(Frozen):
    """A message that an adapter has begun; `id` is unique within the adapter, `data` is the adapter's."""

    id: str
    data: dict[str, str] = {}


class Attachment(Frozen):
    """A file that came with a message; its bytes are fetched by the adapter, on demand."""

    id: str
    name: str
    mime: str
    size_bytes: int | None = None
    data: dict[str, str] = {}


class QuotedMessage(Frozen):
    """What somebody said before the bot was called; data for the model, never instructions.

    `at` is when, and `by` the author's id, where the platform tells it with the message.
    """

    author: str
    text: str
    at: datetime | None = None
    by: str = ""


class BaseEvent(Frozen):
    """What every event carries. `id` is equal for every delivery of the same act."""

    id: str
    address: Address
    user: User
    at: datetime


class MessageReceived(BaseEvent, tag="said"):
    """A person said something.

    `text` is plain or Markdown text, without the bot's mention, with other mentions as names; a command
    is its words (`/image a red bicycle`). `addressed` is false for a message in a thread that does not
    name the bot: it counts only where the bot already takes part. `channel` is the platform's id of the
    room, for templates and limits. `direct` is true in one-to-one chats, `threaded` false in a group chat
    whose one conversation is everything that is said there. `superseded` is set where the same person has
    said more since, and only that is to be answered. `restores` is the event id of a message that its author
    had deleted, and has now put back: this is that message again.
    """

    text: str
    attachments: tuple[Attachment, ...] = ()
    quotes: tuple[QuotedMessage, ...] = ()
    addressed: bool = True
    channel: str = ""
    direct: bool = False
    threaded: bool = True
    superseded: bool = False
    restores: str = ""

    @property
    def command(self) -> tuple[str, str] | None:
        """`/word rest` as (word in lower case, rest); None when the text is no command.

        A path (`/etc/hosts`) or a lone slash is no command.
        """
        text = self.text.strip()
        if not text.startswith("/"):
            return None
        head, *rest = text[1:].split(maxsplit=1)[:2] if len(text) > 1 else [""]
        if not head.replace("-", "").isalnum():
            return None
        return head.lower(), rest[0] if rest else ""


class MessageEdited(BaseEvent, tag="edited"):
    """A person changed the text of an earlier message; `target` is that message's event id."""

    target: str
    text: str


class MessageDeleted(BaseEvent, tag="deleted"):
    """A person deleted an earlier message; `target` is that message's event id."""

    target: str


class FeedbackGiven(BaseEvent, tag="rated"):
    """A person rated an answer; `post` is the id of the `PostedMessage` that showed it."""

    post: str
    good: bool
    comment: str = ""


class StopRequested(BaseEvent, tag="stopped"):
    """A person asked the bot to stop writing in this conversation; with a `target`, only the answer to it."""

    target: str = ""


class MessageWithdrawn(BaseEvent, tag="withdrawn"):
    """What a person did before they had everything about them deleted; nothing of it is known any more.

    `asked` is true where it was to be answered: then the person is told that it is not.
    """

    asked: bool = False


class AppUninstalled(BaseEvent, tag="departed"):
    """The bot was taken away from a place: what was said there until `at` is to be forgotten.

    `conversation_prefix` is what the ids of its conversations begin with; `marks` is what the data of their addresses
    hold, where the ids don't tell. `whole` is true when the tenant itself is gone, so that what is kept of its
    people goes too; an empty `user.tenant` means those that are found. `user.id` is empty, and nobody is
    answered at `address`.
    """

    conversation_prefix: str = msgspec.field(name="rooms")
    marks: dict[str, str] = {}
    whole: bool = False


Event = (
    MessageReceived
    | MessageEdited
    | MessageDeleted
    | FeedbackGiven
    | StopRequested
    | MessageWithdrawn
    | AppUninstalled
)
