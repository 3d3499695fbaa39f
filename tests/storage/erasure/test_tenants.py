"""A place that the bot was taken away from is forgotten: all of it, nothing else, and again after a crash."""

from typing import Any

import pytest
from msgspec.structs import replace

from bot.domain import limits
from bot.domain.errors import LeaseLost, StateUnavailable
from bot.domain.events import Address, AppUninstalled, User, now
from bot.domain.prompts import Example, Image, Prompt, say
from bot.domain.publications import PoolChange, Proposal, State
from bot.domain.turns import Reply, Turn, Usage
from bot.storage.conversations.search import ConversationSearch
from bot.storage.conversations.summaries import Summary, SummaryStore
from bot.storage.conversations.turns import Turns, pack_image, pack_prompts
from bot.storage.erasure.tenants import TenantErasure, Tenants
from bot.storage.live.event_stream import EventStream
from bot.storage.prompts.preferences import PreferenceStore
from bot.storage.prompts.proposals import Proposals
from bot.storage.prompts.versions import Versions
from bot.storage.queue.dead_letters import DeadLetterQueue
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.usage.charges import Charges
from bot.storage.usage.quota import Estimate, QuotaLedger
from bot.storage.usage.reports import UsageReports
from tests.support.acts import received
from tests.support.charges import charge_for, reserve
from tests.support.dumps import traces

ADA, EVE = User(id="ada", tenant="TACME"), User(id="evelyn", tenant="TBOLT")
HERE, THERE = "test:TACME:C1:1", "test:TBOLT:C2:1"


class FakeServices:
    """Two tenants, of whom everything is kept that can be kept."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.inbox = Inbox(redis, lease_s=30, limit=20, retention_s=3600)
        self.turns, self.memory, self.proposals = Turns(redis), SummaryStore(redis, 3600), Proposals(redis)
        self.archive, self.usage_reports, self.choices = (
            ConversationSearch(redis, 3600),
            UsageReports(redis),
            PreferenceStore(redis),
        )
        self.charges = Charges(redis, self.archive)
        self.ledger = QuotaLedger(redis, self.charges, limits.read(limits.DEFAULT))
        self.tenants = Tenants(redis, self.archive)

    async def claim(self, conversation: str) -> Claim:
        claim = await self.inbox.claim(keys.shard_of(conversation))
        assert isinstance(claim, Claim)
        return claim

    async def answer(self, conversation: str, user: User, event: str = "e1", **data: str) -> Turn:
        """A turn with everything that stands beside it."""
        asked = received(event=event, conversation=conversation, user=user, channel="C1")
        asked = replace(asked, address=replace(asked.address, data=data))
        await self.inbox.accept(asked)
        claim = await self.claim(conversation)
        picture = Image(mime="image/png", data=b"\x89PNG", ref=f"ref of {event}")
        turn = Turn(
            id=event,
            received=asked,
            template="t@0",
            messages=(),
            reply=Reply(text="answer", images=(replace(picture, data=b""),)),
            outcome="answered",
            began_at=now(),
            ended_at=now(),
            usage=(Usage(deployment="d", input_tokens=5, usd=0.01),),
        )
        await reserve(self.ledger, asked, event, Estimate(usd=0.01))
        sent = pack_prompts([Prompt(template="t@0", capability="chat", messages=(say("user", "hello"),))])
        pictures = {picture.ref: pack_image(picture)}
        pending = charge_for(turn)
        await self.inbox.commit(claim, CommitRequest(turn=turn, sent=sent, pictures=pictures, charge=pending))
        await self.charges.settle(pending)
        await self.charges.tidy()
        return turn

    async def live(self, conversation: str, user: User, **data: str) -> None:
        """A turn, a summary, choices, a proposal, something buried, something that waits."""
        turn = await self.answer(conversation, user, **data)
        await self.memory.put(conversation, Summary(since="e0", text="They spoke.", oldest=now()))
        await self.choices.choose(user, "", template="translate")
        await self.choices.choose(user, "C1", deployment="small")
        await self.choices.set_quiet(turn.received, True)
        example = Example(user="hello", assistant="answer")
        proposal = Proposal(
            id=f"of {user.id}",
            pool="p",
            example=example,
            conversation=conversation,
            turn="e1",
            asker=user,
            author="x",
            at=now(),
        )
        await self.proposals.put(proposal)
        await self.inbox.accept(received(event="bad", conversation=conversation, user=user))
        await self.inbox.commit(
            await self.claim(conversation), CommitRequest(dead_letter_reason="It was bad.")
        )
        await self.inbox.accept(received(event="waits", conversation=conversation, user=user))

    async def names(self, word: str) -> list[str]:
        """The keys that tell of somebody, or of a conversation, but for what says nothing of them."""
        found = [name async for name in self.redis.scan("parley:*") if word in name]
        return sorted(name for name in found if keys.kind_of(name) not in ("seen", "lease"))

    async def traces(self, word: str) -> list[str]:
        """The keys that hold a word, in their names or in what they hold."""
        found = list(await self.names(word))
        for name in [name async for name in self.redis.scan("parley:*")]:
            kind = await self.redis.call("TYPE", name)
            read = {b"list": ("LRANGE", name, 0, -1), b"hash": ("HGETALL", name), b"set": ("SMEMBERS", name)}
            read |= {b"zset": ("ZRANGE", name, 0, -1), b"string": ("GET", name)}
            if word in str(await self.redis.call(*read[kind])) and keys.kind_of(name) != "lease":
                found.append(name)
        return sorted(set(found))


@pytest.fixture
async def services(redis: Redis) -> FakeServices:
    return FakeServices(redis)


def gone(tenant: str = "TACME", **more: Any) -> AppUninstalled:
    """The bot was taken away from a tenant."""
    event = f"test:departed:{tenant}"
    fields: dict[str, Any] = {"conversation_prefix": f"test:{tenant}:", "whole": True} | more
    address = Address(conversation=event, event=event)
    return AppUninstalled(id=event, address=address, user=User(id="", tenant=tenant), at=now(), **fields)


def totals_of(tenant: str) -> list[str]:
    """The keys of a tenant's sums, which name nobody."""
    today = now()
    totals = [keys.spent(tenant, f"{today:{form}}", "tenant") for form in ("%Y-%m-%d", "%Y-%m")]
    return sorted([*totals, keys.daily_totals(tenant, today.date()), keys.tenants_of(today.date())])


