"""The inbox: nothing is lost, nothing is there twice, one at a time and in order."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from msgspec.structs import replace

from bot.domain.errors import LeaseLost, StateUnavailable
from bot.domain.events import MessageReceived, PostedMessage, StopRequested, now
from bot.domain.turns import Reply, Turn
from bot.storage.conversations.turns import Turns
from bot.storage.queue.inbox import Claim, CommitRequest, Due, Inbox, Wakeup
from bot.storage.redis import keys
from bot.storage.redis.client import Argument, Key, Redis, Script
from tests.support.acts import ADA, deleted, rated, received, stopped

CONVERSATION = "test:room"
SHARD = keys.shard_of(CONVERSATION)


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=30, limit=3, retention_s=3600)


def short(redis: Redis) -> Inbox:
    """An inbox whose leases are already over when they are given."""
    return Inbox(redis, lease_s=0, limit=3, retention_s=3600)


async def claimed(inbox: Inbox, shard: int = SHARD) -> Claim:
    claim = await inbox.claim(shard)
    assert isinstance(claim, Claim)
    return claim


def turn_for(claim: Claim, text: str = "answer") -> Turn:
    assert isinstance(claim.event, MessageReceived)
    return Turn(
        id=claim.event.id,
        received=claim.event,
        template="t@0",
        messages=(),
        reply=Reply(text=text),
        outcome="answered",
        began_at=now(),
        ended_at=now(),
    )


async def answer(inbox: Inbox, claim: Claim) -> None:
    await inbox.commit(claim, CommitRequest(turn=turn_for(claim)))


async def test_an_accepted_event_is_claimed_with_its_text(inbox: Inbox) -> None:
    assert await inbox.accept(received("what is up?")) == "accepted"
    claim = await claimed(inbox)
    assert isinstance(claim.event, MessageReceived)
    assert (claim.event.text, claim.attempt, claim.begun, claim.turns) == ("what is up?", 1, None, ())


async def test_a_redelivery_is_a_duplicate(inbox: Inbox) -> None:
    """Field note 01."""
    receipts = await asyncio.gather(*(inbox.accept(received()) for _ in range(5)))
    assert sorted(receipts) == ["accepted", *["duplicate"] * 4]
    await answer(inbox, await claimed(inbox))
    assert await inbox.accept(received()) == "duplicate", "also after it was answered"
    assert await inbox.claim(SHARD) == Due(in_ms=-1)


async def test_seen_and_stored_are_one_step(inbox: Inbox, redis: Redis) -> None:
    """Field note 02: an event that could not be stored, because the inbox is full, is not marked as seen."""
    for number in range(3):
        await inbox.accept(received(event=f"e{number}"))
    assert await inbox.accept(received(event="one too many")) == "busy"
    await answer(inbox, await claimed(inbox))
    assert await inbox.accept(received(event="one too many")) == "accepted"


async def test_a_deletion_is_accepted_by_a_full_inbox(redis: Redis) -> None:
    """Field note 11."""
    inbox = Inbox(redis, lease_s=30, limit=2, retention_s=60, tenant_limit=2)
    receipts = [await inbox.accept(received(event=f"e{number}")) for number in range(3)]
    receipts += [await inbox.accept(deleted(f"e{number}", event=f"d{number}")) for number in range(3)]
    assert receipts == ["accepted", "accepted", "busy", "accepted", "accepted", "busy"]
    assert await inbox.accept(received(event="elsewhere", conversation="test:other")) == "busy"
    assert await inbox.accept(deleted("e9", event="d9", conversation="test:other")) == "accepted"


async def test_a_second_message_waits_its_turn(inbox: Inbox) -> None:
    """Field note 03."""
    await inbox.accept(received("first", event="a"))
    claim = await claimed(inbox)
    assert await inbox.accept(received("second", event="b")) == "accepted"
    assert not isinstance(await inbox.claim(SHARD), Claim), "the conversation is held"
    await answer(inbox, claim)
    following = await claimed(inbox)
    assert isinstance(following.event, MessageReceived)
    assert following.event.text == "second"
    assert [turn.id for turn in following.turns] == ["a"]


async def test_conversations_of_one_shard_are_claimed_independently(inbox: Inbox) -> None:
    others = [f"test:{n}" for n in range(500) if keys.shard_of(f"test:{n}") == SHARD][:2]
    for conversation in (CONVERSATION, *others):
        await inbox.accept(received(conversation=conversation, event=conversation))
    held = [(await claimed(inbox)).conversation for _ in range(3)]
    assert sorted(held) == sorted((CONVERSATION, *others))


async def test_a_stale_worker_can_write_nothing(redis: Redis) -> None:
    """Field note 04."""
    inbox = short(redis)
    await inbox.accept(received())
    stale = await claimed(inbox)
    fresh = await claimed(inbox)
    assert fresh.attempt == 2
    for act in (
        inbox.hold(stale),
        inbox.hold(stale, PostedMessage(id="p")),
        inbox.release(stale, 0),
        inbox.commit(stale, CommitRequest(turn=turn_for(stale, "stale"))),
    ):
        with pytest.raises(LeaseLost):
            await act
    await inbox.commit(fresh, CommitRequest(turn=turn_for(fresh, "fresh")))
    turns = await Turns(redis).turns(CONVERSATION)
    assert [turn.reply.text for turn in turns] == ["fresh"]


async def test_a_renewed_lease_keeps_others_away(redis: Redis) -> None:
    """Field note 04."""
    await short(redis).accept(received())
    claim = await claimed(short(redis))
    await Inbox(redis, lease_s=30, limit=3, retention_s=3600).hold(claim)
    assert not isinstance(await short(redis).claim(SHARD), Claim)


async def test_a_message_during_a_commit_is_not_stranded(
    inbox: Inbox,
) -> None:
    """Field note 05: whatever the order of the two steps, the later message is due."""
    for number in range(40):
        await inbox.accept(received(event=f"a{number}"))
        claim = await claimed(inbox)
        await asyncio.gather(answer(inbox, claim), inbox.accept(received(event=f"b{number}")))
        await answer(inbox, await claimed(inbox))
        assert await inbox.claim(SHARD) == Due(in_ms=-1)


async def test_a_repeated_commit_changes_nothing(redis: Redis, inbox: Inbox) -> None:
    for event in ("a", "b", "c"):
        await inbox.accept(received(event=event))
    claim = await claimed(inbox)
    for _ in range(2):
        await answer(inbox, claim)
    following = await claimed(inbox)
    assert isinstance(following.event, MessageReceived)
    assert following.event.id == "b"
    await answer(inbox, claim)  # also after another worker has taken the next event
    assert len(await Turns(redis).turns(claim.conversation)) == 1
    await answer(inbox, following)
    with pytest.raises(LeaseLost):
        await answer(inbox, claim)  # long ago: what it wrote stands there, but nobody knows that any more


async def test_the_post_of_a_crashed_attempt_is_claimed(redis: Redis) -> None:
    """Field note 10."""
    inbox = short(redis)
    await inbox.accept(received())
    await inbox.hold(await claimed(inbox), PostedMessage(id="p1", data={"ts": "1"}))
    assert (await claimed(inbox)).begun == PostedMessage(id="p1", data={"ts": "1"})


async def test_a_released_event_is_due_after_its_delay(inbox: Inbox) -> None:
    await inbox.accept(received())
    await inbox.release(await claimed(inbox), 60)
    later = await inbox.claim(SHARD)
    assert isinstance(later, Due)
    assert 50_000 < later.in_ms <= 60_000
    due = await inbox.due()
    assert 50_000 < due[SHARD].in_ms <= 60_000
    assert {one.in_ms for shard, one in enumerate(due) if shard != SHARD} == {-1}


async def test_a_handover_is_due_at_once_and_uncounted(inbox: Inbox) -> None:
    await inbox.accept(received())
    await inbox.release(await claimed(inbox), 0, counted=False)
    assert (await claimed(inbox)).attempt == 1


@pytest.mark.parametrize("addressed", [True, False])
async def test_unaddressed_messages_count_only_where_participating(inbox: Inbox, addressed: bool) -> None:
    expected = "accepted" if addressed else "ignored"
    assert await inbox.accept(received(event="a", addressed=addressed)) == expected
    if addressed:
        await answer(inbox, await claimed(inbox))
        assert await inbox.accept(received(event="b", addressed=False)) == "accepted"


async def test_an_ignored_message_is_not_remembered_as_seen(inbox: Inbox) -> None:
    await inbox.accept(received(event="a", addressed=False))
    assert await inbox.accept(received(event="a", addressed=True)) == "accepted"


async def test_a_stop_request_arrives_by_lease_and_wakeup(inbox: Inbox) -> None:
    await inbox.accept(received())
    claim = await claimed(inbox)
    assert (claim.stop, await inbox.hold(claim)) == ("", "")
    wakeups: AsyncGenerator[Wakeup | str] = inbox.wakeups()
    async with aclosing(wakeups):
        assert await anext(wakeups) == ""
        await inbox.accept(stopped())
        assert await anext(wakeups) == f"{CONVERSATION}\ne1\nasked"
    assert await inbox.hold(claim) == "e1\nasked"
    await answer(inbox, claim)
    await inbox.accept(received(event="next"))
    after = await claimed(inbox)
    assert (after.stop, await inbox.hold(after)) == ("", ""), "a wish ends with its answer"


async def test_a_stop_request_survives_its_worker(inbox: Inbox) -> None:
    await inbox.accept(received())
    first = await claimed(inbox)
    await inbox.accept(stopped())
    await inbox.release(first, 0)  # as when the lease runs out
    assert (await claimed(inbox)).stop == "e1\nasked"


async def test_a_repeated_stop_request_stops_one_answer(inbox: Inbox) -> None:
    await inbox.accept(received(event="a"))
    await inbox.accept(received(event="b"))
    claim = await claimed(inbox)
    assert [await inbox.accept(stopped()) for _ in range(2)] == ["accepted", "duplicate"]
    await answer(inbox, claim)
    assert await inbox.accept(stopped()) == "duplicate"
    assert (await claimed(inbox)).stop == ""


async def test_a_stop_request_stops_only_its_answer(inbox: Inbox) -> None:
    def named(target: str) -> StopRequested:
        return replace(stopped(), id=f"stop {target}", target=target)

    assert await inbox.accept(named("a")) == "duplicate", "nothing waits"
    await inbox.accept(received(event="a"))
    await inbox.accept(received(event="b"))
    await answer(inbox, await claimed(inbox))
    claim = await claimed(inbox)
    assert await inbox.accept(named("a")) == "duplicate", "it is there already"
    await inbox.hold(claim, PostedMessage(id="p", data={"event": "earlier"}))
    assert await inbox.accept(named("a")) == "duplicate"
    assert await inbox.accept(named("earlier")) == "accepted", "the answer that is given anew there"
    assert await inbox.accept(named("b")) == "accepted"
    assert await inbox.hold(claim) == "b\nasked"


async def test_an_accepted_event_wakes_its_shard(inbox: Inbox) -> None:
    wakeups: AsyncGenerator[Wakeup | str] = inbox.wakeups()
    async with aclosing(wakeups):
        await anext(wakeups)
        await inbox.accept(received())
        assert await anext(wakeups) == Wakeup(SHARD, "test:room")


async def test_a_turn_is_replaced_or_removed(inbox: Inbox, redis: Redis) -> None:
    for event in ("a", "b", "c"):
        await inbox.accept(received(event=event))
        await answer(inbox, await claimed(inbox))
    await inbox.accept(rated("p", event="r"))
    claim = await claimed(inbox)
    replaced = replace(claim.turns[-2], reply=Reply(text="again"))
    await inbox.commit(claim, CommitRequest(turn=replaced, place=-2))
    turns = Turns(redis)
    assert [(turn.id, turn.reply.text) for turn in await turns.turns(CONVERSATION)] == [
        ("a", "answer"),
        ("b", "again"),
        ("c", "answer"),
    ]
    await inbox.accept(rated("p", event="d"))
    await inbox.commit(await claimed(inbox), CommitRequest(place=-3))
    assert [turn.id for turn in await turns.turns(CONVERSATION)] == ["b", "c"]


async def test_a_dead_letter_is_stored_with_its_reason(inbox: Inbox, redis: Redis) -> None:
    await inbox.accept(received("poison"))
    await inbox.commit(await claimed(inbox), CommitRequest(dead_letter_reason="it always fails"))
    (record,) = await redis.call("LRANGE", keys.dead_letters(SHARD), 0, -1)
    assert b"it always fails" in record
    assert b"poison" in record


async def test_only_the_newest_turns_are_kept(redis: Redis) -> None:
    inbox = Inbox(redis, lease_s=30, limit=3, retention_s=3600, window=2, keep=3)
    for number in range(5):
        await inbox.accept(received(event=f"e{number}"))
        await answer(inbox, await claimed(inbox))
    assert [turn.id for turn in await Turns(redis).turns(CONVERSATION)] == ["e2", "e3", "e4"]
    await inbox.accept(received(event="next"))
    assert [turn.id for turn in (await claimed(inbox)).turns] == ["e3", "e4"]


async def test_an_unreadable_event_is_claimed_as_such(inbox: Inbox, redis: Redis) -> None:
    await inbox.accept(received())
    await redis.call("LSET", keys.of("inbox", CONVERSATION), 0, '{"type":"of the future"}')
    claim = await claimed(inbox)
    assert claim.event is None
    assert claim.raw == b'{"type":"of the future"}'


async def test_unknown_scripts_are_sent_again(inbox: Inbox, redis: Redis) -> None:
    await inbox.accept(received(event="a"))
    await redis.call("SCRIPT FLUSH")
    assert await inbox.accept(received(event="b")) == "accepted"


async def test_an_outage_of_redis_is_state_unavailable() -> None:
    """Field note 32."""
    client = Redis("redis://127.0.0.1:1")
    with pytest.raises(StateUnavailable):
        await Inbox(client, lease_s=30, limit=3, retention_s=3600).accept(received())
    await client.close()


class Flaky(Redis):
    """A connection that, on demand, breaks after a script ran and before its answer arrived."""

    broken = False

    async def run(self, script: Script, keys: Sequence[Key], args: Sequence[Argument]) -> Any:
        answer = await super().run(script, keys, args)
        if self.broken:
            raise StateUnavailable("the answer was lost")
        return answer


async def test_a_lost_claim_is_returned_again(redis: Redis) -> None:
    flaky = Flaky(redis.url)
    inbox = Inbox(flaky, lease_s=30, limit=3, retention_s=3600)
    await inbox.accept(received())
    flaky.broken = True
    for _ in range(2):
        with pytest.raises(StateUnavailable):
            await inbox.claim(SHARD)
    flaky.broken = False
    claim = await claimed(inbox)
    assert (claim.conversation, claim.attempt, claim.token) == (CONVERSATION, 1, 1)
    await answer(inbox, claim)
    assert await inbox.claim(SHARD) == Due(in_ms=-1)
    await flaky.close()


async def test_a_lost_claim_is_not_taken_from_others(redis: Redis) -> None:
    flaky = Flaky(redis.url)
    loser = Inbox(flaky, lease_s=0, limit=3, retention_s=3600)
    await loser.accept(received())
    flaky.broken = True
    with pytest.raises(StateUnavailable):
        await loser.claim(SHARD)
    flaky.broken = False
    holder = Inbox(redis, lease_s=30, limit=3, retention_s=3600)
    claim = await claimed(holder)
    assert not isinstance(await loser.claim(SHARD), Claim)
    assert await holder.hold(claim) == ""
    await flaky.close()


def conversations(count: int, shard: int | None = None) -> list[str]:
    """Names of conversations, all of one shard if it is given."""
    names = (f"test:{number}" for number in itertools.count())
    return list(itertools.islice((n for n in names if shard in (None, keys.shard_of(n))), count))


async def test_a_tenants_events_are_limited_per_shard(redis: Redis) -> None:
    inbox = Inbox(redis, lease_s=30, limit=3, tenant_limit=70, retention_s=3600)
    names = conversations(71, SHARD)
    receipts = [await inbox.accept(received(event=name, conversation=name)) for name in names]
    assert receipts == ["accepted"] * 70 + ["busy"]
    other = replace(ADA, tenant="globex")
    assert await inbox.accept(received(conversation=names[-1], user=other, event="other's")) == "accepted"
    await answer(inbox, await claimed(inbox))
    assert await inbox.accept(received(event=names[-1], conversation=names[-1])) == "accepted"


async def test_a_tenants_events_are_limited_in_total(redis: Redis) -> None:
    """At least the limit, and less than twice the limit, wherever they are."""
    inbox = Inbox(redis, lease_s=30, limit=3, tenant_limit=70, retention_s=3600)
    receipts = [await inbox.accept(received(event=name, conversation=name)) for name in conversations(200)]
    assert set(receipts[:70]) == {"accepted"}
    assert 70 <= receipts.count("accepted") < 140


async def test_a_wrong_count_ends_with_an_empty_shard(inbox: Inbox, redis: Redis) -> None:
    await inbox.accept(received(event="a"))
    await redis.call("HINCRBY", keys.waiting(SHARD), ADA.tenant, 100)
    await answer(inbox, await claimed(inbox))
    assert await redis.call("EXISTS", keys.waiting(SHARD)) == 0


async def test_answered_events_are_not_counted_as_waiting(inbox: Inbox, redis: Redis) -> None:
    for event in ("a", "b"):
        await inbox.accept(received(event=event))
    await answer(inbox, await claimed(inbox))
    assert await redis.call("HGETALL", keys.waiting(SHARD)) == {ADA.tenant.encode(): b"1"}
    await inbox.release(await claimed(inbox), 0)
    assert await redis.call("HGETALL", keys.waiting(SHARD)) == {ADA.tenant.encode(): b"1"}


async def test_an_unreadable_turn_does_not_shift_others(inbox: Inbox, redis: Redis) -> None:
    for event in ("a", "b", "c"):
        await inbox.accept(received(event=event))
        await answer(inbox, await claimed(inbox))
    await redis.call("LSET", keys.of("turns", CONVERSATION), 1, "written by another version")
    await inbox.accept(rated("p", event="r"))
    claim = await claimed(inbox)
    assert [turn.id for turn in claim.turns] == ["a", "c"]
    again = replace(claim.turns[-2], reply=Reply(text="again"))
    await inbox.commit(claim, CommitRequest(turn=again, place=-2))
    stored: list[bytes] = await redis.call("LRANGE", keys.of("turns", CONVERSATION), 0, -1)
    assert b'"again"' in stored[0]
    assert stored[1] == b"written by another version"
