"""A finished reply is stored before it is shown: later attempts only deliver it."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from itertools import accumulate
from typing import Any

import pytest
from msgspec.structs import replace

from bot.domain.adapter import Lease, StreamRecord
from bot.domain.errors import (
    BotError,
    ConfigError,
    LeaseLost,
    ModelUnavailable,
    PlatformUnavailable,
    StateUnavailable,
)
from bot.domain.events import PostedMessage
from bot.domain.prompts import Prompt
from bot.domain.turns import Delta, Reply
from bot.storage.queue.dead_letters import DeadLetterQueue
from bot.storage.queue.inbox import Claim, CommitRequest
from bot.storage.redis import keys
from bot.worker.delivery import pause_s
from tests.support.acts import ADA, BOB, deleted, edited, received, stopped
from tests.support.fake_adapter import FakeAdapter, words
from tests.support.harness import CONVERSATION, Harness

PAUSES = [pause_s(failures, 0) for failures in range(20)]
"""In seconds, before `fast` replaces them."""


class Refusal(PlatformUnavailable):
    """A platform that does not want the request."""

    permanent = True


class Platform(FakeAdapter):
    """Raises `errors`, one with each `close`, or with each `open` if `opening` is set; counts the calls."""

    def __init__(self, *errors: Exception, opening: bool = False) -> None:
        super().__init__()
        self.errors = list(errors)
        self.opening = opening
        self.closes = 0

    async def open(self, address: object, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        if self.opening and self.errors:
            raise self.errors.pop(0)
        return await super().open(address, begun, retry)  # pyright: ignore[reportArgumentType]

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        self.closes += 1
        if not self.opening and self.errors:
            raise self.errors.pop(0)
        return await super().close(post, reply)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow one another at once."""
    monkeypatch.setattr("bot.worker.delivery._BACKOFF_S", (0.01,))
    monkeypatch.setattr("bot.worker.worker._BACKOFF_S", (0.01,))


def down(count: int) -> list[Exception]:
    return [PlatformUnavailable("status 503") for _ in range(count)]


async def until_waiting(harness: Harness, *, closes: int = 1) -> None:
    """Wait until a worker has failed to deliver, and has released the event."""
    adapter = harness.adapter
    assert isinstance(adapter, Platform)

    async def waiting() -> bool:
        lease = await harness.redis.call("HGET", keys.of("lease", CONVERSATION), "failures")
        return adapter.closes >= closes and int(lease or 0) >= 1

    async with harness.working():
        await harness.until(waiting)


def out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that is unavailable for longer than the test takes."""
    monkeypatch.setattr("bot.worker.delivery._BACKOFF_S", (3600,))


async def make_due(harness: Harness) -> None:
    await harness.redis.call("ZADD", keys.ready(keys.shard_of(CONVERSATION)), "XX", 0, CONVERSATION)


async def spent(harness: Harness) -> str:
    """What /usage shows for today."""
    await harness.answer(received("/usage", event="usage"))
    return next(line for line in harness.adapter.texts[-1].splitlines() if "Today" in line)


TEMPORARY: list[tuple[str, list[Exception], bool]] = [
    ("three 500s, as of teams.py", down(3), False),
    ("a dozen 503s, more than an event has attempts", down(12), False),
    ("no connection when the message is opened", down(12), True),
    ("429 with a time", [PlatformUnavailable("429", 0.01)] * 7, False),
    ("429 when the message is opened", [PlatformUnavailable("429", 0.01)] * 7, True),
    ("a refusal that passes", [Refusal("400"), Refusal("400")], False),
    ("a refusal when the message is opened", [Refusal("400"), Refusal("400")], True),
    ("an error of the adapter itself", [ValueError("bad table"), ValueError("bad table")], False),
    ("an error of the adapter when it opens", [KeyError("service_url")], True),
    ("an outage, then a refusal, then an outage", [*down(3), Refusal("409"), *down(3)], False),
    ("a timeout", [TimeoutError()], False),
    ("a connection that is reset", [ConnectionResetError()], False),
]


@pytest.mark.parametrize(
    ("errors", "opening"), [case[1:] for case in TEMPORARY], ids=[c[0] for c in TEMPORARY]
)
async def test_a_failed_delivery_repeats_only_delivery(
    harness: Harness, errors: list[Exception], opening: bool
) -> None:
    """Field fault 75: a failed delivery generated the answer again; 128: outages used up the attempts."""
    harness.adapter = Platform(*errors, opening=opening)
    (turn,) = await harness.answer(received("hello"))
    assert harness.adapter.texts == ["You said: hello"]
    assert (turn.outcome, turn.undelivered) == ("answered", None)
    assert turn.post == PostedMessage(id="post of e1")
    assert len(harness.model.prompts) == 1
    assert "| 1 | 10 | 1 |" in await spent(harness)


async def test_a_killed_worker_leaves_its_reply(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 75: another worker only delivers what was generated."""
    showing = asyncio.Event()

    class Hanging(Platform):
        async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
            showing.set()
            await asyncio.Event().wait()
            return post

    harness.adapter = Hanging()
    await harness.accept(received("hello"))
    async with harness.working(drain_s=0):
        await showing.wait()
    harness.adapter = Platform()
    (turn,) = await harness.answer()
    assert harness.adapter.texts == ["You said: hello"]
    assert turn.undelivered is None
    assert len(harness.model.prompts) == 1