async def test_only_the_data_of_the_tenant_is_deleted(services: FakeServices) -> None:
    await services.live(HERE, ADA)
    await services.live(THERE, EVE)
    others = await services.traces("TBOLT")
    erased = await services.tenants.forget(gone())
    assert erased == TenantErasure(conversations=1, turns=1, waiting=1, dead_letters=1, proposals=1, people=1)
    left = await services.traces("TACME")
    assert left == totals_of("TACME"), "only the tenant's sums, which name nobody"
    assert await services.traces("ada") == []
    assert await services.traces("TBOLT") == others
    assert await services.turns.image(THERE, "ref of e1") is not None
    day = now().date()
    assert (await services.ledger.spent("TACME", None, day, day)).turns == 1
    assert not [row for row in await services.usage_reports.rows(day, day) if row.name.startswith("TACME/")]
    assert [item.asker.id for item in await services.proposals.all()] == ["evelyn"]
    assert [item.conversation for item in (await DeadLetterQueue(services.redis).all()).values()] == [THERE]


async def test_a_second_deletion_finds_nothing(
    services: FakeServices,
) -> None:
    await services.live(HERE, ADA)
    await services.tenants.forget(gone())
    assert await services.tenants.forget(gone()) == TenantErasure()
    await services.answer(HERE, ADA, event="e2")
    assert [turn.id for turn in await services.turns.turns(HERE)] == ["e2"]
    assert await services.turns.sent(HERE, "e2")


async def test_messages_after_a_reinstallation_stay(services: FakeServices) -> None:
    await services.answer(HERE, ADA, event="old")
    departed = gone()
    await services.answer(HERE, ADA, event="new")
    await services.answer("test:TACME:C2:2", ADA, event="new too")
    erased = await services.tenants.forget(departed)
    assert (erased.conversations, erased.turns) == (0, 1)
    assert [turn.id for turn in await services.turns.turns(HERE)] == ["new"]
    assert (await services.turns.sent(HERE, "new"), await services.turns.sent(HERE, "old")) != ((), ())
    assert await services.turns.sent(HERE, "old") == ()
    assert await services.turns.image("test:TACME:C2:2", "ref of new too") is not None


async def test_sent_prompts_without_turns_are_deleted(services: FakeServices) -> None:
    await services.answer(HERE, ADA)
    await services.redis.call("DEL", keys.of("turns", HERE))
    await services.tenants.forget(gone())
    assert await services.names(HERE) == []


async def test_a_running_worker_can_commit_nothing(services: FakeServices) -> None:
    await services.inbox.accept(received(event="late", conversation=HERE, user=ADA))
    claim = await services.claim(HERE)
    await services.tenants.forget(gone())
    with pytest.raises(LeaseLost):
        await services.inbox.hold(claim)
    with pytest.raises(LeaseLost):
        await services.inbox.commit(claim, CommitRequest())
    assert await services.names(HERE) == []


