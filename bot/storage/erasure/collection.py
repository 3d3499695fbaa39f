"""Collects what one person wrote, from all stored conversations."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate

import msgspec

from bot.domain.events import (
    BaseEvent,
    Event,
    FeedbackGiven,
    MessageEdited,
    MessageParts,
    MessageReceived,
    QuotedMessage,
    User,
)
from bot.domain.turns import Turn
from bot.storage.conversations.turns import read_turns
from bot.storage.erasure.text_matching import Passages
from bot.storage.queue.dead_letters import DeadLetterQueue, read_event
from bot.storage.redis import keys
from bot.storage.redis.client import Redis

_BATCH = 10
"""Conversations that are read at once; each has at most two hundred turns."""
_MAX_TEXT = 20_000
"""Characters of one file or message that are searched for elsewhere."""
_MAX_TEXTS = 4_000_000
"""Characters per person that are searched for, newest texts first."""
_FILE = re.compile(r'<file name="([^"]*)"[^>\n]*>\n(.*?)\n</file>', re.DOTALL)
"""The form of a file in a prompt (`bot.files.fenced_data`)."""


class PersonData(msgspec.Struct, frozen=True, kw_only=True):
    """A person whose data is being deleted: names, texts with their times, conversations.

    `files` are the names of the files that were read with messages of the person that others quote, `examples` the
    texts of examples that were made from the person's questions.
    """

    user: User
    began_at: datetime
    names: frozenset[str] = frozenset()
    texts: tuple[tuple[str, datetime], ...] = ()
    conversations: frozenset[str] = msgspec.field(default=frozenset(), name="rooms")
    files: frozenset[str] = frozenset()
    examples: frozenset[str] = frozenset()


class StoredConversation(msgspec.Struct, frozen=True, kw_only=True):
    """The stored turns and waiting events of a conversation."""

    name: str
    turns: tuple[bytes, ...]
    events: tuple[bytes, ...]


async def conversations(redis: Redis) -> AsyncGenerator[list[StoredConversation]]:
    """All conversations with turns or waiting events, in batches, each at least once."""
    batch: dict[str, None] = {}
    async for key in redis.scan("parley:{p*}:*"):
        kind, _, rest = key.split("}:", 1)[1].partition(":")
        if kind in ("turns", "inbox"):
            batch[rest] = None
        if len(batch) >= _BATCH:
            yield await read(redis, list(batch))
            batch.clear()
    if batch:
        yield await read(redis, list(batch))


async def read(redis: Redis, names: Sequence[str]) -> list[StoredConversation]:
    commands = [("LRANGE", keys.of(kind, name), 0, -1) for name in names for kind in ("turns", "inbox")]
    stored = await redis.many(commands)
    return [
        StoredConversation(name=name, turns=tuple(stored[2 * n]), events=tuple(stored[2 * n + 1]))
        for n, name in enumerate(names)
    ]


async def read_all(redis: Redis, names: Sequence[str]) -> AsyncGenerator[StoredConversation]:
    """Read these conversations, some at a time."""
    for at in range(0, len(names), _BATCH):
        for stored in await read(redis, names[at : at + _BATCH]):
            yield stored


def events_of(stored: Iterable[bytes | str]) -> Iterator[Event]:
    """The events that can be read."""
    return (event for event in map(read_event, stored) if event is not None)


# ------------------------------------------------------------------ a person's texts


async def collect(redis: Redis, found: PersonData, until: datetime | None) -> PersonData:
    """Add the person's stored texts up to a time, and quotes of them by others."""
    collector = _PersonCollector(found, until)
    async for batch in conversations(redis):
        await asyncio.to_thread(collector.add, batch)
    for _, record in await DeadLetterQueue(redis).stored():
        collector.add_events(record.conversation, events_of([record.event]))
    return collector.all()


