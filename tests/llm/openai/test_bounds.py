"""A model server that never stops, or sends more than anybody asked for, fills nothing and is passed over."""

import base64
import gzip
import json
import tracemalloc
from collections.abc import Iterable

import pytest
from aiohttp import web
from msgspec.structs import replace

from bot.domain.errors import BotError, ModelUnavailable
from bot.domain.prompts import Image
from bot.domain.turns import MAX_TOOL_CALLS
from bot.llm.failures.waits import retry_after_s, spent_for_s
from bot.llm.openai import chat_stream, client, event_parser, image_stream, images
from bot.llm.openai.chat_stream import ChatStream
from bot.llm.openai.client import Clients
from bot.llm.openai.event_parser import EventParser
from bot.llm.openai.image_stream import ImageStream
from bot.llm.protocol import AnswerTimeout, ImageInterrupted
from bot.llm.routing.router import Gateway
from tests.llm.conftest import KEY, Connect, asks, deployment, heard, text_of
from tests.llm.scripted import Scripted, named, told
from tests.simulators import azure_wire
from tests.simulators.azure import AzureSimulator, Instead

MANY = 10_000


def call(index: int, arguments: str = "{}", **more: object) -> bytes:
    """An event of one fragment of a tool call."""
    function: object = {"name": "draw", "arguments": arguments}
    fragment: dict[str, object] = {"index": index, "id": f"c{index}", "function": function, **more}
    choice: dict[str, object] = {"index": 0, "delta": {"tool_calls": [fragment]}}
    return azure_wire.event({"choices": [choice]})


