"""Responses of Slack, Teams, Graph and Entra are read with a limit."""

from collections.abc import AsyncGenerator

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from adapters.shared import http_responses
from adapters.shared.entra import Keys, by_client_credentials
from adapters.slack.api.web_api import SlackUnsure, WebApi
from adapters.teams.api.connector import Connector
from adapters.teams.cloud import Cloud
from bot.domain.errors import PlatformUnavailable

Served = tuple[aiohttp.ClientSession, str]


async def flood(request: web.Request) -> web.StreamResponse:
    """An endless body with a valid beginning."""
    response = web.StreamResponse(headers={"content-type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"ok":true,"id":"posted","text":"')
    while True:
        await response.write(b"x" * 65536)


async def deep(request: web.Request) -> web.StreamResponse:
    """A body that is nested too deeply for parsers."""
    return web.Response(body=b'{"x":' + b"[" * 100_000, content_type="application/json")


@pytest.fixture(params=[flood, deep])
async def hostile(request: pytest.FixtureRequest) -> AsyncGenerator[Served]:
    """A server that answers every request with `body`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", request.param)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_endless_responses_of_slack_are_cut(hostile: Served) -> None:
    """Field fault 93: an endless response of Slack was read until the timeout."""
    session, address = hostile
    with pytest.raises(SlackUnsure):
        await WebApi(session, SecretStr("xoxb"), f"{address}/api").call("auth.test", {})


async def test_endless_responses_of_entra_are_cut(hostile: Served) -> None:
    """Field fault 93: tokens and signing keys, too."""
    session, address = hostile
    with pytest.raises(PlatformUnavailable, match="Entra did not answer"):
        await by_client_credentials(session, address, "app", SecretStr("secret"), "scope")()
    with pytest.raises(PlatformUnavailable, match="signing keys"):
        await Keys(session, f"{address}/keys").get("a")


async def test_an_unreadable_response_is_no_reason_to_resend(
    hostile: Served,
) -> None:
    """Field fault 93: by its status the message was posted; another attempt would duplicate it."""
    session, address = hostile
    place = {"service_url": address, "conversation": "c", "bot": "b", "user": "u"}
    connector = Connector(session, None, Cloud().local(), 0.01)
    assert await connector.send(place, {"type": "message"}) == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [("5", 5.0), (3600, 3600.0), ("inf", None), ("nan", None), (None, None), ("soon", None), ("1e9", 86_400)],
)
def test_seconds_are_finite_numbers(value: object, expected: float | None) -> None:
    """Field fault 93: `Retry-After: inf` disabled a method of Slack for ever."""
    assert http_responses.seconds(value) == expected
