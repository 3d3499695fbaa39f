"""The HTTP endpoint for Slack: requests are verified, stored, then acknowledged."""

import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from pydantic import SecretStr
from slack_bolt.async_app import AsyncApp
from slack_bolt.middleware.async_middleware import AsyncMiddleware
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from adapters.shared.http_body import TooLarge, parse_form, parse_object, read_body
from adapters.slack.events.lenient import tidy
from adapters.slack.manifest import PATH
from adapters.slack.payloads import Payload
from bot.domain.errors import Malformed, StateUnavailable, Unauthentic

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 1024 * 1024
CLOCK_SKEW_S = 300

Receive = Callable[[Payload], Awaitable[str]]
"""Stores an event and returns the response body, JSON or empty. Raises StateUnavailable."""


class StoreBeforeAck(AsyncMiddleware):
    """Runs before Bolt's own middleware, which would acknowledge an event before it is stored."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def async_process(
        self, *, req: AsyncBoltRequest, resp: BoltResponse, next: Callable[[], Awaitable[BoltResponse]]
    ) -> BoltResponse | None:
        """Answer everything except the verification of a new request URL, which is left to Bolt."""
        if req.body.get("type") == "url_verification":
            return await next()
        try:
            return BoltResponse(status=200, body=await self._receive(req.body))
        except StateUnavailable as error:
            log.warning("An event was not stored; Slack will deliver it again: %s", error)
            return BoltResponse(status=503, body="")


def bolt_app(token: SecretStr | None, receive: Receive) -> AsyncApp:
    """The Bolt app behind HTTP and Socket Mode. Signatures are verified before it.

    Bolt never calls Slack here, so it needs no valid token.
    """
    return AsyncApp(
        token=token.get_secret_value() if token else "none",
        before_authorize=cast("Any", StoreBeforeAck(receive)),  # Bolt's annotation is too narrow
        request_verification_enabled=False,
        ssl_check_enabled=False,
        ignoring_self_events_enabled=False,
        attaching_function_token_enabled=False,
        attaching_conversation_kwargs_enabled=False,
    )


class EventRoute:
    """The one HTTP endpoint for events, commands and buttons."""

    def __init__(self, app: AsyncApp, signing_secret: SecretStr) -> None:
        self._app = app
        self._secret = signing_secret.get_secret_value().encode()

    async def handle(self, request: web.Request) -> web.Response:
        """Verify, read, dispatch. Status 401, 413, 400, or that of Bolt, but never 404."""
        try:
            body = await read_body(request, BODY_LIMIT_BYTES)
            verify(request.headers, body, self._secret, time.time())
            bolt_request = AsyncBoltRequest(mode="socket_mode", body=payload_of(body, request.content_type))
        except Unauthentic as error:
            log.warning("Rejected a request to %s: %s", PATH, error)
            return web.Response(status=401)
        except TooLarge as error:
            log.warning("Rejected a request to %s: its body is %s", PATH, error)
            return web.Response(status=413)
        except Malformed as error:
            log.warning("Rejected a malformed request to %s: %s", PATH, error)
            return web.Response(status=400, text="Malformed request.")
        answer = await self._app.async_dispatch(bolt_request)
        status = 200 if answer.status == 404 else answer.status
        mime = "application/json" if answer.body.startswith("{") else "text/plain"
        return web.Response(status=status, text=answer.body, content_type=mime)


def verify(headers: Any, body: bytes, secret: bytes, now_s: float) -> None:
    """Raise Unauthentic unless `body` was signed by Slack within five minutes.

    The scheme is Slack's v0 (docs.slack.dev/authentication/verifying-requests-from-slack).
    """
    timestamp = str(headers.get("X-Slack-Request-Timestamp", ""))
    signature = str(headers.get("X-Slack-Signature", ""))
    if not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 15:
        raise Unauthentic("the timestamp is missing or not a number")
    if abs(now_s - int(timestamp)) > CLOCK_SKEW_S:
        raise Unauthentic("the timestamp is more than five minutes off")
    base = b"v0:" + timestamp.encode() + b":" + body
    expected = b"v0=" + hmac.new(secret, base, hashlib.sha256).hexdigest().encode()
    if not hmac.compare_digest(expected, signature.encode("utf-8", "surrogateescape")):
        raise Unauthentic("the signature is missing or wrong")


def payload_of(body: bytes, content_type: str) -> Payload:
    """The payload of an event, command or interaction, without unusable fields. Raises Malformed.

    Bolt's own parser drops every command that has the word "payload" in its text.
    """
    if content_type == "application/json" or body.lstrip().startswith(b"{"):
        return tidy(parse_object(body))
    form = parse_form(body)
    if "command" in form or "ssl_check" in form:
        return tidy(dict(form))
    if "payload" not in form:
        raise Malformed("neither an event, nor a command, nor a payload")
    return tidy(parse_object(form["payload"]))