async def test_a_hanging_platform_delays_no_storing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 128: a platform that does not answer holds up neither the model nor the storing."""
    monkeypatch.setattr("bot.worker.worker.OPEN_PATIENCE_S", 0.01)
    answering = asyncio.Event()

    class Hanging(Platform):
        async def open(self, address: object, begun: PostedMessage | None, retry: bool) -> PostedMessage:
            await answering.wait()
            return await super().open(address, begun, retry)

    harness.adapter = platform = Hanging()
    await harness.accept(received("hello"))
    async with harness.working():
        await harness.until(lambda: harness.redis.call("EXISTS", keys.of("turns", CONVERSATION)))
        answering.set()
        await harness.until(harness.idle)
    assert platform.texts == ["You said: hello"]
    assert len(harness.model.prompts) == 1


async def test_an_image_is_drawn_once(harness: Harness) -> None:
    """Field fault 75: an image model is paid once, and its image survives the failures."""
    harness.adapter = Platform(*down(3))
    (turn,) = await harness.answer(received("/image a red bicycle"))
    (image,) = harness.adapter.replies[0].images
    assert image.data == harness.model.pictures[0].data
    assert turn.reply.images[0].data == b""
    assert len(harness.model.prompts) == 1


async def test_an_edited_answer_is_generated_once(harness: Harness) -> None:
    """Field fault 75: an edit, too, is generated once, and replaces its answer."""
    harness.adapter = platform = Platform()
    await harness.answer(received("old", event="a"), received("later", event="b"))
    platform.errors = down(3)
    turns = await harness.answer(edited("a", "new"))
    assert [turn.received.text for turn in turns] == ["new", "later"]
    assert [turn.undelivered for turn in turns] == [None, None]
    assert platform.shown["post of a"] == "You said: new"
    assert len(harness.model.prompts) == 3


async def test_a_dead_letter_keeps_the_reply(harness: Harness) -> None:
    """Field fault 51: when no form and no place is left, an operator can deliver the reply later."""
    harness.adapter = platform = Platform(ConfigError("is_archived: the channel is archived."))
    (turn,) = await harness.answer(received("hello"))
    assert turn.undelivered is not None
    letters = DeadLetterQueue(harness.redis)
    ((id, letter),) = (await letters.all()).items()
    assert letter.reason == "is_archived: the channel is archived."
    assert letter.words == "hello"
    assert await letters.retry(id)
    (turn,) = await harness.answer()
    assert platform.texts == ["You said: hello"]
    assert turn.undelivered is None
    assert len(harness.model.prompts) == 1


async def test_a_refused_reply_is_explained(harness: Harness) -> None:
    """Field fault 50: after several refusals the person is told, and the reply is kept."""
    harness.adapter = platform = Platform(*[Refusal("400") for _ in range(harness.attempts)])
    (turn,) = await harness.answer(received("hello"))
    assert "an answer, but it can't be shown here" in platform.texts[0]
    assert turn.undelivered is not None
    assert turn.reply.text == "You said: hello"
    assert len(harness.model.prompts) == 1


async def test_an_edit_that_fails_keeps_its_answer(harness: Harness) -> None:
    """Field fault 128: the failure of an edited question is shown, also after an outage, and below its answer."""
    harness.adapter = platform = Platform()
    await harness.answer(received("old", event="a"))
    harness.model.script = lambda prompt: [*words("half a")[:1], RuntimeError("boom")]
    for event in ("b", "c"):
        platform.errors = down(2)
        (turn,) = await harness.answer(edited("a", "new", event=event))
        answer, _, note = platform.shown["post of a"].partition("\n\n_")
        assert answer == "You said: old"
        assert note.startswith("This is the answer to your question before you edited it. Sorry, I can")
        assert (turn.received.text, turn.outcome, turn.undelivered) == ("old", "answered", None)
    letters = DeadLetterQueue(harness.redis)
    assert len(await letters.all()) == 2
    harness.model.script = lambda prompt: words("Better.")
    assert await letters.retry(next(iter(await letters.all())))
    (turn,) = await harness.answer()
    assert (platform.texts, turn.received.text) == (["Better."], "new")


async def test_an_apology_that_waits_too_long_ends(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 128: a question whose failure can't be shown in time is a dead letter, and holds up no others."""
    out_of_order(monkeypatch)
    monkeypatch.setattr("bot.worker.delivery.DELIVERY_S", 60.0)
    harness.model.script = lambda prompt: [RuntimeError("boom")]
    harness.adapter = platform = Platform(*down(1))
    (turn,) = await harness.answer(received("hello"))
    assert (turn.outcome, turn.undelivered, platform.closes) == ("failed", None, 1)
    (letter,) = (await DeadLetterQueue(harness.redis).all()).values()
    assert "boom" in letter.reason


