"""Socket Mode: the same events over an outgoing connection, for bots without a public URL."""

import asyncio
import logging
import time
from typing import Any

from pydantic import SecretStr
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from adapters.shared.http_body import without_surrogates
from adapters.slack.events.lenient import tidy

log = logging.getLogger(__name__)

PING_INTERVAL_S = 10.0  # the SDK also waits this long between attempts to reconnect, which never end
STABLE_S = 60.0
"""A connection that lasted this long was accepted; Slack itself replaces one about every hour."""
_PAUSES_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_PAUSES_IF_REFUSED_S = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
_REFRESHED = frozenset({"", "warning", "refresh_requested"})
_HINTS = {
    "too_many_websockets": "An app may have ten connections at once: stop other processes with this SLACK_APP_TOKEN.",
    "link_disabled": "Socket Mode is turned off: enable it in the app's settings.",
}
"""Reasons of Slack's message `disconnect` (docs.slack.dev/apis/events-api/using-socket-mode)."""


def pause_s(failures: int, reason: str) -> float:
    """How long to wait before connecting again, after so many connections in a row that did not last."""
    pauses = _PAUSES_S if reason in _REFRESHED else _PAUSES_IF_REFUSED_S
    return pauses[min(failures, len(pauses)) - 1] if failures else 0.0


class _Client(SocketModeClient):
    """Connects again with growing pauses, once at a time, and warns once while Slack refuses connections."""

    _connected_at = float("-inf")
    _failures = 0
    _reason = ""
    _connecting = False
    _warned = False

    async def run_message_listeners(self, message: dict[str, Any], raw_message: str) -> None:
        """Note why Slack ends a connection."""
        if message.get("type") == "disconnect":
            self._reason = str(message.get("reason") or "")
        await super().run_message_listeners(message, raw_message)  # pyright: ignore[reportUnknownMemberType]

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        """Replace the connection. The SDK calls this for each `disconnect`, and for a closed connection."""
        if self._connecting:
            return
        self._connecting = True
        try:
            await self._wait()
            await super().connect_to_new_endpoint(force)
        finally:
            self._connected_at = time.monotonic()
            self._connecting = False

    async def _wait(self) -> None:
        lasted_s = time.monotonic() - self._connected_at
        reason, self._reason = self._reason, ""
        if lasted_s >= STABLE_S:
            self._failures, self._warned = 0, False
            return
        self._failures += 1
        wait_s = pause_s(self._failures, reason)
        if not self._warned and (reason not in _REFRESHED or self._failures > len(_PAUSES_S) // 2):
            self._warned = True
            log.warning(
                "Socket Mode: Slack ends each connection (%s). Trying again in %.0f s, then less often. %s",
                reason or "no reason given",
                wait_s,
                _HINTS.get(reason, ""),
            )
        await asyncio.sleep(wait_s)


class _Handler(AsyncSocketModeHandler):
    """Removes from payloads what Bolt can't read."""

    async def handle(self, client: SocketModeClient, req: SocketModeRequest) -> None:
        try:
            payload: Any = vars(req)["payload"]
            req.payload = tidy(without_surrogates(payload))
        except (AttributeError, RecursionError):
            log.warning("Ignored a Socket Mode envelope of type %r without a valid payload", req.type)
            req.payload = {}
        await super().handle(client, req)


async def listen(app: AsyncApp, app_token: SecretStr, api_url: str) -> None:
    """Receive until cancelled. Bolt acknowledges an event only if it was answered with status 200."""
    token = app_token.get_secret_value()
    client = AsyncWebClient(token=token, base_url=api_url)
    handler = _Handler(app, token, web_client=client, ping_interval=PING_INTERVAL_S)
    await handler.client.close()
    listeners = handler.client.socket_mode_request_listeners
    handler.client = _Client(token, app.logger, client, ping_interval=PING_INTERVAL_S)
    handler.client.socket_mode_request_listeners = listeners
    try:
        await handler.connect_async()
        log.info("Connected to Slack by Socket Mode")
        await asyncio.Event().wait()
    finally:
        await handler.close_async()
