"""Reads JSON of model servers field by field: what has another type than documented is converted or skipped."""

import json
import math
from contextlib import suppress
from typing import Any, cast

import msgspec

from bot.domain import telemetry
from bot.llm.failures.reply import record

_MOST = 10**9
"""The largest plausible count of tokens; larger ones would overflow totals."""

_CACHE_WRITES = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
_TEXT_FIELDS = ("text", "content", "value")
_REASONING_PARTS = ("thinking", "reasoning", "thought", "redacted_thinking", "reasoning_text", "summary_text")


def skipped(what: str) -> None:
    """Count a part of a model's output that could not be read."""
    telemetry.SKIPPED.labels(what).inc()


def value_of(data: bytes) -> object:
    """The JSON value, also with NaN, lone surrogates, bytes that are not UTF-8, or a second `data:` in front.

    Raises ValueError.
    """
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(data)
    text = data.decode("utf-8-sig", errors="replace").strip()
    while text.startswith("data:"):
        text = text.removeprefix("data:").lstrip()
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def loose(raw: msgspec.Raw | bytes) -> object:
    """The JSON value; `None` if it is none."""
    try:
        return value_of(bytes(raw))
    except ValueError:
        return None


def items(value: object) -> list[object]:
    """A list; of anything else but null, the list with only that."""
    if isinstance(value, list):
        return cast("list[object]", value)
    return [] if value is None else [value]


def text_of(value: object) -> str | None:
    """A string; a number as its text; `None` for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return None


def integer_of(value: object) -> int | None:
    """An index or a status: an integer, also written as a string; `None` for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, str) and value.isascii() and value.strip().isdecimal() else None


def count_of(value: object) -> int | None:
    """A number of tokens, also fractional or written as a string; `None` for anything else."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return max(0, min(round(value), _MOST))


def content_of(value: object) -> tuple[str, bool]:
    """The text of `content`, which is a string, a part, or a list of parts; and whether a part is reasoning."""
    if (text := text_of(value)) is not None:
        return text, False
    if isinstance(value, list):
        read = [content_of(part) for part in cast("list[object]", value)]
        return "".join(text for text, _ in read), any(reasoned for _, reasoned in read)
    part = record(value)
    if part.get("type") in _REASONING_PARTS:
        return "", True
    for name in _TEXT_FIELDS:
        if part.get(name) is not None:
            return content_of(part[name])
    if value is not None and part != {}:
        skipped("content")
    return "", False


def unpaired(text: str) -> tuple[str, str]:
    """The text with its surrogates paired or replaced, and half a pair at its end, which the next text completes."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text, ""
    half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
    whole = text[:-1] if half else text
    return whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), half


class TokenUsage(msgspec.Struct):
    """The counts of a `usage` object: of chat completions, embeddings or images. `None` was not reported.

    `cached`, `cache_write` and `image` tokens are part of the input, `reasoning` and `output_text` tokens of the
    output; `output_text` is reported of images only.
    """

    input_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    image_tokens: int | None = None
    output_text_tokens: int | None = None

    def updated(self, later: "TokenUsage") -> "TokenUsage":
        """These counts, with those that were reported later."""
        reported = {name: count for name, count in msgspec.structs.asdict(later).items() if count is not None}
        return msgspec.structs.replace(self, **reported)


def usage_of(value: object) -> TokenUsage | None:
    """The counts of a `usage` object of any kind; `None` if there are none. Odd ones are skipped and counted."""
    usage = record(value)
    if not usage:
        if value is not None and value != {}:
            skipped("usage")
        return None
    inputs = {**record(usage.get("input_tokens_details")), **record(usage.get("prompt_tokens_details"))}
    outputs = {**record(usage.get("output_tokens_details")), **record(usage.get("completion_tokens_details"))}
    return TokenUsage(
        input_tokens=_counted(usage, "prompt_tokens", "input_tokens", "prompt_eval_count"),
        cached_tokens=_counted(inputs, "cached_tokens"),
        cache_write_tokens=_counted({**usage, **inputs}, *_CACHE_WRITES),
        output_tokens=_counted(usage, "completion_tokens", "output_tokens", "eval_count"),
        reasoning_tokens=_counted(outputs, "reasoning_tokens"),
        image_tokens=_counted(inputs, "image_tokens"),
        output_text_tokens=_counted(outputs, "text_tokens"),
    )


def _counted(usage: dict[str, Any], *names: str) -> int | None:
    for name in names:
        if (raw := usage.get(name)) is not None:
            if (count := count_of(raw)) is not None:
                return count
            skipped("usage")
    return None
