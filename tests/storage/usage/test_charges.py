"""What a turn cost is booked once, and its reservation ends, wherever the worker dies or Redis goes away."""

from collections.abc import Sequence

import pytest

from bot.domain import limits
from bot.domain.errors import LeaseLost, StateUnavailable
from bot.domain.events import now
from bot.domain.turns import Reply, Turn, Usage
from bot.storage.conversations.search import ConversationSearch
from bot.storage.conversations.turns import Turns
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.redis import keys
from bot.storage.redis.client import Argument, Key, Redis, Script
from bot.storage.usage.charges import Charges, charge_of
from bot.storage.usage.quota import Estimate, QuotaLedger
from tests.support.acts import ADA, received
from tests.support.charges import called, charge_for, reserve

USAGE = (Usage(deployment="d", input_tokens=5, usd=0.01),)
ROOMS = ("test:room", "test:another", "test:third")


class Worker:
    """The steps of a worker about one turn, to be left at any of them."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.inbox = Inbox(redis, lease_s=30, limit=20, retention_s=3600)
        self.charges = Charges(redis, ConversationSearch(redis, 3600))
        self.ledger = QuotaLedger(redis, self.charges, limits.read("person: $2/day"))
        self.turns = Turns(redis)

    async def claim(self, room: str = ROOMS[0]) -> Claim:
        claim = await self.inbox.claim(keys.shard_of(room))
        assert isinstance(claim, Claim)
        return claim

    async def admit(self, room: str = ROOMS[0]) -> None:
        asked = received(event=f"e in {room}", conversation=room)
        await self.inbox.accept(asked)
        await reserve(self.ledger, asked, asked.id, Estimate(tokens=50, usd=0.5))

    def written(self, room: str = ROOMS[0]) -> CommitRequest:
        turn = Turn(
            id=f"e in {room}",
            received=received(event=f"e in {room}", conversation=room),
            template="assistant@0",
            messages=(),
            reply=Reply(text="answer"),
            outcome="answered",
            began_at=now(),
            ended_at=now(),
            usage=USAGE,
        )
        return CommitRequest(turn=turn, charge=charge_for(turn))

    async def commit(self, room: str = ROOMS[0]) -> CommitRequest:
        await self.admit(room)
        written = self.written(room)
        await self.inbox.commit(await self.claim(room), written)
        return written

    async def status(self) -> int:
        (dollars,) = await self.ledger.limit_status(ADA, "")
        return dollars.used

    async def pending(self) -> int:
        return sum(
            await self.redis.many([("HLEN", keys.pending_charges(keys.shard_of(room))) for room in ROOMS])
        )


@pytest.fixture
async def worker(redis: Redis) -> Worker:
    return Worker(redis)


async def test_a_crash_after_the_commit_leaves_a_charge(worker: Worker, redis: Redis) -> None:
    for room in ROOMS:
        await worker.commit(room)
    assert await worker.status() == 1_500_000, "set aside, and nobody is there to settle it"
    another = Worker(redis)
    assert await another.charges.sweep() == 3
    assert await another.status() == 30_000
    assert await another.pending() == 0
    assert await another.charges.sweep() == 0
    today = now().date()
    assert (await another.ledger.spent("acme", None, today, today)).turns == 3
    assert (await redis.call("ZCARD", keys.RECENT), await redis.call("SCARD", keys.tenants_of(today))) == (
        3,
        1,
    )


async def test_a_crash_after_settling_charges_once(worker: Worker, redis: Redis) -> None:
    written = await worker.commit()
    assert written.charge is not None
    await worker.charges.settle(written.charge)
    assert await worker.pending() == 1, "it is struck off with others, a little later"
    assert await Worker(redis).charges.sweep() == 1
    assert (await worker.status(), await worker.pending()) == (10_000, 0)


async def test_a_settled_charge_is_removed(worker: Worker) -> None:
    written = await worker.commit()
    assert written.charge is not None
    await worker.charges.settle(written.charge)
    await worker.charges.tidy()
    assert (await worker.status(), await worker.pending()) == (10_000, 0)


async def test_a_retry_adopts_the_reservation(worker: Worker, redis: Redis) -> None:
    await worker.admit()
    another = Worker(redis)
    await reserve(another.ledger, received(event="e in test:room"), "e in test:room", Estimate(usd=0.5))
    assert await another.status() == 500_000, "the same event reserves once"
    written = worker.written()
    await another.inbox.commit(await another.claim(), written)
    assert written.charge is not None
    await another.charges.settle(written.charge)
    assert await another.status() == 10_000


async def test_a_lost_commit_response_is_settled(
    worker: Worker, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worker.admit()
    claim, written = await worker.claim(), worker.written()
    real = Redis.run

    async def lost(self: Redis, script: Script, names: Sequence[Key], args: Sequence[Argument]) -> object:
        await real(self, script, names, args)
        raise StateUnavailable("the connection broke before the answer")

    monkeypatch.setattr(Redis, "run", lost)
    with pytest.raises(StateUnavailable):
        await worker.inbox.commit(claim, written)
    monkeypatch.setattr(Redis, "run", real)
    await worker.inbox.commit(claim, written)  # no LeaseLost: it is this very commit
    assert written.charge is not None
    await worker.charges.settle(written.charge)
    assert len(await worker.turns.turns(ROOMS[0])) == 1
    assert await worker.status() == 10_000


async def test_an_overtaken_worker_commits_and_charges_nothing(worker: Worker, redis: Redis) -> None:
    await worker.admit()
    slow = await worker.claim()
    await worker.inbox.release(slow, 0)
    await worker.claim()
    with pytest.raises(LeaseLost):
        await worker.inbox.commit(slow, worker.written())
    assert await worker.pending() == 0


async def test_a_committed_conversation_is_searchable_at_once(worker: Worker) -> None:
    """Field note 42: also after a crash right after the commit, and for turns without cost."""
    for room in ROOMS:
        await worker.admit(room)
        turn = worker.written(room).turn
        await worker.inbox.commit(await worker.claim(room), CommitRequest(turn=turn))
    assert await worker.turns.talks(ADA) == tuple(sorted(ROOMS))
    gone = await worker.turns.forget(ADA, await worker.turns.talks(ADA))
    assert (gone.conversations, gone.turns) == (3, 3)
    assert await worker.turns.talks(ADA) == ()


async def test_an_outage_loses_no_charge(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    written = await worker.commit()
    assert written.charge is not None
    await worker.charges.settle(written.charge)
    real = Redis.many

    async def away(self: Redis, commands: Sequence[Sequence[Argument]]) -> list[object]:
        raise StateUnavailable("Redis is away")

    monkeypatch.setattr(Redis, "many", away)
    with pytest.raises(StateUnavailable):
        await worker.charges.tidy()
    monkeypatch.setattr(Redis, "many", real)
    await worker.charges.tidy()
    assert await worker.pending() == 0


async def test_a_charge_of_another_version_blocks_nothing(worker: Worker, redis: Redis) -> None:
    await worker.commit()
    await redis.call("HSET", keys.pending_charges(0), "strange", b"{}")
    await redis.call("EXPIRE", keys.pending_charges(0), 60)
    assert await worker.charges.sweep() == 1
    assert await worker.status() == 10_000


async def test_a_regenerated_answer_is_charged_again(worker: Worker) -> None:
    """A summary is created a second time for a regenerated answer."""
    asked = received(event="e")
    for _ in range(2):
        await reserve(worker.ledger, asked, "e:summary", Estimate(usd=0.5), more=True)
        await worker.ledger.charges.settle(charge_of(asked, "e:summary", "summary", called(*USAGE), turns=0))
    assert await worker.status() == 20_000
