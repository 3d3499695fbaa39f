"""Many workspaces that install the app, each with its own token."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from pydantic import SecretStr

from adapters.slack import SlackAdapter, SlackCredentials
from adapters.slack.payloads import origin
from adapters.slack.workspaces import workspace
from adapters.slack.workspaces.installations import Installations
from bot.domain.errors import ConfigError, StateUnavailable
from bot.domain.events import AppUninstalled, User, now
from bot.domain.turns import Reply
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore
from bot.storage.usage.limits import WindowLimiter
from tests.adapters.slack.conftest import Engine, FakeAdapter, listening
from tests.simulators.slack import SlackSimulator

DIRECT = "D0ALICE"


def adapter_for_many(slack: SlackSimulator, redis: Redis, folder: Path) -> SlackAdapter:
    return SlackAdapter(
        SlackCredentials(
            signing_secret=SecretStr(slack.signing_secret),
            client_id="client",
            client_secret=SecretStr("client secret"),
        ),
        slack.api_url,
        limiter=WindowLimiter(redis),
        secrets=SecretStore(redis, None, folder),
    )


@pytest.fixture
async def town(redis: Redis, folder: Path) -> AsyncIterator[FakeAdapter]:
    """An app without installations."""
    engine = Engine()
    async with SlackSimulator(retry_pauses_s=()) as slack, adapter_for_many(slack, redis, folder) as adapter:
        runner, slack.bot_url = await listening(adapter, engine)
        slack.workspace.direct("U0ALICE")
        yield FakeAdapter(slack, adapter, engine)
        await runner.cleanup()


def grant(town: FakeAdapter, code: str, team: str, token: str, **more: Any) -> None:
    """Make Slack exchange `code` for `token`."""
    town.slack.teams[token] = team or more["enterprise"]["id"]
    town.slack.workspace.grants[code] = {
        "access_token": token,
        "bot_user_id": "U0BOT",
        "team": {"id": team, "name": team} if team else None,
        "enterprise": None,
        "is_enterprise_install": not team,
        "token_type": "bot",
    } | more


async def install(town: FakeAdapter, code: str, *, state: str | None = None) -> tuple[int, str]:
    """Install the app with a browser; returns status and text of the last page."""
    jar = aiohttp.CookieJar(unsafe=True)
    at = town.slack.bot_url.removesuffix("/slack/events")
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        async with browser.get(f"{at}/slack/install", allow_redirects=False) as response:
            consent = urlsplit(response.headers["Location"])
        assert consent.path == "/oauth/v2/authorize"
        asked = parse_qs(consent.query)
        assert asked["client_id"] == ["client"]
        assert "chat:write" in asked["scope"][0].split(",")
        back = {"code": code, "state": asked["state"][0] if state is None else state}
        async with browser.get(f"{at}/slack/oauth_redirect", params=back) as response:
            return response.status, await response.text()


def installations_of(adapter: SlackAdapter) -> Installations:
    """The store of installations of an adapter."""
    found = adapter._workspaces.installations  # pyright: ignore[reportPrivateUsage]
    assert found is not None
    return found


async def hear(town: FakeAdapter, team: str, text: str, **more: Any) -> int:
    """Send the app a message from a workspace; returns the status of the response."""
    ts = town.slack.workspace.add(DIRECT, {"user": "U0ALICE"}, None, text=text, markdown=text)["ts"]
    event = {"type": "message", "user": "U0ALICE", "text": text, "ts": ts, "event_ts": ts}
    granted = {"team_id": team, "enterprise_id": None, "is_enterprise_install": False} | more
    envelope = town.slack.envelope(event | {"channel": DIRECT, "channel_type": "im"})
    envelope |= {"team_id": team or "T0GRID", "authorizations": [granted]}
    body = json.dumps(envelope).encode()
    return (await town.slack.post(body, town.slack.signed(body)))[0]


def uninstalls(town: FakeAdapter) -> list[AppUninstalled]:
    """The uninstall events that the engine received."""
    return [event for event in town.engine.events if isinstance(event, AppUninstalled)]


async def test_an_installed_workspace_is_answered_with_its_token(town: FakeAdapter) -> None:
    for team in ("T1", "T2"):
        grant(town, f"code of {team}", team, f"xoxb-{team}")
        status, page = await install(town, f"code of {team}")
        assert (status, "is installed" in page) == (200, True)
    for team in ("T2", "T1"):
        await hear(town, team, f"hello from {team}")
        received = town.engine.received[-1]
        assert (received.user.tenant, received.address.data["team"]) == (team, team)
        town.slack.callers.clear()
        await town.answer(received, "Hello.")
        assert set(town.slack.callers) == {(team, "chat.postMessage")}


async def test_tokens_are_encrypted_in_storage(town: FakeAdapter, redis: Redis) -> None:
    grant(town, "a code", "T1", "xoxb-T1")
    await install(town, "a code")
    kept = [await redis.call("GET", name) async for name in redis.scan("parley:*installation*")]
    assert len(kept) == 1
    assert b"xoxb" not in kept[0]


@pytest.mark.parametrize("state", ["", "guessed", "\ud800"])
async def test_an_installation_from_another_browser_is_refused(town: FakeAdapter, state: str) -> None:
    grant(town, "a code", "T1", "xoxb-T1")
    status, page = await install(town, "a code", state=state.encode(errors="replace").decode())
    assert (status, "start again" in page) == (400, True)
    assert town.slack.calls["oauth.v2.access"] == 0


async def test_a_refused_or_declined_installation_changes_nothing(town: FakeAdapter) -> None:
    status, page = await install(town, "a wrong code")
    assert (status, "invalid_code" in page) == (400, True)
    status, page = await install(town, "")
    assert (status, "Nothing was changed" in page) == (200, True)


async def test_an_outage_during_installation_is_temporary(town: FakeAdapter) -> None:
    town.slack.fault("oauth.v2.access", "500")
    status, page = await install(town, "a code")
    assert (status, "try again" in page) == (503, True)


async def test_events_without_an_installation_are_acknowledged_and_ignored(
    town: FakeAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    await hear(town, "T9", "hello")
    assert town.engine.events == []
    assert "not installed in the Slack workspace T9" in caplog.text


async def test_an_organisation_wide_installation_serves_all_workspaces(town: FakeAdapter) -> None:
    grant(town, "a code", "", "xoxb-E1", enterprise={"id": "E1", "name": "Everybody"})
    await install(town, "a code")
    await hear(town, "T5", "hello", enterprise_id="E1", is_enterprise_install=True)
    received = town.engine.received[-1]
    assert received.address.data["enterprise"] == "E1"
    assert received.user.tenant == "T5"
    town.slack.callers.clear()
    await town.answer(received, "Hello.")
    assert set(town.slack.callers) == {("E1", "chat.postMessage")}


@pytest.mark.parametrize(
    ("kind", "more", "left"),
    [
        ("app_uninstalled", {}, 0),
        ("tokens_revoked", {"tokens": {"oauth": [], "bot": ["U0BOT"]}}, 0),
        ("tokens_revoked", {"tokens": {"oauth": ["U0ALICE"], "bot": []}}, 1),
    ],
)
async def test_uninstalling_deletes_the_token(
    town: FakeAdapter, redis: Redis, kind: str, more: dict[str, Any], left: int
) -> None:
    grant(town, "a code", town.slack.workspace.team, "xoxb-T0SIM")
    await install(town, "a code")
    await hear(town, town.slack.workspace.team, "hello")
    await town.slack.tell(kind, **more)
    assert len([name async for name in redis.scan("parley:*installation*")]) == left
    await hear(town, town.slack.workspace.team, "and now?")
    assert len(town.engine.received) == 1 + left
    told = [(event.conversation_prefix, event.user.tenant, event.whole) for event in uninstalls(town)]
    assert told == [("slack:T0SIM:", "T0SIM", True)] * (1 - left)


async def test_an_uninstall_that_is_not_stored_comes_again(town: FakeAdapter, redis: Redis) -> None:
    grant(town, "a code", town.slack.workspace.team, "xoxb-T0SIM")
    await install(town, "a code")
    town.engine.receipt = "busy"
    for town.engine.error in (StateUnavailable("away"), None):
        await town.slack.tell("app_uninstalled")
        assert town.slack.deliveries[-1].status == 503
        assert len([name async for name in redis.scan("parley:*installation*")]) == 1


async def test_a_late_uninstall_keeps_the_new_installation(town: FakeAdapter, redis: Redis) -> None:
    grant(town, "a code", town.slack.workspace.team, "xoxb-T0SIM")
    await install(town, "a code")
    late = town.slack.envelope({"type": "app_uninstalled"}) | {"event_time": int(time.time()) - 60}
    body = json.dumps(late).encode()
    await town.slack.post(body, town.slack.signed(body))
    (told,) = uninstalls(town)
    assert now() - told.at > timedelta(seconds=50), "what was said since then stays"
    assert len([name async for name in redis.scan("parley:*installation*")]) == 1


async def test_uninstalling_an_organisation_deletes_all_its_workspaces(
    town: FakeAdapter, redis: Redis
) -> None:
    grant(town, "a code", "", "xoxb-E1", enterprise={"id": "E1", "name": "Everybody"})
    await install(town, "a code")
    granted = {"team_id": "T5", "enterprise_id": "E1", "is_enterprise_install": True}
    for event in ({"type": "team_access_revoked", "team_ids": ["T6", "T7"]}, {"type": "app_uninstalled"}):
        body = json.dumps(town.slack.envelope(event) | {"authorizations": [granted]}).encode()
        await town.slack.post(body, town.slack.signed(body))
    told = [(event.conversation_prefix, event.user.tenant, event.marks) for event in uninstalls(town)]
    assert told == [("slack:T6:", "T6", {}), ("slack:T7:", "T7", {}), ("slack:", "", {"enterprise": "E1"})]
    assert not [name async for name in redis.scan("parley:*installation*")]


async def test_an_answer_without_installation_is_a_config_error(town: FakeAdapter) -> None:
    grant(town, "a code", town.slack.workspace.team, "xoxb-T0SIM")
    await install(town, "a code")
    await hear(town, town.slack.workspace.team, "hello")
    await town.slack.tell("app_uninstalled")
    with pytest.raises(ConfigError, match="/slack/install"):
        await town.open(town.engine.received[-1])


# ------------------------------------------------------------------ rotation


def expiring(town: FakeAdapter, refresh: str, token: str, in_s: float) -> dict[str, Any]:
    town.slack.teams[token] = "T1"
    return {"refresh_token": refresh, "expires_in": in_s, "access_token": token}


async def test_one_process_renews_an_expiring_token(town: FakeAdapter, redis: Redis, folder: Path) -> None:
    grant(town, "a code", "T1", "old", **expiring(town, "refresh 1", "old", 60))
    await install(town, "a code")
    town.slack.workspace.grants["refresh 1"] = expiring(town, "refresh 2", "new", 43_200)
    town.slack.calls.clear()
    async with adapter_for_many(town.slack, redis, folder) as other:
        stores = [installations_of(adapter) for adapter in (other, town.adapter)]
        found = await asyncio.gather(*(store.find("T1", "") for store in stores * 5))
    assert town.slack.calls["oauth.v2.access"] == 1
    assert {installation.bot_token for installation in found} <= {"old", "new"}
    assert (await stores[0].find("T1", "")).bot_token == "new"
    assert (await stores[0].find("T1", "")).refresh_token == "refresh 2"


async def test_an_expired_token_waits_for_its_renewal(town: FakeAdapter, redis: Redis, folder: Path) -> None:
    grant(town, "a code", "T1", "old", **expiring(town, "refresh 1", "old", -1))
    await install(town, "a code")
    town.slack.workspace.grants["refresh 1"] = expiring(town, "refresh 2", "new", 43_200)
    town.slack.fault("oauth.v2.access", "latency", seconds=0.3)
    async with adapter_for_many(town.slack, redis, folder) as other:
        stores = [installations_of(adapter) for adapter in (other, town.adapter)]
        found = await asyncio.gather(*(store.find("T1", "") for store in stores))
    assert {installation.bot_token for installation in found} == {"new"}


async def test_a_valid_token_is_used_during_an_outage(town: FakeAdapter) -> None:
    grant(town, "a code", "T1", "old", **expiring(town, "refresh 1", "old", 60))
    await install(town, "a code")
    town.slack.fault("oauth.v2.access", "500")
    assert (await installations_of(town.adapter).find("T1", "")).bot_token == "old"


async def test_a_renewed_token_reaches_known_workspaces(
    town: FakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "INSTALLATION_HOLDS_S", 0.0)
    grant(town, "a code", "T1", "old")
    await install(town, "a code")
    await hear(town, "T1", "hello")
    post = await town.open(town.engine.received[-1])
    del town.slack.teams["old"]
    grant(town, "another code", "T1", "new")
    await install(town, "another code")
    await town.adapter.close(post, Reply(text="Hello."))
    assert town.shown(town.engine.received[-1]) == ["Hello."]


# ------------------------------------------------------------------ checks


async def test_check_lists_installations(town: FakeAdapter) -> None:
    (nobody,) = await town.adapter.check()
    assert (nobody.level, "/slack/install" in nobody.words) == ("warning", True)
    grant(town, "a code", "T1", "xoxb-T1")
    await install(town, "a code")
    assert [finding.level for finding in await town.adapter.check()] == ["ok", "ok"]
    del town.slack.teams["xoxb-T1"]
    assert [finding.level for finding in await town.adapter.check()] == ["error"]


async def test_a_token_or_a_client_secret_is_required() -> None:
    with pytest.raises(ConfigError, match="SLACK_CLIENT_ID"):
        SlackAdapter(SlackCredentials(signing_secret=SecretStr("secret"), client_id="client"))


def test_a_shared_channels_payload_belongs_to_our_workspace() -> None:
    ours = {"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": False}
    assert origin({"team_id": "T2", "authorizations": [ours]}) == ("T1", "")
    whole = {"type": "block_actions", "team": None, "enterprise": {"id": "E1"}, "user": {"team_id": "T3"}}
    assert origin(whole | {"is_enterprise_install": True}) == ("T3", "E1")
    assert origin({"command": "/ask", "team_id": "T1", "is_enterprise_install": "false"}) == ("T1", "")


async def test_an_operator_is_told_in_their_workspace(town: FakeAdapter) -> None:
    """The limit of any workspace may be reached; where the operator writes from is known."""
    grant(town, "code", "T1", "xoxb-T1")
    await install(town, "code")
    alice = User(id="U0ALICE", tenant="T9")
    assert not await town.adapter.tell(alice, None, "n1", lambda: "80 %")
    await hear(town, "T1", "hello")
    assert await town.adapter.tell(alice, town.engine.received[-1].address, "n1", lambda: "80 %")
    assert ("T1", "chat.postMessage") in town.slack.callers


LISTED = ("T1", "e1", "acme.slack.com", "globex")
HOSTS = {"T7": "ACME.slack.com", "T8": "globex.slack.com", "T9": "other.slack.com"}


@pytest.mark.parametrize(
    ("team", "enterprise", "served"),
    [
        ("T1", "", True),
        ("T2", "E1", True),
        ("T2", "E2", False),
        ("", "E1", True),
        ("", "E2", False),
        ("T7", "", True),
        ("T8", "", True),
        ("T9", "", False),
    ],
)
async def test_only_listed_workspaces_install(
    town: FakeAdapter, redis: Redis, team: str, enterprise: str, served: bool
) -> None:
    """Field fault 122: any Slack workspace could install the app."""
    installations = installations_of(town.adapter)
    installations.tenants = LISTED
    town.slack.workspace.origin = f"https://{HOSTS.get(team, 'elsewhere.example')}"
    more = {"enterprise": {"id": enterprise, "name": "Everybody"}} if enterprise else {}
    grant(town, "a code", team, "xoxb-new", **more)
    status, page = await install(town, "a code")
    assert (status, "serve only certain workspaces" in page) == ((200, False) if served else (403, True))
    stored = [name async for name in redis.scan("parley:*installation*")]
    assert (len(stored), town.slack.calls["auth.revoke"]) == ((1, 0) if served else (0, 1))


async def test_a_workspace_off_the_list_is_ignored(town: FakeAdapter) -> None:
    grant(town, "a code", "T1", "xoxb-T1")
    await install(town, "a code")
    installations_of(town.adapter).tenants = ("T2",)
    await hear(town, "T1", "hello")
    assert town.engine.received == []
