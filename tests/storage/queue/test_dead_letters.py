"""Events that were given up can be seen, tried again, and dropped, each once."""

import pytest

from bot.domain.events import Said
from bot.storage.queue.dead_letters import Graveyard
from bot.storage.queue.inbox import Claim, Inbox, Written
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, rated, said

ROOM = "test:room"


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=30, limit=20, retention_s=3600)


@pytest.fixture
def graveyard(redis: Redis) -> Graveyard:
    return Graveyard(redis)


async def claimed(inbox: Inbox, conversation: str) -> Claim:
    claim = await inbox.claim(keys.shard_of(conversation))
    assert isinstance(claim, Claim)
    return claim


async def bury(
    inbox: Inbox, conversation: str = ROOM, *, event: str = "e1", reason: str = "it fails"
) -> None:
    await inbox.accept(said(f"words of {event}", event=event, conversation=conversation))
    await inbox.commit(await claimed(inbox, conversation), Written(buried=reason))


async def test_what_is_buried_is_listed_with_its_reason_the_oldest_first(
    inbox: Inbox, graveyard: Graveyard
) -> None:
    for number in range(5):
        await bury(inbox, f"test:{number}", event=f"e{number}", reason=f"reason {number}")
    found = await graveyard.all()
    assert [(one.conversation, one.words, one.reason, one.attempts) for one in found.values()] == [
        (f"test:{number}", f"words of e{number}", f"reason {number}", 1) for number in range(5)
    ]
    assert list(await graveyard.all()) == list(found), "ids stay the same"
    assert len(found) == 5, "and are different"


async def test_an_act_without_words_is_listed_too(inbox: Inbox, graveyard: Graveyard) -> None:
    await inbox.accept(rated("post"))
    await inbox.commit(await claimed(inbox, ROOM), Written(buried="no such post"))
    (one,) = (await graveyard.all()).values()
    assert one.words == ""


async def test_what_is_tried_again_waits_at_the_tail_although_it_was_seen(
    inbox: Inbox, graveyard: Graveyard, redis: Redis
) -> None:
    await bury(inbox, event="poison")
    await inbox.accept(said(event="later"))
    (buried,) = await graveyard.all()
    assert await graveyard.retry(buried)
    assert await redis.call("HGET", keys.waiting(keys.shard_of(ROOM)), ADA.tenant) == b"2"
    order: list[str] = []
    for _ in range(2):
        claim = await claimed(inbox, ROOM)
        assert isinstance(claim.event, Said)
        assert claim.attempt == 1, "attempts are counted anew"
        order.append(claim.event.id)
        await inbox.commit(claim, Written())
    assert order == ["later", "poison"]
    assert await graveyard.all() == {}


async def test_what_is_tried_again_wakes_a_conversation_that_rests(
    inbox: Inbox, graveyard: Graveyard
) -> None:
    await bury(inbox)
    (buried,) = await graveyard.all()
    await graveyard.retry(buried)
    assert (await claimed(inbox, ROOM)).event is not None


async def test_nothing_is_tried_again_or_dropped_twice(inbox: Inbox, graveyard: Graveyard) -> None:
    await bury(inbox, event="a")
    await bury(inbox, event="b")
    first, second = await graveyard.all()
    assert await graveyard.retry(first)
    assert not await graveyard.retry(first)
    assert await graveyard.drop(second)
    assert not await graveyard.drop(second)
    assert not await graveyard.retry(second)
    assert await graveyard.all() == {}


async def test_what_fails_again_is_buried_again_under_another_id(inbox: Inbox, graveyard: Graveyard) -> None:
    await bury(inbox)
    (first,) = await graveyard.all()
    await graveyard.retry(first)
    await inbox.commit(await claimed(inbox, ROOM), Written(buried="it fails"))
    (second,) = await graveyard.all()
    assert second != first


async def test_an_event_that_can_not_be_read_goes_back_as_it_was(
    inbox: Inbox, graveyard: Graveyard, redis: Redis
) -> None:
    await inbox.accept(said())
    await redis.call("LSET", keys.of("inbox", ROOM), 0, '{"type":"of the future"}')
    await inbox.commit(await claimed(inbox, ROOM), Written(buried="it can't be read"))
    ((buried, record),) = (await graveyard.all()).items()
    assert record.words == ""
    await graveyard.retry(buried)
    assert (await claimed(inbox, ROOM)).raw == b'{"type":"of the future"}'
