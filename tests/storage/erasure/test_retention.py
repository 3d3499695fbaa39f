"""Field fault 120: what has expired is not sent, and deleted, also where a conversation goes on."""

from datetime import timedelta

import msgspec
from msgspec.structs import replace

from bot.domain.events import now
from bot.domain.prompts import Example, Image
from bot.domain.publications import Proposal
from bot.domain.turns import Turn, past_turn
from bot.storage.conversations.summaries import Summary
from bot.storage.conversations.turns import unexpired
from bot.storage.embedded.compaction import Compaction
from bot.storage.erasure.redaction import EXPIRED
from bot.storage.erasure.retention import Retention
from bot.storage.prompts.proposals import Proposals
from bot.storage.queue.inbox import Claim, CommitRequest
from bot.storage.redis import keys
from tests.support.acts import ADA, BOB, edited, received
from tests.support.dumps import traces
from tests.support.fake_adapter import words
from tests.support.harness import CONVERSATION, Harness

CANARY = "zebra-canary-4711"
HOUR = timedelta(hours=1)


def sweeper(harness: Harness) -> Retention:
    return Retention(harness.redis, 3600, Compaction(harness.redis, embedded=False))


def texts_sent(harness: Harness) -> str:
    return "\n".join(message.text for message in harness.model.prompts[-1].messages)


async def test_expired_turns_are_not_sent(harness: Harness) -> None:
    """Field fault 120: turns of 40 days were sent to the model with a retention of 30 days."""
    harness.model.script = lambda prompt: words("Certainly.")
    await harness.answer(received(CANARY, event="a"), received("second", event="b"))
    await harness.age("a")
    await harness.answer(received("third", event="c"))
    assert CANARY not in texts_sent(harness)
    assert "second" in texts_sent(harness)
    turns = await harness.answer(edited("b", "second, in other words", event="d"))
    assert [turn.received.text for turn in turns] == [CANARY, "second, in other words", "third"]


async def test_expired_words_are_nowhere(harness: Harness) -> None:
    """Field fault 120: as long as a conversation went on, the lifetime of all its turns was renewed."""
    harness.model.script = lambda prompt: words("Certainly.")
    await harness.answer(received(f"Remember {CANARY}.", event="a"))
    await harness.answer(received("And this?", event="b", user=BOB))
    old = f'{{"since":"b","text":"They spoke of {CANARY}."}}'
    await harness.redis.call("SET", keys.of("summary", CONVERSATION), old, "EX", 60)
    await harness.age("a")
    assert await sweeper(harness).sweep() == 1
    assert await traces(harness.redis, CANARY) == set()
    (turn,) = await harness.turns.turns(CONVERSATION)
    (sent,) = await harness.turns.sent(CONVERSATION, turn.id)
    texts = [message.text for message in sent.messages]
    assert EXPIRED in texts
    assert "And this?" in texts[-1]


async def test_newer_turns_stay_as_they_are(harness: Harness) -> None:
    await harness.answer(received("first", event="a"), received("second", event="b"))
    before = [await harness.turns.sent(CONVERSATION, id) for id in ("a", "b")]
    await harness.age("a", timedelta(minutes=70))
    assert await sweeper(harness).sweep() == 0, "an answer may still be written that was begun with it"
    assert [await harness.turns.sent(CONVERSATION, id) for id in ("a", "b")] == before


async def test_one_process_sweeps_each_hour(harness: Harness) -> None:
    await harness.answer(received("first", event="a"))
    await harness.age("a")
    assert await sweeper(harness).sweep() == 1
    await harness.answer(received("second", event="b"))
    await harness.age("b")
    assert await sweeper(harness).sweep() == 0
    await harness.redis.call("DEL", keys.SWEPT)
    assert await sweeper(harness).sweep() == 1


async def test_pictures_of_expired_turns_are_deleted(harness: Harness) -> None:
    await harness.answer(received("hello", event="a"))
    name = keys.of("picture", CONVERSATION, "ref")
    (turn,) = await harness.turns.turns(CONVERSATION)
    drawn = replace(turn, reply=replace(turn.reply, images=(Image(mime="image/png", data=b"", ref="ref"),)))
    await harness.redis.call("LSET", keys.of("turns", CONVERSATION), 0, msgspec.json.encode(drawn))
    await harness.redis.call("SET", name, "bytes", "EX", 60)
    await harness.age("a")
    await sweeper(harness).sweep()
    assert not await harness.redis.call("EXISTS", name)


async def test_dead_letters_expire_one_by_one(harness: Harness) -> None:
    """Each new one renewed the lifetime of all in its shard."""
    for event in ("a", "b"):
        await harness.accept(received(CANARY, event=event))
        claim = await harness.inbox.claim(keys.shard_of(CONVERSATION))
        assert isinstance(claim, Claim)
        await harness.inbox.commit(claim, CommitRequest(dead_letter_reason="it always fails"))
    name = keys.dead_letters(keys.shard_of(CONVERSATION))
    old, new = await harness.redis.call("LRANGE", name, 0, -1)
    year = f"{now():%Y}".encode()
    await harness.redis.call("LSET", name, 0, old.replace(year, b"2020"))
    await sweeper(harness).sweep()
    assert await harness.redis.call("LRANGE", name, 0, -1) == [new]


async def test_proposals_expire_unless_they_are_accepted(harness: Harness) -> None:
    proposals = Proposals(harness.redis)
    old = Proposal(
        id="old",
        pool="p",
        example=Example(user=CANARY, assistant="yes"),
        conversation=CONVERSATION,
        turn="a",
        asker=ADA,
        author="x",
        at=now() - 2 * HOUR,
    )
    await proposals.put(old)
    await proposals.put(replace(old, id="accepted", state="accepted"))
    await proposals.put(replace(old, id="new", at=now()))
    await sweeper(harness).sweep()
    assert {each.id for each in await proposals.all()} == {"accepted", "new"}


async def test_summaries_expire_with_their_oldest_turn(harness: Harness) -> None:
    """Field fault 120: a summary kept what its turns had said."""
    memory, name = harness.memory, keys.of("summary", CONVERSATION)
    await memory.put(CONVERSATION, Summary(since="b", text="They spoke.", oldest=now() - 0.9 * HOUR))
    assert 350 <= await harness.redis.call("TTL", name) <= 360
    assert await memory.get(CONVERSATION)
    await harness.redis.call("DEL", name)
    for oldest in (now() - 2 * HOUR, None):
        await memory.put(CONVERSATION, Summary(since="b", text="They spoke.", oldest=oldest))
        assert not await harness.redis.call("EXISTS", name)
    await harness.redis.call("SET", name, '{"since":"b","text":"of an earlier version"}', "EX", 60)
    assert await memory.get(CONVERSATION) is None


def test_starting_over_holds_after_it_has_expired() -> None:
    """An edit of what was said before makes that turn newer than the one that started over."""

    def turn(id: str, hours: int, *, resets: bool = False) -> Turn:
        made = past_turn(received(), "question", "answer", id)
        return replace(made, ended_at=now() - hours * HOUR, resets=resets)

    turns = [turn("edited", 1), turn("reset", 9, resets=True), turn("old", 8), turn("new", 2)]
    assert [turns[place].id for place in unexpired(turns, now() - 5 * HOUR)] == ["new"]
    assert [turns[place].id for place in unexpired(turns, now() - 8.5 * HOUR)] == ["old", "new"]
    assert unexpired([None, *turns], now() - 10 * HOUR) == [1, 2, 3, 4]
