"""The parser of chat streams, on recorded streams cut at every place."""

from pathlib import Path

import pytest

from bot.domain.errors import BotError, ContentFiltered, ModelUnavailable
from bot.llm.openai import event_parser
from bot.llm.openai.chat_stream import ChatStream
from bot.llm.openai.event_parser import EventParser

RECORDED = Path(__file__).parents[2] / "recorded" / "azure"


def recorded(name: str) -> bytes:
    return (RECORDED / name).read_bytes()


def read(data: bytes, size: int | None = None) -> tuple[str, ChatStream]:
    """What an answer holds after the bytes came in reads of this size."""
    answer = ChatStream()
    step = size or len(data)
    text = "".join(answer.read(data[at : at + step]) for at in range(0, len(data), step))
    return text + answer.end(), answer


def failure(answer: ChatStream) -> BotError:
    assert answer.failed is not None
    return answer.failed


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, None])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_chunk_boundaries_do_not_matter(size: int | None, newline: bytes) -> None:
    """Field note 34."""
    text, answer = read(recorded("chat_stream.sse").replace(b"\n", newline), size)
    assert text == "Grüezi, 世界 🌍"
    assert answer.failed is None
    assert answer.finish == "stop"
    assert answer.model == "gpt-4o-2024-11-20"
    assert answer.counted is not None
    assert (answer.counted.input_tokens, answer.counted.cached_tokens) == (1219, 1024)
    assert answer.counted.output_tokens == 9


def test_what_one_read_brings_is_one_text() -> None:
    assert ChatStream().read(recorded("chat_stream.sse")) == "Grüezi, 世界 🌍"


def test_chunks_of_the_asynchronous_filter_have_no_delta() -> None:
    text, answer = read(recorded("chat_stream_async_filter.sse"), 50)
    assert text == "Color is"
    assert (answer.failed, answer.finish, answer.counted) == (None, "stop", None)


@pytest.mark.parametrize("size", [1, 40, None])
def test_tool_calls_are_put_together_from_their_fragments(size: int | None) -> None:
    text, answer = read(recorded("chat_stream_tools.sse"), size)
    assert text == ""
    calls = [delta.call for delta in answer.calls()]
    assert [(call.id, call.name, call.arguments) for call in calls if call] == [
        ("call_b1", "get_weather", '{"city": "Bern"}'),
        ("call_b2", "get_time", "{}"),
    ]
    assert answer.finish == "tool_calls"


def test_a_filtered_answer_keeps_its_text() -> None:
    text, answer = read(recorded("chat_stream_filtered.sse"))
    assert text == "The battle began"
    with pytest.raises(ContentFiltered, match="violence") as caught:
        answer.check()
    assert caught.value.categories == ("violence",)
    assert answer.counted is not None
    assert answer.counted.input_tokens == 20


def test_server_sent_events_follow_the_standard() -> None:
    events = EventParser()
    sent = b": keep-alive\n\nevent: message\nid: 7\ndata: one\ndata: two\n\ndata:three\n\nretry: 5\n\n"
    assert events.feed(sent) == [b"one\ntwo", b"three"]


def test_a_last_event_without_its_empty_line_counts() -> None:
    data = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}'
    text, answer = read(data)
    assert (text, answer.finish, answer.failed) == ("x", "stop", None)


def test_a_stream_without_finish_reason_was_interrupted() -> None:
    text, answer = read(b'data: {"choices":[{"delta":{"content":"half of"}}]}\n\n')
    assert text == "half of"
    assert isinstance(answer.failed, ModelUnavailable)


def test_an_error_comes_after_the_text_before_it() -> None:
    first = b'data: {"choices":[{"delta":{"content":"so far"}}]}\n\n'
    answer = ChatStream()
    text = answer.read(first + b'data: {"error":{"code":"server_error","message":"sorry"}}\n\n')
    assert text == "so far"
    assert isinstance(answer.failed, ModelUnavailable)


@pytest.mark.parametrize("body", [b'"overloaded"', b'{"message":"x"}', b'{"code":null}'])
def test_an_error_of_any_shape_is_a_failure(body: bytes) -> None:
    answer = ChatStream()
    answer.read(b'data: {"error":' + body + b"}\n\n")
    assert isinstance(answer.failed, ModelUnavailable)


def test_an_error_that_is_null_is_none() -> None:
    text, answer = read(
        b'data: {"error":null,"choices":[{"delta":{"content":"ok"},"finish_reason":"stop"}]}\n\n'
    )
    assert (text, answer.failed) == ("ok", None)


def test_the_filter_may_speak_up_in_the_stream() -> None:
    answer = ChatStream()
    inner = b'{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":true}}}'
    answer.read(b'data: {"error":{"code":"content_filter","innererror":' + inner + b"}}\n\n")
    error = failure(answer)
    assert isinstance(error, ContentFiltered)
    assert error.categories == ("hate",)


def test_nulls_where_objects_are_usual_are_harmless() -> None:
    data = b'data: {"choices":[{"delta":null,"finish_reason":"stop"}],"usage":null,"model":null}\n\n'
    text, answer = read(data + b'data: {"choices":null}\n\ndata: [DONE]\n\n')
    assert (text, answer.failed) == ("", None)


def test_a_refusal_is_text() -> None:
    text, _ = read(b'data: {"choices":[{"delta":{"refusal":"I can\'t."},"finish_reason":"stop"}]}\n\n')
    assert text == "I can't."


def test_an_event_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_parser, "MAX_EVENT_BYTES", 100)
    with pytest.raises(ModelUnavailable):
        ChatStream().read(b"data: " + b"x" * 200)
