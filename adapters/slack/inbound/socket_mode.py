"""Socket Mode: the same events over an outgoing connection, for bots without a public URL."""

import asyncio
import logging
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
    try:
        await handler.connect_async()
        log.info("Connected to Slack by Socket Mode")
        await asyncio.Event().wait()
    finally:
        await handler.close_async()
