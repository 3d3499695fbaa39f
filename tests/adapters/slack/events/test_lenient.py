"""Signed payloads with invalid fields: the rest of them is still read."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from adapters.slack import SlackAdapter, SlackCredentials
from adapters.slack.events.lenient import tidy
from bot.domain.events import MessageReceived
from tests.adapters.slack.conftest import Engine, FakeAdapter
from tests.simulators.slack import SlackSimulator

TS = "1700000000.000100"
SHORTCUTS = (
    {"type": "shortcut", "callback_id": "ask"},
    {"type": "message_action", "callback_id": "ask_about"},
)


def mention(**changed: Any) -> dict[str, Any]:
    event = {
        "type": "app_mention",
        "user": "U0ALICE",
        "text": "<@U0BOT> hi",
        "channel": "C0GENERAL",
        "ts": TS,
    }
    return {"type": "event_callback", "team_id": "T0SIM", "event_id": "Ev1", "event": {**event, **changed}}


async def deliver(room: FakeAdapter, payload: Any, raw: bytes | None = None) -> int:
    body = raw if raw is not None else json.dumps(payload).encode()
    status, _ = await room.slack.post(body, room.slack.signed(body))
    return status


@pytest.mark.parametrize(
    ("escaped", "read"),
    [
        (b"hi \\ud800", "hi \ufffd"),
        (b"\\udfff hi", "\ufffd hi"),
        (b"hi \xff", "hi \ufffd"),
        (b"hi \xed\xa0\x80", "hi \ufffd\ufffd\ufffd"),
    ],
)
async def test_a_lone_surrogate_does_not_lose_the_event(room: FakeAdapter, escaped: bytes, read: str) -> None:
    """Field fault 56: it was answered 400, and the event was lost."""
    body = json.dumps(mention(text="<@U0BOT> X")).encode().replace(b"X", escaped)
    assert await deliver(room, None, body) == 200
    assert [received.text for received in room.engine.received] == [read]


async def test_surrogates_in_names_and_forms_are_removed(room: FakeAdapter) -> None:
    """Field fault 56: wherever they are."""
    body = json.dumps({**mention(), "\ud800": ["\udfff"], "team_domain": "\ud800"}).encode()
    assert await deliver(room, None, body) == 200
    command = {
        "command": "/image",
        "text": "a payload\ud800",
        "team_id": "T0SIM",
        "channel_id": "C0GENERAL",
        "user_id": "U0ALICE",
        "trigger_id": "1.2.3",
        "response_url": f"{room.slack.workspace.origin}/respond/1",
    }
    form = "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in command.items())
    assert await deliver(room, None, form.encode()) == 200
    mentioned, commanded = room.engine.received
    assert mentioned.text == "hi"
    assert commanded.text.startswith("/image a payload\ufffd")


@pytest.mark.parametrize(
    "changed",
    [  # pyright: ignore[reportUnknownArgumentType]
        {"thread_ts": 5.5e300},
        {"thread_ts": []},
        {"thread_ts": "banana"},
        {"thread_ts": None},
        {"team": {}},
        {"user_team": 5},
        {"files": "all"},
        {"files": [None, 7, {}]},
        {"user_profile": "Alice"},
        {"subtype": None},
        {"channel_type": {"im": True}},
        {"bot_id": []},
        {"blocks": [[[None]]]},
        {"edited": 3},
    ],
    ids=repr,
)
async def test_a_field_of_wrong_type_counts_as_missing(room: FakeAdapter, changed: dict[str, Any]) -> None:
    """Field fault 56: the rest of the message is still read."""
    assert await deliver(room, mention(**changed)) == 200
    (received,) = room.engine.received
    assert (received.text, received.address.data["thread"]) == ("hi", TS)


@pytest.mark.parametrize(
    "changed",
    [
        {"type": []},
        {"type": {"a": 1}},
        {"type": 5},
        {"ts": "9" * 400},
        {"ts": "99999999999999999.1"},
        {"ts": 1e308},
        {"ts": {}},
        {"ts": "1e400"},
        {"ts": "\u0661"},
        {"channel": 7},
        {"channel": "C" * 100_000},
        {"channel": "C1:D2"},
        {"user": ["U1"]},
    ],
    ids=lambda changed: repr(changed)[:30],
)
async def test_invalid_payloads_are_acknowledged_and_ignored(
    room: FakeAdapter, changed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 56: they were answered 500, and Slack delivered them again and again."""
    assert await deliver(room, mention(**changed)) == 200
    assert room.engine.events == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("levels", [200, 5000, 100_000])
