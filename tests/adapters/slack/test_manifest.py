"""The manifest requests exactly what the code needs; `parley check` compares."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from adapters import slack as slack_package
from adapters.slack import SlackAdapter, SlackCredentials
from adapters.slack.manifest import (
    ADDED_SCOPES,
    ASK_ABOUT_SHORTCUT,
    ASK_SHORTCUT,
    COMMANDS,
    EVENTS,
    EVENTS_OF_ASSISTANTS,
    SCOPES,
    SHORTCUTS,
    SUGGESTED_PROMPTS,
    manifest,
)
from bot.app.settings import Settings
from tests.adapters.slack.conftest import FakeAdapter
from tests.simulators.slack import ALL_SCOPES

# These methods need no scope.
WITHOUT_SCOPE = {
    "auth.revoke",
    "auth.test",
    "apps.connections.open",
    "oauth.v2.access",
    "views.open",
    "views.publish",
}
EVENTS_WITHOUT_SCOPE = {"app_home_opened", "app_uninstalled", "tokens_revoked"}
METHOD = re.compile(r"(apps|assistant|auth|chat|conversations|files|users|views|reactions)(\.[a-zA-Z]+)+")


def methods_in_the_code() -> set[str]:
    """Every Web API method that the adapter calls."""
    found: set[str] = set()
    for path in Path(slack_package.__file__).parent.rglob("*.py"):
        if path.name == "manifest.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute):
                name = node.args[0]
                names = [*node.args[:2]] if node.func.attr == "_call" else [name]
                if node.func.attr in ("call", "call_with_headers", "_call"):
                    found |= {str(name.value) for name in names if isinstance(name, ast.Constant)}
    return found


def test_scopes_are_exactly_what_the_code_needs() -> None:
    methods = methods_in_the_code()
    assert len(methods) > 15
    needed = methods - WITHOUT_SCOPE
    reasons = {
        reason for scopes in (SCOPES, ADDED_SCOPES) for reasons in scopes.values() for reason in reasons
    }
    assert not ADDED_SCOPES.keys() & SCOPES.keys()
    hears = {*EVENTS, *EVENTS_OF_ASSISTANTS} - EVENTS_WITHOUT_SCOPE
    typed = {command for command, _, _ in COMMANDS} | {callback for _, callback, _, _ in SHORTCUTS}
    assert reasons == needed | hears | typed
    assert set(ALL_SCOPES.split(",")) == set(SCOPES)


def test_the_manifest_of_a_bot_with_a_url() -> None:
    made = manifest("https://bot.example.com/", socket_mode=False)
    url = "https://bot.example.com/slack/events"
    assert made["settings"]["event_subscriptions"]["request_url"] == url
    assert made["settings"]["interactivity"] == {"is_enabled": True, "request_url": url}
    assert {command["url"] for command in made["features"]["slash_commands"]} == {url}
    assert made["oauth_config"]["scopes"]["bot"] == sorted(SCOPES)
    assert set(made["settings"]["event_subscriptions"]["bot_events"]) == set(EVENTS)


def test_the_socket_mode_manifest_has_no_urls() -> None:
    made = manifest("https://bot.example.com", socket_mode=True)
    assert "bot.example.com" not in str(made)
    assert made["settings"]["socket_mode_enabled"] is True


def test_the_manifest_keeps_to_slacks_limits() -> None:
    made = manifest("https://bot.example.com", socket_mode=False)
    display, agent = made["display_information"], made["features"]["agent_view"]
    assert len(display["name"]) <= 35
    assert len(display["description"]) <= 140
    assert len(agent["agent_description"]) <= 300
    assert len(SUGGESTED_PROMPTS) <= 4
    assert made["features"]["app_home"]["messages_tab_read_only_enabled"] is False


def test_the_manifest_for_many_workspaces_rotates_tokens() -> None:
    single, many = (
        manifest("https://bot.example.com/", socket_mode=False, many=many) for many in (False, True)
    )
    assert many["oauth_config"]["redirect_urls"] == ["https://bot.example.com/slack/oauth_redirect"]
    assert set(many["settings"]["event_subscriptions"]["bot_events"]) - set(EVENTS) == {"team_access_revoked"}
    assert many["settings"]["org_deploy_enabled"] is many["settings"]["token_rotation_enabled"] is True
    assert "redirect_urls" not in single["oauth_config"]
    assert single["settings"]["org_deploy_enabled"] is single["settings"]["token_rotation_enabled"] is False


def test_the_manifest_with_assistant_subscribes_to_its_threads() -> None:
    agent, assistant = (
        manifest("https://bot.example.com", socket_mode=False, assistant=older) for older in (False, True)
    )
    assert "assistant_view" not in agent["features"]
    view = assistant["features"].pop("assistant_view")
    assert view["suggested_prompts"] == agent["features"].pop("agent_view")["suggested_prompts"]
    assert view["assistant_description"]
    assert assistant["features"] == agent["features"]
    heard = [set(made["settings"]["event_subscriptions"]["bot_events"]) for made in (agent, assistant)]
    assert heard[1] - heard[0] == set(EVENTS_OF_ASSISTANTS)
    assert assistant["oauth_config"] == agent["oauth_config"]


def test_every_shortcut_opens_something() -> None:
    features = manifest("https://bot.example.com", socket_mode=False)["features"]
    shortcuts = {shortcut["callback_id"]: shortcut["type"] for shortcut in features["shortcuts"]}
    assert shortcuts == {ASK_SHORTCUT: "global", ASK_ABOUT_SHORTCUT: "message"}
    assert all(len(shortcut["name"]) <= 24 for shortcut in features["shortcuts"])
    assert features["app_home"]["home_tab_enabled"] is True


@pytest.mark.parametrize(
    ("set_up", "words"),
    [
        ({"slack_client_id": "1.2"}, "must be set together"),
        ({"slack_client_id": "1.2", "slack_client_secret": "s", "slack_bot_token": "xoxb"}, "Set only one"),
        (
            {"slack_client_id": "1.2", "slack_client_secret": "s"},
            r"SLACK_SIGNING_SECRET \(for HTTP\) or SLACK_APP_TOKEN",
        ),
    ],
)
def test_a_partial_oauth_configuration_is_refused(set_up: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings.model_validate(set_up)


async def test_check_finds_everything_well(room: FakeAdapter) -> None:
    findings = await room.adapter.check()
    assert [finding.level for finding in findings] == ["ok", "ok"]
    assert "parley" in findings[0].words


async def test_check_names_each_missing_scope_and_use(room: FakeAdapter) -> None:
    room.slack.scopes = "chat:write,im:history"
    _, scopes = await room.adapter.check()
    assert scopes.level == "error"
    assert "files:read (for files.info)" in scopes.words
    assert "reinstall the app" in scopes.words
    assert "chat:write" not in scopes.words


@pytest.mark.parametrize("app_token", ["xapp-simulated", "xapp-wrong"])
async def test_check_tries_the_app_token(room: FakeAdapter, app_token: str) -> None:
    adapter = SlackAdapter(
        SlackCredentials(SecretStr(room.slack.bot_token), None, SecretStr(app_token)),
        api_url=room.slack.api_url,
    )
    async with adapter:
        finding = (await adapter.check())[-1]
    assert finding.level == ("ok" if app_token == "xapp-simulated" else "error")
    assert app_token not in finding.words


async def test_check_explains_a_wrong_token(room: FakeAdapter) -> None:
    adapter = SlackAdapter(
        SlackCredentials(SecretStr("xoxb-wrong"), SecretStr("s")), api_url=room.slack.api_url
    )
    async with adapter:
        (finding,) = await adapter.check()
    assert finding.level == "error"
    assert "invalid_auth" in finding.words
    assert "xoxb-wrong" not in finding.words


async def test_check_of_an_unreachable_slack_never_raises() -> None:
    async with SlackAdapter(
        SlackCredentials(SecretStr("x"), SecretStr("s")), api_url="http://127.0.0.1:9/api/"
    ) as adapter:
        (finding,) = await adapter.check()
    assert finding.level == "error"
    assert "can be reached" in finding.words
