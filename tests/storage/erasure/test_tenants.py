"""A place that the bot was taken away from is forgotten: all of it, nothing else, and again after a crash."""

from typing import Any

import pytest
from msgspec.structs import replace

from bot.domain import limits
from bot.domain.errors import LeaseLost, StateUnavailable
from bot.domain.events import Address, Departed, User, now
from bot.domain.prompts import Example, Image, Prompt, say
from bot.domain.publications import PoolChange, Proposal, State
from bot.domain.turns import Reply, Turn, Usage
from bot.storage.conversations.search import Archive
from bot.storage.conversations.summaries import Memory, Summary
from bot.storage.conversations.turns import Turns, pack_image, pack_prompts
from bot.storage.erasure.tenants import Erased, Tenants
from bot.storage.live.event_stream import Feed
from bot.storage.prompts.preferences import Choices
from bot.storage.prompts.proposals import Proposals
from bot.storage.prompts.versions import Versions
from bot.storage.queue.dead_letters import Graveyard
from bot.storage.queue.inbox import Claim, Inbox, Written
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.usage.charges import Bills, bill
from bot.storage.usage.quota import Estimate, Ledger
from bot.storage.usage.reports import Books
from tests.support.acts import said
from tests.support.dumps import traces

ADA, EVE = User(id="ada", tenant="TACME"), User(id="evelyn", tenant="TBOLT")
HERE, THERE = "test:TACME:C1:1", "test:TBOLT:C2:1"


class House:
    """Two tenants, of whom everything is kept that can be kept."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.inbox = Inbox(redis, lease_s=30, limit=20, retention_s=3600)
        self.turns, self.memory, self.proposals = Turns(redis), Memory(redis, 3600), Proposals(redis)
        self.archive, self.books, self.choices = Archive(redis, 3600), Books(redis), Choices(redis)
        self.bills = Bills(redis, self.archive)
        self.ledger = Ledger(redis, self.bills, limits.read(limits.DEFAULT))
        self.tenants = Tenants(redis, self.archive)

    async def claim(self, conversation: str) -> Claim:
        claim = await self.inbox.claim(keys.shard_of(conversation))
        assert isinstance(claim, Claim)
        return claim

    async def answer(self, conversation: str, user: User, event: str = "e1", **data: str) -> Turn:
        """A turn with everything that stands beside it."""
        asked = said(event=event, conversation=conversation, user=user, channel="C1")
        asked = replace(asked, address=replace(asked.address, data=data))
        await self.inbox.accept(asked)
        claim = await self.claim(conversation)
        picture = Image(mime="image/png", data=b"\x89PNG", ref=f"ref of {event}")
        turn = Turn(
            id=event,
            said=asked,
            template="t@0",
            messages=(),
            reply=Reply(text="answer", images=(replace(picture, data=b""),)),
            outcome="answered",
            began_at=now(),
            ended_at=now(),
            usage=(Usage(deployment="d", input_tokens=5, usd=0.01),),
        )
        await self.ledger.admit(asked, event, [Estimate(usd=0.01)])
        sent = pack_prompts([Prompt(template="t@0", capability="chat", messages=(say("user", "hello"),))])
        pictures = {picture.ref: pack_image(picture)}
        owed = bill(turn)
        await self.inbox.commit(claim, Written(turn=turn, sent=sent, pictures=pictures, bill=owed))
        await self.bills.settle(owed)
        await self.bills.tidy()
        return turn

    async def live(self, conversation: str, user: User, **data: str) -> None:
        """A turn, a summary, choices, a proposal, something buried, something that waits."""
        turn = await self.answer(conversation, user, **data)
        await self.memory.put(conversation, Summary(since="e0", text="They spoke."))
        await self.choices.choose(user, "", template="translate")
        await self.choices.choose(user, "C1", deployment="small")
        await self.choices.hush(turn.said, True)
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
        await self.inbox.accept(said(event="bad", conversation=conversation, user=user))
        await self.inbox.commit(await self.claim(conversation), Written(buried="It was bad."))
        await self.inbox.accept(said(event="waits", conversation=conversation, user=user))

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
async def house(redis: Redis) -> House:
    return House(redis)


def gone(tenant: str = "TACME", **more: Any) -> Departed:
    """The bot was taken away from a tenant."""
    event = f"test:departed:{tenant}"
    fields: dict[str, Any] = {"rooms": f"test:{tenant}:", "whole": True} | more
    address = Address(conversation=event, event=event)
    return Departed(id=event, address=address, user=User(id="", tenant=tenant), at=now(), **fields)


def sums_of(tenant: str) -> list[str]:
    """The keys of a tenant's sums, which name nobody."""
    today = now()
    sums = [keys.spent(tenant, f"{today:{form}}", "tenant") for form in ("%Y-%m-%d", "%Y-%m")]
    return sorted([*sums, keys.tally(tenant, today.date()), keys.payers(today.date())])


