"""What is stored of messages that are not answered: whether others speak, and the reasons, for a day."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from bot.domain.events import MessageReceived, User, now
from bot.domain.turns import Turn, past_turn
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.queue.unanswered import UnansweredMessages
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, BOB, received

CONVERSATION = "test:room"
SHARD = keys.shard_of(CONVERSATION)


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=30, limit=5, retention_s=3600)


def overheard(event: str, *, user: User = BOB) -> MessageReceived:
    """A message without a mention."""
    return received(event=event, addressed=False, user=user)


def turn() -> Turn:
    return past_turn(received(), "hello", "Hi.")


async def claimed(inbox: Inbox) -> Claim:
    claim = await inbox.claim(SHARD)
    assert isinstance(claim, Claim)
    return claim


async def handled(inbox: Inbox, message: MessageReceived, request: CommitRequest) -> Claim:
    """Accept, claim and commit a message."""
    assert await inbox.accept(message) == "accepted"
    claim = await claimed(inbox)
    await inbox.commit(claim, request)
    return claim


async def test_others_speak_until_a_mention(inbox: Inbox) -> None:
    """Field fault 105: each claim tells whether others have spoken since the last mention."""
    silent = CommitRequest(unanswered="several-people", others_speak=True)
    told = [
        (await handled(inbox, message, request)).others_speak
        for message, request in (
            (received(event="a"), CommitRequest(turn=turn())),
            (overheard("b"), silent),
            (overheard("c", user=ADA), CommitRequest(unanswered="mention-only")),
            (received(event="d"), CommitRequest(turn=turn())),
            (overheard("e", user=ADA), CommitRequest(turn=turn())),
        )
    ]
    assert told == [False, False, True, True, False]


async def test_buttons_are_no_words(inbox: Inbox) -> None:
    """People who talk among themselves are not interrupted because somebody pressed a button or sent `stop`."""
    button = replace(received("usage", event="b"), registered=True)
    await handled(inbox, received(event="a"), CommitRequest(turn=turn()))
    await handled(inbox, overheard("o"), CommitRequest(unanswered="several-people", others_speak=True))
    await handled(inbox, button, CommitRequest(turn=turn()))
    await handled(inbox, received("stop", event="s"), CommitRequest())
    assert (await handled(inbox, overheard("c", user=ADA), CommitRequest())).others_speak


async def test_records_are_bounded_and_kept_a_day(
    inbox: Inbox, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "UNANSWERED_KEPT", 5)
    silent = CommitRequest(unanswered="several-people")
    await handled(inbox, received(event="a"), CommitRequest(turn=turn()))
    await redis.call("ZADD", keys.unanswered(SHARD), 1, b"a record of 1970")
    for number in range(keys.UNANSWERED_KEPT + 5):
        await handled(inbox, overheard(f"e{number}"), silent)
    old = replace(overheard("old"), at=now() - timedelta(days=2))
    await handled(inbox, old, silent)
    stored = b"".join(await redis.call("ZRANGE", keys.unanswered(SHARD), 0, -1))
    assert b"1970" not in stored, "what is older than a day goes, also while others are added"
    assert await redis.call("ZCARD", keys.unanswered(SHARD)) == keys.UNANSWERED_KEPT
    assert 0 < await redis.call("TTL", keys.unanswered(SHARD)) <= keys.DAY_S
    found = await UnansweredMessages(redis).all()
    assert len(found) == keys.UNANSWERED_KEPT - 1, "a record of two days ago is not shown"
    assert {one.reason for one in found} == {"several-people"}
    assert b"bob" not in stored.lower()
    assert b"hello" not in stored, "neither people nor their words"
