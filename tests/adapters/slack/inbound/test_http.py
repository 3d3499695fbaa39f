"""Incoming events: verified first, stored before they are acknowledged, invalid ones rejected."""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from adapters.slack import SlackAdapter, SlackCredentials
from adapters.slack.inbound import socket_mode
from bot.domain.errors import ConfigError, StateUnavailable
from bot.domain.events import FeedbackGiven, MessageDeleted, MessageEdited, StopRequested
from bot.domain.turns import Reply
from tests.adapters.slack.conftest import Engine, FakeAdapter, listening
from tests.simulators.slack import SlackSimulator
from tests.support.patience import PATIENCE_S

MENTION = "<@U0BOT> hello"
SECRET_WORDS = "the king is dead"


def body_of(payload: Any) -> bytes:
    return json.dumps(payload).encode()


async def test_a_mention_is_accepted_and_acknowledged(room: FakeAdapter) -> None:
    received = await room.asked("<@U0BOT> why, <@U0BOB>?")
    assert (received.text, received.addressed, received.user.id) == ("why, @bob?", True, "U0ALICE")
    assert {delivery.status for delivery in room.slack.deliveries} == {200}
    assert {delivery.body for delivery in room.slack.deliveries} == {""}


async def test_two_deliveries_of_a_mention_have_one_id(room: FakeAdapter) -> None:
    """Field note 01."""
    await room.slack.say("C0GENERAL", "U0ALICE", MENTION)
    assert len(room.slack.deliveries) == 2
    assert len({delivery.event_id for delivery in room.slack.deliveries}) == 2
    assert len(room.engine.events) == 1


async def test_redeliveries_are_accepted_like_first_deliveries(room: FakeAdapter) -> None:
    """Field note 06."""
    room.engine.error = StateUnavailable("Redis is away")
    await room.slack.say("C0GENERAL", "U0ALICE", MENTION)
    assert {delivery.status for delivery in room.slack.deliveries} == {503}
    room.engine.error = None
    await room.slack.until(lambda: room.engine.events)
    await room.slack.until(lambda: [d.status for d in room.slack.deliveries].count(200) == 2)
    assert len(room.engine.events) == 1
    assert max(delivery.retry for delivery in room.slack.deliveries) >= 1


async def test_many_shuffled_deliveries_have_one_id_each(room: FakeAdapter) -> None:
    """Field note 06."""
    room.slack.times, room.slack.shuffle = 3, random.Random(7)
    for number in range(5):
        await room.slack.say("C0GENERAL", "U0ALICE", f"<@U0BOT> question {number}")
    assert [received.text for received in room.engine.received] == [
        f"question {number}" for number in range(5)
    ]
    assert len(room.slack.deliveries) == 30


async def test_without_redis_slack_delivers_again(room: FakeAdapter) -> None:
    """Field note 32."""
    room.engine.error = StateUnavailable("Redis is away")
    received = await room.slack.command("C0GENERAL", "U0ALICE", "/image", "why?")
    assert room.slack.deliveries[-1].status == 503
    assert received == {"text": ""}


async def test_link_previews_are_ignored_and_edits_are_edits(room: FakeAdapter) -> None:
    """Field note 07."""
    ts = await room.slack.say("C0GENERAL", "U0ALICE", "<@U0BOT> see https://example.com")
    await room.slack.unfurl("C0GENERAL", ts)
    await room.slack.edit("C0GENERAL", ts, "<@U0BOT> see https://example.com/2")
    await room.slack.delete("C0GENERAL", ts)
    assert [type(event).__name__ for event in room.engine.events] == [
        "MessageReceived",
        "MessageEdited",
        "MessageDeleted",
    ]
    _, edited, deleted = room.engine.events
    assert isinstance(edited, MessageEdited)
    assert isinstance(deleted, MessageDeleted)
    assert edited.target == deleted.target == room.engine.received[0].id
    assert edited.text == "see https://example.com/2"


