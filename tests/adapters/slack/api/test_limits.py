"""Slack's limits per minute, shared by all workers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.slack.answers import stream
from adapters.slack.api import web_api
from adapters.slack.formatting import blocks
from bot.domain.events import FeedbackGiven, MessageReceived, PostedMessage
from bot.domain.turns import Reply
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore
from bot.storage.usage.limits import WindowLimiter
from tests.adapters.slack.conftest import FakeAdapter, new_adapter, room_with
from tests.simulators.slack_rules import SLACK_LIMITS


@pytest.fixture
async def shared(redis: Redis, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeAdapter]:
    """A workspace that allows two streams and five edits per minute."""
    monkeypatch.setattr(stream, "APPEND_INTERVAL_S", 0.01)
    monkeypatch.setattr(stream, "EDIT_INTERVAL_S", 0.01)
    places = {"chat.startStream": 2, "chat.stopStream": 2, "chat.appendStream": 100, "chat.update": 5}
    monkeypatch.setattr(web_api, "CALLS_PER_MINUTE", places)
    async with room_with(limiter=WindowLimiter(redis), secrets=SecretStore(redis, None, folder)) as room:
        yield room


async def grow(room: FakeAdapter, received: MessageReceived, post: PostedMessage, text: str) -> None:
    await room.adapter.update(post, text)
    await room.slack.until(lambda: room.shown(received) == [text])


def shown_first_by(room: FakeAdapter, received: MessageReceived) -> str:
    """The method that started the answer to a question."""
    thread = received.address.data["thread"]
    calls = [(method, args) for method, args, answer in room.slack.log if answer["ok"]]
    return next(m for m, args in calls if m.startswith("chat.") and args.get("thread_ts") == thread)


async def test_workers_share_the_rate_limits_of_a_minute(shared: FakeAdapter, redis: Redis) -> None:
    """Field note 12: two answers stream, three are edited, the rest posted; two edits are reserved."""
    began: list[str] = []
    async with new_adapter(shared.slack, limiter=WindowLimiter(redis)) as other:
        for number in range(7):
            room = shared if number % 2 else FakeAdapter(shared.slack, other, shared.engine)
            received = await room.asked(f"<@U0BOT> question {number}")
            post = await room.open(received)
            if number < 5:
                await grow(room, received, post, "Because")
            else:
                await room.adapter.update(post, "Because")
            await room.adapter.close(post, Reply(text="Because it is so."))
            assert room.shown(received) == ["Because it is so."]
            began.append(shown_first_by(room, received))
    assert began == ["chat.startStream"] * 2 + ["chat.postMessage"] * 5
    assert shared.slack.calls["chat.startStream"] == 2
    assert shared.slack.calls["chat.update"] == 3, "each edited answer had the place of its last edit"


async def test_calls_are_counted_once_and_refused_locally(
    shared: FakeAdapter, monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    """Field note 12: no call is made while the limit is used up."""
    asked: list[str] = []
    take = WindowLimiter.take

    async def counted(self: WindowLimiter, name: str, per_minute: int, *, keep: int = 0) -> float:
        asked.append(name)
        return await take(self, name, per_minute, keep=keep)

    monkeypatch.setattr(WindowLimiter, "take", counted)
    received = await shared.asked()
    post = await shared.open(received)
    text = "Because"
    await grow(shared, received, post, text)
    for _ in range(50):
        text += " so"
        await shared.adapter.update(post, text)
    await shared.adapter.close(post, Reply(text=text))
    streamed = sum(shared.slack.calls[f"chat.{name}Stream"] for name in ("start", "append", "stop"))
    assert len(asked) == streamed
    assert len(asked) < 40


@pytest.mark.parametrize("same_process", [True, False])
async def test_a_stream_awaiting_its_stop_keeps_its_owner(
    shared: FakeAdapter, redis: Redis, folder: Path, same_process: bool
) -> None:
    shared.slack.fault("chat.stopStream", "limited", seconds=60)
    first = await shared.asked()
    second = await shared.asked("<@U0BOT> and then?", thread_ts=first.address.data["thread"])
    post = await shared.open(first)
    await grow(shared, first, post, "The first answer")
    await shared.adapter.close(post, Reply(text="The first answer."))
    async with new_adapter(shared.slack, secrets=SecretStore(redis, None, folder)) as other:
        adapter = shared.adapter if same_process else other
        post = await adapter.open(second.address, None, True)
        await adapter.close(post, Reply(text="The second answer."))
    assert shared.shown(first) == ["The first answer.", "The second answer."]


async def edited(room: FakeAdapter, text: str = "Because") -> tuple[MessageReceived, PostedMessage]:
    """An answer that grows by edits."""
    room.slack.workspace.stream_channels = lambda channel: False
    received = await room.asked()
    post = await room.open(received)
    await room.adapter.update(post, text)
    await room.slack.until(lambda: "\n\n".join(room.shown(received)) == text)
    return received, post


async def test_partial_text_leaves_calls_for_completion(shared: FakeAdapter) -> None:
    """Field note 12: the last two of five edits are reserved for complete answers of any worker."""
    received, post = await edited(shared)
    text = "Because"
    for number in range(20):
        text += f" {number}"
        await shared.adapter.update(post, text)
        await asyncio.sleep(0.02)
    assert shared.slack.calls["chat.update"] == 2
    await shared.adapter.close(post, Reply(text="Because it is so."))
    assert shared.shown(received) == ["Because it is so."]
    assert shared.slack.calls["chat.update"] == 3
    other = await shared.asked("<@U0BOT> and an old one?")
    old = await shared.answer(other, "An answer.")
    await shared.adapter.close(await shared.open(other, old), Reply(text="Another answer."))
    assert shared.shown(other) == ["Another answer."], "in place, by a place that was kept"


@pytest.mark.parametrize("messages", [1, 2])
async def test_a_delayed_last_edit_becomes_a_new_message(
    shared: FakeAdapter, monkeypatch: pytest.MonkeyPatch, messages: int
) -> None:
    """Field note 12."""
    monkeypatch.setattr(blocks, "MESSAGE_LIMIT", 30)
    whole = "Because it is so." if messages == 1 else "Because it is so.\n\nAnd it is so as well."
    received, post = await edited(shared, "Because it is so" if messages == 1 else whole[:-1])
    before = [message["ts"] for message in shared.slack.thread("C0GENERAL", received.address.data["thread"])]
    shared.slack.fault("chat.update", "limited", count=9, seconds=60)
    shared.slack.fault("chat.delete", "limited", seconds=0.05)
    finished = await shared.adapter.close(post, Reply(text=whole, rate=True))
    await shared.slack.until(lambda: shared.shown(received) == whole.split("\n\n"))
    after = shared.slack.thread("C0GENERAL", received.address.data["thread"])
    assert [message["ts"] for message in after][:-1] == before[:-1]
    assert after[-1]["ts"] not in before
    assert finished.id == f"T0SIM:C0GENERAL:{after[0]['ts']}"
    await shared.slack.press(after[-1], "C0GENERAL", "U0ALICE", good=True)
    (rated,) = [event for event in shared.engine.events if isinstance(event, FeedbackGiven)]
    assert rated.post == finished.id


@pytest.mark.parametrize("messages", [1, 2])
async def test_a_delayed_edit_when_regenerating_becomes_a_message(
    shared: FakeAdapter, monkeypatch: pytest.MonkeyPatch, messages: int
) -> None:
    """Field note 11."""
    monkeypatch.setattr(blocks, "MESSAGE_LIMIT", 30)
    monkeypatch.setattr(stream, "FINISH_PATIENCE_S", 2.0)
    received = await shared.asked()
    post = await shared.answer(received, "\n\n".join(["Because it is so as it is."] * messages))
    shared.slack.fault("chat.update", "limited", count=9, seconds=60)
    finished = await shared.adapter.close(
        await shared.open(received, post), Reply(text="On second thoughts, no.", rate=True)
    )
    await shared.slack.until(lambda: shared.shown(received) == ["On second thoughts, no."])
    (message,) = shared.slack.thread("C0GENERAL", received.address.data["thread"])[-1:]
    assert finished.id == f"T0SIM:C0GENERAL:{message['ts']}" != post.id
    again = await shared.adapter.close(await shared.open(received, finished), Reply(text="Yes after all."))
    await shared.slack.until(lambda: shared.shown(received) == ["Yes after all."])
    assert again.id != finished.id


async def test_a_replacement_of_unknown_outcome_is_looked_up(
    shared: FakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "REPLACE_AFTER_S", 0.5)
    received, post = await edited(shared)
    shared.slack.fault("chat.update", "limited", seconds=1)
    shared.slack.fault("chat.postMessage", "drop_after")
    await shared.adapter.close(post, Reply(text="Because it is so."))
    await shared.slack.until(lambda: shared.shown(received) == ["Because it is so."])
    assert shared.slack.calls["chat.postMessage"] == 2


async def test_many_edited_answers_end_within_slacks_limits(
    redis: Redis, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field note 12: forty answers grow at once; the simulator enforces the limits, and none waits a minute."""
    monkeypatch.setattr(stream, "EDIT_INTERVAL_S", 0.01)
    monkeypatch.setattr(stream, "FINISH_PATIENCE_S", 2.0)
    async with room_with(limiter=WindowLimiter(redis), secrets=SecretStore(redis, None, folder)) as room:
        room.slack.workspace.stream_channels = lambda channel: False
        room.slack.limit({name: most for name, most in SLACK_LIMITS.items() if name != "chat.postMessage"})

        async def answer(number: int) -> MessageReceived:
            received = await room.asked(f"<@U0BOT> question {number}")
            post = await room.open(received)
            for words in range(3):
                await room.adapter.update(post, " so" * (words + 1))
                await asyncio.sleep(0.01)
            await room.adapter.close(post, Reply(text=f"Answer {number}."))
            return received

        asked = [await answer(number) for number in range(40)]
        assert [room.shown(received) for received in asked] == [[f"Answer {number}."] for number in range(40)]
