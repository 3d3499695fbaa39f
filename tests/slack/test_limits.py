"""Slack's limits by the minute, kept by all workers together."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.slack import stream, web_api
from bot.state.limits import Limiter
from bot.state.redis import Redis
from bot.state.vault import Vault
from bot.types import Post, Reply, Said
from tests.slack.conftest import Room, new_adapter, room_with


@pytest.fixture
async def shared(redis: Redis, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    """A workspace in which two streams, and three edits, may be made in a minute."""
    monkeypatch.setattr(stream, "APPEND_INTERVAL_S", 0.01)
    monkeypatch.setattr(stream, "EDIT_INTERVAL_S", 0.01)
    places = {"chat.startStream": 2, "chat.stopStream": 2, "chat.appendStream": 100, "chat.update": 3}
    monkeypatch.setattr(web_api, "PLACES_PER_MINUTE", places)
    async with room_with(limiter=Limiter(redis), vault=Vault(redis, None, folder)) as room:
        yield room


async def grow(room: Room, said: Said, post: Post, text: str) -> None:
    await room.adapter.update(post, text)
    await room.slack.until(lambda: room.shown(said) == [text])


def shown_first_by(room: Room, said: Said) -> str:
    """The method that began the answer to a question."""
    thread = said.address.data["thread"]
    calls = [(method, args) for method, args, answer in room.slack.log if answer["ok"]]
    return next(m for m, args in calls if m.startswith("chat.") and args.get("thread_ts") == thread)


async def test_field_note_12_workers_share_the_streams_and_edits_of_a_minute(
    shared: Room, redis: Redis
) -> None:
    """Two answers are streamed, three are posted and edited, the rest are one post each."""
    began: list[str] = []
    async with new_adapter(shared.slack, limiter=Limiter(redis)) as other:
        for number in range(7):
            room = shared if number % 2 else Room(shared.slack, other, shared.engine)
            said = await room.asked(f"<@U0BOT> question {number}")
            post = await room.open(said)
            if number < 5:
                await grow(room, said, post, "Because")
            else:
                await room.adapter.update(post, "Because")
            await room.adapter.close(post, Reply(text="Because it is so."))
            assert room.shown(said) == ["Because it is so."]
            began.append(shown_first_by(room, said))
    assert began == ["chat.startStream"] * 2 + ["chat.postMessage"] * 5
    assert shared.slack.calls["chat.startStream"] == 2
    assert shared.slack.calls["chat.update"] == 3, "each edited answer had the place of its last edit"


async def test_field_note_12_one_place_is_asked_for_per_call_and_none_while_there_is_none(
    shared: Room, monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    asked: list[str] = []
    take = Limiter.take

    async def counted(self: Limiter, name: str, per_minute: int) -> float:
        asked.append(name)
        return await take(self, name, per_minute)

    monkeypatch.setattr(Limiter, "take", counted)
    said = await shared.asked()
    post = await shared.open(said)
    text = "Because"
    await grow(shared, said, post, text)
    for _ in range(50):
        text += " so"
        await shared.adapter.update(post, text)
    await shared.adapter.close(post, Reply(text=text))
    streamed = sum(shared.slack.calls[f"chat.{name}Stream"] for name in ("start", "append", "stop"))
    assert len(asked) == streamed
    assert len(asked) < 40


@pytest.mark.parametrize("same_process", [True, False])
async def test_a_stream_that_cannot_be_stopped_yet_is_no_other_answers(
    shared: Room, redis: Redis, folder: Path, same_process: bool
) -> None:
    shared.slack.fault("chat.stopStream", "limited", seconds=60)
    first = await shared.asked()
    second = await shared.asked("<@U0BOT> and then?", thread_ts=first.address.data["thread"])
    post = await shared.open(first)
    await grow(shared, first, post, "The first answer")
    await shared.adapter.close(post, Reply(text="The first answer."))
    async with new_adapter(shared.slack, vault=Vault(redis, None, folder)) as other:
        adapter = shared.adapter if same_process else other
        post = await adapter.open(second.address, None, True)
        await adapter.close(post, Reply(text="The second answer."))
    assert shared.shown(first) == ["The first answer.", "The second answer."]