async def test_everything_of_a_tenant_goes_and_nothing_of_another(house: House) -> None:
    await house.live(HERE, ADA)
    await house.live(THERE, EVE)
    others = await house.traces("TBOLT")
    erased = await house.tenants.forget(gone())
    assert erased == Erased(conversations=1, turns=1, waiting=1, buried=1, proposals=1, people=1)
    left = await house.traces("TACME")
    assert left == sums_of("TACME"), "only the tenant's sums, which name nobody"
    assert await house.traces("ada") == []
    assert await house.traces("TBOLT") == others
    assert await house.turns.image(THERE, "ref of e1") is not None
    day = now().date()
    assert (await house.ledger.spent("TACME", None, day, day)).turns == 1
    assert not [one for one in await house.books.lines(day, day) if one.name.startswith("TACME/")]
    assert [one.asker.id for one in await house.proposals.all()] == ["evelyn"]
    assert [one.conversation for one in (await Graveyard(house.redis).all()).values()] == [THERE]


async def test_forgetting_again_finds_nothing_and_a_new_installation_begins_anew(house: House) -> None:
    await house.live(HERE, ADA)
    await house.tenants.forget(gone())
    assert await house.tenants.forget(gone()) == Erased()
    await house.answer(HERE, ADA, event="e2")
    assert [turn.id for turn in await house.turns.turns(HERE)] == ["e2"]
    assert await house.turns.sent(HERE, "e2")


async def test_what_was_said_after_the_bot_came_back_stays(house: House) -> None:
    await house.answer(HERE, ADA, event="old")
    departed = gone()
    await house.answer(HERE, ADA, event="new")
    await house.answer("test:TACME:C2:2", ADA, event="new too")
    erased = await house.tenants.forget(departed)
    assert (erased.conversations, erased.turns) == (0, 1)
    assert [turn.id for turn in await house.turns.turns(HERE)] == ["new"]
    assert (await house.turns.sent(HERE, "new"), await house.turns.sent(HERE, "old")) != ((), ())
    assert await house.turns.sent(HERE, "old") == ()
    assert await house.turns.image("test:TACME:C2:2", "ref of new too") is not None


async def test_what_was_sent_goes_also_where_its_turn_is_no_longer_kept(house: House) -> None:
    await house.answer(HERE, ADA)
    await house.redis.call("DEL", keys.of("turns", HERE))
    await house.tenants.forget(gone())
    assert await house.names(HERE) == []


async def test_a_worker_that_still_answers_there_can_write_nothing_down(house: House) -> None:
    await house.inbox.accept(said(event="late", conversation=HERE, user=ADA))
    claim = await house.claim(HERE)
    await house.tenants.forget(gone())
    with pytest.raises(LeaseLost):
        await house.inbox.hold(claim)
    with pytest.raises(LeaseLost):
        await house.inbox.commit(claim, Written())
    assert await house.names(HERE) == []


