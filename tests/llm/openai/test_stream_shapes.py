"""Streams of every shape: alone, with a second deployment, and cut at every byte."""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from bot.domain.errors import BotError, ContentFiltered, ModelUnavailable
from bot.domain.prompts import Image, Prompt
from bot.domain.turns import Delta, Usage
from bot.llm.openai.chat_stream import ChatStream, deltas
from bot.llm.protocol import EmptyAnswer, OnPartialImage
from bot.llm.routing.router import Gateway
from tests.llm.conftest import asks
from tests.llm.openai.stream_shapes import SHAPES, Shape
from tests.llm.scripted import Clock, Scripted, named

ENDS = {"empty": EmptyAnswer, "failed": ModelUnavailable, "blocked": ContentFiltered}
SECOND = "second says hello"


class Sends:
    """A deployment whose streams are these bytes, in reads of `size`; then the connection ends."""

    def __init__(self, sent: bytes, size: int = 64) -> None:
        self.sent = sent
        self.size = size
        self.asked = 0
        self.last = ChatStream()

    async def _reads(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.sent), self.size):
            yield self.sent[at : at + self.size]

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        self.asked += 1
        self.last, empty = ChatStream(), True
        async for delta in deltas(self._reads(), self.last):
            empty = empty and not (delta.text or delta.call)
            yield delta
        if empty and self.last.finish != "content_filter":
            raise EmptyAnswer("empty", Usage(deployment="first"))
        yield Delta(usage=Usage(deployment="first"), finish=self.last.finish)
        self.last.check()

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        raise NotImplementedError

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Ten thousand cuts would log ten thousand warnings."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


Heard = tuple[str, list[tuple[str, str]], BotError | None]


async def heard(stream: AsyncIterator[Delta]) -> Heard:
    """Text, tool calls, and what the stream ended with."""
    text, found = "", list[tuple[str, str]]()
    try:
        async for delta in stream:
            text = delta.onto(text)
            if delta.call:
                found.append((delta.call.name, delta.call.arguments))
    except BotError as error:
        return text, found, error
    return text, found, None


def gateway(first: Sends) -> tuple[Gateway, Scripted]:
    second = Scripted("second")
    pool = ((named("first", order=0), first), (named("second", order=1), second))
    return Gateway(pool, clock=Clock()), second


def ends(shape: Shape) -> type[BotError] | None:
    return ENDS.get(shape.ends)


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("name", SHAPES)
async def test_a_stream_is_read_as_it_is_meant(name: str, size: int) -> None:
    """Field faults 63, 64, 65, 69: whatever its shape, and however its bytes are split."""
    shape, model = SHAPES[name], Sends(SHAPES[name].sent, size)
    text, calls, error = await heard(model.chat(asks("Hello")))
    assert (text, tuple(calls)) == (shape.text, shape.calls)
    assert type(error) is (ends(shape) or type(None))
    if shape.usage is not None:
        counted = model.last.counted
        assert counted is not None
        assert (counted.input_tokens or 0, counted.output_tokens or 0) == shape.usage


@pytest.mark.parametrize("name", SHAPES)
async def test_a_second_deployment_repairs_only_failures(name: str) -> None:
    """Field faults 63, 64: what was answered is not asked again; what was not is asked once."""
    shape, first = SHAPES[name], Sends(SHAPES[name].sent)
    router, second = gateway(first)
    text, calls, error = await heard(router.chat(asks("Hello")))
    assert (first.asked, second.asked) == (1, int(shape.ends in ("empty", "failed")))
    if shape.ends in ("empty", "failed"):
        assert (text, calls, error) == (shape.text + SECOND, [], None)
    else:
        assert (text, tuple(calls)) == (shape.text, shape.calls)


def check_cut(shape: Shape, at: int, alone: Heard, together: Heard, asked: int) -> None:
    """A stream that ended after `at` bytes: its text so far, or the answer of the second deployment."""
    text, calls, error = alone
    assert not calls or tuple(calls) == shape.calls, f"a wrong tool call, cut at {at}"
    assert error is None or isinstance(error, (ModelUnavailable, EmptyAnswer, ContentFiltered))
    assert error or asked == 0, f"asked again after a complete answer, cut at {at}"
    shown, _, failed = together
    if isinstance(error, (ModelUnavailable, EmptyAnswer)):
        assert (shown, failed, asked) == (text + SECOND, None, 1), f"cut at {at}"
    else:
        assert shown == text, f"cut at {at}"


@pytest.mark.parametrize("name", SHAPES)
async def test_a_cut_stream_is_interrupted(name: str) -> None:
    """Field faults 64, 65: cut at every byte: never a crash, a duplicate or a wrong tool call."""
    shape = SHAPES[name]
    before: object = None
    for at in range(len(shape.sent)):
        cut = Sends(shape.sent[:at], 10_000)
        alone = await heard(cut.chat(asks("Hello")))
        if (outcome := (alone[0], alone[1], type(alone[2]))) != before:
            # the router sees no difference between cuts with the same outcome
            before = outcome
            router, second = gateway(cut)
            check_cut(shape, at, alone, await heard(router.chat(asks("Hello"))), second.asked)
