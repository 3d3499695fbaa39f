"""Removes one person's text from conversations; each change is atomic."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import msgspec

from bot.domain.events import (
    Event,
    FeedbackGiven,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    MessageWithdrawn,
    StopRequested,
    now,
)
from bot.domain.turns import Turn
from bot.storage.conversations.turns import read_turns
from bot.storage.erasure.collection import PersonData, StoredConversation, conversations, events_of, read
from bot.storage.erasure.redaction import KnownText, Redaction
from bot.storage.erasure.sent_prompts import ATTEMPTS, SentPrompts
from bot.storage.queue.dead_letters import DeadLetterQueue
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_EXCHANGE, _WITHDRAW, _UNLEARN = map(Script, ("exchange", "withdraw", "unlearn"))


class PersonConversations:
    """The conversations with data of a person. Every method raises StateUnavailable.

    `edited` are the turns and waiting messages of others that were changed, `withdrawn` the number of the
    person's messages that will not be answered. Events of the person after `until` are kept.
    """

    def __init__(
        self, redis: Redis, found: PersonData, redaction: Redaction, event: str, until: datetime | None
    ) -> None:
        """`event` is the id of an event of the person that stays."""
        self._redis = redis
        self._user = found.user
        self._event = event
        self._until = until
        self.redaction = redaction
        self.names = set(found.conversations)
        self.edited: set[tuple[str, str]] = set()
        self.withdrawn = 0
        self._sent = SentPrompts(redis)
        self._known: dict[str, KnownText] = {}

    async def visit(self) -> None:
        """Withdraw the person's waiting events and redact the text of others in all conversations.

        Later events of the person are kept.
        """
        begun = now()
        async for batch in conversations(self._redis):
            for stored in batch:
                await self._visit(stored)
        for raw, record in await DeadLetterQueue(self._redis).stored():
            new = self.redaction.record(record.event.encode(), everything=record.conversation in self.names)
            if new != record.event.encode() and any(self._is_near(e) for e in events_of([record.event])):
                changed = msgspec.json.encode(msgspec.structs.replace(record, event=new.decode()))
                shard = keys.shard_of(record.conversation)
                await self._redis.run(_EXCHANGE, [keys.dead_letters(shard)], [raw, changed])
                self.edited.add((record.conversation, record.event))
        self._until = self._until or begun

    async def tidy(self) -> dict[str, int]:
        """Delete the summaries of the affected conversations, and redact their sent prompts.

        Returns the conversations with a running answer, with the tokens of their leases.
        """
        running = await self._unlearn(sorted(self.names))
        await self._sent.tidy(self.names, self)
        await self._sent.without_examples(self.redaction)
        return running

    async def written(self, running: dict[str, int]) -> list[str]:
        """Those of these conversations whose answer has been committed or released."""
        commands = [("HGET", keys.of("lease", name), "token") for name in running]
        tokens = await self._redis.many(commands)
        return [name for name, token in zip(running, tokens, strict=True) if int(token or 0) != running[name]]

    async def again(self, names: Sequence[str]) -> dict[str, int]:
        """Process these conversations once more. Returns {}, because no earlier answer is running there now."""
        for stored in await read(self._redis, names):
            await self._visit(stored)
        await self._unlearn(names)
        await self._sent.tidy(names, self)
        return {}

    # -------------------------------------------------------------- turns and waiting events

    async def _visit(self, stored: StoredConversation) -> None:
        for _ in range(ATTEMPTS):
            if await self._change(stored):
                return
            (stored,) = await read(self._redis, [stored.name])

    async def _change(self, stored: StoredConversation) -> bool:
        """Redact a conversation; False if some of it has changed concurrently."""
        changes = await asyncio.to_thread(self._changes, stored)
        complete = True
        for kind, old, new, id in changes:
            key = keys.of(kind, stored.name)
            if await self._redis.run(_EXCHANGE, [key], [old, new]):
                self.edited.add((stored.name, id))
                self.names.add(stored.name)
            else:
                complete = False
        for raw in stored.events:
            complete &= await self._withdraw(stored.name, raw)
        return complete

    def _changes(self, stored: StoredConversation) -> list[tuple[str, bytes, bytes, str]]:
        found: list[tuple[str, bytes, bytes, str]] = []
        known, everything = self._known.get(stored.name, KnownText()), stored.name in self.names
        for raw in stored.turns:
            for turn in read_turns([raw]):
                if not self._is_theirs(turn.received):
                    known.learn([turn])
                if turn.received.user.is_same(self._user):
                    if not self._is_theirs(turn.received) and (new := self.redaction.answer(raw)) is not raw:
                        found.append(("turns", raw, new, turn.id))
                elif self._is_near(turn.received):
                    self._note(found, "turns", raw, turn.id, everything)
        for raw in stored.events:
            for event in events_of([raw]):
                if self._is_near(event) and not event.user.is_same(self._user):
                    self._note(found, "inbox", raw, event.id, everything)
        if found or everything:
            self._known[stored.name] = known
        return found

    def _note(
        self, found: list[tuple[str, bytes, bytes, str]], kind: str, raw: bytes, id: str, everything: bool
    ) -> None:
        new = self.redaction.record(raw, everything=everything)
        if new is not raw:
            found.append((kind, raw, new, id))

    async def _withdraw(self, name: str, raw: bytes) -> bool:
        """Replace the person's own waiting event by an empty one."""
        for event in events_of([raw]):
            if not self._is_theirs(event) or isinstance(
                event, MessageDeleted | StopRequested | MessageWithdrawn
            ):
                continue
            if event.id == self._event:
                continue
            replacement = MessageWithdrawn(
                id=event.id,
                address=event.address,
                user=msgspec.structs.replace(event.user, name=""),
                at=event.at,
                asked=isinstance(event, MessageReceived) and event.addressed,
            )
            names = [keys.of("inbox", name), keys.of("lease", name)]
            arguments = [raw, msgspec.json.encode(replacement), event.id, name, keys.STOPS]
            done = await self._redis.run(_WITHDRAW, names, arguments)
            self.withdrawn += bool(done) and isinstance(
                event, MessageReceived | MessageEdited | FeedbackGiven
            )
        return True

    def _is_theirs(self, event: Event) -> bool:
        return event.user.is_same(self._user) and (self._until is None or event.at <= self._until)

    def _is_near(self, event: Event) -> bool:
        """Whether to search the person's text here; in other tenants, matches are coincidences."""
        return event.user.tenant == self._user.tenant or event.address.conversation in self.names

    # -------------------------------------------------------------- summaries, sent prompts

    def known(self, conversation: str, turns: Sequence[Turn]) -> KnownText:
        """The text of others in a conversation, also of turns that were there before."""
        known = self._known.setdefault(conversation, KnownText())
        known.learn(turns)
        return known

    def prompts(self, packed: bytes, known: KnownText) -> bytes:
        """Redact stored prompts of answers to others."""
        return self.redaction.prompts(packed, known, everything=True)

    async def _unlearn(self, names: Sequence[str]) -> dict[str, int]:
        running: dict[str, int] = {}
        for name in names:
            places = [keys.of(kind, name) for kind in ("summary", "feed", "lease")]
            token = await self._redis.run(_UNLEARN, places, [keys.LEASE_S])
            if token and not await self._is_own(name):
                running[name] = token
        return running

    async def _is_own(self, name: str) -> bool:
        """Whether the running answer is to the erasure request itself, or to a withdrawn event."""
        head: bytes | None = await self._redis.call("LINDEX", keys.of("inbox", name), 0)
        events = events_of([head] if head else [])
        return any(event.id == self._event or isinstance(event, MessageWithdrawn) for event in events)
