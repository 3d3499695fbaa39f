"""A person sends another message while they are answered: a setting stops the running answer."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from msgspec.structs import replace

from bot.app.services import Services, open_services
from bot.app.settings import Settings
from bot.domain.events import Attachment, MessageReceived
from bot.domain.prompts import Prompt
from bot.domain.turns import Delta
from bot.storage.redis.client import Redis
from tests.support.acts import BOB, deleted, edited, received, stopped
from tests.support.bench import ROOM, Bench
from tests.support.room import Room


class Slow:
    """Never finishes the answer to "first"; answers anything else at once."""

    def __init__(self, bench: Bench, began: str) -> None:
        self.running = asyncio.Event()
        self._began = began
        bench.model.script = self

    async def __call__(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        if prompt.messages[-1].text == "first":
            if self._began:
                yield Delta(text=self._began)
            self.running.set()
            await asyncio.Event().wait()
        yield Delta(text="the next answer")


async def test_the_next_message_supersedes_the_answer(bench: Bench) -> None:
    """Field note 03: by a setting, the next message of the same person stops their answer."""
    slow = Slow(bench, "Once upon")
    await bench.accept(received("first", event="a"))
    async with bench.working():
        await slow.running.wait()
        second = received("second", event="b")
        await bench.accept(second)
        assert await bench.inbox.supersede(second)
        await bench.until(bench.idle)
    assert bench.room.texts == ["Once upon\n\n_Stopped: you sent a new message._", "the next answer"]
    assert [m.text for m in bench.model.prompts[-1].messages[3:]] == ["first", "Once upon", "second"]


async def test_editing_restarts_a_running_answer(
    bench: Bench,
) -> None:
    """Field note 11: the edited question is answered at once."""
    slow = Slow(bench, "Once upon")
    await bench.accept(received("first", event="a"))
    async with bench.working():
        await slow.running.wait()
        other = edited("another", "what?", event="x")
        assert not await bench.inbox.supersede(other), "that question is not being answered"
        changed = edited("a", "second")
        await bench.accept(changed)
        assert await bench.inbox.supersede(changed)
        await bench.until(bench.idle)
    assert bench.room.texts == ["the next answer"]
    assert [turn.id for turn in await bench.turns.turns(ROOM)] == ["a"]


async def test_deleting_stops_a_running_answer(
    bench: Bench,
) -> None:
    """Field note 11: the answer to a deleted question is stopped."""
    slow = Slow(bench, "Once upon")
    await bench.accept(received("first", event="a"))
    async with bench.working():
        await slow.running.wait()
        gone = deleted("a")
        await bench.accept(gone)
        assert await bench.inbox.supersede(gone)
        await bench.until(bench.idle)
    assert bench.room.texts == ["Once upon\n\n_Stopped: you deleted your question._"]
    assert await bench.turns.turns(ROOM) == ()


async def test_the_author_or_an_operator_stops_answers(bench: Bench) -> None:
    slow = Slow(bench, "Once upon")
    await bench.accept(received("first", event="a"))
    async with bench.working():
        await slow.running.wait()
        wish = replace(stopped(), user=BOB)
        assert await bench.inbox.stop(wish) == "ignored"
        assert await bench.inbox.stop(wish, leave=True) == "accepted"
        await bench.until(bench.idle)
    assert bench.room.texts == ["Once upon\n\n_Stopped at your request._"]


async def test_a_stop_survives_a_worker_change(bench: Bench) -> None:
    slow = Slow(bench, "Once upon")
    await bench.accept(received("first", event="a"))
    async with bench.working(drain_s=0.01):
        await slow.running.wait()
    assert await bench.inbox.stop(stopped()) == "accepted"
    await bench.accept(received("second", event="b"))
    assert await bench.inbox.stop(stopped()) == "duplicate"
    async with bench.working():
        await bench.until(bench.idle)
    assert bench.room.texts[-2:] == ["_Stopped at your request._", "the next answer"]


async def test_a_superseded_question_stays_in_the_history(bench: Bench) -> None:
    slow = Slow(bench, "")
    await bench.accept(received("first", event="a"))
    async with bench.working():
        await slow.running.wait()
        second = received("second", event="b")
        await bench.accept(second)
        await bench.inbox.supersede(second)
        await bench.until(bench.idle)
    assert [m.text for m in bench.model.prompts[-1].messages[3:]] == ["first", "second"]


async def supersede(bench: Bench, event: MessageReceived) -> None:
    await bench.accept(event)
    await bench.inbox.supersede(event)


async def test_pending_messages_are_superseded_by_the_newest(
    bench: Bench,
) -> None:
    """Field note 03: pending messages are answered together with the newest."""
    slow = Slow(bench, "Once upon")
    await bench.accept(received("first", event="a"))
    async with bench.working():
        await slow.running.wait()
        other = replace(received("mine", event="x"), user=BOB)
        await bench.accept(other)
        for event in (
            received("second", event="b"),
            received("usage", event="c"),
            received("third", event="d"),
        ):
            await supersede(bench, event)
        await bench.until(bench.idle)
    turns = await bench.turns.turns(ROOM)
    assert [turn.id for turn in turns] == ["a", "x", "b", "c", "d"], "nothing is lost"
    assert [turn.outcome for turn in turns] == ["answered", "answered", "refused", "answered", "answered"]
    stopped, mine, _, third = bench.room.texts
    assert (stopped, mine, third) == (
        "Once upon\n\n_Stopped: you sent a new message._",
        "the next answer",
        "the next answer",
    )
    assert [m.text for m in bench.model.prompts[-1].messages if m.role == "user"][-3:] == [
        "mine",
        "second",
        "third",
    ]


async def test_a_begun_superseded_answer_gets_a_note(bench: Bench) -> None:
    slow = Slow(bench, "Once upon")
    await bench.accept(received("first", event="a"))
    async with bench.working(drain_s=0.01):
        await slow.running.wait()
        await bench.until(lambda: bool(bench.room.texts))
    await supersede(bench, received("second", event="b"))
    async with bench.working():
        await bench.until(bench.idle)
    assert bench.room.texts == ["_Not answered separately: you sent another message._", "the next answer"]
    assert [turn.id for turn in await bench.turns.turns(ROOM)] == ["a", "b"]


async def test_files_of_superseded_messages_are_named(bench: Bench) -> None:
    file = Attachment(id="f", name="plan.pdf", mime="application/pdf")
    await bench.accept(replace(received("", event="a"), attachments=(file,)))
    await supersede(bench, received("second", event="b"))
    async with bench.working():
        await bench.until(bench.idle)
    assert [m.text for m in bench.model.prompts[-1].messages if m.role == "user"][-2:] == [
        "[attached, not read: plan.pdf]",
        "second",
    ]


async def test_other_people_are_never_superseded(bench: Bench) -> None:
    first, second = received("first", event="a"), received("second", event="b")
    await bench.accept(first, second)
    assert not await bench.inbox.supersede(first), "nothing runs yet"
    slow = Slow(bench, "Once upon")
    async with bench.working(drain_s=0.01):
        await slow.running.wait()
        assert not await bench.inbox.supersede(replace(second, user=BOB))
        assert not await bench.inbox.supersede(first), "a second delivery of the event itself"


@pytest.mark.parametrize(("policy", "answered"), [("queue", ["a", "b", "c", "d"]), ("supersede", ["c", "d"])])
async def test_commands_and_asides_supersede_nothing(
    redis: Redis, bench: Bench, folder: Path, policy: str, answered: list[str]
) -> None:
    settings = Settings.model_validate(
        {"redis_url": redis.url, "parley_data_dir": folder, "parley_while_answering": policy}
    )

    async def answer(services: Services, *events: MessageReceived) -> None:
        for event in events:
            await services.intake.accept(replace(event, channel="C1"))
        stop = asyncio.Event()
        work = asyncio.create_task(services.worker([Room()]).run(stop))
        await bench.until(bench.idle)
        stop.set()
        await work

    async with open_services(settings) as services:
        await answer(services, received("mention-only", event="0"))
        await answer(
            services,
            received("hello", event="a"),
            received("hello again", event="b"),
            received("what is 2 + 2?", event="c"),
            received("Bob, did you see that?", event="aside", addressed=False),
            received("usage", event="d"),
        )
        shown = [turn.id for turn in await services.storage.turns.turns(ROOM) if turn.outcome == "answered"]
    assert shown == ["0", *answered]
