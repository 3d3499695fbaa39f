"""A person writes again while they are answered: by a setting, the running answer stops."""

import asyncio
from collections.abc import AsyncGenerator

from msgspec.structs import replace

from bot.types import Delta, Prompt
from tests.acts import BOB, deleted, edited, said, stopped
from tests.bench import ROOM, Bench


class Slow:
    """Answers "first" never to its end; anything else at once."""

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


async def test_field_note_03_the_same_person_s_next_message_supersedes_their_answer(bench: Bench) -> None:
    slow = Slow(bench, "Once upon")
    await bench.accept(said("first", event="a"))
    async with bench.working():
        await slow.running.wait()
        second = said("second", event="b")
        await bench.accept(second)
        assert await bench.inbox.supersede(second)
        await bench.until(bench.idle)
    assert bench.room.texts == ["Once upon\n\n_Stopped here: you wrote again._", "the next answer"]
    assert [m.text for m in bench.model.prompts[-1].messages[3:]] == ["first", "Once upon", "second"]


async def test_field_note_11_a_question_that_is_changed_while_it_is_answered_is_answered_at_once(
    bench: Bench,
) -> None:
    slow = Slow(bench, "Once upon")
    await bench.accept(said("first", event="a"))
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


async def test_field_note_11_a_question_that_is_deleted_while_it_is_answered_is_answered_no_further(
    bench: Bench,
) -> None:
    slow = Slow(bench, "Once upon")
    await bench.accept(said("first", event="a"))
    async with bench.working():
        await slow.running.wait()
        gone = deleted("a")
        await bench.accept(gone)
        assert await bench.inbox.supersede(gone)
        await bench.until(bench.idle)
    assert await bench.turns.turns(ROOM) == ()


async def test_an_answer_is_stopped_by_whoever_asked_or_has_leave(bench: Bench) -> None:
    slow = Slow(bench, "Once upon")
    await bench.accept(said("first", event="a"))
    async with bench.working():
        await slow.running.wait()
        wish = replace(stopped(), user=BOB)
        assert await bench.inbox.stop(wish) == "ignored"
        assert await bench.inbox.stop(wish, leave=True) == "accepted"
        await bench.until(bench.idle)
    assert bench.room.texts == ["Once upon\n\n_Stopped, as you asked._"]


async def test_a_question_without_any_answer_yet_is_still_seen_by_the_next(bench: Bench) -> None:
    slow = Slow(bench, "")
    await bench.accept(said("first", event="a"))
    async with bench.working():
        await slow.running.wait()
        second = said("second", event="b")
        await bench.accept(second)
        await bench.inbox.supersede(second)
        await bench.until(bench.idle)
    assert [m.text for m in bench.model.prompts[-1].messages[3:]] == ["first", "second"]


async def test_nobody_supersedes_another_person_or_what_does_not_run(bench: Bench) -> None:
    first, second = said("first", event="a"), said("second", event="b")
    await bench.accept(first, second)
    assert not await bench.inbox.supersede(second), "nothing runs yet"
    slow = Slow(bench, "Once upon")
    async with bench.working(drain_s=0.01):
        await slow.running.wait()
        assert not await bench.inbox.supersede(replace(second, user=BOB))
        assert not await bench.inbox.supersede(first), "a second delivery of the event itself"