END = (
    azure_wire.event({"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]})
    + b"data: [DONE]\n\n"
)


def endless(part: bytes, head: bytes = b"", status: int = 200, **headers: str) -> Instead:
    """Sends the head, and then the same part again and again until nobody listens."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"content-type": "text/event-stream", **headers})
        await response.prepare(request)
        await response.write(head)
        while True:
            await response.write(part)

    return answer


def sends(*parts: bytes, status: int = 200, mime: str = "text/event-stream") -> Instead:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"content-type": mime})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        return response

    return answer


# ------------------------------------------------------------------ streams

FLOODS = {
    "a line without an end": endless(b"x" * 65536, b"data: "),
    "an event without an end": endless(b"data: {}\n" * 4000),
    "empty data without an end": endless(b"data:\n" * 8000),
    "arguments without an end": endless(call(0, "x" * 60_000)),
    "arguments of many calls": endless(b"".join(call(n, "x" * 6000) for n in range(10))),
    "a comment without an end": endless(b"x" * 65536, b": "),
    "a deep chunk": sends(b'data: {"x":' + b"[" * 500_000 + b"\n\n"),
    "a deep error": sends(b'data: {"error":' + b"[" * 9000 + b"]" * 9000 + b"}\n\n"),
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_an_endless_stream_fails_over(kind: str, azure: AzureSimulator, clients: Clients) -> None:
    """Tool arguments and `data:` lines without an end accumulated without a limit."""
    azure.instead["hostile"] = FLOODS[kind]
    first = deployment(azure, name="hostile", order=0)
    tracemalloc.start()
    try:
        _, error = await heard(clients.connect(first, KEY).chat(asks("Hello")))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(error, ModelUnavailable)
    assert most_bytes < 40 * 2**20
    second = Scripted("second")
    gateway = Gateway(((first, clients.connect(first, KEY)), (replace(named("second"), order=1), second)))
    assert await told(gateway) == "second says hello"


def test_surplus_tool_calls_are_only_counted() -> None:
    """10,000 calls in one answer are read without storing them."""
    answer = ChatStream()
    for n in range(MANY):
        answer.read(call(n, "{"))
        answer.read(call(n, "}", id=None, function={"arguments": "}"}))
    answer.read(END)
    *calls, last = answer.calls()
    assert [item.call.arguments for item in calls if item.call] == ["{}"] * MAX_TOOL_CALLS
    assert last.dropped == MANY - MAX_TOOL_CALLS
    assert answer.failed is None


async def test_calls_that_were_dropped_reach_whoever_asked(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 91: the number goes all the way through the deployment."""
    azure.instead["chat"] = sends(*(call(n) for n in range(200)), END)
    deltas, error = await heard(connect().chat(asks("Hello")))
    assert error is None
    assert sum(delta.call is not None for delta in deltas) == MAX_TOOL_CALLS
    assert sum(delta.dropped for delta in deltas) == 200 - MAX_TOOL_CALLS


def test_names_ids_and_models_have_a_bound() -> None:
    """Field fault 93: whatever is put together from fragments, or kept, has a bound."""
    answer = ChatStream()
    for _ in range(100):
        answer.read(call(0, "", id="i" * 10_000, function={"name": "n" * 10_000}))
    answer.read(azure_wire.event({"model": "m" * 100_000, "choices": []}) + END)
    (delta,) = answer.calls()
    assert delta.call is not None
    assert max(len(delta.call.name), len(answer.model)) <= 256
    assert len(delta.call.id) <= 8192


def test_an_endless_answer_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small its events are, an answer must end."""
    monkeypatch.setattr(chat_stream, "MAX_STREAM_BYTES", 100_000)
    answer, data = ChatStream(), azure_wire.event({"choices": [{"delta": {"content": "x"}}]})
    answer.read(data * (90_000 // len(data)))
    with pytest.raises(AnswerTimeout):
        answer.read(data * (20_000 // len(data)))


def test_the_limit_of_events_ignores_chunk_boundaries() -> None:
    """The limit applies to the event, not to the reads."""
    text = "x" * (event_parser.MAX_EVENT_BYTES - 1000)
    data = azure_wire.event({"choices": [{"delta": {"content": text}}]}) + END
    for size in (len(data), 65536, 1000):
        answer = ChatStream()
        assert "".join(answer.read(data[at : at + size]) for at in range(0, len(data), size)) == text


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_many_small_events_are_not_a_long_one(size: int) -> None:
    """Complete events no longer count."""
    events = EventParser(most_bytes=50)
    sent = b"data: " + b"x" * 40 + b"\n\n"
    found = [
        item for at in range(0, 20 * len(sent), size) for item in events.feed((sent * 20)[at : at + size])
    ]
    assert found == [b"x" * 40] * 20


def test_only_the_requested_choice_is_read() -> None:
    """The choices of a server that sends several were mixed."""
    choices = [{"index": n, "delta": {"content": f"answer {n}. "}} for n in range(1000)]
    answer = ChatStream()
    assert answer.read(azure_wire.event({"choices": choices}) + END) == "answer 0. "


def test_notes_of_the_filter_have_a_bound() -> None:
    """Field fault 93: categories that nobody knows are a place to accumulate, too."""
    answer = ChatStream()
    for n in range(2000):
        results = {f"{n} " + "c" * 1000: {"filtered": False, "severity": "low"}}
        choice = {"index": 0, "delta": {"content": "x"}, "content_filter_results": results}
        answer.read(azure_wire.event({"choices": [choice]}))
    assert len(answer.filter) <= 51
    assert max(map(len, answer.filter)) < 100


@pytest.mark.parametrize("count", [-5, 2**62])
async def test_counts_that_are_impossible_harm_no_sum(
    count: int, azure: AzureSimulator, connect: Connect
) -> None:
    """Field fault 93: a number of tokens that no ledger can add up is brought into reason."""
    usage = {"prompt_tokens": count, "completion_tokens": count}
    azure.instead["chat"] = sends(
        azure_wire.event({"choices": [{"delta": {"content": "hi"}}]}),
        azure_wire.event({"choices": [], "usage": usage}),
        END,
    )
    deltas, error = await heard(connect().chat(asks("Hello")))
    assert (text_of(deltas), error) == ("hi", None)
    (used,) = [delta.usage for delta in deltas if delta.usage]
    assert 0 <= used.input_tokens <= 10**9 >= used.output_tokens >= 0


# ------------------------------------------------------------------ refusals and whole bodies


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_a_refusal_without_an_end_is_cut(status: int, azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 93: the body of an error was read to its end, wherever that was."""
    azure.instead["chat"] = endless(b"x" * 65536, b'{"error":{"message":"', status=status)
    tracemalloc.start()
    try:
        _, error = await heard(connect().chat(asks("Hello")))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(error, BotError)
    assert len(str(error)) < 1000
    assert most_bytes < 20 * 2**20


async def test_nothing_is_asked_for_that_is_compressed(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 93: a small body that unpacks to a large one."""
    await heard(connect().chat(asks("Hello")))
    assert azure.journal[-1].headers["accept-encoding"] == "identity"


async def test_a_compressed_error_is_cut_before_decompression(
    azure: AzureSimulator, connect: Connect
) -> None:
    """A server that compresses anyway can't fill the memory either."""
    bomb = gzip.compress(b"x" * (512 * 2**20), 1)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500, body=bomb, headers={"content-encoding": "gzip"})

    azure.instead["chat"] = answer
    tracemalloc.start()
    try:
        _, error = await heard(connect().chat(asks("Hello")))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(error, BotError)
    assert most_bytes < 200 * 2**20
    assert len(bomb) > client.MAX_REFUSAL_BYTES


async def test_vectors_without_an_end_are_given_up(
    azure: AzureSimulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 93: bodies that come whole have a bound as well."""
    monkeypatch.setattr(images, "MAX_RESPONSE_BYTES", 2**20)
    azure.instead["chat"] = endless(b"0," * 30_000, b'{"data":[{"embedding":[')
    with pytest.raises(ModelUnavailable, match="is too large"):
        await connect(capability="embedding").embed(["text"])


async def test_a_deeply_nested_body_is_invalid(azure: AzureSimulator, connect: Connect) -> None:
    """Depth is a size, too."""
    azure.instead["chat"] = sends(b'{"x":' + b"[" * 100_000, mime="application/json")
    with pytest.raises(ModelUnavailable, match="an invalid response"):
        await connect(capability="embedding").embed(["text"])


@pytest.mark.parametrize("value", ["inf", "nan", "1e308", "-1", "1.2.3", "9" * 400])
def test_an_infinite_wait_is_ignored(value: str) -> None:
    """`retry-after: inf` disabled a deployment for ever, and overflowed."""
    assert 0 <= (retry_after_s({"retry-after": value}) or 0.0) <= 86_400
    assert 0 <= (retry_after_s({"retry-after-ms": value}) or 0.0) <= 86_400
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": value}
    assert 0 < spent_for_s(headers) <= 86_400


# ------------------------------------------------------------------ pictures

PNG = azure_wire.png(8, 8)


def pictures(*encoded: str) -> bytes:
    return json.dumps(
        {"data": [{"b64_json": item, "revised_prompt": "r" * 9000} for item in encoded]}
    ).encode()


PAINTER = {"name": "paint", "capability": "image", "family": "gpt-image-1"}


async def test_surplus_images_are_dropped(azure: AzureSimulator, connect: Connect) -> None:
    """A thousand images are cut to what an answer may have."""
    azure.instead["paint"] = sends(
        pictures(*[base64.b64encode(PNG).decode()] * 1000), mime="application/json"
    )
    drawn, _ = await connect(**PAINTER).draw(asks("a cat", "image"))
    assert len(drawn) == images.MAX_IMAGES
    assert max(len(item.alt) for item in drawn) <= 4000


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (pictures("A" * 100_000), "too large"),
        (pictures("no base64!"), "not an image"),
        (json.dumps({"data": [{"url": "http://[::"}]}).encode(), "invalid image URL"),
    ],
)
async def test_an_invalid_image_fails_over(
    body: bytes, words: str, azure: AzureSimulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next deployment can be asked, so it is no error for the operator."""
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", 50_000)
    azure.instead["paint"] = sends(body, mime="application/json")
    with pytest.raises(ModelUnavailable, match=words):
        await connect(**PAINTER).draw(asks("a cat", "image"))


def partials(count: int) -> Iterable[bytes]:
    encoded = base64.b64encode(PNG).decode()
    for _ in range(count):
        yield azure_wire.event({"type": "image_generation.partial_image", "b64_json": encoded})


def test_unfinished_pictures_are_shown_a_few_times_only() -> None:
    """Field fault 93: partial pictures are decoded one by one, and somebody may send thousands."""
    drawing = ImageStream()
    assert sum(len(drawing.read(data)) for data in partials(1000)) == 8
    done = {"type": "image_generation.completed", "b64_json": "QQ=="}
    for _ in range(1000):
        drawing.read(azure_wire.event(done))
    assert len(drawing.made.data) == images.MAX_IMAGES


async def test_a_drawing_without_an_end_is_given_up(
    azure: AzureSimulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 93: the events of a drawing have a bound together, too."""
    monkeypatch.setattr(image_stream, "MAX_RESPONSE_BYTES", 2**20)
    azure.instead["paint"] = endless(b"".join(partials(50)))

    async def on_partial_image(picture: Image) -> None: ...

    with pytest.raises(ImageInterrupted, match="too long"):
        await connect(**PAINTER).draw(asks("a cat", "image"), on_partial_image)
