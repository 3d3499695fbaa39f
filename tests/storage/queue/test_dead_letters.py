"""Dead letters can be listed, retried and dropped, each once."""

import pytest

from bot.domain.events import MessageReceived
from bot.storage.queue.dead_letters import DeadLetterQueue
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, rated, received

CONVERSATION = "test:room"


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=30, limit=20, retention_s=3600)


@pytest.fixture
def queue(redis: Redis) -> DeadLetterQueue:
    return DeadLetterQueue(redis)


async def claimed(inbox: Inbox, conversation: str) -> Claim:
    claim = await inbox.claim(keys.shard_of(conversation))
    assert isinstance(claim, Claim)
    return claim


async def dead_letter(
    inbox: Inbox, conversation: str = CONVERSATION, *, event: str = "e1", reason: str = "it fails"
) -> None:
    await inbox.accept(received(f"words of {event}", event=event, conversation=conversation))
    await inbox.commit(await claimed(inbox, conversation), CommitRequest(dead_letter_reason=reason))


async def test_dead_letters_are_listed_oldest_first(inbox: Inbox, queue: DeadLetterQueue) -> None:
    for number in range(5):
        await dead_letter(inbox, f"test:{number}", event=f"e{number}", reason=f"reason {number}")
    found = await queue.all()
    assert [(entry.conversation, entry.words, entry.reason, entry.attempts) for entry in found.values()] == [
        (f"test:{number}", f"words of e{number}", f"reason {number}", 1) for number in range(5)
    ]
    assert list(await queue.all()) == list(found), "ids stay the same"
    assert len(found) == 5, "and are different"


async def test_an_event_without_text_is_listed_too(inbox: Inbox, queue: DeadLetterQueue) -> None:
    await inbox.accept(rated("post"))
    await inbox.commit(await claimed(inbox, CONVERSATION), CommitRequest(dead_letter_reason="no such post"))
    (letter,) = (await queue.all()).values()
    assert letter.words == ""


async def test_a_retried_event_waits_at_the_tail(inbox: Inbox, queue: DeadLetterQueue, redis: Redis) -> None:
    await dead_letter(inbox, event="poison")
    await inbox.accept(received(event="later"))
    (dead_letters,) = await queue.all()
    assert await queue.retry(dead_letters)
    assert await redis.call("HGET", keys.waiting(keys.shard_of(CONVERSATION)), ADA.tenant) == b"2"
    order: list[str] = []
    for _ in range(2):
        claim = await claimed(inbox, CONVERSATION)
        assert isinstance(claim.event, MessageReceived)
        assert claim.attempt == 1, "attempts are counted anew"
        order.append(claim.event.id)
        await inbox.commit(claim, CommitRequest())
    assert order == ["later", "poison"]
    assert await queue.all() == {}


async def test_a_retried_event_wakes_its_conversation(inbox: Inbox, queue: DeadLetterQueue) -> None:
    await dead_letter(inbox)
    (dead_letters,) = await queue.all()
    await queue.retry(dead_letters)
    assert (await claimed(inbox, CONVERSATION)).event is not None


async def test_nothing_is_retried_or_dropped_twice(inbox: Inbox, queue: DeadLetterQueue) -> None:
    await dead_letter(inbox, event="a")
    await dead_letter(inbox, event="b")
    first, second = await queue.all()
    assert await queue.retry(first)
    assert not await queue.retry(first)
    assert await queue.drop(second)
    assert not await queue.drop(second)
    assert not await queue.retry(second)
    assert await queue.all() == {}


async def test_another_failure_gets_another_id(inbox: Inbox, queue: DeadLetterQueue) -> None:
    await dead_letter(inbox)
    (first,) = await queue.all()
    await queue.retry(first)
    await inbox.commit(await claimed(inbox, CONVERSATION), CommitRequest(dead_letter_reason="it fails"))
    (second,) = await queue.all()
    assert second != first


async def test_an_unreadable_event_is_retried_unchanged(
    inbox: Inbox, queue: DeadLetterQueue, redis: Redis
) -> None:
    await inbox.accept(received())
    await redis.call("LSET", keys.of("inbox", CONVERSATION), 0, '{"type":"of the future"}')
    await inbox.commit(
        await claimed(inbox, CONVERSATION), CommitRequest(dead_letter_reason="it can't be read")
    )
    ((dead_letters, record),) = (await queue.all()).items()
    assert record.words == ""
    await queue.retry(dead_letters)
    assert (await claimed(inbox, CONVERSATION)).raw == b'{"type":"of the future"}'
