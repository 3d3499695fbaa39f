"""Redacts a person's text in the data of others: turns, events, sent prompts."""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Any, cast

import msgspec

from bot.domain.events import QuotedMessage, User
from bot.domain.names import attribute, person_name
from bot.domain.prompts import ToolCall, ToolResult
from bot.domain.turns import Turn
from bot.storage.erasure.text_matching import REMOVED, Passages

Json = dict[str, Any]

SOMEBODY = "somebody"
EXPIRED = "[older than the retention time]"
_NO_TEXT = frozenset(
    (
        *("id", "conversation", "event", "target", "tenant", "channel", "ref", "by", "restores", "since"),
        *(
            "ahead",
            "sticky",
            "kind",
            "type",
            "role",
            "mime",
            "outcome",
            "template",
            "deployment",
            "capability",
        ),
        *("at", "began_at", "ended_at", "data", "user", "post", "address", "usage", "filter", "parameters"),
        "tools",
    )
)
"""Fields without people's text: ids, times, numbers."""
_QUOTED = re.compile(r'<message author="([^"]*)"[^>\n]*>\n(.*?)\n</message>', re.DOTALL)
"""The form of quoted messages in a prompt (`bot.files.fenced_data.quoted`)."""
_FILE = re.compile(r'<file name="([^"]*)"[^>\n]*>\n.*?\n</file>', re.DOTALL)
_SUMMARY = re.compile(r"(<summary>\n).*(\n</summary>)", re.DOTALL)
_FROM = re.compile(r"From (.*):", re.DOTALL)
"""How stored prompts of older versions name the sender of a message."""
_SENT = re.compile(r'<sent (by="([^"]*)" )?at="[^"]*"(?: in="[^"]*")?/>')
"""And how prompts do now (`bot.files.fenced_data.sent_tag`)."""


@dataclass(slots=True)
class KnownText:
    """The text of the remaining turns of a conversation, the only history that its prompts may contain."""

    texts: set[str] = field(default_factory=lambda: {REMOVED, EXPIRED})
    calls: set[str] = field(default_factory=set[str])

    def learn(self, turns: Iterable[Turn]) -> None:
        for turn in turns:
            for message in turn.messages:
                self.texts.add(message.text)
                parts = (part for part in message.parts if isinstance(part, ToolCall | ToolResult))
                self.calls.update(part.id for part in parts)