async def test_the_bots_own_messages_and_edits_are_ignored(room: FakeAdapter) -> None:
    room.slack.echoes = True
    received = await room.asked()
    post = await room.answer(received, "Because. <@U0BOT>")
    room.slack.fault("chat.startStream", "error", code="unknown_method")
    post = await room.adapter.open(received.address, post, False)
    await room.adapter.close(post, Reply(text="Since."))
    await room.slack.until(lambda: len(room.slack.deliveries) == 4)
    assert room.engine.events == [received]


async def test_a_reply_without_mention_is_not_addressed(room: FakeAdapter) -> None:
    received = await room.asked()
    again = await room.asked("and then?", thread_ts=received.address.data["thread"])
    assert again.addressed is False
    assert again.address.conversation == received.address.conversation


async def test_a_direct_message_is_addressed(room: FakeAdapter) -> None:
    received = await room.asked("hello", channel=room.slack.workspace.direct("U0ALICE"))
    assert received.addressed
    assert received.direct
    await room.answer(received, "Hello.")
    assert room.shown(received) == ["Hello."]


async def test_a_channel_message_without_mention_is_ignored(room: FakeAdapter) -> None:
    await room.slack.say("C0GENERAL", "U0ALICE", "good morning")
    assert [delivery.status for delivery in room.slack.deliveries] == [200]
    assert room.engine.events == []


