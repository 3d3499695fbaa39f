"""Slack's Web API over one shared session: calls, their errors, and rate limits."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp
import msgspec
from pydantic import SecretStr

from adapters.shared.http_responses import decode_object, read_body, seconds
from bot.domain.adapter import Limiter, require_lease
from bot.domain.errors import PlatformUnavailable

CALL_TIMEOUT_S = 30.0
# The maximum of PARLEY_CONCURRENCY: a call's timeout includes waiting for a connection.
MAX_CONNECTIONS = 1024
DEFAULT_RETRY_AFTER_S = 1.0
FIRST_RETRY_S = 0.3

# Methods that don't accept JSON (docs.slack.dev/apis/web-api).
FORM_METHODS = frozenset(
    {
        "conversations.history",
        "conversations.info",
        "conversations.list",
        "conversations.members",
        "conversations.replies",
        "files.getUploadURLExternal",
        "files.info",
        "oauth.v2.access",
        "usergroups.list",
        "users.info",
        "users.lookupByEmail",
    }
)
# Calls per minute and workspace, shared by all workers (docs.slack.dev/apis/web-api/rate-limits).
CALLS_PER_MINUTE = {
    "chat.startStream": 20,
    "chat.stopStream": 20,
    "chat.appendStream": 100,
    "chat.update": 50,
}
RESERVED_FOR_COMPLETION = 0.4  # the share of these calls that partial text may not use
LIMITED_CODES = frozenset({"ratelimited", "rate_limited"})
UNSURE_CODES = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})


REVOKED_CODES = frozenset(
    {"token_revoked", "token_expired", "invalid_auth", "not_authed", "account_inactive"}
)
"""The token is not, or no longer, valid; there may be a newer one."""


class TokenSource(Protocol):
    """Where the token of a workspace is stored."""

    async def newer(self, refused: SecretStr) -> SecretStr | None:
        """The token in place of one that Slack refused; None if it is still the same.

        Raises PlatformUnavailable if there may be another one later.
        """
        ...


class SlackRateLimited(PlatformUnavailable):
    """Slack asked to wait `retry_after_s` seconds; the call was not carried out."""

    def __init__(self, method: str, retry_after_s: float) -> None:
        super().__init__(f"Slack rate-limits {method} for {retry_after_s:.1f} s", retry_after_s)
        self.wait_s = retry_after_s


class SlackUnsure(PlatformUnavailable):
    """No usable response: the call may or may not have been carried out."""


class SlackRejected(PlatformUnavailable):
    """Slack refused the call with the error `code`; it was not carried out."""

    permanent = True

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"Slack rejected {method}: {code}")
        self.code = code


class WebApi:
    """Calls with one bot token. They raise SlackRateLimited, SlackUnsure or SlackRejected, and what `tokens` raises.

    With a limiter, methods of CALLS_PER_MINUTE are counted for the `workspace` before each call. If Slack refuses the
    token and there is a newer one in `tokens`, the call is repeated once.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token: SecretStr,
        api_url: str,
        limiter: Limiter | None = None,
        workspace: str = "",
        tokens: TokenSource | None = None,
    ) -> None:
        self._tokens = tokens
        self.session = session
        self.api_url = api_url.rstrip("/") + "/"
        self._limiter, self._workspace = limiter, workspace
        self._limited_until: dict[str, float] = {}
        self.renew(token)

    def renew(self, token: SecretStr) -> None:
        """Use another token from now on; an empty one sends no header."""
        self._token, secret = token, token.get_secret_value()
        self.bearer = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._json = self.bearer | {"Content-Type": "application/json; charset=utf-8"}

    async def call(
        self,
        method: str,
        args: Mapping[str, Any],
        *,
        patience_s: float = 0.0,
        reserved: bool = False,
        growing: bool = False,
    ) -> dict[str, Any]:
        """Call a method. With `patience_s`, repeat limited and unsure calls; only for idempotent calls.

        While a method is rate-limited, calls raise SlackRateLimited without asking Slack. `reserved` says
        that `reserve` has counted the call already, `growing` that a later call will show more.
        """
        give_up_at = time.monotonic() + patience_s
        pause_s = FIRST_RETRY_S
        while True:
            try:
                if not reserved:
                    await self.reserve(method, growing=growing)
                return (await self.call_with_headers(method, args))[0]
            except (SlackRateLimited, SlackUnsure) as error:
                wait_s = error.wait_s if isinstance(error, SlackRateLimited) else pause_s
                if time.monotonic() + wait_s > give_up_at:
                    raise
            await asyncio.sleep(wait_s)
            pause_s *= 2

    async def reserve(self, method: str, *, growing: bool = False) -> None:
        """Count one call against the limit that all workers share. Raises SlackRateLimited."""
        calls = CALLS_PER_MINUTE.get(method)
        if self._limiter is None or calls is None:
            return
        limit = f"{method} while growing" if growing else method
        self._check_limited(method, method)
        self._check_limited(method, limit)
        keep = round(calls * RESERVED_FOR_COMPLETION) if growing else 0
        wait_s = await self._limiter.take(f"slack:{self._workspace}:{method}", calls, keep=keep)
        if wait_s > 0:
            self._limited_until[limit] = time.monotonic() + wait_s
            raise SlackRateLimited(method, wait_s)

    async def call_with_headers(
        self, method: str, args: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Call a method without counting it; returns the response headers, too (`x-oauth-scopes`)."""
        used = self._token
        try:
            return await self._call_once(method, args)
        except SlackRejected as error:
            if error.code not in REVOKED_CODES or self._tokens is None:
                raise
            if self._token is used:
                newer = await self._tokens.newer(used)
                if newer is None:
                    raise
                self.renew(newer)
        return await self._call_once(method, args)

    async def _call_once(
        self, method: str, args: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        # Posting is limited per channel, the rest per workspace (docs.slack.dev/apis/web-api/rate-limits).
        limit = f"{method} {args.get('channel')}" if method == "chat.postMessage" else method
        if self._limited_until:
            self._check_limited(method, limit)
        require_lease()
        try:
            status, headers, body = await self._post(method, args)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SlackUnsure(f"Slack did not answer {method}: {type(error).__name__}") from error
        if status == 429:
            raise self._limited(method, limit, headers)
        if status >= 500:
            raise SlackUnsure(f"Slack returned status {status} for {method}")
        try:
            answer = decode_object(body)
        except ValueError as error:
            raise SlackUnsure(f"Slack returned status {status} without JSON for {method}") from error
        if answer.get("ok") is True:
            return answer, headers
        code = str(answer.get("error", "unknown_error"))
        if code in LIMITED_CODES:
            raise self._limited(method, limit, headers)
        if code in UNSURE_CODES:
            raise SlackUnsure(f"Slack returned {code} for {method}")
        raise SlackRejected(method, code)

    async def _post(self, method: str, args: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        if method in FORM_METHODS:
            form = {name: str(value).lower() if value is True else str(value) for name, value in args.items()}
            sending = self.session.post(self.api_url + method, data=form, headers=self.bearer)
        else:
            body = msgspec.json.encode(args)
            sending = self.session.post(self.api_url + method, data=body, headers=self._json)
        async with sending as response:
            return response.status, response.headers, await read_body(response)

    def _check_limited(self, method: str, limit: str) -> None:
        remaining_s = self._limited_until.get(limit, 0.0) - time.monotonic()
        if remaining_s > 0:
            raise SlackRateLimited(method, remaining_s)
        self._limited_until.pop(limit, None)

    def _limited(self, method: str, limit: str, headers: Mapping[str, str]) -> SlackRateLimited:
        header_s = seconds(headers.get("Retry-After"))
        retry_after_s = DEFAULT_RETRY_AFTER_S if header_s is None else header_s
        self._limited_until[limit] = time.monotonic() + retry_after_s
        return SlackRateLimited(method, retry_after_s)


def new_session() -> aiohttp.ClientSession:
    """The HTTP session of an adapter; the caller closes it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S),
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