class Redaction:
    """Removes one person's id, names and text.

    Methods return the same object if there is nothing to remove. With `everything`, short passages are
    removed, too, as in conversations in which the person took part.
    """

    def __init__(
        self,
        user: User,
        names: Iterable[str],
        passages: Passages,
        files: Iterable[str] = (),
        examples: frozenset[str] = frozenset(),
    ) -> None:
        """`files` are the names of the person's files that were read for others, where they are quoted.

        `examples` are the texts of examples made from the person's questions, which prompts of anybody may show.
        """
        self._user = user
        self._files = frozenset(" ".join(name.replace('"', "'").split()) for name in files)
        self._names = frozenset(" ".join(name.split()) for name in names if name.strip())
        self._shown_names = frozenset(map(_shown, (*self._names, user.id)))
        self._passages = passages
        self._examples = examples

    @property
    def has_examples(self) -> bool:
        """Whether prompts of any conversation may show examples made from the person's questions."""
        return bool(self._examples)

    def quotes(self, quote: QuotedMessage) -> bool:
        """Whether it quotes this person: by id or, if the platform gives none, by name."""
        return self._theirs(quote.author, quote.by)

    def _theirs(self, author: str, by: str) -> bool:
        return by == self._user.id if by else _shown(author) in self._shown_names

    def record(self, stored: bytes, *, everything: bool) -> bytes:
        """Redact a stored turn or event."""
        before: Json = msgspec.json.decode(stored)
        after = self._record(before, everything)
        return stored if after is before else msgspec.json.encode(after)

    def answer(self, stored: bytes) -> bytes:
        """Redact a newer turn of the person; their own new question stays."""
        before: Json = msgspec.json.decode(stored)
        after = self._record({name: old for name, old in before.items() if name != "said"}, True)
        messages = [
            old if old["role"] == "user" else new
            for old, new in zip(before.get("messages", ()), after.get("messages", ()), strict=True)
        ]
        after = {**before, **after, **({"messages": messages} if messages else {})}
        return stored if after == before else msgspec.json.encode(after)

    def _record(self, record: Json, everything: bool) -> Json:
        ratings = record.get("ratings")
        if ratings and self._user.id in ratings:
            record = {
                **record,
                "ratings": {who: what for who, what in ratings.items() if who != self._user.id},
            }
        return cast("Json", self.value(record, everything=everything))

    def value(self, value: Any, *, everything: bool) -> Any:
        """Redact a JSON value."""
        match value:
            case str():
                return self._text(value, everything)
            case list():
                old = cast("list[Any]", value)
                new = [self.value(item, everything=everything) for item in old]
                return new if any(a is not b for a, b in zip(new, old, strict=True)) else old
            case dict():
                return self._object(cast("Json", value), everything)
            case _:
                return value

    def _object(self, value: Json, everything: bool) -> Json:
        if "author" in value and "text" in value and self._theirs(value["author"], value.get("by", "")):
            return {"author": SOMEBODY, "text": REMOVED}
        # Images that were read with a message; those of answers have other refs.
        if everything and value.get("alt") in self._files and "-in" in value.get("ref", ""):
            return {"type": "text", "text": REMOVED}
        changed = {
            name: new
            for name, old in value.items()
            if name not in _NO_TEXT and (new := self.value(old, everything=everything)) is not old
        }
        return {**value, **changed} if changed else value

    def _text(self, text: str, everything: bool) -> str:
        if text[:1] in ("{", "[") and (inner := self._inner(text, everything)) is not None:
            return inner
        if "<message author=" in text:
            text = _QUOTED.sub(self._block, text)
        if everything and self._files and "<file name=" in text:
            text = _FILE.sub(self._file, text)
        return self._passages.redact(text, everything=everything)

    def _inner(self, text: str, everything: bool) -> str | None:
        """Redact a text that is JSON itself, such as the arguments of a tool; None if it is not JSON."""
        try:
            before = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return None
        after = self.value(before, everything=everything)
        return text if after is before else msgspec.json.encode(after).decode()

    def _block(self, found: re.Match[str]) -> str:
        if not self._theirs(found[1], ""):
            return found[0]
        return f'<message author="{SOMEBODY}">\n{REMOVED}\n</message>'

    def _file(self, found: re.Match[str]) -> str:
        return f'<file name="{REMOVED}">\n{REMOVED}\n</file>' if found[1] in self._files else found[0]

    # -------------------------------------------------------------- sent prompts

    def prompts(self, packed: bytes, known: KnownText | None, *, everything: bool) -> bytes:
        """Redact stored prompts of an answer to somebody else.

        With `known`, history messages that are in no turn are removed, because they may be earlier versions
        of edited questions.
        """
        before: list[Json] = msgspec.json.decode(zlib.decompress(packed))
        after = [self._prompt(prompt, known, everything) for prompt in before]
        if all(new is old for new, old in zip(after, before, strict=True)):
            return packed
        return zlib.compress(msgspec.json.encode(after), 1)

    def without_examples(self, packed: bytes) -> bytes:
        """Remove the examples made from the person's questions from stored prompts of any conversation."""
        before: list[Json] = msgspec.json.decode(zlib.decompress(packed))
        after = [
            {**prompt, "messages": [self._without_examples(message) for message in prompt["messages"]]}
            for prompt in before
        ]
        return packed if after == before else zlib.compress(msgspec.json.encode(after), 1)

    def _without_examples(self, message: Json) -> Json:
        """A system message without the person's examples; it holds those of a pool, each after a blank line."""
        if message["role"] != "system" or not self._examples:
            return message
        text = after = _words(message)
        for label, example in product(("User", "Assistant"), self._examples):
            after = after.replace(f"\n\n{label}: {example}", f"\n\n{label}: {REMOVED}")
        return message if after == text else {**message, "parts": [{"type": "text", "text": after}]}

    def _prompt(self, prompt: Json, known: KnownText | None, everything: bool) -> Json:
        old: list[Json] = prompt["messages"]
        history = _history(prompt)
        new: list[Json] = []
        for place, message in enumerate(old):
            past = place in history and message["role"] != "system"
            if sent := _SENT.fullmatch(_words(message)):
                new.append(self._sender(message, sent))
            elif past and known is not None and not _is_known(message, known):
                new.append(_replaced(message, REMOVED))
            elif message["role"] == "system":
                new.append(self._instruction(self._without_examples(message), known, everything))
            else:
                new.append(self.value(message, everything=everything))
        return prompt if all(a is b for a, b in zip(new, old, strict=True)) else {**prompt, "messages": new}

    def _sender(self, message: Json, sent: re.Match[str]) -> Json:
        """Redact who sent a message; when is nothing of theirs."""
        if sent[2] not in self._shown_names:
            return message
        text = f'<sent by="{SOMEBODY}" {sent[0].removeprefix(f"<sent {sent[1]}")}'
        return _replaced(message, text)

    def _instruction(self, message: Json, known: KnownText | None, everything: bool) -> Json:
        """Redact a system message: the name of the asker, or a summary."""
        text = after = _words(message)
        asker = _FROM.fullmatch(text)
        if asker and asker[1] in self._names:
            after = f"From {SOMEBODY}:"
        elif known is not None and "<summary>" in text:
            after = _SUMMARY.sub(rf"\1{REMOVED}\2", text)
        after = self._text(after, everything)
        return message if after == text else _replaced(message, after)