async def test_a_crash_in_the_middle_is_made_good_by_the_next_attempt(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis goes away at every step in turn; whatever was left is found by the last attempt."""
    rooms = [f"test:TACME:C{number}:1" for number in range(3)]
    for room in rooms:
        await house.live(room, ADA)
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
                await house.tenants.forget(gone())
            except StateUnavailable:
                steps += 1
            monkeypatch.setattr(Redis, name, real)
    await house.tenants.forget(gone())
    assert steps > 10
    assert await house.traces("TACME") == sums_of("TACME")


async def test_an_organisation_is_all_tenants_that_it_was_installed_for(house: House) -> None:
    await house.live(HERE, ADA, enterprise="E1")
    await house.live(THERE, EVE, enterprise="E1")
    await house.live("test:TOWN:C1:1", User(id="own", tenant="TOWN"), enterprise="")
    alone = await house.traces("TOWN")
    departed = gone("", rooms="test:", marks={"enterprise": "E1"})
    await house.inbox.accept(departed)
    erased = await house.tenants.forget(departed)
    assert (erased.conversations, erased.people, erased.proposals) == (2, 2, 2)
    assert await house.traces("ada") == await house.traces("evelyn") == []
    assert await house.traces("TOWN") == alone
    claim = await house.claim(departed.address.conversation)
    assert claim.event == departed, "what tells of it is not forgotten with it"
    await house.inbox.commit(claim, Written())


async def test_of_one_chat_only_that_chat_is_forgotten(house: House) -> None:
    await house.live(HERE, ADA)
    await house.answer("test:TACME:C2:1", ADA)
    erased = await house.tenants.forget(gone("TACME", rooms=HERE, whole=False))
    assert (erased.conversations, erased.people) == (1, 0)
    assert len(await house.turns.turns("test:TACME:C2:1")) == 1
    assert (await house.choices.of(ADA, "")).template == "translate"


async def test_signs_of_a_pattern_in_a_name_are_only_signs(house: House) -> None:
    await house.answer("test:TACME:C1:1", ADA)
    for name in ("test:TAC*:", "test:TACM[E]:", "test:TACM?:"):
        assert (await house.tenants.forget(gone("TACME", rooms=name, whole=False))).conversations == 0
    await house.answer("test:TACME:19:[a]*;x=1", ADA)
    assert (
        await house.tenants.forget(gone("TACME", rooms="test:TACME:19:[a]*", whole=False))
    ).conversations == 1


async def test_what_cannot_be_read_is_forgotten_too(house: House) -> None:
    await house.answer(HERE, ADA)
    await house.redis.call("RPUSH", keys.of("turns", HERE), '{"of": "the future"}')
    await house.redis.call("RPUSH", keys.of("inbox", HERE), "not JSON")
    erased = await house.tenants.forget(gone())
    assert (erased.turns, erased.waiting) == (2, 1)
    assert await house.names(HERE) == []


async def test_field_fault_94_a_tenant_s_words_are_in_no_pool_and_on_no_page(house: House) -> None:
    """Field fault 94: a tenant is forgotten as completely as a person."""
    turn = await house.answer(HERE, ADA)
    await Feed(house.redis).publish(HERE, b'{"text": "seventeen elephants"}')
    example = Example(user="seventeen elephants", assistant="dance")
    states: tuple[State, ...] = ("proposed", "accepted")
    for id, state in enumerate(states):
        await house.proposals.put(
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
    await Versions(house.redis).append(change)
    claim = await house.inbox.accept(said(event="late", conversation=HERE, user=ADA))
    assert claim == "accepted"
    late = await house.claim(HERE)
    assert (await house.tenants.forget(gone())).proposals == 2
    await house.memory.put(HERE, Summary(since="e1", text="seventeen elephants"), late.erasures)
    assert await traces(house.redis, "seventeen elephants") == set()