class _PersonCollector:
    def __init__(self, found: PersonData, until: datetime | None) -> None:
        self._found = found
        self._until = until
        self._names = {*found.names, found.user.name} - {""}
        self._texts = dict(found.texts)
        self._conversations = set(found.conversations)
        self._files = set(found.files)

    def all(self) -> PersonData:
        newest = sorted(self._texts.items(), key=lambda item: item[1], reverse=True)
        lengths = accumulate(len(text) for text, _ in newest)
        kept = [item for item, length in zip(newest, lengths, strict=True) if length <= _MAX_TEXTS]
        return msgspec.structs.replace(
            self._found,
            names=frozenset(self._names),
            texts=tuple(reversed(kept)),
            conversations=frozenset(self._conversations),
            files=frozenset(self._files),
        )

    def add(self, batch: Sequence[StoredConversation]) -> None:
        for stored in batch:
            self.add_events(stored.name, events_of(stored.events))
            for turn in read_turns(stored.turns):
                self._add_turn(stored.name, turn)

    def add_events(self, conversation: str, events: Iterable[Event]) -> None:
        for event in events:
            if self._is_theirs(event.user, event.at):
                self._conversations.add(conversation)
                self._names.add(event.user.name)
                match event:
                    case MessageReceived():
                        self._collect_message(event)
                    case MessageEdited():
                        self._write(event.text, event.at)
                        self._collect_parts(event.parts or MessageParts(), event.at)
                    case FeedbackGiven():
                        self._write(event.comment, event.at)
                    case _:
                        pass
            elif isinstance(event, MessageReceived):
                self._quoted(conversation, event, event.quotes)
            elif isinstance(event, MessageEdited) and event.parts is not None:
                self._quoted(conversation, event, event.parts.quotes)

    def _add_turn(self, conversation: str, turn: Turn) -> None:
        received = turn.received
        rating = turn.ratings.get(self._found.user.id)
        if rating is not None and received.user.tenant == self._found.user.tenant:
            self._conversations.add(conversation)
            self._write(rating.comment, turn.ended_at)
        if not self._is_theirs(received.user, received.at):
            self._quoted(conversation, received, received.quotes)
            return
        self._conversations.add(conversation)
        self._names.add(received.user.name)
        if not turn.template.startswith("/"):  # commands are not personal
            self._collect_message(received)
        for message in turn.messages:
            if message.role == "user":
                for name, text in _FILE.findall(message.text):
                    self._write(name, received.at)
                    self._write(text, received.at)

    def _collect_message(self, received: MessageReceived) -> None:
        self._write(received.text, received.at)
        parts = MessageParts(attachments=received.attachments, quotes=received.quotes)
        self._collect_parts(parts, received.at)

    def _collect_parts(self, parts: MessageParts, at: datetime) -> None:
        """Add the names of a person's files, and what they added to their words: transcripts, tables."""
        for attachment in parts.attachments:
            self._write(attachment.name, at)
        for quote in parts.quotes:
            if quote.by == self._found.user.id:
                self._write(quote.text, quote.at or at)

    def _quoted(self, conversation: str, event: BaseEvent, quotes: Iterable[QuotedMessage]) -> None:
        user = self._found.user
        if event.user.tenant != user.tenant:
            return
        for quote in quotes:
            if quote.by == user.id if quote.by else quote.author in self._names:
                self._conversations.add(conversation)
                self._names.add(quote.author)
                self._write(quote.text, quote.at or event.at)
                self._files.update(attachment.name for attachment in quote.attachments)

    def _is_theirs(self, user: User, at: datetime) -> bool:
        return user.is_same(self._found.user) and (self._until is None or at <= self._until)

    def _write(self, text: str, at: datetime) -> None:
        text = text[:_MAX_TEXT].strip()
        if text:
            self._texts[text] = min(at, self._texts.get(text, at))


async def exclude_common(redis: Redis, found: PersonData, passages: Passages) -> None:
    """Exclude passages that others of the tenant had written before."""

    def exclude(batch: Sequence[StoredConversation]) -> None:
        for stored in batch:
            for turn in read_turns(stored.turns):
                user = turn.received.user
                if user.tenant == found.user.tenant and user.id != found.user.id:
                    passages.exclude(turn.received.text, turn.ended_at, user.id)

    if passages:
        async for batch in conversations(redis):
            await asyncio.to_thread(exclude, batch)
