"""Removes a person from the studio's data: saved configurations, votes, examples, sessions."""

from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from bot.domain.events import User
from bot.domain.prompts import Example
from bot.domain.publications import PoolChange, Proposal, Record, SavedConfig
from bot.storage.conversations.votes import Vote
from bot.storage.erasure.collection import PersonData
from bot.storage.erasure.redaction import SOMEBODY, Redaction
from bot.storage.erasure.text_matching import REMOVED
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script
from bot.storage.studio.sessions import Sessions

_EXCHANGE = Script("exchange")
_STUDIO = "studio"
"""The tenant of the studio's users."""
_record = msgspec.json.Decoder(Record)
_proposal = msgspec.json.Decoder(Proposal)
_saved = msgspec.json.Decoder(SavedConfig)
_vote = msgspec.json.Decoder(Vote)


class Publications:
    """The studio's stored data. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def collect(self, found: PersonData) -> PersonData:
        """Add the text of the configurations that the person saved, and of the examples made from their questions."""
        texts = dict(found.texts)
        examples = set(found.examples)
        for stored in await self._redis.call("HVALS", keys.PROPOSALS):
            for item in _read(_proposal, stored):
                if item.state == "accepted" and item.asker.is_same(found.user):
                    examples |= {item.example.user.strip(), item.example.assistant.strip()}
        if found.user.tenant == _STUDIO:
            for stored in await self._redis.call("HVALS", keys.SAVED_CONFIGS):
                for item in _read(_saved, stored):
                    if item.owner == found.user.id:
                        texts |= dict.fromkeys(_strings(msgspec.json.decode(item.setups)), item.at)
        return replace(found, texts=tuple(texts.items()), examples=frozenset(examples))

    async def forget_own(self, user: User) -> int:
        """Delete a person's saved configurations and votes. Returns their number."""
        if user.tenant != _STUDIO:
            return 0
        saved_configs = await self._fields(keys.SAVED_CONFIGS, _saved, lambda item: item.owner == user.id)
        votes = await self._fields(keys.VOTES, _vote, lambda item: item.voter == user.id)
        for name, fields in ((keys.SAVED_CONFIGS, saved_configs), (keys.VOTES, votes)):
            if fields:
                await self._redis.call("HDEL", name, *fields)
        return len(saved_configs) + len(votes)

    async def end_sessions(self, user: User) -> int:
        """Sign a person out of the studio, or everybody if `user` has no id. Returns the number of sessions."""
        if user.tenant != _STUDIO:
            return 0
        sessions = Sessions(self._redis, idle_s=0, absolute_s=0)  # limits matter for new ones only
        return len(await sessions.end_of(user.id))

    async def forget_examples(self, theirs: Callable[[Proposal], bool], texts: Set[str] = frozenset()) -> int:
        """Delete proposals made from a person's questions (`theirs`, or one of `texts`), and remove accepted ones
        from their pools, in the history, too. Returns their number.
        """
        stored: list[bytes] = await self._redis.call("HVALS", keys.PROPOSALS)
        every: list[Proposal] = [item for raw in stored for item in _read(_proposal, raw)]
        proposals = [each for each in every if theirs(each) or each.example.user.strip() in texts]
        words = texts | {each.example.user.strip() for each in proposals if each.state == "accepted"}

        def without(examples: Sequence[Example]) -> tuple[Example, ...]:
            return tuple(example for example in examples if example.user.strip() not in words)

        def cleared(record: Record) -> Record:
            if not isinstance(record, PoolChange):
                return record
            added, removed = without(record.added), without(record.removed)
            if (added, removed) == (record.added, record.removed):
                return record
            return replace(record, added=added, removed=removed)

        await self._amend(cleared)
        if proposals:
            await self._redis.call("HDEL", keys.PROPOSALS, *(proposal.id for proposal in proposals))
        return len(proposals)

    async def redact(self, found: PersonData, redaction: Redaction) -> None:
        """Redact a person's text in the configurations of others, and their name in published records."""
        for name in (keys.SAVED_CONFIGS, keys.PROPOSALS):
            for field, stored in (await self._redis.call("HGETALL", name)).items():
                new = redaction.record(stored, everything=False)
                if new is not stored:
                    await self._redis.call("HSET", name, field, new)
        if found.user.tenant == _STUDIO:
            names = found.names - {""}

            def nameless(record: Record) -> Record:
                if any(record.author == name or record.author.startswith(f"{name} (") for name in names):
                    return replace(record, author=SOMEBODY, reason=REMOVED if record.reason else "")
                return record

            await self._amend(nameless)

    async def _amend(self, change: Callable[[Record], Record]) -> None:
        """Change records of the history in place; all processes then reload it."""
        amended = 0
        for stored in await self._redis.call("LRANGE", keys.VERSIONS, 0, -1):
            for record in _read(_record, stored):
                new = change(record)
                if new is not record:
                    encoded = msgspec.json.encode(new)
                    amended += await self._redis.run(_EXCHANGE, [keys.VERSIONS], [stored, encoded])
        if amended:
            await self._redis.call("INCR", keys.AMENDED)
            await self._redis.call("PUBLISH", keys.PUBLISHED, 0)

    async def _fields(self, name: str, decoder: Any, test: Callable[[Any], bool]) -> list[bytes]:
        found: list[bytes] = []
        for field, stored in (await self._redis.call("HGETALL", name)).items():
            found += [field for item in _read(decoder, stored) if test(item)]
        return found


def _read(decoder: Any, stored: bytes) -> list[Any]:
    """The decoded value in a list; empty if it can't be read, because a newer version wrote it."""
    try:
        return [decoder.decode(stored)]
    except msgspec.MsgspecError:
        return []


def _strings(value: Any) -> Iterator[str]:
    """All strings of a JSON value, except for field names."""
    match value:
        case str():
            yield value
        case list():
            for item in cast("list[Any]", value):
                yield from _strings(item)
        case dict():
            for item in cast("dict[str, Any]", value).values():
                yield from _strings(item)
        case _:
            pass
