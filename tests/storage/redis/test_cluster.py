"""What a cluster does that one server can't: be partly away, and tell every node what any of them says."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager, suppress
from typing import cast

import pytest
from redis.crc import key_slot

from bot.domain.errors import StateUnavailable
from bot.storage.live.event_stream import EventStream
from bot.storage.queue.inbox import Claim, Inbox, Wakeup
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support import servers
from tests.support.acts import received
from tests.support.patience import PATIENCE_S
from tests.support.servers import Server

ROOMS = {keys.shard_of(name): name for name in (f"test:{number}" for number in range(2000))}
"""A conversation of each shard."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Generator[list[Server]]:
    """A cluster whose nodes may be killed."""
    with servers.cluster(tmp_path_factory.mktemp("mortal")) as nodes:
        yield nodes


@pytest.fixture
async def redis(nodes: list[Server]) -> AsyncGenerator[Redis]:
    client = Redis(nodes[0].url.replace("redis://", "redis+cluster://"), timeout_s=PATIENCE_S)
    await client.call("FLUSHALL")
    yield client
    await client.close()


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=30, limit=3, retention_s=3600)


def shard_on(number: int) -> int:
    """A shard that this node holds."""
    return next(
        shard for shard in ROOMS if key_slot(keys.ready(shard).encode()) * 3 // servers.SLOTS == number
    )


async def accepted(inbox: Inbox, shard: int, event: str) -> None:
    """Deliver until it is taken, as platforms do."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(StateUnavailable):
                await inbox.accept(received(event=event, conversation=ROOMS[shard]))
                return
            await asyncio.sleep(0.05)


async def test_conversations_are_spread_over_all_nodes(
    inbox: Inbox, redis: Redis, nodes: list[Server]
) -> None:
    await redis.call("SCRIPT FLUSH")
    for shard, name in ROOMS.items():
        assert await inbox.accept(received(event=name, conversation=name)) == "accepted"
        assert isinstance(await inbox.claim(shard), Claim)
    sizes = [node.ask("DBSIZE") for node in nodes]
    assert all(isinstance(size, int) and size > 20 for size in sizes), sizes
    assert len(await inbox.due()) == keys.SHARDS == len(ROOMS)
    assert (await redis.check())[0].words.endswith("a cluster of 3")


async def test_a_listener_receives_wakeups_of_all_nodes(inbox: Inbox) -> None:
    wakeups: AsyncGenerator[Wakeup | str] = inbox.wakeups()
    async with aclosing(wakeups), asyncio.timeout(PATIENCE_S):
        assert await anext(wakeups) == ""
        for shard, name in ROOMS.items():
            await inbox.accept(received(event=name, conversation=name))
            assert await anext(wakeups) == Wakeup(shard, "test")


@contextmanager
def dead(nodes: list[Server], number: int) -> Generator[None]:
    """A cluster in which one node is dead, and is back afterwards with what it knew."""
    nodes[number].stop(kill=True)
    try:
        yield
    finally:
        nodes[number].start()
        nodes[number].ready()
        servers.until(lambda: all(servers.whole(node, len(nodes)) for node in nodes), "the cluster")


async def test_a_listener_whose_node_dies_listens_at_another(inbox: Inbox, nodes: list[Server]) -> None:
    wakeups: AsyncGenerator[Wakeup | str] = inbox.wakeups()
    async with asyncio.timeout(PATIENCE_S):
        async with aclosing(wakeups):
            assert await anext(wakeups) == ""
            number = next(number for number, node in enumerate(nodes) if listeners(node))
            with dead(nodes, number):
                with pytest.raises(StateUnavailable):
                    await anext(wakeups)
                living = shard_on((number + 1) % len(nodes))
                again: AsyncGenerator[Wakeup | str] = inbox.wakeups()
                async with aclosing(again):
                    assert await anext(again) == ""
                    await accepted(inbox, living, "heard")
                    assert await anext(again) == Wakeup(living, "test")


def listeners(node: Server) -> int:
    """How many listen at this node."""
    answer = node.ask("PUBSUB", "NUMSUB", keys.WAKEUPS)
    channel, count = cast("tuple[bytes, int]", answer)
    assert channel == keys.WAKEUPS.encode()
    return count


@pytest.mark.parametrize("number", range(3))
async def test_streams_do_not_need_any_particular_node(
    redis: Redis, nodes: list[Server], number: int
) -> None:
    """The driver asks one node for the keys of XREAD, and never another when that is gone."""
    stream, living = EventStream(redis), (number + 1) % len(nodes)
    name = next(
        name
        for name in map("stream{}".format, range(1000))
        if key_slot(keys.of("feed", name).encode()) * 3 // servers.SLOTS == living
    )
    await stream.publish(name, b"before")
    async with aclosing(stream.follow(name, "")) as frames:
        last, _ = await anext(frames)
    with dead(nodes, number):
        await stream.publish(name, b"meanwhile")
        async with asyncio.timeout(PATIENCE_S):
            assert await _next_frame(stream, name, last) == b"meanwhile"


async def _next_frame(stream: EventStream, name: str, after: str) -> bytes:
    """Follow until there is a frame, as pages do."""
    while True:
        async with aclosing(stream.follow(name, after)) as frames:
            with suppress(StateUnavailable):
                return (await anext(frames))[1]
        await asyncio.sleep(0.05)


async def test_other_nodes_work_while_one_is_missing(inbox: Inbox, nodes: list[Server]) -> None:
    gone, living = shard_on(1), shard_on(2)
    await inbox.accept(received("kept", event="kept", conversation=ROOMS[gone]))
    with dead(nodes, 1):
        with pytest.raises(StateUnavailable):
            await inbox.accept(received(event="refused", conversation=ROOMS[gone]))
        await accepted(inbox, living, "meanwhile")
        due = await inbox.due()
        assert (due[living].in_ms, due[gone].in_ms) == (0, -1)
        assert isinstance(await inbox.claim(living), Claim)
    await accepted(inbox, gone, "later")
    claim = await inbox.claim(gone)
    assert isinstance(claim, Claim)
    assert claim.event is not None
    assert claim.event.id == "kept"