async def test_a_rating_reaches_the_engine_with_its_post(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.adapter.close(await room.open(received), Reply(text="Because.", rate=True))
    (message,) = room.slack.thread("C0GENERAL", received.address.data["thread"])
    await room.slack.press(message, "C0GENERAL", "U0BOB", good=False)
    rated = room.engine.events[-1]
    assert isinstance(rated, FeedbackGiven)
    assert (rated.post, rated.good, rated.user.id) == (post.id, False, "U0BOB")
    assert rated.address.conversation == received.address.conversation


async def test_the_stop_button_reaches_the_engine(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.open(received)
    await room.adapter.update(post, "Because")
    await room.slack.until(lambda: room.shown(received) == ["Because"])
    (message,) = room.slack.thread("C0GENERAL", received.address.data["thread"])
    await room.slack.stop_stream("C0GENERAL", message["ts"], "U0ALICE")
    stopped = room.engine.events[-1]
    assert isinstance(stopped, StopRequested)
    assert stopped.address.conversation == received.address.conversation


async def test_the_messages_tab_gets_prompts_without_a_thread(room: FakeAdapter) -> None:
    """Field note 19."""
    await room.slack.open_home("U0ALICE", tab="home")
    await room.slack.open_home("U0ALICE")
    await room.slack.until(lambda: room.slack.workspace.prompts)
    (prompts,) = room.slack.workspace.prompts
    assert "thread_ts" not in prompts
    assert 0 < len(prompts["prompts"]) <= 4
    assert room.engine.events == []


async def test_a_busy_conversation_gets_an_ephemeral_message(room: FakeAdapter) -> None:
    room.engine.receipt = "busy"
    await room.slack.say("C0GENERAL", "U0ALICE", MENTION)
    await room.slack.until(lambda: room.slack.workspace.ephemeral)
    assert "try again in a moment" in room.slack.workspace.ephemeral[0]["markdown"]
    received = await room.slack.command("C0GENERAL", "U0ALICE", "/image", "why?")
    assert "try again in a moment" in received["text"]


async def test_names_that_arrive_late_are_ids(room: FakeAdapter) -> None:
    room.slack.fault("users.info", "500", count=9)
    received = await room.asked("<@U0BOT> ask <@U0BOB>")
    assert received.text == "ask @U0BOB"
    room.slack.faults.clear()
    received = await room.asked("<@U0BOT> ask <@U0BOB>")
    assert received.text == "ask @bob"
    calls = room.slack.calls["users.info"]
    await room.asked("<@U0BOT> ask <@U0BOB>")
    assert room.slack.calls["users.info"] == calls, "a name that is known is not asked for again"


async def test_a_refused_name_is_not_requested_each_time(room: FakeAdapter) -> None:
    room.slack.fault("users.info", "error", count=9, code="missing_scope")
    for number in range(3):
        await room.slack.say("C0GENERAL", "U0ALICE", f"<@U0BOT> {number}")
    assert room.slack.calls["users.info"] == 1


# ------------------------------------------------------------------ invalid input


async def refused(room: FakeAdapter, body: bytes, headers: dict[str, str]) -> int:
    status, received = await room.slack.post(body, headers)
    assert room.engine.events == []
    assert SECRET_WORDS not in received
    return status


BAD_HEADERS: dict[str, dict[str, str]] = {
    "unsigned": {"X-Slack-Signature": ""},
    "badly signed": {"X-Slack-Signature": "v0=" + "0" * 64},
    "signed in letters of no alphabet": {"X-Slack-Signature": "v0=\u00e9\u00e8"},
    "without a time": {"X-Slack-Request-Timestamp": ""},
    "at no time": {"X-Slack-Request-Timestamp": "yesterday"},
    "at a time in other digits": {"X-Slack-Request-Timestamp": "\u0661\u0662"},
    "at an endless time": {"X-Slack-Request-Timestamp": "9" * 5_000},
    "at a negative time": {"X-Slack-Request-Timestamp": "-5"},
}


@pytest.mark.parametrize("what", list(BAD_HEADERS))
async def test_an_unsigned_request_is_401_and_not_logged(
    room: FakeAdapter, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """Nothing of its body is in the log."""
    caplog.set_level(logging.DEBUG)
    body = body_of(room.slack.envelope({"type": "app_mention", "text": SECRET_WORDS}))
    assert await refused(room, body, room.slack.signed(body) | BAD_HEADERS[what]) == 401
    assert SECRET_WORDS not in caplog.text
    assert "Rejected" in caplog.text


@pytest.mark.parametrize("age_s", [301, -301])
async def test_an_expired_request_is_401(room: FakeAdapter, age_s: int) -> None:
    body = body_of(room.slack.envelope({"type": "app_mention"}))
    assert await refused(room, body, room.slack.signed(body, at_s=time.time() - age_s)) == 401


async def test_a_changed_body_is_401(room: FakeAdapter) -> None:
    body = body_of(room.slack.envelope({"type": "app_mention"}))
    assert await refused(room, body + b" ", room.slack.signed(body)) == 401


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"type": ', b'["a", "list"]', b'"words"', b"payload=%7B", b"payload=5", b"{\xff}", b"a=\xff"],
    ids=repr,
)
async def test_a_signed_but_malformed_body_is_400(room: FakeAdapter, body: bytes) -> None:
    headers = room.slack.signed(body)
    if body.startswith((b"[", b'"')):
        headers["Content-Type"] = "application/json"
    assert await refused(room, body, headers) == 400


async def test_an_oversized_body_is_413(room: FakeAdapter) -> None:
    body = b"x" * (1024 * 1024 + 1)
    assert await refused(room, body, room.slack.signed(body)) == 413


async def test_an_oversized_body_of_unannounced_length_is_413(room: FakeAdapter) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 64 * 1024

    async with (
        aiohttp.ClientSession() as session,
        session.post(room.slack.bot_url, data=endless(), headers=room.slack.signed(b"x")) as response,
    ):
        assert response.status == 413
    assert room.engine.events == []


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"type": "event_callback"},
        {"type": "event_callback", "event": None},
        {"type": "event_callback", "event": "words"},
        {"type": "event_callback", "event": {"type": "message", "user": "U1", "text": "hi"}},
        {
            "type": "event_callback",
            "event": {"type": "message", "subtype": "message_changed", "channel": "C1"},
        },
        {
            "type": "event_callback",
            "event": {"type": "app_mention", "user": "U1", "ts": "now", "channel": "C1"},
        },
        {"type": "block_actions", "actions": [{"action_id": "feedback", "value": "no JSON"}]},
        {"type": "shortcut", "callback_id": "unknown"},
        {"type": "event_callback", "event": {"type": "team_join"}},
    ],
    ids=lambda payload: json.dumps(payload)[:60],
)
async def test_an_unknown_payload_is_200_never_404(room: FakeAdapter, payload: dict[str, Any]) -> None:
    body = body_of(payload)
    assert await refused(room, body, room.slack.signed(body)) == 200


