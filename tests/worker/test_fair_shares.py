"""Whose question is claimed next.

Field fault 122: one tenant's 300 questions made another wait 18 s instead of 0.2 s.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from bot.storage.queue.inbox import Claim, CommitRequest, Due, Inbox
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.worker.fair_shares import FairShares
from bot.worker.poller import Poller
from tests.support.acts import received
from tests.support.patience import PATIENCE_S

BUSY, QUIET = "slack:T1", "slack:T2"


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=30, limit=20, retention_s=3600)


def threads(channel: str, count: int, *, shard: int | None = None) -> list[str]:
    """So many threads of a channel; all in one shard, if it is given."""
    names = (f"{channel}:17{number}.0001" for number in range(100_000))
    return [
        name
        for name, _ in zip(
            (n for n in names if shard in (None, keys.shard_of(n))), range(count), strict=False
        )
    ]


async def ask(inbox: Inbox, conversations: Sequence[str]) -> None:
    await asyncio.gather(*(inbox.accept(received(event=name, conversation=name)) for name in conversations))


async def order(*inboxes: Inbox, until: str = "", number: int = 0) -> list[str]:
    """The conversations that workers with one place each answer, up to this one or up to this number."""
    claimed: list[str] = []
    ended = asyncio.Event()

    async def answer(inbox: Inbox, claim: Claim) -> None:
        claimed.append(claim.conversation)
        await inbox.commit(claim, CommitRequest())
        if claim.conversation == until or len(claimed) == number:
            ended.set()

    def worker(inbox: Inbox) -> Poller:
        def begin(claim: Claim, requested_at: float) -> asyncio.Task[None]:
            return asyncio.create_task(answer(inbox, claim))

        return Poller(inbox, 1, begin=begin, stop=lambda _: None)

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(worker(inbox).run(ended) for inbox in inboxes))
    return claimed


async def test_a_quiet_tenant_waits_for_one_answer(inbox: Inbox) -> None:
    """Field fault 122: with 300 questions of another tenant before it."""
    (single,) = threads(f"{QUIET}:C1", 1)
    await ask(inbox, threads(f"{BUSY}:C1", 300))
    await ask(inbox, [single])
    assert (await order(inbox, until=single)).index(single) <= 1


async def test_a_quiet_channel_waits_for_one_answer(inbox: Inbox) -> None:
    """Field fault 122: the same between channels of one tenant."""
    (single,) = threads(f"{BUSY}:C2", 1)
    await ask(inbox, threads(f"{BUSY}:C1", 150))
    await ask(inbox, [single])
    assert (await order(inbox, until=single)).index(single) <= 1


async def test_channels_cannot_multiply_a_tenants_share(inbox: Inbox) -> None:
    """A tenant with twenty busy channels gets as much as one with a single channel."""
    busy = [thread for channel in range(20) for thread in threads(f"{BUSY}:C{channel}", 3)]
    await ask(inbox, busy)
    await ask(inbox, threads(f"{QUIET}:C1", 12))
    served = await order(inbox, number=20)
    assert sum(name.startswith(BUSY) for name in served[:20]) in range(9, 12)


async def test_several_workers_are_fair_together(inbox: Inbox, redis: Redis) -> None:
    """Field fault 122: each divides its own places."""
    other = Inbox(redis, lease_s=30, limit=20, retention_s=3600)
    (single,) = threads(f"{QUIET}:C1", 1)
    await ask(inbox, threads(f"{BUSY}:C1", 150))
    await ask(inbox, [single])
    assert (await order(inbox, other, until=single)).index(single) <= 3


async def test_a_flow_is_claimed_before_an_older_one(inbox: Inbox) -> None:
    """In one shard, in the script: the flow, else its tenant, else whatever is due longest."""
    shard = 7
    busy, quiet = threads(f"{BUSY}:C1", 3, shard=shard), threads(f"{QUIET}:C1", 1, shard=shard)
    second = threads(f"{BUSY}:C2", 1, shard=shard)
    for name in (*busy, *quiet, *second):
        await ask(inbox, [name])
    claims = [await inbox.claim(shard, flow) for flow in (f"{QUIET}:C1", f"{BUSY}:C2", f"{QUIET}:C9")]
    named = [claim.conversation for claim in claims if isinstance(claim, Claim)]
    assert named == [quiet[0], second[0], busy[0]]
    last = claims[-1]
    assert isinstance(last, Claim)
    assert last.more == Due(in_ms=0, flows=(f"{BUSY}:C1",))


async def test_a_full_tenant_is_passed_over(inbox: Inbox) -> None:
    shard = 7
    await ask(inbox, threads(f"{BUSY}:C1", 2, shard=shard))
    assert await inbox.claim(shard, full=[BUSY]) == Due(in_ms=0, flows=(f"{BUSY}:C1",))
    quiet = threads(f"{QUIET}:C1", 1, shard=shard)
    await ask(inbox, quiet)
    claim = await inbox.claim(shard, f"{BUSY}:C1", [BUSY])
    assert isinstance(claim, Claim)
    assert claim.conversation == quiet[0]


async def test_more_than_is_compared_hides_nobody(inbox: Inbox, redis: Redis) -> None:
    """Whoever comes after 512 conversations of a full tenant, in the same shard."""
    shard, quiet = 7, threads(f"{QUIET}:C1", 1, shard=7)
    for number, name in enumerate(threads(f"{BUSY}:C1", 600, shard=shard)):
        await redis.call("ZADD", keys.ready(shard), number, name)
    await ask(inbox, quiet)
    assert {f"{BUSY}:C1", ""} <= {*(await inbox.due())[shard].flows}, (
        "a part is listed, and that there is more"
    )
    claim = await inbox.claim(shard, full=[BUSY])
    assert isinstance(claim, Claim)
    assert claim.conversation == quiet[0]
    assert {f"{BUSY}:C1", ""} <= {*claim.more.flows}


async def test_what_is_not_listed_is_found_soon(inbox: Inbox) -> None:
    """By a worker that has missed its wake-up, behind 300 of another tenant in the same shard."""
    (quiet,) = threads(f"{QUIET}:C1", 1, shard=7)
    await ask(inbox, threads(f"{BUSY}:C1", 300, shard=7))
    await ask(inbox, [quiet])
    assert (await order(inbox, until=quiet)).index(quiet) < 150


async def test_what_is_not_listed_stays_known(inbox: Inbox) -> None:
    """A claim forgets no flow that a wake-up named, in a shard with more than its response can list."""
    named = [f"slack:T{number}:C1" for number in range(3, 9)]
    await ask(inbox, threads(f"{BUSY}:C1", 200, shard=7))
    asking = [thread for flow in named for thread in threads(flow, 1, shard=7)]
    await ask(inbox, asking)
    claimed, ended = list[str](), asyncio.Event()

    async def answer(claim: Claim) -> None:
        claimed.append(claim.conversation)
        await inbox.commit(claim, CommitRequest())
        if len(claimed) == 12:
            ended.set()

    poller = Poller(inbox, 1, begin=lambda claim, _: asyncio.create_task(answer(claim)), stop=lambda _: None)
    for flow in (f"{BUSY}:C1", *named):
        poller.look(7, flow)
    async with asyncio.timeout(PATIENCE_S):
        await poller.run(ended)
    assert set(asking) <= set(claimed[:8])


async def test_a_tenant_has_its_places_and_no_more(inbox: Inbox) -> None:
    """PARLEY_TENANT_CONCURRENCY: the rest waits, also in shards where nobody else does."""
    await ask(inbox, threads(f"{BUSY}:C1", 12))
    claims, free = asyncio.Queue[str](), asyncio.Event()

    async def answer(claim: Claim) -> None:
        claims.put_nowait(claim.conversation)
        await free.wait()
        await inbox.commit(claim, CommitRequest())

    def begin(claim: Claim, requested_at: float) -> asyncio.Task[None]:
        return asyncio.create_task(answer(claim))

    until = asyncio.Event()
    running = asyncio.create_task(
        Poller(inbox, 8, begin=begin, stop=lambda _: None, tenant_places=3).run(until)
    )
    quiet = threads(f"{QUIET}:C1", 2)
    async with asyncio.timeout(PATIENCE_S):
        assert all([(await claims.get()).startswith(BUSY) for _ in range(3)])
        await ask(inbox, quiet)
        assert {await claims.get(), await claims.get()} == set(quiet)
        free.set()
        assert all([(await claims.get()).startswith(BUSY) for _ in range(9)])
        until.set()
        await running


async def test_events_of_older_versions_are_found(inbox: Inbox, redis: Redis) -> None:
    """What is stored needs no change, and their wake-ups, which name a shard, count."""
    wakeups = inbox.wakeups()
    with suppress(StopAsyncIteration):
        await anext(wakeups)
        await redis.call("PUBLISH", keys.OLD_WAKEUPS, "7")
        wakeup = await anext(wakeups)
        assert (getattr(wakeup, "shard", None), getattr(wakeup, "flow", None)) == (7, "")
    await wakeups.aclose()


@pytest.mark.parametrize(
    ("conversation", "flow", "tenant"),
    [
        ("slack:T1:C1:1700000000.000100", "slack:T1:C1", "slack:T1"),
        ("slack:T1:C1:command:U1", "slack:T1:C1:command:U1", "slack:T1"),
        ("teams:6f1c:19:ab@thread.tacv2;messageid=17", "teams:6f1c:19:ab@thread.tacv2", "teams:6f1c"),
        ("teams:6f1c:a:1xyz", "teams:6f1c:a:1xyz", "teams:6f1c"),
        ("studio:9ab3", "studio:9ab3", "studio"),
        ("", "", ""),
    ],
)
async def test_scripts_and_code_agree_on_flows(
    inbox: Inbox, conversation: str, flow: str, tenant: str
) -> None:
    assert (keys.flow_of(conversation), keys.tenant_of(flow)) == (flow, tenant)
    if conversation:
        await ask(inbox, [conversation])
        shard = keys.shard_of(conversation)
        assert (await inbox.due())[shard].flows == (flow,)
        assert not isinstance(await inbox.claim(shard, full=[tenant]), Claim)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.worker.fair_shares._REMEMBERED", 3)
    shares = FairShares(5)
    for number in range(10):
        shares.add(number, f"slack:T{number}:C1")
        assert shares.take() == (number, f"slack:T{number}:C1", set())
        shares.begin(f"slack:T{number}:C1:1.2")
        shares.end(f"slack:T{number}:C1:1.2")
    known = [vars(service) for service in (shares._tenants, shares._flows)]  # pyright: ignore[reportPrivateUsage]
    assert [len(one["_last"]) for one in known] == [3, 3]
    assert not any(one["running"] for one in known)
    assert shares.take() is None
