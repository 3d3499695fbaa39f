"""The bytes that Azure OpenAI sends: chunks, completions, errors, vectors, pictures."""

import base64
import hashlib
import json
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

SAFE: dict[str, Any] = {
    name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")
}
PROMPT_SAFE: dict[str, Any] = {**SAFE, "jailbreak": {"filtered": False, "detected": False}}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the simulated model says: text, or calls as (id, name, arguments); `chunks` is how many pieces.

    The filter stops the answer for what is in `filtered`, and only notes, as low, what is in `noted` and, of
    the question, in `asked_noted`.
    """

    text: str = ""
    calls: tuple[tuple[str, str, str], ...] = ()
    finish: str = "stop"
    chunks: int | None = None
    filtered: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    asked_noted: tuple[str, ...] = ()


def dumps(value: object) -> bytes:
    """Compact JSON, as the service writes it: not escaped beyond what JSON asks for."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + dumps(value) + b"\n\n"


def pieces(text: str, count: int | None) -> list[str]:
    """The text in `count` pieces that differ by at most one character, or in pieces like tokens."""
    size = 4
    if count is None:
        return [text[at : at + size] for at in range(0, len(text), size)]
    edges = [len(text) * step // count for step in range(count + 1)]
    return [text[a:b] for a, b in pairwise(edges)]


def tokens(text: str) -> int:
    """A count of tokens that is plausible and repeatable: four characters each."""
    return max(1, (len(text) + 3) // 4)


def usage_in(data: bytes) -> dict[str, Any]:
    """The usage object of a response, or of the last event of a stream that has one; empty without."""
    found: dict[str, Any] = {}
    for line in data.splitlines():
        text = line.removeprefix(b"data: ")
        if b'"usage"' in text and text.startswith(b"{"):
            found = json.loads(text).get("usage") or found
    return found


def tokens_sent(events: Iterable[bytes]) -> int:
    """The tokens of the text in these events of a streamed answer."""
    text = ""
    for each in events:
        data = each.removeprefix(b"data: ")
        if data.startswith(b"{") and b'"choices":[{' in data:
            text += json.loads(data)["choices"][0].get("delta", {}).get("content") or ""
    return tokens(text) if text else 0


def usage(asked: int, answered: int, cached: int = 0) -> dict[str, Any]:
    """The usage object of a chat completion."""
    return {
        "completion_tokens": answered,
        "completion_tokens_details": {"audio_tokens": 0, "reasoning_tokens": 0},
        "prompt_tokens": asked,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": cached},
        "total_tokens": asked + answered,
    }


@lru_cache(maxsize=256)
def stream(
    answer: Answer, model: str, asked: int, cached: int, azure: bool, with_usage: bool, async_filter: bool
) -> tuple[bytes, ...]:
    """The events of a streamed answer, encoded once; Azure's carry its filter's annotations."""
    return tuple(_events(answer, model, asked, cached, azure, with_usage, async_filter))


def _events(
    answer: Answer, model: str, asked: int, cached: int, azure: bool, with_usage: bool, async_filter: bool
) -> Iterator[bytes]:
    annotate = azure and not async_filter
    head: dict[str, Any] = {
        "created": 1780000000,
        "id": "chatcmpl-" + hashlib.sha256(answer.text.encode()).hexdigest()[:20],
        "model": model,
        "object": "chat.completion.chunk",
        "system_fingerprint": "fp_simulated",
        **({"usage": None} if with_usage else {}),
    }

    def chunk(delta: dict[str, Any], finish: str | None = None, notes: dict[str, Any] | None = None) -> bytes:
        choice: dict[str, Any] = {"delta": delta, "finish_reason": finish, "index": 0, "logprobs": None}
        if annotate:
            choice = {"content_filter_results": notes or {}, **choice}
        return event({"choices": [choice], **head})

    if azure:
        results = [{"prompt_index": 0, "content_filter_results": {**PROMPT_SAFE, **_low(answer.asked_noted)}}]
        first: dict[str, Any] = {"id": "", "model": "", "object": "", "created": 0, "choices": []}
        yield event({**first, "prompt_filter_results": results})
    yield chunk({"content": None if answer.calls else "", "refusal": None, "role": "assistant"})
    for index, (id, name, arguments) in enumerate(answer.calls):
        called: dict[str, Any] = {"index": index, "id": id, "type": "function"}
        yield chunk({"tool_calls": [{**called, "function": {"name": name, "arguments": ""}}]})
        for piece in pieces(arguments, None):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    at = 0
    for piece in pieces(answer.text, answer.chunks) if answer.text else []:
        yield chunk({"content": piece}, notes={**SAFE, **_low(answer.noted)})
        if azure and async_filter:
            offsets = {"check_offset": at, "start_offset": at, "end_offset": at + len(piece)}
            note = {"content_filter_offsets": offsets, "content_filter_results": SAFE}
            empty: dict[str, Any] = {"id": "", "model": "", "object": "", "created": 0}
            yield event({**empty, "choices": [{"finish_reason": None, "index": 0, **note}]})
        at += len(piece)
    blocked = {name: {"filtered": True, "severity": "medium"} for name in answer.filtered}
    finish = "content_filter" if answer.filtered else ("tool_calls" if answer.calls else answer.finish)
    yield chunk({}, finish, {**SAFE, **blocked} if blocked else None)
    if with_usage:
        yield event({"choices": [], **head, "usage": usage(asked, tokens(answer.text), cached)})
    yield b"data: [DONE]\n\n"


def _low(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: {"filtered": False, "severity": "low"} for name in names}


def completion(answer: Answer, model: str, asked: int, azure: bool) -> dict[str, Any]:
    """The same answer, not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if answer.calls:
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, name, arguments in answer.calls
        ]
    choice: dict[str, Any] = {"finish_reason": answer.finish, "index": 0, "message": message}
    body: dict[str, Any] = {
        "choices": [choice],
        "created": 1780000000,
        "id": "chatcmpl-simulated",
        "model": model,
        "object": "chat.completion",
        "usage": usage(asked, tokens(answer.text)),
    }
    if azure:
        choice["content_filter_results"] = SAFE
        body["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": PROMPT_SAFE}]
    return body


def error(code: str, message: str, **more: object) -> dict[str, Any]:
    """An error body; OpenAI's and Azure's have one shape, with different fields filled."""
    return {"error": {"code": code, "message": message, **more}}


def blocked_prompt(categories: tuple[str, ...]) -> dict[str, Any]:
    """The 400 of Azure's filter on what was asked."""
    results: dict[str, Any] = dict(PROMPT_SAFE)
    for name in categories:
        flag = "detected" if name == "jailbreak" else "severity"
        results[name] = {"filtered": True, flag: True if name == "jailbreak" else "medium"}
    return error(
        "content_filter",
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. "
        "Please modify your prompt and retry.",
        param="prompt",
        type=None,
        status=400,
        innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": results},
    )


def vector(text: str, size: int) -> list[float]:
    """A vector that depends on nothing but the text; not of length 1, so that somebody has to see to it."""
    seed = hashlib.sha256(text.encode()).digest()
    return [(seed[at % 32] - 127.5) / 64.0 + at % 7 for at in range(size)]


def embedding(text: str, size: int, encoded: bool) -> str | list[float]:
    """A vector as JSON numbers, or as the base64 of little-endian 32-bit floats."""
    numbers = vector(text, size)
    return base64.b64encode(array("f", numbers).tobytes()).decode() if encoded else numbers


@lru_cache(maxsize=8)
def png(width: int, height: int, shade: int = 0x55) -> bytes:
    """A real PNG of this size, plain grey; the bits of `shade` say how dark."""

    def block(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([shade]) * ((width + 7) // 8)) * height
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + block(b"IHDR", head)
        + block(b"IDAT", zlib.compress(rows, 1))
        + block(b"IEND", b"")
    )


def drawing(kind: str, unfinished: int, size: tuple[int, int], spent: dict[str, Any]) -> tuple[bytes, ...]:
    """The events of a picture that is drawn while one looks; `kind` is image_generation or image_edit.

    https://platform.openai.com/docs/api-reference/images-streaming
    """
    look = {"background": "opaque", "output_format": "png", "quality": "medium", "created_at": 1780000000}
    look["size"] = f"{size[0]}x{size[1]}"

    def named(what: str, shade: int, **more: Any) -> bytes:
        type = f"{kind}.{what}"
        data = {"type": type, "b64_json": base64.b64encode(png(*size, shade)).decode(), **look, **more}
        return f"event: {type}\n".encode() + event(data)

    partial = [named("partial_image", 1 << n, partial_image_index=n) for n in range(unfinished)]
    return (*partial, named("completed", 0x55, usage=spent))


def last_user_text(messages: list[Mapping[str, Any]]) -> str:
    """What the person said last, of the text parts."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            return "".join(part.get("text", "") for part in content or ())
    return ""