async def test_deep_nesting_is_400(room: FakeAdapter, levels: int) -> None:
    """Field fault 56: it was answered 500."""
    body = b'{"type": "event_callback", "event": ' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"
    assert await deliver(room, None, body) == 400


@pytest.mark.parametrize(
    "authorizations", [[], {}, "all", [None], [7], [{"team_id": 5}], [[]], None], ids=repr
)
async def test_invalid_authorizations_do_not_lose_the_event(room: FakeAdapter, authorizations: Any) -> None:
    """Field fault 56: Bolt reads them before the bot does."""
    assert await deliver(room, {**mention(), "authorizations": authorizations}) == 200
    assert len(room.engine.received) == 1


@pytest.mark.parametrize("payload", SHORTCUTS, ids=lambda payload: payload["type"])
async def test_a_shortcut_without_a_trigger_is_logged(
    room: FakeAdapter, payload: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 56: it ended in "Task exception was never retrieved"."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    profile = {"message": {"ts": TS, "text": "x", "user": "U0BOB"}, "channel": {"id": "C0GENERAL"}}
    for more in (profile, {}):
        sent = {**payload, **more, "team": {"id": "T0SIM"}, "user": {"id": "U0ALICE"}}
        form = f"payload={quote(json.dumps(sent))}".encode()
        assert await deliver(room, None, form) == 200
    async with asyncio.timeout(60):
        while not ("trigger_id" in caplog.text or "no channel or timestamp" in caplog.text):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert complaints == []
    assert room.slack.calls["views.open"] == 0


@pytest.mark.parametrize(
    "body", [b"payload=%7B", b"payload=[]", b"a=b", b"payload", b"&" * 5000, b"%zz=%"], ids=repr
)
async def test_an_invalid_form_is_400(
    room: FakeAdapter, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 56: it logs one warning without the body."""
    assert await deliver(room, None, body) == 400
    (warned,) = [record for record in caplog.records if "malformed request" in record.message]
    assert warned.levelname == "WARNING"


async def test_a_command_without_response_url_is_accepted(room: FakeAdapter) -> None:
    """Field fault 56: it is answered in another way."""
    form = b"command=/image&text=a+cat&team_id=T0SIM&channel_id=C0GENERAL&user_id=U0ALICE&trigger_id=1.2"
    assert await deliver(room, None, form) == 200
    (received,) = room.engine.received
    post = await room.answer(received, "Here.")
    assert post.id


async def test_socket_mode_tolerates_the_same_payloads() -> None:
    """Field fault 56: Socket Mode has no status 400, and the event must not be lost."""
    engine = Engine()
    async with SlackSimulator() as slack:
        adapter = SlackAdapter(
            SlackCredentials(SecretStr(slack.bot_token), None, SecretStr(slack.app_token)),
            api_url=slack.api_url,
        )
        async with adapter:
            receiving = asyncio.create_task(adapter.listen(engine.accept))
            await slack.until(lambda: slack.connected)
            odd = {"text": "<@U0BOT> hi \ud800", "thread_ts": [1], "files": "all"}
            envelope = slack.envelope({**mention()["event"], **odd})
            await slack.hand_over("events_api", envelope, json.dumps(envelope), envelope["event_id"], 0)
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
    assert [event.text for event in engine.events if isinstance(event, MessageReceived)] == ["hi \ufffd"]


def test_valid_payloads_stay_as_they_are() -> None:
    payload = {**mention(files=[{"id": "F1", "size": 5}], blocks=[{"text": {"text": "x"}}]), "more": [1]}
    assert tidy(payload) == payload


def test_events_name_people_by_their_ids() -> None:
    assert tidy(mention(user={"id": "U1"}, channel={"id": "C1"}))["event"] | {"type": ""} == {
        **mention()["event"],
        "user": "U1",
        "channel": "C1",
        "type": "",
    }