def without_expired(packed: bytes, known: KnownText) -> bytes:
    """Stored prompts without what is known no longer: messages of the history that are in no turn, and summaries.

    Returns the same object if there is nothing to remove.
    """
    before: list[Json] = msgspec.json.decode(zlib.decompress(packed))
    after = [_without_expired(prompt, known) for prompt in before]
    return packed if after == before else zlib.compress(msgspec.json.encode(after), 1)


def _without_expired(prompt: Json, known: KnownText) -> Json:
    history, messages = _history(prompt), list[Json]()
    for place, message in enumerate(prompt["messages"]):
        if message["role"] == "system":
            text = _words(message)
            kept = _SUMMARY.sub(rf"\1{EXPIRED}\2", text)
            messages.append(message if kept == text else _replaced(message, kept))
        elif place in history and not _is_known(message, known):
            messages.append(_replaced(message, EXPIRED))
        else:
            messages.append(message)
    return {**prompt, "messages": messages}


def _history(prompt: Json) -> range:
    """The places of the messages between the examples and the question."""
    roles = [message["role"] for message in prompt["messages"]]
    question = max((n for n, role in enumerate(roles) if role == "user"), default=0)
    opening = next((n for n, role in enumerate(roles) if role != "system"), 0) + prompt.get("examples", 0)
    return range(opening, question)


def _replaced(message: Json, text: str) -> Json:
    return {**message, "parts": [{"type": "text", "text": text}]}


def _shown(name: str) -> str:
    """A name as it stands in a tag of a prompt."""
    return attribute(person_name(name))


def _words(message: Json) -> str:
    return "".join(part.get("text", "") for part in message["parts"])


def _is_known(message: Json, known: KnownText) -> bool:
    parts: list[Json] = message["parts"]
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    ids = [part["id"] for part in parts if part["type"] in ("call", "result")]
    return (not text or text in known.texts) and all(id in known.calls for id in ids)
