"""Incoming requests: authentication, rejections, and when they are acknowledged."""

import asyncio
import json
import logging
import time
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.teams import Credentials
from adapters.teams.cloud import Cloud
from bot.domain.errors import ConfigError, StateUnavailable
from bot.domain.events import FeedbackGiven, MessageReceived
from tests.adapters.teams.conftest import Rig, rigged
from tests.simulators import teams_tokens
from tests.simulators.teams import APP_ID, TENANT
from tests.support.patience import PATIENCE_S


async def tried(rig: Rig, token: str | None, **changed: Any) -> int:
    """Send a message with this token; returns the status."""
    activity = {**rig.teams.activity("message", "a:alice", "alice", id="1", text="hi"), **changed}
    headers = {} if token is None else {"Authorization": token}
    status, _ = await rig.teams.post(json.dumps(activity), headers)
    return status


def claims(rig: Rig, **changed: Any) -> dict[str, Any]:
    return teams_tokens.inbound_claims(APP_ID, rig.teams.service_url, **changed)


async def test_a_signed_message_is_stored_then_acknowledged(rig: Rig) -> None:
    delivery = await rig.teams.say("a:alice", "alice", "hello")
    assert delivery.status == 200
    (received,) = rig.events
    assert isinstance(received, MessageReceived)
    assert received.address.conversation == f"teams:{TENANT}:a:alice"


async def test_a_redelivery_has_the_same_id(rig: Rig) -> None:
    """Field note 06."""
    delivery = await rig.teams.say("a:alice", "alice", "hello")
    assert (await rig.teams.deliver(delivery.activity, times=2)).status == 200
    assert len(rig.events) == 3
    assert len({event.id for event in rig.events}) == 1


async def test_a_message_is_identified_by_conversation_and_id(rig: Rig) -> None:
    """Field note 01."""
    first = await rig.teams.say("a:alice", "alice", "hello")
    await rig.teams.deliver({**first.activity, "timestamp": "2026-11-22T10:00:15Z"})
    await rig.teams.deliver(
        {**first.activity, "conversation": {**first.activity["conversation"], "id": "a:bob"}}
    )
    await rig.teams.say("a:alice", "alice", "hello")
    ids = [event.id for event in rig.events]
    assert ids[0] == ids[1] == f"teams:a:alice:{first.activity['id']}"
    assert len(set(ids)) == 3


async def test_an_unstored_message_is_not_acknowledged(rig: Rig) -> None:
    """Field note 02."""
    rig.error = StateUnavailable("Redis is away")
    delivery = await rig.teams.say("a:alice", "alice", "hello")
    assert delivery.status == 503
    rig.error = None
    assert (await rig.teams.deliver(delivery.activity)).status == 200


async def test_a_request_not_signed_by_microsoft_is_401(rig: Rig) -> None:
    """Field note 27."""
    now = int(time.time())
    tokens = {
        "none": None,
        "empty": "",
        "not bearer": "Basic YTpi",
        "no token": "Bearer ",
        "garbage": "Bearer garbage",
        "three parts of garbage": "Bearer a.b.c",
        "not ascii": "Bearer a.é.c",
        "expired": f"Bearer {teams_tokens.sign(claims(rig, exp=now - 3600, nbf=now - 7200))}",
        "no expiry": f"Bearer {teams_tokens.sign(claims(rig, exp=None))}",
        "not yet": f"Bearer {teams_tokens.sign(claims(rig, nbf=now + 3600))}",
        "audience": f"Bearer {teams_tokens.sign(claims(rig, aud='another'))}",
        "no audience": f"Bearer {teams_tokens.sign(claims(rig, aud=None))}",
        "issuer": f"Bearer {teams_tokens.sign(claims(rig, iss='https://example.com'))}",
        "no issuer": f"Bearer {teams_tokens.sign(claims(rig, iss=None))}",
        "service url": f"Bearer {teams_tokens.sign(claims(rig, serviceurl='https://example.com/'))}",
        "no service url": f"Bearer {teams_tokens.sign(claims(rig, serviceurl=None))}",
        "unknown key": f"Bearer {teams_tokens.sign(claims(rig), key_id='unknown')}",
        "bad signature": f"Bearer {teams_tokens.sign(claims(rig), signed_by='unknown')}",
        "the bot's own token": f"Bearer {teams_tokens.outbound_token(APP_ID)}",
    }
    assert {name: await tried(rig, token) for name, token in tokens.items()} == dict.fromkeys(tokens, 401)
    assert rig.events == []
    assert await tried(rig, f"Bearer {teams_tokens.sign(claims(rig))}") == 200


async def test_an_unsigned_token_is_401(rig: Rig) -> None:
    header = teams_tokens.sign(claims(rig)).split(".")[1]
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoic2ltdWxhdGVkLWtleSJ9"
    assert await tried(rig, f"Bearer {none}.{header}.") == 401


