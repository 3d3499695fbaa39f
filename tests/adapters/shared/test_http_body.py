"""The parser of request bodies: what it accepts, repairs, and refuses."""

import json
from typing import Any

import msgspec
import pytest

from adapters.shared.http_body import (
    MAX_DEPTH,
    MAX_FORM_FIELDS,
    parse_as,
    parse_form,
    parse_json,
    parse_object,
    valid_text,
    without_surrogates,
)
from bot.domain.errors import Malformed


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": "\\ud800"}', {"a": "\ufffd"}),
        (b'{"a": "x\\udfffy"}', {"a": "x\ufffdy"}),
        (b'{"\\ud800": 1}', {"\ufffd": 1}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        ('{"a": "é"}'.encode("utf-16-le"), {"a": "é"}),
        ('{"a": "é"}'.encode("utf-32"), {"a": "é"}),
        (b'{"a": NaN, "b": -Infinity, "c": 1e999}', {"a": None, "b": None, "c": None}),
        (b'{"a": %s, "b": 1}' % (b"9" * 5000), {"a": None, "b": 1}),
        (b'{"a": [9223372036854775807, 9223372036854775808]}', {"a": [2**63 - 1, None]}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_repairable_bodies_are_read(body: bytes, value: Any) -> None:
    """Field fault 56: A lone surrogate, an unusual encoding or a huge number loses no event."""
    assert parse_json(body) == value


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a": ', b"\x00\x00", b"{}}", b"{'a': 1}", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000],
    ids=lambda body: repr(body)[:20],
)
def test_bodies_that_are_not_json_are_malformed(body: bytes) -> None:
    """Field fault 56: deep nesting, too, is an error of the sender."""
    with pytest.raises(Malformed):
        parse_json(body)


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1])
def test_nesting_is_limited(levels: int) -> None:
    """Field fault 56: every other parser can read what is accepted here."""
    body = b"[" * levels + b"]" * levels
    if levels <= MAX_DEPTH:
        assert json.loads(msgspec.json.encode(parse_json(body))) == json.loads(body)
    else:
        with pytest.raises(Malformed, match="too deeply"):
            parse_json(body)


def test_many_flat_brackets_are_not_deep() -> None:
    assert parse_json(b"[" + b"[]," * 5000 + b"[]]") == [[]] * 5001


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"1", b"null"])
def test_an_object_is_required(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse_object(body)


class _Shape(msgspec.Struct):
    name: str
    data: bytes = b""


def test_a_wrong_type_is_explained() -> None:
    assert parse_as(b'{"name": "\\ud800", "data": "aGk="}', _Shape) == _Shape("\ufffd", b"hi")
    with pytest.raises(Malformed, match="name"):
        parse_as(b'{"name": 1}', _Shape)


def test_forms_are_read_whatever_their_encoding() -> None:
    body = b"text=%ff%zz%+payload&empty=&text2=\xff&a=1&a=2"
    assert parse_form(body) == {
        "text": "\ufffd%zz% payload",
        "empty": "",
        "text2": "\ufffd",
        "a": "2",
    }
    with pytest.raises(Malformed, match="fields"):
        parse_form(b"&a" * (MAX_FORM_FIELDS + 1))


def test_text_is_made_encodable_without_other_changes() -> None:
    assert valid_text("\ud800a\udc00\ud83d\ude00é") == "\ufffda\ufffd\U0001f600é"
    assert without_surrogates({"\ud800": ["\udfff", 1, None]}) == {"\ufffd": ["\ufffd", 1, None]}