async def test_a_late_apology_holds_nothing(harness: Harness) -> None:
    """A question whose failure was told only when the platform was back held its request for an hour."""
    harness.model.script = lambda prompt: [RuntimeError("boom")]
    harness.adapter = platform = Platform(*down(2))
    (turn,) = await harness.answer(received("hello"))
    assert (turn.outcome, platform.closes) == ("failed", 3)
    (status,) = await harness.limited("person: 9 requests/day").limit_status(ADA, "")
    assert status.used == 0


async def test_questions_wait_in_order_for_a_platform(harness: Harness) -> None:
    """Field fault 128: after ten minutes, all questions of a thread are answered, each once, in their order."""
    attempts = sum(1 for waited_s in accumulate(PAUSES) if waited_s < 600)
    harness.adapter = platform = Platform(*down(attempts))
    await harness.accept(received("first"))
    async with harness.working():
        await harness.until(lambda: platform.closes >= 3)
        await harness.accept(received("second", event="e2", user=BOB), received("third", event="e3"))
        await harness.until(harness.idle)
    turns = await harness.turns.turns(CONVERSATION)
    asked = ["first", "second", "third"]
    assert [reply.text for reply in platform.replies] == [f"You said: {text}" for text in asked]
    assert [(turn.received.text, turn.undelivered) for turn in turns] == [(text, None) for text in asked]
    assert len(harness.model.prompts) == 3


async def test_attempts_are_counted_apart(harness: Harness) -> None:
    """Field fault 128: attempts at generating leave those at delivering untouched."""
    busy: list[Exception] = [ModelUnavailable("busy", retry_after_s=0.01) for _ in range(2)]
    harness.model.script = lambda prompt: [busy.pop()] if busy else words("here I am")
    harness.adapter = platform = Platform(Refusal("400"), Refusal("400"), *down(5))
    (turn,) = await harness.answer(received("hello"))
    assert platform.texts == ["here I am"]
    assert turn.outcome == "answered"
    assert len(harness.model.prompts) == 3


async def test_an_apology_waits_for_the_platform(harness: Harness) -> None:
    """Field fault 128: when model and platform fail, the person is told as soon as that is possible."""
    harness.model.script = lambda prompt: [RuntimeError("boom")]
    harness.adapter = platform = Platform(*down(4))
    (turn,) = await harness.answer(received("hello"))
    assert platform.texts[0].startswith("Sorry")
    assert (turn.outcome, turn.undelivered) == ("failed", None)
    (letter,) = (await DeadLetterQueue(harness.redis).all()).values()
    assert "boom" in letter.reason
    assert len(harness.model.prompts) == harness.attempts


