"""Activities with invalid parts: the message is read without them."""

import json
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from adapters.teams.activities.parser import parse, read
from bot.domain.errors import Malformed
from bot.domain.events import MessageReceived
from tests.adapters.teams.activities.test_parser import recorded
from tests.adapters.teams.conftest import Rig
from tests.simulators import teams_tokens
from tests.simulators.teams import APP_ID

PICTURE = {"contentType": "image/png", "contentUrl": "https://smba.trafficmanager.net/x", "name": "x.png"}


def received(**changed: Any) -> MessageReceived:
    event = parse(read({**recorded("personal_message"), **changed}))
    assert isinstance(event, MessageReceived)
    return event


@pytest.mark.parametrize(
    "attachments",
    [
        [None, PICTURE],
        [7, PICTURE],
        [{"contentType": None}, PICTURE],
        [{"contentType": 5, "contentUrl": []}, PICTURE],
        [{"contentType": "image/png", "contentUrl": {}}, PICTURE],
        [{"contentType": "text/html", "content": 7}, PICTURE],
        [{**PICTURE, "more": {"a": [None]}}],
    ],
    ids=repr,
)
def test_an_invalid_attachment_is_left_out(attachments: list[Any]) -> None:
    """Field fault 80: one null or invalid field was answered 400, and the message was lost."""
    event = received(attachments=attachments)
    assert event.text == "Translate good morning to French"
    assert [attachment.name for attachment in event.attachments] == ["x.png"]


def test_an_invalid_name_counts_as_missing() -> None:
    """Field fault 80: the image itself is kept."""
    assert [attachment.name for attachment in received(attachments=[{**PICTURE, "name": 7}]).attachments] == [
        "image"
    ]


@pytest.mark.parametrize(
    "changed",
    [  # pyright: ignore[reportUnknownArgumentType]
        {"attachments": "all"},
        {"attachments": {}},
        {"entities": "all"},
        {"entities": [None, 7, [], {"type": 5}, {"type": "mention", "mentioned": None, "text": 7}]},
        {"entities": [{"type": "quotedReply", "quotedReply": []}]},
        {"timestamp": 5},
        {"timestamp": "9999999-99-99"},
        {"channelData": [1]},
        {"channelData": {"tenant": []}},
        {"channelData": '{"tenant": ' + "[" * 5000},
        {"replyToId": {}},
        {"name": []},
        {"action": 7},
        {"from": {"id": "29:1", "name": None, "role": 5}},
        {"recipient": {"id": None}},
        {"recipient": []},
    ],
    ids=lambda changed: repr(changed)[:50],
)
def test_invalid_optional_fields_count_as_missing(changed: dict[str, Any]) -> None:
    """Field fault 80: whatever is not needed to answer may be invalid."""
    assert received(**changed).text == "Translate good morning to French"


@pytest.mark.parametrize(
    "changed",
    [{"conversation": {"id": 5}}, {"id": "x" * 5000}, {"id": 7}, {"from": {"id": None}}, {"serviceUrl": []}],
    ids=lambda changed: repr(changed)[:40],
)
def test_invalid_required_fields_are_malformed(changed: dict[str, Any]) -> None:
    """Field fault 56: the wrong type, or an absurd length."""
    with pytest.raises(Malformed):
        received(**changed)


async def deliver(rig: Rig, body: bytes, **headers: str) -> int:
    """Send a body as Teams would; returns the status."""
    token = teams_tokens.sign(teams_tokens.inbound_claims(APP_ID, rig.teams.service_url))
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
    async with (
        aiohttp.ClientSession() as http,
        http.post(rig.teams.bot, data=BytesIO(body), headers=sent) as answer,
    ):
        return answer.status


async def test_a_lone_surrogate_loses_no_message(rig: Rig) -> None:
    """Field fault 56: the same for Teams."""
    activity = rig.teams.activity("message", "a:1", "alice", id="1", text="hello \ud800")
    assert await deliver(rig, json.dumps(activity).encode()) == 200
    assert [event.text for event in rig.events if isinstance(event, MessageReceived)] == ["hello \ufffd"]


async def test_another_encoding_loses_no_message(rig: Rig) -> None:
    """Field fault 56: JSON may come in UTF-16."""
    activity = rig.teams.activity("message", "a:1", "alice", id="1", text="hello")
    assert await deliver(rig, json.dumps(activity).encode("utf-16")) == 200
    assert len(rig.events) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"[" * 50_000, {}, 400),
        (b'{"type": "message"', {}, 400),
        (b'{"type": 5}', {}, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"x" * (1024 * 1024 + 1), {}, 413),
        (b"{}", {"Content-Encoding": "gzip"}, 400),
    ],
    ids=["nested", "cut", "typed", "text", "large", "not zipped"],
)
async def test_each_fault_of_a_body_has_its_status(
    rig: Rig, body: bytes, headers: dict[str, str], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 93: 400, 413 or 415, never 500; nothing of the body is logged."""
    assert await deliver(rig, body, **headers) == status
    assert [
        record for record in caplog.records if record.levelname == "ERROR" and "aiohttp" not in record.name
    ] == []


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer a.b.c", "Bearer e30.e30.e30", "Bearer eyJhbGciOltdfQ.e30.x", "Basic x", "Bearer é"],
)
async def test_an_invalid_token_is_401(rig: Rig, header: str) -> None:
    """Field fault 93: A header that can't be parsed authenticates nobody."""
    activity = json.dumps(rig.teams.activity("message", "a:1", "alice", id="1", text="x")).encode()
    assert await deliver(rig, activity, Authorization=header) == 401
    assert rig.events == []
