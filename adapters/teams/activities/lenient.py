"""Converts JSON to structs field by field, so that an invalid optional field does not reject the message."""

from contextlib import suppress
from typing import Any, TypeVar, cast, get_args

import msgspec

from bot.domain.errors import Malformed

_Kind = TypeVar("_Kind", bound=msgspec.Struct)


def convert_leniently(value: object, kind: type[_Kind]) -> _Kind:
    """A struct from parsed JSON. Raises Malformed if a required field is missing or invalid.

    An invalid optional field takes its default; an invalid item of a list is left out.
    """
    if not isinstance(value, dict):
        raise Malformed(f"not an object: {kind.__name__.lower()}")
    given = cast("dict[str, Any]", value)
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        try:
            found[field.name] = _convert(given[field.encode_name], field.type)
        except (KeyError, msgspec.ValidationError, Malformed):
            if field.required:
                raise Malformed(f"{kind.__name__.lower()} without a valid {field.encode_name}") from None
    return kind(**found)


def _convert(value: object, kind: Any) -> Any:
    """Raises ValidationError, Malformed."""
    inner = next((arg for arg in get_args(kind) if arg is not type(None)), kind)
    if isinstance(value, list) and getattr(inner, "__origin__", None) is list:
        return _items(cast("list[object]", value), get_args(inner)[0])
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return convert_leniently(cast("object", value), kind)
    converted: Any = msgspec.convert(value, cast("Any", kind))
    return converted


def _items(values: list[object], kind: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        with suppress(msgspec.ValidationError, Malformed):
            found.append(_convert(value, kind))
    return found