async def test_the_verification_of_a_new_url_is_answered(room: FakeAdapter) -> None:
    body = body_of({"type": "url_verification", "token": "t", "challenge": "3eZbrw1aB"})
    status, received = await room.slack.post(body, room.slack.signed(body))
    assert status == 200
    assert json.loads(received) == {"challenge": "3eZbrw1aB"}


async def test_a_certificate_check_is_200(room: FakeAdapter) -> None:
    body = b"ssl_check=1&token=t"
    assert await refused(room, body, room.slack.signed(body)) == 200


async def test_without_the_bots_identity_slack_delivers_again() -> None:
    engine = Engine()
    async with SlackSimulator(retry_pauses_s=(0.01,)) as slack:
        slack.fault("auth.test", "error", count=2, code="fatal_error_of_ours")
        adapter = SlackAdapter(
            SlackCredentials(SecretStr(slack.bot_token), SecretStr(slack.signing_secret)),
            api_url=slack.api_url,
        )
        async with adapter:
            runner, slack.bot_url = await listening(adapter, engine)
            await slack.say(slack.workspace.direct("U0ALICE"), "U0ALICE", "hello")
            assert slack.deliveries[0].status == 503
            await slack.until(lambda: len(slack.deliveries) == 2)
            await runner.cleanup()


# ------------------------------------------------------------------ Socket Mode


async def test_socket_mode_acknowledges_after_storing() -> None:
    engine = Engine()
    async with SlackSimulator(retry_pauses_s=(0.01, 0.02, 0.03)) as slack:
        adapter = SlackAdapter(
            SlackCredentials(SecretStr(slack.bot_token), None, SecretStr(slack.app_token)),
            api_url=slack.api_url,
        )
        async with adapter:
            assert list(adapter.routes(engine.accept)) == []
            receiving = asyncio.create_task(adapter.listen(engine.accept))
            await slack.until(lambda: slack.connected)
            await slack.say("C0GENERAL", "U0ALICE", MENTION)
            assert len(engine.events) == 1
            assert {delivery.status for delivery in slack.deliveries} == {200}
            received = await slack.command("C0GENERAL", "U0ALICE", "/image", "why?")
            assert "Working on it" in received["text"]
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


