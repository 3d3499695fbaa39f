"""Answers without text, and models that begin with reasoning, through the whole deployment."""

import pytest
from aiohttp import web

from bot.domain import telemetry
from bot.domain.calls import CallLog, collected
from bot.domain.prompts import Parameters
from bot.llm.openai.chat_stream import ChatStream
from bot.llm.openai.client import Clients
from bot.llm.openai.model import AzureModel
from bot.llm.protocol import EmptyAnswer
from bot.llm.routing.router import Gateway
from tests.llm.conftest import KEY, Connect, asks, deployment, heard, text_of
from tests.llm.openai.stream_shapes import DONE, END, HEAD, LENGTH, STOP, TEXT, counts, says
from tests.simulators.azure import AzureSimulator


def sends(azure: AzureSimulator, name: str, *streams: bytes) -> list[str]:
    """Answer with these streams, one after another, the last one again and again. Returns who was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(name)
        body = streams[min(len(asked), len(streams)) - 1]
        return web.Response(body=body, content_type="text/event-stream")

    azure.instead[name] = answer
    return asked


def gateway(azure: AzureSimulator, clients: Clients, *names: str) -> Gateway:
    models = [clients.connect(deployment(azure, name=name, order=n), KEY) for n, name in enumerate(names)]
    return Gateway([(model.deployment, model) for model in models])


def skipped(what: str) -> float:
    return telemetry.registry.get_sample_value("parley_model_output_skipped_total", {"what": what}) or 0.0


async def test_an_empty_answer_is_tried_elsewhere_once(azure: AzureSimulator, clients: Clients) -> None:
    """Field fault 63: not five times, and not on the same deployment; both calls are paid for."""
    usage = counts({"prompt_tokens": 7, "completion_tokens": 3})
    first = sends(azure, "first", STOP + usage + DONE)
    with collected(CallLog()) as log:
        deltas, error = await heard(gateway(azure, clients, "first", "second").chat(asks("Hello")))
    assert (text_of(deltas), error) == ("You said: Hello", None)
    assert len(first) == 1
    assert [(one.outcome, one.deployment) for one in log.usage] == [
        ("empty", "first"),
        ("completed", "second"),
    ]
    assert (log.usage[0].input_tokens, log.usage[0].output_tokens) == (7, 3)


async def test_two_empty_answers_are_explained(azure: AzureSimulator, clients: Clients) -> None:
    """Field fault 63: the third deployment is not asked."""
    asked = [sends(azure, name, END) for name in ("first", "second", "third")]
    _, error = await heard(gateway(azure, clients, "first", "second", "third").chat(asks("Hello")))
    assert isinstance(error, EmptyAnswer)
    assert "Ask again" in str(error)
    assert [len(each) for each in asked] == [1, 1, 0]


@pytest.mark.parametrize(("stream", "times"), [(END, 2), (LENGTH + DONE, 1)])
async def test_a_single_deployment_is_asked_again_once(
    stream: bytes, times: int, azure: AzureSimulator, clients: Clients
) -> None:
    """Field fault 63: unless it would spend everything on reasoning again."""
    asked = sends(azure, "only", stream)
    _, error = await heard(gateway(azure, clients, "only").chat(asks("Hello")))
    assert isinstance(error, EmptyAnswer)
    assert len(asked) == times


async def test_exhausted_reasoning_names_what_helps(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 63: never the advice to continue."""
    sends(azure, "chat", LENGTH + DONE)
    _, error = await heard(connect().chat(asks("Hello", parameters=Parameters(max_output_tokens=2000))))
    assert isinstance(error, EmptyAnswer)
    assert "2,000 tokens" in str(error)
    assert "less" in str(error)
    assert "maximum output" in str(error)
    assert "continue" not in str(error)


async def test_a_hidden_opening_tag_is_learnt(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 69: after the first answer, reasoning is not even shown for a moment."""
    sends(azure, "chat", says("Hm, so.") + says("\n</think>\n\n") + TEXT + END)
    model: AzureModel = connect()
    for retracted in (True, False):
        deltas, error = await heard(model.chat(asks("Hello")))
        text = ""
        for delta in deltas:
            text = delta.onto(text)
        assert (text, error) == ("Hello, world. \u4e16\u754c", None)
        assert any(delta.retracts for delta in deltas) is retracted
    sends(azure, "chat", TEXT + END)
    deltas, _ = await heard(model.chat(asks("Hello")))
    assert text_of(deltas) == "Hello, world. \u4e16\u754c", "and an answer without reasoning is whole"


async def test_a_mentioned_closing_tag_is_text(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 69: it retracts nothing, and the next answer is streamed."""
    sends(azure, "chat", says("The tag </think> ") + says("ends it.") + END, HEAD + says("world") + END)
    model: AzureModel = connect()
    for expected in ("The tag </think> ends it.", "Hello, world"):
        deltas, error = await heard(model.chat(asks("Hello")))
        assert (text_of(deltas), error) == (expected, None)
        assert not any(delta.retracts for delta in deltas)


INSIDE = says("Hm, so.") + says("\n</think>\n\n") + TEXT + END


@pytest.mark.parametrize("cut", [LENGTH + DONE, b""])
async def test_a_mistaken_guess_loses_no_text(azure: AzureSimulator, connect: Connect, cut: bytes) -> None:
    """Field faults 63, 69: one answer is a guess, which the next complete one corrects; two are certain."""
    sends(azure, "chat", INSIDE, TEXT + cut, TEXT + END, HEAD + cut, INSIDE, INSIDE, TEXT + cut)
    model: AzureModel = connect()
    texts: list[str] = []
    for _ in range(7):
        deltas, _ = await heard(model.chat(asks("Hello")))
        text = ""
        for delta in deltas:
            text = delta.onto(text)
        texts.append(text)
    hello = "Hello, world. \u4e16\u754c"
    assert texts == [hello, hello, hello, "Hello, ", hello, hello, ""]


def test_what_is_skipped_is_counted() -> None:
    """Field fault 64: operators see that a server sends odd frames."""
    before = skipped("event"), skipped("usage")
    ChatStream().read(b"data: null\n\ndata: {oops\n\n" + counts([1]) + TEXT + END)
    assert (skipped("event") - before[0], skipped("usage") - before[1]) == (2, 1)
