"""The turns of a conversation can be read back, found, and forgotten in every slot that they are in."""

import logging

import pytest

from bot.domain.events import MessageReceived, User, now
from bot.domain.prompts import Image, Prompt, say
from bot.domain.turns import Reply, Turn
from bot.storage.conversations.turns import Turns, pack_image, pack_prompts
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, BOB, received

PICTURE = Image(mime="image/png", data=b"\x89PNG", ref="ref-1")


async def keep(redis: Redis, conversation: str, event: str, user: User = ADA) -> None:
    """A turn with a picture and what was sent for it."""
    inbox = Inbox(redis, lease_s=30, limit=20, retention_s=3600)
    await inbox.accept(received(event=event, conversation=conversation, user=user))
    claim = await inbox.claim(keys.shard_of(conversation))
    assert isinstance(claim, Claim)
    assert isinstance(claim.event, MessageReceived)
    turn = Turn(
        id=event,
        received=claim.event,
        template="t@0",
        messages=(),
        reply=Reply(text="answer", images=(Image(mime="image/png", ref=f"ref of {event}"),)),
        outcome="answered",
        began_at=now(),
        ended_at=now(),
    )
    prompt = Prompt(template="t@0", capability="chat", messages=(say("user", "hello"),))
    pictures = {f"ref of {event}": pack_image(PICTURE)}
    await inbox.commit(claim, CommitRequest(turn=turn, sent=pack_prompts([prompt]), pictures=pictures))


async def test_sent_prompts_and_images_are_read_back(redis: Redis) -> None:
    await keep(redis, "test:a", "e1")
    turns = Turns(redis)
    assert await turns.image("test:a", "ref of e1") == PICTURE
    ((message,),) = [prompt.messages for prompt in await turns.sent("test:a", "e1")]
    assert message.text == "hello"
    assert await turns.image("test:a", "another") is None
    assert await turns.sent("test:a", "another") == ()


async def test_conversations_are_found_in_every_slot(redis: Redis) -> None:
    names = {f"test:{number}:with:colons" for number in range(30)}
    for name in names:
        await keep(redis, name, "e1")
    assert {name async for name in Turns(redis).conversations()} == names


async def test_a_person_is_deleted_in_every_slot(redis: Redis) -> None:
    """Field note 42."""
    names = [f"test:{number}" for number in range(10)]
    for name in names:
        await keep(redis, name, "hers")
        await keep(redis, name, "his", BOB)
    turns = Turns(redis)
    forgotten = await turns.forget(ADA, names)
    assert (forgotten.conversations, forgotten.turns, forgotten.pictures) == (10, 10, 10)
    for name in names:
        assert [turn.id for turn in await turns.turns(name)] == ["his"]
        assert await turns.image(name, "ref of hers") is None
        assert await turns.sent(name, "hers") == ()
        assert await turns.image(name, "ref of his") == PICTURE
    assert (await turns.forget(ADA, names)).turns == 0


async def test_an_unreadable_turn_is_skipped_and_logged(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await keep(redis, "test:a", "e1")
    await redis.call("LPUSH", keys.of("turns", "test:a"), '{"of": "the future"}')
    with caplog.at_level(logging.ERROR):
        assert [turn.id for turn in await Turns(redis).turns("test:a")] == ["e1"]
    assert "can't be read" in caplog.text
