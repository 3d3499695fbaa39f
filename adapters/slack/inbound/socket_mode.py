"""Socket Mode: the same events over a connection that we open, for bots without a public address."""

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

PING_INTERVAL_S = 10.0  # also the pause before the SDK tries a failed connection again, for ever


class _Handler(AsyncSocketModeHandler):
    """Hands Bolt only what it can read."""

    async def handle(self, client: SocketModeClient, req: SocketModeRequest) -> None:
        try:
            payload: Any = vars(req)["payload"]
            req.payload = tidy(without_surrogates(payload))
        except (AttributeError, RecursionError):
            log.warning("an envelope of Socket Mode of type %r has no payload that can be read", req.type)
            req.payload = {}
        await super().handle(client, req)


async def listen(app: AsyncApp, app_token: SecretStr, api_url: str) -> None:
    """Receive until cancelled. An event is acknowledged by Bolt only when it was answered with 200."""
    token = app_token.get_secret_value()
    client = AsyncWebClient(token=token, base_url=api_url)
    handler = _Handler(app, token, web_client=client, ping_interval=PING_INTERVAL_S)
    try:
        await handler.connect_async()
        log.info("Slack's Socket Mode is connected")
        await asyncio.Event().wait()
    finally:
        await handler.close_async()
