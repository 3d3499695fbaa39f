"""One chunk of a chat stream, as documented or read field by field."""

from typing import Any

import msgspec

from bot.llm.failures.reply import record
from bot.llm.openai.loose_json import content_of, integer_of, items, skipped, text_of, value_of
from bot.llm.openai.tool_call_parts import CallFragment

_REASONING = ("reasoning_content", "reasoning", "reasoning_text", "reasoning_details", "thinking")
_ERROR_FIELDS = ("detail", "details", "statusCode", "status_code", "errors", "fault")
_TRUE = msgspec.Raw(b"true")


class ChunkFunction(msgspec.Struct):
    """The function of a tool call."""

    name: str | None = None
    arguments: str | None = None


class ChunkCall(msgspec.Struct):
    """A fragment of a tool call."""

    index: int | None = None
    id: str | None = None
    function: ChunkFunction | None = None


class ChunkDelta(msgspec.Struct):
    """What a chunk adds to the answer."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ChunkCall] | None = None
    function_call: ChunkFunction | None = None
    reasoning_content: msgspec.Raw = msgspec.Raw()
    reasoning: msgspec.Raw = msgspec.Raw()

    @property
    def all_reasoning(self) -> tuple[msgspec.Raw, msgspec.Raw]:
        """Reasoning in the two fields that servers use for it."""
        return self.reasoning_content, self.reasoning


class ChunkChoice(msgspec.Struct):
    """One of the answers; `message` in place of `delta` if the answer is not streamed, `text` in an older API."""

    index: int | None = None
    delta: ChunkDelta | None = None
    message: ChunkDelta | None = None
    text: str | None = None
    finish_reason: str | None = None
    content_filter_results: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()


class ChatChunk(msgspec.Struct):
    """A chunk: https://platform.openai.com/docs/api-reference/chat-streaming."""

    choices: list[ChunkChoice] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    model: str | None = None
    object: str | None = None
    error: msgspec.Raw = msgspec.Raw()
    prompt_filter_results: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(ChatChunk).decode


def chunks(data: bytes) -> list[ChatChunk]:
    """The chunk in the data of an event; several of a list, none of a value that is no object.

    Raises ValueError if the data is no JSON.
    """
    try:
        chunk = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [_chunk(record(item)) for item in items(value_of(data)) if record(item)]
    if chunk.choices is None or chunk.object == "error":
        read = record(value_of(data))
        return [_chunk(read)] if read else []
    return [chunk]


def fragment_of(call: ChunkCall) -> CallFragment:
    """A fragment, with nothing in place of `None`."""
    function = call.function or ChunkFunction()
    return CallFragment(
        index=call.index, id=call.id or "", name=function.name or "", arguments=function.arguments or ""
    )


# ------------------------------------------------------------------ field by field


def _chunk(value: dict[str, Any]) -> ChatChunk:
    choices = value.get("choices")
    own_format = choices is None and bool(record(value.get("message")) or "delta" in value)
    if own_format:
        choices = [value]  # of Ollama, where each message is a part
    error = value.get("error")
    message = value.get("message")
    if not error and (
        value.get("object") == "error"
        or (choices is None and (isinstance(message, str) or any(value.get(name) for name in _ERROR_FIELDS)))
    ):
        error = value
    usage = value.get("usage")
    if usage is None and "prompt_eval_count" in value:
        usage = value
    return ChatChunk(
        choices=[_choice(record(choice), own_format) for choice in items(choices)],
        usage=_raw(usage),
        model=text_of(value.get("model")),
        error=_raw(error),
        prompt_filter_results=_raw(value.get("prompt_filter_results")),
    )


def _choice(value: dict[str, Any], own_format: bool = False) -> ChunkChoice:
    """One of the choices. In Ollama's `own_format` its message is a delta."""
    if not value:
        skipped("choice")
    delta, message = value.get("delta"), value.get("message")
    if not delta and own_format:
        delta, message = message, None
    if delta is None and message is None and value.get("text") is not None:
        delta = value["text"]  # of the older completions API
    finish = text_of(value.get("finish_reason") or value.get("done_reason"))
    if finish is None and value.get("done") is True:
        finish = "stop"
    if finish is None and value.get("finish_reason"):
        skipped("finish_reason")
    return ChunkChoice(
        index=integer_of(value.get("index")),
        delta=None if delta is None else _delta(record(delta) or {"content": delta}),
        message=None if delta or message is None else _delta(record(message) or {"content": message}),
        finish_reason=finish,
        content_filter_results=_raw(value.get("content_filter_results")),
        usage=_raw(value.get("usage")),
    )


def _delta(value: dict[str, Any]) -> ChunkDelta:
    content, reasoned = content_of(value.get("content"))
    reasoned = reasoned or any(value.get(name) for name in _REASONING)
    function = record(value.get("function_call"))
    return ChunkDelta(
        content=content,
        refusal=text_of(value.get("refusal")),
        tool_calls=[_call(record(call)) for call in items(value.get("tool_calls"))],
        function_call=_function(function) if function else None,
        reasoning=_TRUE if reasoned else msgspec.Raw(),
    )


def _call(value: dict[str, Any]) -> ChunkCall:
    if not value:
        skipped("tool_call")
    return ChunkCall(
        index=integer_of(value.get("index")),
        id=text_of(value.get("id")),
        function=_function(record(value.get("function")) or value),
    )


def _function(value: dict[str, Any]) -> ChunkFunction:
    arguments: object = value.get("arguments")
    text = arguments if isinstance(arguments, str) else bytes(_raw(arguments)).decode()
    return ChunkFunction(name=text_of(value.get("name")), arguments=text)


def _raw(value: object) -> msgspec.Raw:
    """JSON to be read later; nothing for null, and for what is no valid JSON again."""
    if value is None:
        return msgspec.Raw()
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except (UnicodeEncodeError, RecursionError):
        return msgspec.Raw()
