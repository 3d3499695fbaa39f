"""The checks of `parley check` for Slack: tokens, scopes, Socket Mode."""

import aiohttp
from pydantic import SecretStr

from adapters.slack.api.web_api import SlackRejected, WebApi
from adapters.slack.manifest import OPTIONAL_SCOPES, SCOPES
from adapters.slack.workspaces.installations import Installations
from bot.domain.errors import ConfigError, PlatformUnavailable, StateUnavailable
from bot.domain.turns import CheckResult

REINSTALL = "Add them under OAuth & Permissions (or paste `parley manifest slack`) and reinstall the app."


async def inspect(api: WebApi, app_token: SecretStr | None) -> list[CheckResult]:
    """One result for each check. Never raises."""
    try:
        who, headers = await api.call_with_headers("auth.test", {})
    except PlatformUnavailable as error:
        words = f"{error}. Check that {api.api_url} can be reached."
        if isinstance(error, SlackRejected):
            words = f"Slack rejected SLACK_BOT_TOKEN ({error.code}). Copy the bot token (xoxb-…) of the installed app."
        return [CheckResult(level="error", subject="Slack", words=words)]
    signed_in = f"signed in as {who.get('user', '?')} in {who.get('team', '?')}"
    found = [
        CheckResult(level="ok", subject="Slack", words=signed_in),
        _scopes(headers.get("x-oauth-scopes")),
    ]
    return found + await _socket_mode(api, app_token)


async def inspect_many(
    installations: Installations, api: WebApi, app_token: SecretStr | None
) -> list[CheckResult]:
    """The same checks for each workspace that installed the app. Never raises."""
    subject, findings = "Slack", list[CheckResult]()
    try:
        names = await installations.names()
        for place in names:
            findings += await _inspect_one(installations, place, api)
    except (ConfigError, PlatformUnavailable, StateUnavailable) as error:
        return [*findings, CheckResult(level="error", subject=subject, words=str(error))]
    if not names:
        words = "No workspace has installed the app yet. Open /slack/install at this server's public URL."
        findings.append(CheckResult(level="warning", subject=subject, words=words))
    return findings + await _socket_mode(api, app_token)


async def _inspect_one(installations: Installations, place: str, api: WebApi) -> list[CheckResult]:
    """The checks of a workspace. A token that can't be read ends none of the others. Raises StateUnavailable."""
    try:
        installation = await installations.find(place, place)
    except (ConfigError, PlatformUnavailable) as error:
        return [CheckResult(level="error", subject="Slack", words=f"{place}: {error}")]
    token = SecretStr(installation.bot_token)
    return await inspect(WebApi(api.session, token, api.api_url), None)


def _scopes(header: str | None) -> CheckResult:
    subject = "Slack scopes"
    if header is None:
        return CheckResult(level="warning", subject=subject, words="Slack did not return the granted scopes.")
    granted = {scope.strip() for scope in header.split(",")}
    missing = sorted(set(SCOPES) - granted)
    if missing:
        needed = "; ".join(f"{scope} (for {', '.join(SCOPES[scope])})" for scope in missing)
        level = "warning" if OPTIONAL_SCOPES.issuperset(missing) else "error"
        return CheckResult(level=level, subject=subject, words=f"missing: {needed}. {REINSTALL}")
    return CheckResult(level="ok", subject=subject, words=f"all {len(SCOPES)} granted")


async def _socket_mode(api: WebApi, app_token: SecretStr | None) -> list[CheckResult]:
    """The check of the app token; none without one."""
    if app_token is None:
        return []
    level, words = "error", ""
    try:
        await WebApi(api.session, app_token, api.api_url).call("apps.connections.open", {})
        level, words = "ok", "SLACK_APP_TOKEN can open a connection"
    except SlackRejected as error:
        words = (
            f"Slack rejected SLACK_APP_TOKEN ({error.code}). Under Basic Information, generate an app-level token "
            "(xapp-…) with the scope connections:write, and enable Socket Mode."
        )
    except (PlatformUnavailable, aiohttp.ClientError) as error:
        words = str(error)
    return [CheckResult(level=level, subject="Slack Socket Mode", words=words)]
