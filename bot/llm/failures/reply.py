"""The error of a service in one shape, whatever shape it came in."""

import json
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

_MESSAGE = (
    "message",
    "msg",
    "detail",
    "details",
    "error_description",
    "errorMessage",
    "faultstring",
    "title",
    "error",
)
_STATUS_TEXT = re.compile("[45][0-9]{2}")
_STATUS = ("statusCode", "status_code", "status", "code", "http_code")
_WRAPPERS = ("error", "fault", "errors", "errorResponse")
_CHARACTERS = 4000
_DEPTH = 20
"""Deeper parts of an error are dropped."""

_ECHOES = ("input", "ctx", "url")
"""Fields of validation errors that repeat the request (https://docs.pydantic.dev/latest/errors/errors/)."""
_ECHO = re.compile(r"input_value=.*|[{,]\s*(['\"])(?:input|ctx)\1\s*:.*", re.DOTALL)
"""The same in the text of a message. Everything behind it is cut, because a person may have written what ends it."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ErrorReply(NamedTuple):
    """An error: its HTTP status (0 if unknown), its fields, and all its text, for patterns.

    `codes` are its code and those inside it; `body` is what contains them; `text` holds the message and the rest.
    """

    status: int = 0
    codes: tuple[str, ...] = ()
    type: str = ""
    param: str = ""
    message: str = ""
    text: str = ""
    body: Mapping[str, Any] = MappingProxyType({})
    headers: Mapping[str, str] = NO_HEADERS


def reply_of(
    status: int,
    body: object,
    headers: Mapping[str, str] = NO_HEADERS,
    message: str = "",
    request_texts: Collection[str] = (),
) -> ErrorReply:
    """An error of any shape, without what it repeats of the request, whose texts are `request_texts`.

    `message` is used if the body has none; `status` 0 is read from the body.
    """
    outer = _first(_without_echoes(_loaded(body), request_texts)) or {}
    body, message = _without_echoes(body, request_texts), _spoken(message, request_texts)
    inner = outer
    for _ in range(3):
        within = next((_first(inner[name]) for name in _WRAPPERS if _first(inner.get(name))), None)
        if within is None:
            break
        inner = within
    told = _message(inner) or _message(outer) or (body if isinstance(body, str) else "") or message
    codes = [
        str(found[name])
        for found in (inner, outer, _inner_error(inner))
        for name in ("code", "type")
        if found.get(name)
    ]
    whole = told if isinstance(body, str) else f"{told}\n{_dumped(body)}"
    return ErrorReply(
        status=status or _status(inner) or _status(outer),
        codes=tuple(code[:100] for code in dict.fromkeys(codes)),
        type=str(inner.get("type") or "")[:100],
        param=str(inner.get("param") or "")[:200],
        message=told[:_CHARACTERS],
        text=whole[:_CHARACTERS],
        body=inner,
        headers=headers,
    )


def record(value: object) -> dict[str, Any]:
    """A JSON object; empty for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _loaded(body: object) -> object:
    """The body; text as its JSON if it is some."""
    if isinstance(body, str) and body.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return {}
    return body


def _without_echoes(value: object, request_texts: Collection[str], depth: int = 0) -> object:
    """A value of JSON without what repeats the request, so that nobody's words are taken for the service's."""
    if isinstance(value, str):
        return _spoken(value, request_texts)
    if depth > _DEPTH:
        return None
    if isinstance(value, list):
        return [_without_echoes(item, request_texts, depth + 1) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {
            name: _without_echoes(item, request_texts, depth + 1)
            for name, item in items
            if name not in _ECHOES
        }
    return value


def _spoken(text: str, request_texts: Collection[str]) -> str:
    """The service's own words in a text."""
    text = _ECHO.sub("…", text)
    for words in request_texts:
        for spelling in {words, json.dumps(words, ensure_ascii=False)[1:-1], repr(words)[1:-1]}:
            text = text.replace(spelling, "…")
    return text


def _first(value: object) -> dict[str, Any] | None:
    """An object; a list of errors by its first one."""
    if isinstance(value, list):
        values = cast("list[object]", value)
        return _first(values[0]) if values else None
    return record(value) or None


def _inner_error(body: Mapping[str, Any]) -> dict[str, Any]:
    return record(body.get("innererror") or body.get("inner_error"))


def _message(body: Mapping[str, Any]) -> str:
    for name in _MESSAGE:
        value = body.get(name)
        if isinstance(value, str) and value:
            return value
        if value and name != "error":
            return _dumped(value)
    return ""


def _status(body: Mapping[str, Any]) -> int:
    for name in _STATUS:
        text = str(body.get(name) or "")
        if _STATUS_TEXT.fullmatch(text):
            return int(text)
    return 0


def _dumped(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)[:_CHARACTERS]
    except (ValueError, RecursionError):
        return ""
