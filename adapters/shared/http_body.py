"""Reads request bodies with a size limit, and parses them leniently; invalid ones raise Malformed."""

import json
import re
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from bot.domain.errors import Malformed

MAX_DEPTH = 100
"""Levels of nesting. Payloads of the platforms have about 15; recursive parsers fail at about 1000."""
MAX_FORM_FIELDS = 1000

_LONG_NUMBER = re.compile(rb"[:,\[]\s*-?[0-9]{19}")
_MAX_INTEGER = 2**63

_Kind = TypeVar("_Kind")


class TooLarge(Malformed):
    """The body exceeds the limit (status 413)."""


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """The whole body, decompressed. Raises TooLarge, and Malformed for a broken transfer.

    Reading stops at `max_bytes`, whatever the headers announce.
    """
    if (request.content_length or 0) > max_bytes:
        raise TooLarge(f"larger than {max_bytes} bytes")
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > max_bytes:
                raise TooLarge(f"larger than {max_bytes} bytes")
    except web.RequestPayloadError as error:
        raise Malformed("the body is incomplete, or its encoding is invalid") from error
    except ConnectionError as error:
        raise Malformed("the connection was closed before the end of the body") from error
    return bytes(body)


def parse_json(body: bytes | str) -> Any:
    """A JSON value that is safe to process and encode. Raises Malformed.

    Any Unicode encoding is accepted. Invalid bytes and lone surrogates become U+FFFD; numbers that fit neither
    64 bits nor a finite float become null. Of a repeated name, the last value counts.
    """
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    try:
        value = _parse_leniently(data) if _LONG_NUMBER.search(data) else _parse(data)
    except RecursionError:
        raise Malformed("nested too deeply") from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    return value


def parse_object(body: bytes | str) -> dict[str, Any]:
    """A JSON object, as `parse_json` reads it. Raises Malformed."""
    value = parse_json(body)
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return cast("dict[str, Any]", value)


def parse_as(body: bytes | str, kind: type[_Kind]) -> _Kind:
    """A JSON value of a known type, as `parse_json` reads it. Raises Malformed with the reason."""
    try:
        return msgspec.convert(parse_json(body), kind)
    except msgspec.ValidationError as error:
        raise Malformed(str(error)) from None


def parse_form(body: bytes) -> dict[str, str]:
    """The fields of a URL-encoded form. Raises Malformed.

    Invalid bytes become U+FFFD; of a repeated name, the last value counts.
    """
    text = body.decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    except ValueError:
        raise Malformed(f"more than {MAX_FORM_FIELDS} fields") from None


def valid_text(text: str) -> str:
    """`text` with U+FFFD in place of every lone surrogate, so that it can be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def without_surrogates(value: Any) -> Any:
    """A JSON value with `valid_text` applied to every string in it. Raises RecursionError."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, list):
        return [without_surrogates(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {valid_text(name): without_surrogates(item) for name, item in items}
    return value


# ------------------------------------------------------------------ JSON


def _parse(data: bytes) -> Any:
    """Parse strictly first, which is faster, then leniently."""
    try:
        return msgspec.json.decode(data)
    except ValueError:
        return _parse_leniently(data)


def _parse_leniently(data: bytes) -> Any:
    text = data.decode(json.detect_encoding(data), "replace").removeprefix("\ufeff")
    try:
        # NaN and Infinity, which are not JSON, become null.
        value = json.loads(text, parse_constant=lambda _: None, parse_int=_integer, parse_float=_number)
    except ValueError:
        raise Malformed("not JSON") from None
    return without_surrogates(value)


def _integer(digits: str) -> int | None:
    value = int(digits) if len(digits) <= 20 else _MAX_INTEGER
    return value if -_MAX_INTEGER <= value < _MAX_INTEGER else None


def _number(digits: str) -> float | None:
    value = float(digits)
    return value if abs(value) < float("inf") else None


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for item in level for inner in _containers(item)]
        if not level:
            return
    raise Malformed("nested too deeply")


def _containers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(cast("dict[str, Any]", value).values())
    inside = cast("list[Any]", value) if isinstance(value, list) else []
    return [item for item in inside if isinstance(item, dict | list)]