@pytest.mark.parametrize("reason", ["too_many_websockets", "link_disabled", "something_new"])
async def test_refused_connections_are_tried_with_pauses(
    reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 55: 290 connection requests in 10 s and nothing in the log."""
    waits: list[tuple[int, str]] = []

    def briefly(failures: int, reason: str) -> float:
        waits.append((failures, reason))
        return 0.01

    monkeypatch.setattr(socket_mode, "pause_s", briefly)
    engine = Engine()
    async with SlackSimulator() as slack:
        slack.disconnecting = reason
        credentials = SlackCredentials(SecretStr(slack.bot_token), None, SecretStr(slack.app_token))
        async with SlackAdapter(credentials, api_url=slack.api_url) as adapter:
            receiving = asyncio.create_task(adapter.listen(engine.accept))
            async with asyncio.timeout(PATIENCE_S):
                while len(waits) < 5:  # noqa: ASYNC110 - the SDK tells nobody
                    await asyncio.sleep(0.01)
            assert slack.calls["apps.connections.open"] <= len(waits) + 1
            slack.disconnecting = ""
            await slack.until(lambda: slack.connected)
            await slack.say(slack.workspace.direct("U0ALICE"), "U0ALICE", "hello")
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
    assert waits[:5] == [(number, reason) for number in range(1, 6)]
    assert [event.text for event in engine.received] == ["hello"]
    (warning,) = [record for record in caplog.records if "Socket Mode" in record.getMessage()]
    assert warning.levelname == "WARNING"
    assert reason in warning.getMessage()


@pytest.mark.parametrize(
    ("reason", "within_s", "most"),
    [
        ("too_many_websockets", 10, 1),
        ("too_many_websockets", 60, 3),
        ("too_many_websockets", 3600, 16),
        ("link_disabled", 60, 3),
        ("something_new", 60, 3),
        ("refresh_requested", 10, 5),
        ("warning", 10, 5),
        ("", 10, 5),
        ("", 60, 7),
        ("", 3600, 20),
    ],
)
def test_connection_requests_are_few(reason: str, within_s: float, most: int) -> None:
    """Field fault 55: back-off."""
    requests, now = 0, 0.0
    while (now := now + socket_mode.pause_s(requests + 1, reason)) < within_s:
        requests += 1
    assert requests <= most


async def test_a_secret_or_an_app_token_is_required() -> None:
    with pytest.raises(ConfigError, match="SLACK_SIGNING_SECRET"):
        SlackAdapter(SlackCredentials(SecretStr("xoxb")))


async def test_listening_without_an_app_token_returns_at_once(room: FakeAdapter) -> None:
    await room.adapter.listen(room.engine.accept)


async def test_the_route_is_where_the_manifest_says(room: FakeAdapter) -> None:
    (route,) = room.adapter.routes(room.engine.accept)
    assert isinstance(route, web.RouteDef)
    assert (route.method, route.path) == ("POST", "/slack/events")


async def test_socket_mode_retries_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_mode, "PING_INTERVAL_S", 0.05)
    engine = Engine()
    async with SlackSimulator() as slack:
        slack.fault("apps.connections.open", "error", code="not_allowed_token_type")
        adapter = SlackAdapter(
            SlackCredentials(SecretStr(slack.bot_token), None, SecretStr(slack.app_token)),
            api_url=slack.api_url,
        )
        async with adapter:
            receiving = asyncio.create_task(adapter.listen(engine.accept))
            await slack.until(lambda: slack.connected)
            await slack.say("C0GENERAL", "U0ALICE", MENTION)
            assert len(engine.events) == 1
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


async def test_socket_mode_does_not_acknowledge_unstored_events() -> None:
    engine = Engine(error=StateUnavailable("Redis is away"))
    async with SlackSimulator(retry_pauses_s=(0.01, 0.02)) as slack:
        slack.delivery_timeout_s = 0.1
        adapter = SlackAdapter(
            SlackCredentials(SecretStr(slack.bot_token), None, SecretStr(slack.app_token)),
            api_url=slack.api_url,
        )
        async with adapter:
            receiving = asyncio.create_task(adapter.listen(engine.accept))
            await slack.until(lambda: slack.connected)
            await slack.say(slack.workspace.direct("U0ALICE"), "U0ALICE", "hello")
            assert slack.deliveries[0].status is None
            engine.error = None
            await slack.until(lambda: engine.events)
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


@pytest.mark.parametrize("how", ["refreshed", "closed", "cut off"])
async def test_socket_mode_reconnects_when_its_connection_ends(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(socket_mode, "PING_INTERVAL_S", 0.05)
    engine = Engine()
    async with SlackSimulator() as slack:
        adapter = SlackAdapter(
            SlackCredentials(SecretStr(slack.bot_token), None, SecretStr(slack.app_token)),
            api_url=slack.api_url,
        )
        async with adapter:
            receiving = asyncio.create_task(adapter.listen(engine.accept))
            await slack.until(lambda: slack.connected)
            await slack.end_connections(how)
            assert not slack.connected
            await slack.until(lambda: slack.connected)
            await slack.say(slack.workspace.direct("U0ALICE"), "U0ALICE", "hello")
            assert [received.text for received in engine.received] == ["hello"]
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