async def test_a_key_not_endorsed_for_teams_is_401(rig: Rig) -> None:
    assert await tried(rig, f"Bearer {teams_tokens.sign(claims(rig))}", channelId="webchat") == 401


async def test_a_signed_foreign_service_url_is_401(rig: Rig) -> None:
    elsewhere = "https://connector.example.com/"
    token = teams_tokens.sign(claims(rig, serviceurl=elsewhere))
    assert await tried(rig, f"Bearer {token}", serviceUrl=elsewhere) == 401
    assert rig.events == []


async def test_new_signing_keys_are_read_at_once(rig: Rig) -> None:
    """Field fault 80: keys rotated just after they were read gave 401 for up to 300 s."""
    await rig.teams.say("a:alice", "alice", "hello")
    rig.teams.key_id = "rolled"
    several = [rig.teams.say("a:alice", "alice", "again") for _ in range(5)]
    assert [delivery.status for delivery in await asyncio.gather(*several)] == [200] * 5
    assert rig.teams.key_reads == 2


async def test_unknown_keys_are_looked_up_rarely(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 80: made-up key ids cause no flood of requests."""
    await rig.teams.say("a:alice", "alice", "hello")
    unknown = f"Bearer {teams_tokens.sign(claims(rig), key_id='unknown')}"
    assert [await tried(rig, unknown) for _ in range(5)] == [401] * 5
    assert rig.teams.key_reads == 2
    rig.teams.key_id = "rolled"
    monkeypatch.setattr("adapters.shared.entra.UNKNOWN_KEY_PAUSE_S", 0.0)
    assert (await rig.teams.say("a:alice", "alice", "again")).status == 200


async def test_an_odd_signing_key_is_skipped(rig: Rig) -> None:
    """Field fault 80: the others stay valid."""
    rig.teams.odd_keys = [None, 7, {"kty": "EC"}]
    assert (await rig.teams.say("a:alice", "alice", "hello")).status == 200


async def test_old_signing_keys_survive_an_outage(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.teams.say("a:alice", "alice", "hello")
    monkeypatch.setattr("adapters.shared.entra.KEYS_LIVE_S", 0.0)
    rig.teams.keys = False
    assert (await rig.teams.say("a:alice", "alice", "again")).status == 200


async def test_without_signing_keys_teams_delivers_again(rig: Rig) -> None:
    async with rigged(keys_url="http://127.0.0.1:9/nothing") as lost:
        assert (await lost.teams.say("a:alice", "alice", "hello")).status == 503
        assert lost.events == []


async def test_reading_the_keys_does_not_block_the_loop(rig: Rig) -> None:
    # The simulator serves the keys on the same loop, so a blocking fetch would never end.
    async with asyncio.timeout(PATIENCE_S):
        assert (await rig.teams.say("a:alice", "alice", "hello")).status == 200


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", '"text"', "7", "{}", '{"type": "message"}', "[" * 90_000]
)
async def test_malformed_json_is_400(rig: Rig, body: str) -> None:
    """Field note 27."""
    token = teams_tokens.sign(claims(rig))
    status, _ = await rig.teams.post(body, {"Authorization": f"Bearer {token}"})
    assert status == 400


async def test_invalid_utf8_is_400(rig: Rig) -> None:
    status, _ = await rig.teams.post(b"\xff\xfe{}", {"Authorization": "Bearer a.b.c"})
    assert status == 400


async def test_another_content_type_is_415(rig: Rig) -> None:
    status, _ = await rig.teams.post("{}", {"Authorization": "Bearer a.b.c"}, mime="text/plain")
    assert status == 415


async def test_more_than_a_mebibyte_is_413(rig: Rig) -> None:
    headers = {"Authorization": "Bearer a.b.c"}
    status, _ = await rig.teams.post('{"a": "' + "x" * 1024 * 1024 + '"}', headers)
    assert status == 413
    status, _ = await rig.teams.post("{" + " " * (1024 * 1024 - 2), headers)
    assert status == 400


async def test_more_than_a_mebibyte_without_length_is_413(rig: Rig) -> None:
    host, port = rig.teams.bot.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "POST /api/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a.b.c\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(17):
        writer.write(chunk)
    await writer.drain()
    assert b" 413 " in await reader.readline()
    writer.close()


async def test_an_unauthenticated_body_is_not_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert await tried(rig, "Bearer a.b.c", text="a secret sentence") == 401
    assert await tried(rig, None, text="a secret sentence") == 401
    assert "secret sentence" not in caplog.text
    assert "a.b.c" not in caplog.text


async def test_a_rating_is_answered_with_an_empty_object(rig: Rig) -> None:
    delivery = await rig.teams.rate("a:alice", "alice", "42", good=True, comment="nice")
    assert (delivery.status, delivery.body) == (200, "{}")
    (rated,) = rig.events
    assert isinstance(rated, FeedbackGiven)
    assert (rated.post, rated.good, rated.comment) == ("a:alice|42", True, "nice")


async def test_an_unknown_invoke_is_501(rig: Rig) -> None:
    """An invalid rating is no error."""
    unknown = rig.teams.activity("invoke", "a:alice", "alice", id="1", name="task/fetch", value={})
    assert (await rig.teams.deliver(unknown)).status == 501
    strange = {**unknown, "name": "message/submitAction", "value": "?"}
    assert (await rig.teams.deliver(strange)).status == 200


async def test_a_full_inbox_is_explained(rig: Rig) -> None:
    rig.receipt = "busy"
    assert (await rig.teams.say("a:alice", "alice", "hello")).status == 200
    assert "still waiting" in (await rig.teams.answered("a:alice")).text


async def test_a_new_conversation_is_welcomed_in_the_background(rig: Rig) -> None:
    rig.teams.latency_s = 0.05
    assert (await rig.teams.install("a:alice", "alice")).status == 200
    assert "Hello" in (await rig.teams.answered("a:alice")).text
    assert rig.events == []


async def test_without_authentication_only_this_machine_is_answered() -> None:
    async with rigged(authenticate=False) as rig:
        assert (await rig.teams.say("a:alice", "alice", "hello")).status == 200
        assert await tried(rig, None, serviceUrl="https://smba.trafficmanager.net/emea/") == 401
        assert await tried(rig, None, serviceUrl="http://10.0.0.1/") == 401
        (finding,) = await rig.adapter.check()
        assert finding.level == "warning"


@pytest.mark.parametrize(
    ("app_id", "password", "app_type", "tenant"),
    [
        ("", SecretStr("x"), "MultiTenant", None),
        ("  ", SecretStr("x"), "MultiTenant", None),
        ("id", None, "MultiTenant", None),
        ("id", SecretStr(""), "MultiTenant", None),
        ("id", SecretStr("x"), "SingleTenant", None),
        ("id", SecretStr("x"), "UserAssignedMSI", "tenant"),
        ("id", None, "UserAssignedMSI", None),
        ("id", SecretStr("x"), "Other", "tenant"),
    ],
)
def test_missing_credentials_never_disable_authentication(
    app_id: str, password: SecretStr | None, app_type: str, tenant: str | None
) -> None:
    """Field note 26."""
    with pytest.raises(ConfigError, match="MicrosoftApp"):
        Credentials.checked(app_id, password, app_type, tenant)


def test_only_microsofts_hosts_are_called() -> None:
    cloud = Cloud()
    good = [
        "https://smba.trafficmanager.net/emea/",
        "https://webchat.botframework.com/",
        "https://smba.trafficmanager.net:443/x",
    ]
    bad = [
        "http://smba.trafficmanager.net/",
        "https://smba.trafficmanager.net.example.com/",
        "https://evilbotframework.com/",
        "https://user@smba.trafficmanager.net/",
        "https://smba.trafficmanager.net:8443/",
        "https://127.0.0.1/",
        "https://[/",
        "",
    ]
    assert all(cloud.serves(url) for url in good)
    assert not any(cloud.serves(url) for url in bad)


def test_the_government_cloud_is_a_setting() -> None:
    cloud = Cloud.us_government()
    assert cloud.serves("https://smba.infra.gov.teams.microsoft.us/gcch/")
    assert not cloud.serves("https://smba.trafficmanager.net/emea/")
    assert not Cloud().serves("https://smba.infra.gov.teams.microsoft.us/gcch/")
    assert {cloud.login_url, cloud.scope} & {Cloud().login_url, Cloud().scope} == set()


async def test_government_tokens_are_valid_in_that_cloud_only(rig: Rig) -> None:
    issuer = Cloud.us_government().issuer
    assert await tried(rig, f"Bearer {teams_tokens.sign(claims(rig, iss=issuer))}") == 401
    async with rigged(issuer=issuer) as government:
        assert (await government.teams.say("a:alice", "alice", "hello")).status == 200
        public = teams_tokens.sign(claims(government, iss=Cloud().issuer))
        assert await tried(government, f"Bearer {public}") == 401
    assert [type(event) for event in government.events] == [MessageReceived]


async def test_other_tenants_are_declined_once() -> None:
    async with rigged(tenants=["another"]) as rig:
        for text in ("hello", "and again"):
            assert (await rig.teams.say("a:alice", "alice", text)).status == 200
        assert (await rig.teams.install("a:alice", "alice")).status == 200
        assert (await rig.teams.rate("a:alice", "alice", "1", good=True)).status == 403
        assert "organisation" in (await rig.teams.answered("a:alice")).text
        await rig.teams.say("a:bob", "bob", "hello")
        await rig.teams.answered("a:bob")
        assert len(rig.teams.answers("a:alice")) == 1
        assert rig.events == []


async def test_tenant_ids_are_compared_case_insensitively() -> None:
    async with rigged(tenants=["ABCDEF", TENANT.upper()]) as rig:
        await rig.asked("a:alice")
        assert len(rig.events) == 1