async def test_the_next_attempt_completes_after_a_crash(
    services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis fails at every step in turn; the last attempt deletes the rest."""
    conversations = [f"test:TACME:C{number}:1" for number in range(3)]
    for room in conversations:
        await services.live(room, ADA)
    steps = 0
    for name in ("call", "many", "run"):
        real = getattr(Redis, name)
        for most in range(0, 40, 3):
            left = most

            async def failing(self: Redis, *command: Any, _real: Any = real) -> Any:
                nonlocal left
                if left == 0:
                    raise StateUnavailable("Redis is away")
                left -= 1
                return await _real(self, *command)

            monkeypatch.setattr(Redis, name, failing)
            try:
                await services.tenants.forget(gone())
            except StateUnavailable:
                steps += 1
            monkeypatch.setattr(Redis, name, real)
    await services.tenants.forget(gone())
    assert steps > 10
    assert await services.traces("TACME") == totals_of("TACME")


async def test_an_organisation_includes_all_its_tenants(services: FakeServices) -> None:
    await services.live(HERE, ADA, enterprise="E1")
    await services.live(THERE, EVE, enterprise="E1")
    await services.live("test:TOWN:C1:1", User(id="own", tenant="TOWN"), enterprise="")
    alone = await services.traces("TOWN")
    departed = gone("", conversation_prefix="test:", marks={"enterprise": "E1"})
    await services.inbox.accept(departed)
    erased = await services.tenants.forget(departed)
    assert (erased.conversations, erased.people, erased.proposals) == (2, 2, 2)
    assert await services.traces("ada") == await services.traces("evelyn") == []
    assert await services.traces("TOWN") == alone
    claim = await services.claim(departed.address.conversation)
    assert claim.event == departed, "what tells of it is not forgotten with it"
    await services.inbox.commit(claim, CommitRequest())


async def test_of_one_chat_only_that_chat_is_deleted(services: FakeServices) -> None:
    await services.live(HERE, ADA)
    await services.answer("test:TACME:C2:1", ADA)
    erased = await services.tenants.forget(gone("TACME", conversation_prefix=HERE, whole=False))
    assert (erased.conversations, erased.people) == (1, 0)
    assert len(await services.turns.turns("test:TACME:C2:1")) == 1
    assert (await services.choices.of(ADA, "")).template == "translate"


async def test_pattern_characters_in_names_are_literal(services: FakeServices) -> None:
    await services.answer("test:TACME:C1:1", ADA)
    for name in ("test:TAC*:", "test:TACM[E]:", "test:TACM?:"):
        assert (
            await services.tenants.forget(gone("TACME", conversation_prefix=name, whole=False))
        ).conversations == 0
    await services.answer("test:TACME:19:[a]*;x=1", ADA)
    assert (
        await services.tenants.forget(gone("TACME", conversation_prefix="test:TACME:19:[a]*", whole=False))
    ).conversations == 1


async def test_unreadable_data_is_deleted_too(services: FakeServices) -> None:
    await services.answer(HERE, ADA)
    await services.redis.call("RPUSH", keys.of("turns", HERE), '{"of": "the future"}')
    await services.redis.call("RPUSH", keys.of("inbox", HERE), "not JSON")
    erased = await services.tenants.forget(gone())
    assert (erased.turns, erased.waiting) == (2, 1)
    assert await services.names(HERE) == []


async def test_a_tenants_text_leaves_pools_and_pages(services: FakeServices) -> None:
    """Field fault 94: A tenant is deleted as completely as a person."""
    turn = await services.answer(HERE, ADA)
    await EventStream(services.redis).publish(HERE, b'{"text": "seventeen elephants"}')
    example = Example(user="seventeen elephants", assistant="dance")
    states: tuple[State, ...] = ("proposed", "accepted")
    for id, state in enumerate(states):
        await services.proposals.put(
            Proposal(
                id=str(id),
                pool="p",
                example=example,
                conversation=HERE,
                turn=turn.id,
                asker=ADA,
                author="x",
                at=now(),
                state=state,
            )
        )
    change = PoolChange(number=1, pool="p", author="x", at=now(), reason="r", added=(example,))
    await Versions(services.redis).append(change)
    claim = await services.inbox.accept(received(event="late", conversation=HERE, user=ADA))
    assert claim == "accepted"
    late = await services.claim(HERE)
    assert (await services.tenants.forget(gone())).proposals == 2
    summary = Summary(since="e1", text="seventeen elephants", oldest=now())
    await services.memory.put(HERE, summary, late.erasures)
    assert await traces(services.redis, "seventeen elephants") == set()
