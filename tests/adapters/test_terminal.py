"""The terminal adapter with a pipe, a file, and a terminal device."""

import asyncio
import io
import os
import pty
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from adapters.terminal import PROMPT, TerminalAdapter
from bot.domain.adapter import Receipt
from bot.domain.errors import NotAllowed, StateUnavailable
from bot.domain.events import Attachment, Event, MessageReceived, StopRequested
from bot.domain.prompts import Image
from bot.domain.turns import Reply, Source

Answer = Callable[[MessageReceived], Coroutine[object, object, None]]


class Engine:
    """Replaces the engine: records events, and answers each question in a task."""

    def __init__(self, answer: Answer) -> None:
        self.events: list[Event] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.receipts: list[Receipt] = []
        self._answer = answer

    async def accept(self, event: Event) -> Receipt:
        self.events.append(event)
        receipt = self.receipts.pop(0) if self.receipts else "accepted"
        if isinstance(event, MessageReceived) and receipt == "accepted":
            self.tasks.append(asyncio.create_task(self._answer(event)))
        return receipt


@pytest.fixture
def typed() -> Iterator[tuple[TextIO, Callable[[str], object]]]:
    """A pipe: the end for the adapter, and a function that writes to it (an empty text closes it)."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader:
        yield reader, lambda text: os.write(writing, text.encode()) if text else os.close(writing)


def echo(adapter: TerminalAdapter) -> Answer:
    async def answer(received: MessageReceived) -> None:
        post = await adapter.open(received.address, None, False)
        await adapter.update(post, "You ")
        await adapter.update(post, "You said ")
        await adapter.close(post, Reply(text=f"You said {received.text}."))

    return answer


async def test_a_line_waits_for_the_previous_answer(
    tmp_path: Path, typed: tuple[TextIO, Callable[[str], object]]
) -> None:
    reader, write = typed
    out = io.StringIO()
    adapter = TerminalAdapter("mine", tmp_path, reader, out)
    engine = Engine(echo(adapter))
    write("one\n\n  two  \nthree")
    write("")
    async with adapter:
        await adapter.listen(engine.accept)
    assert out.getvalue() == "You said one.\nYou said two.\nYou said three.\n"
    assert [event.text for event in engine.events if isinstance(event, MessageReceived)] == [
        "one",
        "two",
        "three",
    ]
    assert {event.address.conversation for event in engine.events} == {"terminal:mine"}
    assert len({event.id for event in engine.events}) == 3
    assert all(event.address.event == event.id for event in engine.events)


async def test_a_file_can_be_the_input(tmp_path: Path) -> None:
    (tmp_path / "questions").write_text("one\ntwo\n")
    out = io.StringIO()
    with (tmp_path / "questions").open() as reader:
        adapter = TerminalAdapter("mine", tmp_path, reader, out)
        await adapter.listen(Engine(echo(adapter)).accept)
    assert out.getvalue() == "You said one.\nYou said two.\n"


async def test_a_terminal_shows_a_prompt_until_ctrl_d(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    out = io.StringIO()
    with os.fdopen(terminal) as reader:
        adapter = TerminalAdapter("mine", tmp_path, reader, out)
        os.write(controller, b"one\n\x04")
        await adapter.listen(Engine(echo(adapter)).accept)
    os.close(controller)
    assert out.getvalue() == f"{PROMPT}You said one.\n{PROMPT}"


async def test_ctrl_c_stops_the_current_answer(
    tmp_path: Path, typed: tuple[TextIO, Callable[[str], object]]
) -> None:
    reader, write = typed
    out = io.StringIO()
    adapter = TerminalAdapter("mine", tmp_path, reader, out)

    async def answer(received: MessageReceived) -> None:
        post = await adapter.open(received.address, None, False)
        os.kill(os.getpid(), signal.SIGINT)
        text = ""
        while await adapter.update(post, text):
            text += "."
            await asyncio.sleep(0)
        await adapter.close(post, Reply(text=f"{text} (stopped)"))

    engine = Engine(answer)
    write("one\n")
    write("")
    await adapter.listen(engine.accept)
    received, stopped = engine.events
    assert isinstance(stopped, StopRequested)
    assert stopped.address == received.address
    assert out.getvalue().endswith(" (stopped)\n")


async def test_ctrl_c_without_an_answer_ends_the_run(
    tmp_path: Path, typed: tuple[TextIO, Callable[[str], object]]
) -> None:
    reader, write = typed
    engine = Engine(echo(adapter := TerminalAdapter("mine", tmp_path, reader, io.StringIO())))
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
    await adapter.listen(engine.accept)
    assert engine.events == []
    write("")


async def test_a_second_ctrl_c_does_not_wait(
    tmp_path: Path, typed: tuple[TextIO, Callable[[str], object]]
) -> None:
    reader, write = typed
    adapter = TerminalAdapter("mine", tmp_path, reader, io.StringIO())

    async def answer(received: MessageReceived) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await stopped.wait()
        os.kill(os.getpid(), signal.SIGINT)

    async def accept(event: Event) -> Receipt:
        if isinstance(event, StopRequested):
            stopped.set()
        return await engine.accept(event)

    stopped = asyncio.Event()
    engine = Engine(answer)
    write("one\n")
    await adapter.listen(accept)
    assert [type(event) for event in engine.events] == [MessageReceived, StopRequested]
    write("")


async def test_errors_and_a_full_inbox_are_shown(
    tmp_path: Path, typed: tuple[TextIO, Callable[[str], object]]
) -> None:
    reader, write = typed
    out = io.StringIO()
    adapter = TerminalAdapter("mine", tmp_path, reader, out)
    engine = Engine(echo(adapter))
    engine.receipts = ["busy", "ignored"]
    write("one\ntwo\nthree\n")
    write("")
    await adapter.listen(engine.accept)
    assert out.getvalue() == (
        "Several messages are still waiting for an answer. Please try again in a moment.\nYou said three.\n"
    )

    async def away(event: Event) -> Receipt:
        raise StateUnavailable("Redis is away.")

    (tmp_path / "questions").write_text("one\n")
    with (tmp_path / "questions").open() as file:
        await TerminalAdapter("mine", tmp_path, file, out).listen(away)
    assert out.getvalue().endswith("Redis is away.\n")


async def test_images_are_saved_and_sources_named(tmp_path: Path) -> None:
    out = io.StringIO()
    adapter = TerminalAdapter("mine", tmp_path / "pictures", io.StringIO(), out)
    received = await ask()
    post = await adapter.open(received.address, None, False)
    reply = Reply(
        text="Here.",
        images=(Image(mime="image/png", data=b"png", alt="a bicycle"), Image(mime="image/jpeg", data=b"jpg")),
        sources=(Source(title="A page", url="https://example.org"), Source(title="A book")),
    )
    for _ in range(2):
        await adapter.close(post, reply)
    png, jpg = sorted((tmp_path / "pictures").iterdir())
    assert (png.read_bytes(), jpg.read_bytes()) == (b"png", b"jpg")
    assert out.getvalue() == (
        f"Here.\n[a bicycle: {png}]\n[image: {jpg}]\n[source: A page https://example.org]\n[source: A book]\n"
    )


async def test_a_changed_answer_is_printed_again(tmp_path: Path) -> None:
    out = io.StringIO()
    adapter = TerminalAdapter("mine", tmp_path, io.StringIO(), out)
    received = await ask()
    post = await adapter.open(received.address, None, False)
    assert await adapter.update(post, "First tr")
    again = await adapter.open(received.address, post, True)
    assert await adapter.update(again, "Second")
    await adapter.close(again, Reply(text="Second try."))
    assert out.getvalue() == "First tr\nSecond try.\n"


async def test_an_answer_can_t_control_the_terminal(tmp_path: Path) -> None:
    out = io.StringIO()
    adapter = TerminalAdapter("mine", tmp_path, io.StringIO(), out)
    received = await ask()
    post = await adapter.open(received.address, None, False)
    await adapter.update(post, "a\x1b[2J")
    await adapter.close(post, Reply(text="a\x1b[2J\x9b5mb\tc\r\n"))
    assert out.getvalue() == "a[2J5mb\tc\n\n"


async def test_a_closed_output_ends_the_run(
    tmp_path: Path, typed: tuple[TextIO, Callable[[str], object]]
) -> None:
    reader, write = typed
    closed, writing = os.pipe()
    os.close(closed)
    with os.fdopen(writing, "w") as out:
        adapter = TerminalAdapter("mine", tmp_path, reader, out)
        engine = Engine(echo(adapter))
        write("one\ntwo\n")
        await adapter.listen(engine.accept)
        assert len(engine.events) == 1
        with pytest.raises(BrokenPipeError):
            out.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    write("")


async def test_a_late_close_does_not_block_the_input(
    tmp_path: Path, typed: tuple[TextIO, Callable[[str], object]]
) -> None:
    reader, write = typed
    adapter = TerminalAdapter("mine", tmp_path, reader, io.StringIO())
    engine = Engine(echo(adapter))
    listening = asyncio.create_task(adapter.listen(engine.accept))
    late = await adapter.open((await ask()).address, None, False)
    for _ in range(3):
        await asyncio.sleep(0)
        await adapter.close(late, Reply(text="late"))
    write("one\n")
    write("")
    await listening
    assert [type(event) for event in engine.events] == [MessageReceived]


async def test_other_capabilities_are_absent(tmp_path: Path) -> None:
    adapter = TerminalAdapter("mine", tmp_path, io.StringIO(), io.StringIO())
    assert not list(adapter.routes(Engine(echo(adapter)).accept))
    assert await adapter.check() == []
    with pytest.raises(NotAllowed):
        await adapter.fetch(Attachment(id="1", name="a", mime="text/plain"))


async def ask() -> MessageReceived:
    """The event of a typed line."""
    reading, writing = os.pipe()
    os.write(writing, b"a question\n")
    os.close(writing)
    asked: list[Event] = []

    async def ignore(event: Event) -> Receipt:
        asked.append(event)
        return "ignored"

    with os.fdopen(reading) as reader:
        await TerminalAdapter("mine", Path(), reader, io.StringIO()).listen(ignore)
    (received,) = asked
    assert isinstance(received, MessageReceived)
    return received
