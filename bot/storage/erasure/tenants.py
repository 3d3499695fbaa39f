"""Deletes the data of a workspace, an organisation or a chat from which the bot was removed."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from bot.domain.adapter import StillServed, person_key
from bot.domain.events import AppUninstalled, BaseEvent, User
from bot.storage.conversations.search import ConversationSearch
from bot.storage.conversations.turns import Turns, read_turns
from bot.storage.erasure.collection import events_of, read_all
from bot.storage.erasure.studio_data import Publications
from bot.storage.queue.dead_letters import DeadLetterQueue
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script, literal
from bot.storage.usage.reports import UsageReports

_CLEAR = Script("clear")
_BESIDE = frozenset({"sent", "picture", "summary", "feed", "others", "shared"})
_NAMES = 200
"""Keys that are deleted per round trip."""


class TenantErasure(msgspec.Struct, frozen=True, kw_only=True):
    """The amounts that were deleted. `people` are those with stored preferences, usage or conversations."""

    conversations: int = 0
    turns: int = 0
    waiting: int = 0
    dead_letters: int = 0
    proposals: int = 0
    people: int = 0

    def __str__(self) -> str:
        return (
            f"conversations {self.conversations}, answers {self.turns}, waiting messages {self.waiting}, "
            f"dead letters {self.dead_letters}, proposals {self.proposals}, people {self.people}"
        )

    def __bool__(self) -> bool:
        return self != TenantErasure()


@dataclass(slots=True)
class _UninstalledPlace:
    """The conversations to delete. Those in `spared` continued after a reinstallation, `served` are tenants to skip."""

    uninstalled: AppUninstalled
    found: set[str] = field(default_factory=set[str])
    spared: set[str] = field(default_factory=set[str])
    tenants: set[str] = field(default_factory=set[str])
    served: frozenset[str] = frozenset()

    def holds(self, conversation: str) -> bool:
        """Whether a conversation is deleted completely."""
        if not conversation.startswith(self.uninstalled.conversation_prefix) or conversation in self.spared:
            return False
        return not self.uninstalled.marks or conversation in self.found

    def owns(self, rest: str) -> bool:
        """The same for the rest of a key after its kind: a conversation, and perhaps more."""
        if self.uninstalled.marks:
            return any(beginning in self.found for beginning in _beginnings(rest))
        return self.holds(rest) and not any(beginning in self.spared for beginning in _beginnings(rest))


class Tenants:
    """Deletes the data of tenants. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis, search: ConversationSearch) -> None:
        self._redis = redis
        self._search = search
        self._turns, self._usage_reports = Turns(redis), UsageReports(redis)
        self._publications, self._dead_letters = Publications(redis), DeadLetterQueue(redis)

    async def forget(self, uninstalled: AppUninstalled, served: StillServed | None = None) -> TenantErasure:
        """Delete conversations and people's data, unless they are still `served`; usage totals without names stay.

        Idempotent, also after a crash, because the keys by which a conversation is found are deleted last.
        A worker that still answers there loses its lease, so it can't commit.
        """
        served = served or StillServed()
        if uninstalled.user.tenant in served.tenants:
            return TenantErasure()
        place = await self._look(uninstalled, served)
        people = 0
        for tenant in sorted(place.tenants) if uninstalled.whole and not served.renewed else ():
            await self._publications.end_sessions(User(id="", tenant=tenant))
            people += await self._forget_people(tenant)
        dead_letters = await self._dead_letters.forget(place.holds)
        proposals = await self._publications.forget_examples(lambda each: place.holds(each.conversation))
        await self._search.forget(uninstalled.conversation_prefix, place.holds)
        await self._forget_beside(place)
        turns = waiting = 0
        for conversation in sorted(place.found):
            gone, events = await self._clear(conversation)
            turns += gone
            waiting += events
        for conversation in sorted(place.spared):
            turns += await self._forget_until(conversation, uninstalled)
        return TenantErasure(
            conversations=len(place.found),
            turns=turns,
            waiting=waiting,
            dead_letters=dead_letters,
            proposals=proposals,
            people=people,
        )

    async def preview(self, uninstalled: AppUninstalled) -> TenantErasure:
        """How much `forget` would delete: conversations, answers, waiting messages, dead letters."""
        place = await self._look(uninstalled)
        turns = waiting = 0
        async for stored in read_all(self._redis, sorted(place.found)):
            turns += len(stored.turns)
            waiting += len(stored.events)
        dead_letters = sum(
            place.holds(letter.conversation) for _, letter in await self._dead_letters.stored()
        )
        return TenantErasure(
            conversations=len(place.found), turns=turns, waiting=waiting, dead_letters=dead_letters
        )

    async def _look(
        self, uninstalled: AppUninstalled, served: StillServed | None = None
    ) -> _UninstalledPlace:
        place = _UninstalledPlace(
            uninstalled,
            tenants={uninstalled.user.tenant} - {""},
            served=served.tenants if served else frozenset(),
        )
        names: set[str] = set()
        async for _, kind, rest in self._scan(uninstalled.conversation_prefix):
            if kind in ("turns", "inbox") and rest != uninstalled.address.conversation:
                names.add(rest)
        async for stored in read_all(self._redis, sorted(names)):
            answered = [turn.received for turn in read_turns(stored.turns)]
            self._sort(place, stored.name, [*answered, *events_of(stored.events)])
        return place

    def _sort(self, place: _UninstalledPlace, conversation: str, acts: Sequence[BaseEvent]) -> None:
        marks = place.uninstalled.marks.items()
        if marks and not any(marks <= act.address.data.items() for act in acts):
            return
        if any(act.user.tenant in place.served for act in acts):
            return
        place.tenants.update(act.user.tenant for act in acts if not place.uninstalled.user.tenant)
        later = any(act.at > place.uninstalled.at for act in acts)
        (place.spared if later else place.found).add(conversation)

    async def _scan(self, names: str) -> AsyncIterator[tuple[str, str, str]]:
        """All keys of conversations with this prefix: name, kind, and the rest."""
        async for name in self._redis.scan(f"parley:{{p*}}:*:{literal(names)}*"):
            kind, _, rest = name.split("}:", 1)[1].partition(":")
            if rest.startswith(names):
                yield name, kind, rest

    async def _forget_beside(self, place: _UninstalledPlace) -> None:
        """Delete sent prompts, images, summaries and event streams, also of turns that are gone."""
        await self._delete(
            name
            async for name, kind, rest in self._scan(place.uninstalled.conversation_prefix)
            if kind in _BESIDE and place.owns(rest)
        )

    async def _clear(self, conversation: str) -> tuple[int, int]:
        """Empty a conversation. Returns its numbers of turns and waiting messages."""
        shard = keys.shard_of(conversation)
        names = [keys.of(kind, conversation) for kind in ("lease", "inbox", "turns", "summary")]
        names += [keys.ready(shard), keys.waiting(shard)]
        waiting, *turns = await self._redis.run(_CLEAR, names, [conversation])
        for turn in read_turns(turns):
            await self._turns.erase(conversation, turn)
        return len(turns), int(waiting)

    async def _forget_until(self, conversation: str, uninstalled: AppUninstalled) -> int:
        """Delete the turns from before the removal; later ones stay."""
        name, gone = keys.of("turns", conversation), 0
        for raw in await self._redis.call("LRANGE", name, 0, -1):
            for turn in read_turns([raw]):
                if turn.received.at <= uninstalled.at:
                    await self._turns.erase(conversation, turn)
                    gone += int(await self._redis.call("LREM", name, 1, raw))
        await self._redis.call("DEL", keys.of("summary", conversation))
        return gone

    async def _forget_people(self, tenant: str) -> int:
        """Delete the data of a tenant's people. Returns their number. The tenant's totals stay."""
        people: set[str] = set()
        prefix = keys.of_tenant("", tenant)

        async def names() -> AsyncIterator[str]:
            async for name in self._redis.scan(literal(prefix) + "*"):
                kind, _, rest = name.removeprefix(prefix).partition(":")
                _, _, owner = rest.partition(":")
                if kind == "tally" or (kind == "spent" and owner.startswith("tenant:")):
                    continue
                if kind == "spent" and owner.startswith("person:"):
                    people.add(owner.removeprefix("person:"))
                yield name
            async for name in self._redis.scan(f"parley:{{p*}}:talks:{literal(tenant)}:*"):
                people.add(name.split(f":talks:{tenant}:", 1)[1])
                yield name
            async for name in self._redis.scan(
                literal(keys.secret(person_key(User(id="", tenant=tenant)))) + "*"
            ):
                yield name

        await self._delete(names())
        await self._usage_reports.forget(tenant)
        await self._redis.call("SREM", keys.ASSIGNMENTS, tenant)
        return len(people)

    async def _delete(self, names: AsyncIterator[str]) -> None:
        """Delete keys, one command for each, because in a cluster they are on several nodes."""
        batch: list[str] = []
        async for name in names:
            batch.append(name)
            if len(batch) == _NAMES:
                await self._redis.many([("DEL", name) for name in batch])
                batch.clear()
        if batch:
            await self._redis.many([("DEL", name) for name in batch])


def _beginnings(rest: str) -> Iterator[str]:
    """The possible conversation ids at the start of the rest of a key, which may contain colons."""
    at = rest.find(":")
    while at >= 0:
        yield rest[:at]
        at = rest.find(":", at + 1)
    yield rest