async def test_a_late_apology_stays_private(harness: Harness) -> None:
    """In a quiet channel only the asker sees it, also when the platform was away at first."""
    await harness.preferences.store.choose(ADA, "C1", mode="mute")
    harness.model.script = lambda prompt: [RuntimeError("boom")]
    harness.adapter = platform = Platform(*down(2))
    await harness.answer(received("hello", channel="C1"))
    assert platform.texts[0].startswith("Sorry")
    assert [reply.private for reply in platform.replies] == [True]


async def test_a_long_wait_is_no_failure(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 54: `Retry-After: 7200` dead-lettered the question at once."""
    harness.adapter = platform = Platform(PlatformUnavailable("429", 7200))
    await harness.accept(received("hello"))
    await until_waiting(harness)
    score: bytes = await harness.redis.call("ZSCORE", keys.ready(keys.shard_of(CONVERSATION)), CONVERSATION)
    seconds, _ = await harness.redis.call("TIME")
    assert 7100 < float(score) / 1000 - int(seconds) < 7300
    assert not await DeadLetterQueue(harness.redis).all()
    await make_due(harness)
    await harness.answer()
    assert platform.texts == ["You said: hello"]
    assert len(harness.model.prompts) == 1


async def test_half_a_day_later_it_is_given_up(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 54: a wait that is too long ends, and the reply is kept."""
    harness.adapter = Platform(PlatformUnavailable("429", 86_400))
    (turn,) = await harness.answer(received("hello"))
    assert turn.undelivered is not None
    (letter,) = (await DeadLetterQueue(harness.redis).all()).values()
    assert letter.reason == "429"


def test_pauses_grow_and_have_a_limit() -> None:
    """Field fault 128: an outage of minutes is over for everybody a minute later."""
    assert sorted(PAUSES) == PAUSES
    assert PAUSES[0] < PAUSES[-1] <= 60
    assert pause_s(99, 7200) == 300


# ------------------------------------------------------------------ what people do meanwhile


async def test_forgetting_erases_a_waiting_reply(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 75 with field note 42: a generated reply is deleted like everything else of its asker."""
    out_of_order(monkeypatch)
    harness.adapter = platform = Platform(*down(1))
    await harness.accept(received("my secret"))
    await until_waiting(harness)
    erased = await harness.erasure.forget(received().user, patience_s=0)
    assert (erased.answers, erased.waiting) == (1, 1)
    stored = [await harness.redis.call("LRANGE", keys.of("turns", CONVERSATION), 0, -1)]
    stored += [await harness.redis.call("LRANGE", keys.of("inbox", CONVERSATION), 0, -1)]
    assert "secret" not in str(stored)
    assert not [name async for name in harness.redis.scan("parley:*:sent:*")]
    await make_due(harness)
    assert await harness.answer() == ()
    assert "secret" not in "".join(platform.texts)
    assert "deleted all their data" in platform.texts[0]
    assert len(harness.model.prompts) == 1


async def test_forgetting_during_the_delivery_erases_it(harness: Harness) -> None:
    """Field fault 75 with field note 42: what is being delivered is not stored again."""
    showing, going_on = asyncio.Event(), asyncio.Event()

    class Slow(Platform):
        async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
            showing.set()
            await going_on.wait()
            return await super().close(post, reply)

    harness.adapter = Slow()
    await harness.accept(received("my secret"))
    async with harness.working():
        await showing.wait()
        await harness.until(lambda: harness.redis.call("EXISTS", keys.of("turns", CONVERSATION)))
        await harness.erasure.forget(received().user, patience_s=0)
        going_on.set()
        await harness.until(harness.idle)
    assert await harness.turns.turns(CONVERSATION) == ()
    assert not [name async for name in harness.redis.scan("parley:*:sent:*")]


async def test_others_text_leaves_a_waiting_reply(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 75 with field note 42: a reply to somebody else is redacted before it is delivered."""
    out_of_order(monkeypatch)
    harness.adapter = platform = Platform()
    await harness.answer(received("my address is 12 Mulberry Lane, Springfield", event="a"))
    platform.errors = down(1)
    harness.model.script = lambda prompt: words("They said: my address is 12 Mulberry Lane, Springfield")
    await harness.accept(received("where does Ada live?", event="b", user=BOB))
    await until_waiting(harness, closes=2)
    await harness.erasure.forget(received().user, patience_s=0)
    await make_due(harness)
    await harness.answer()
    assert "Mulberry" not in platform.texts[-1]
    assert len(harness.model.prompts) == 2


@pytest.mark.parametrize("why", ["stopped", "edited", "deleted", "said"])
async def test_a_waiting_reply_follows_its_question(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Field fault 75: a stop drops the reply, an edit replaces it, a deletion removes it; a new question does not."""
    out_of_order(monkeypatch)
    harness.adapter = platform = Platform(*down(1))
    await harness.accept(received("first"))
    await until_waiting(harness)
    second = received("second", event="b")
    event = {"edited": edited("e1", "changed"), "deleted": deleted("e1"), "said": second}.get(why)
    if event is None:
        assert await harness.inbox.stop(stopped()) == "accepted"
    else:
        await harness.accept(event)
        assert await harness.inbox.supersede(event)
    await make_due(harness)
    turns = await harness.answer()
    assert {
        "stopped": (["_Stopped at your request._"], ["first"]),
        "edited": (["You said: changed"], ["changed"]),
        "deleted": (["_Stopped: you deleted your question._"], []),
        "said": (["You said: first", "You said: second"], ["first", "second"]),
    }[why] == (platform.texts, [turn.received.text for turn in turns])
    assert len(harness.model.prompts) == (1 if why in ("stopped", "deleted") else 2)
    assert all(turn.undelivered is None for turn in turns)


# ------------------------------------------------------------------ storing


async def test_a_stale_worker_stores_no_reply(harness: Harness) -> None:
    """Field fault 75: like a commit, a reply is refused for a stale lease."""
    await harness.accept(received("hello"))
    claim = await harness.inbox.claim(keys.shard_of(CONVERSATION))
    assert isinstance(claim, Claim)
    await harness.inbox.release(claim, 0)
    (turn,) = await harness.answer()
    with pytest.raises(BotError):
        await harness.inbox.store_reply(claim, CommitRequest(turn=turn))
    assert await harness.turns.turns(CONVERSATION) == (turn,)


async def test_a_lost_response_stores_one_reply(harness: Harness) -> None:
    await harness.accept(received("hello"))
    claim = await harness.inbox.claim(keys.shard_of(CONVERSATION))
    assert isinstance(claim, Claim)
    async with harness.working():
        await harness.accept(received("other", conversation="test:other", event="o"))
        await harness.until(lambda: "You said: other" in harness.adapter.texts)
    (turn,) = await harness.turns.turns("test:other")
    for _ in range(3):
        await harness.inbox.store_reply(claim, CommitRequest(turn=turn))
    assert len(await harness.turns.turns(CONVERSATION)) == 1
    await harness.inbox.commit(claim, CommitRequest(turn=replace(turn, attempts=7), stored=True))
    assert [one.attempts for one in await harness.turns.turns(CONVERSATION)] == [7]


async def test_a_normal_answer_waits_for_no_storing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storing runs while the reply is shown, not before."""
    harness.adapter = platform = Platform()
    store = harness.inbox.store_reply

    async def late(claim: Claim, request: CommitRequest) -> None:
        await harness.until(lambda: bool(platform.replies))
        await store(claim, request)

    monkeypatch.setattr(harness.inbox, "store_reply", late)
    (turn,) = await harness.answer(received("hello"))
    assert turn.undelivered is None


async def test_a_storing_that_fails_late_is_quiet(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is stopped while it stores a reply reports no exception of a task that nobody waits for."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    storing, lost, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def fails(claim: Claim, request: CommitRequest) -> None:
        storing.set()
        await lost.wait()
        ended.set()
        raise LeaseLost(claim.conversation)

    monkeypatch.setattr(harness.inbox, "store_reply", fails)
    await harness.accept(received("hello"))
    async with harness.working(drain_s=0):
        await storing.wait()
        await harness.until(lambda: bool(harness.adapter.replies))
    lost.set()
    await ended.wait()
    await asyncio.sleep(0)
    gc.collect()
    assert reported == []


async def test_without_redis_the_commit_stores_all(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field note 32: if only storing the reply failed, nothing is missing in the end."""

    async def fails(claim: Claim, request: CommitRequest) -> None:
        raise StateUnavailable("Redis is away")

    monkeypatch.setattr(harness.inbox, "store_reply", fails)
    monkeypatch.setattr(Lease, "extend", Lease.end)
    monkeypatch.setattr("bot.worker.job._USABLE", 0.02)
    harness.lease_s = 10.0
    harness.inbox._lease_ms = 10_000  # pyright: ignore[reportPrivateUsage]
    (turn,) = await harness.answer(received("/image a red bicycle"))
    assert turn.undelivered is None
    assert await harness.turns.image(CONVERSATION, turn.reply.images[0].ref) is not None
    assert await harness.turns.sent(CONVERSATION, turn.id)


async def test_what_was_streamed_is_recorded(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 74: whoever continues a message knows what was streamed of it."""
    running = asyncio.Event()

    async def script(prompt: Prompt) -> AsyncGenerator[Delta]:
        yield Delta(text="Once upon")
        await harness.until(lambda: _has(harness, "Once upon"))
        running.set()
        await asyncio.Event().wait()

    harness.adapter = Recording()
    harness.model.script = script
    await harness.accept(received("hello"))
    async with harness.working(drain_s=0):
        await running.wait()
    harness.model.script = lambda prompt: words("Once upon a time")
    await harness.answer()
    begun = harness.adapter.opened[-1][1]
    assert begun is not None
    assert begun.data["streamed"] == "Once upon"


class Recording(Platform):
    """A platform that needs what was streamed, to continue it."""

    recorded: StreamRecord

    def record_in(self, post: PostedMessage, record: StreamRecord) -> None:
        self.recorded = record

    async def update(self, post: PostedMessage, text: str) -> bool:
        await self.recorded.record(PostedMessage(id=post.id, data={"streamed": text}))
        return await super().update(post, text)


@pytest.mark.parametrize("fails", ["the model", "the platform"])
async def test_what_was_streamed_is_in_no_turn(harness: Harness, fails: str) -> None:
    """Field fault 74 with field note 42: it stays with the lease, also if the answer is given up."""

    async def script(prompt: Prompt) -> AsyncGenerator[Delta]:
        yield Delta(text="Once upon")
        await harness.until(lambda: _has(harness, "Once upon"))
        if fails == "the model":
            raise RuntimeError("boom")
        yield Delta(text=" a time", finish="stop")

    harness.attempts = 1
    harness.adapter = Recording(*[Refusal("400") for _ in range(2)])
    harness.model.script = script
    (turn,) = await harness.answer(received("hello"))
    assert turn.post == PostedMessage(id="post of e1")
    assert not await _has(harness, "Once upon")


@pytest.mark.parametrize("running", [True, False])
async def test_forgetting_erases_what_was_streamed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    """Field fault 94: with a platform that is away, it would stay with the lease for hours."""
    out_of_order(monkeypatch)
    recorded, forgotten = asyncio.Event(), asyncio.Event()

    async def script(prompt: Prompt) -> AsyncGenerator[Delta]:
        yield Delta(text="my secret")
        await harness.until(lambda: _has(harness, "secret"))
        recorded.set()
        if running:
            await forgotten.wait()
        yield Delta(text=".", finish="stop")

    harness.adapter = platform = Recording(*down(9))
    harness.model.script = script
    await harness.accept(received("my secret"))
    async with harness.working():
        await recorded.wait()
        if not running:
            await harness.until(lambda: platform.closes > 0)
            await harness.until(lambda: _failed(harness))
        await harness.erasure.forget(received().user, patience_s=0)
        forgotten.set()
        await harness.until(lambda: _failed(harness))
    assert not await _has(harness, "secret")
    assert await _has(harness, "post of e1"), "the message that will say so is still known"


async def _failed(harness: Harness) -> bool:
    return bool(await harness.redis.call("HGET", keys.of("lease", CONVERSATION), "failures"))


async def _has(harness: Harness, text: str) -> bool:
    post: bytes | None = await harness.redis.call("HGET", keys.of("lease", CONVERSATION), "post")
    return text in (post or b"").decode()


async def test_older_leases_and_turns_are_read(harness: Harness) -> None:
    """What an older version stored has no new fields, and is answered."""
    await harness.accept(received("hello"))
    lease = keys.of("lease", CONVERSATION)
    await harness.redis.call("HSET", lease, "token", 5, "attempt", 1, "post", b'{"id":"post of e1"}')
    (turn,) = await harness.answer()
    assert (turn.attempts, harness.adapter.texts) == (2, ["You said: hello"])
