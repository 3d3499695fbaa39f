"""Slack's Web API over one shared session: what a call can end in, and when a method may be called again."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from pydantic import SecretStr

from adapters.shared.http_responses import decode_object, read_body, seconds
from bot.domain.adapter import Limiter, require_lease
from bot.domain.errors import PlatformUnavailable

CALL_TIMEOUT_S = 30.0
# As many as answers may be written at once (PARLEY_CONCURRENCY): a call's time runs while it waits for one.
MOST_CONNECTIONS = 1024
DEFAULT_RETRY_AFTER_S = 1.0
FIRST_RETRY_S = 0.3

# These read their arguments from a form only (docs.slack.dev/apis/web-api: "not all methods accept JSON").
FORM_METHODS = frozenset(
    {
        "conversations.history",
        "conversations.replies",
        "files.getUploadURLExternal",
        "files.info",
        "oauth.v2.access",
        "users.info",
    }
)
# Calls a minute in one workspace that all workers share (docs.slack.dev/apis/web-api/rate-limits).
PLACES_PER_MINUTE = {
    "chat.startStream": 20,
    "chat.stopStream": 20,
    "chat.appendStream": 100,
    "chat.update": 50,
}
KEPT_FOR_THE_END = 0.4  # the part of these places that answers leave alone while they grow
LIMITED_CODES = frozenset({"ratelimited", "rate_limited"})
UNSURE_CODES = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})


class SlackRateLimited(PlatformUnavailable):
    """Slack asked to wait `retry_after_s`; nothing was done."""

    def __init__(self, method: str, retry_after_s: float) -> None:
        super().__init__(f"Slack limits {method} for {retry_after_s:.1f} s", retry_after_s)
        self.wait_s = retry_after_s


class SlackUnsure(PlatformUnavailable):
    """No usable answer came: the call may or may not have been carried out."""


class SlackRejected(PlatformUnavailable):
    """Slack refused the call for a reason, `code`; nothing was done."""

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"Slack refused {method}: {code}")
        self.code = code


class WebApi:
    """Calls by one bot token. Every method raises Limited, Unsure or Rejected, all PlatformUnavailable.

    With a limiter, calls of PLACES_PER_MINUTE take a place first, under the name of the `workspace`.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token: SecretStr,
        api_url: str,
        limiter: Limiter | None = None,
        workspace: str = "",
    ) -> None:
        self.session = session
        self.api_url = api_url.rstrip("/") + "/"
        self._limiter, self._workspace = limiter, workspace
        self._quiet_until: dict[str, float] = {}
        self.renew(token)

    def renew(self, token: SecretStr) -> None:
        """Call by another token from now on; an empty one is left out."""
        secret = token.get_secret_value()
        self._form = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._json = self._form | {"Content-Type": "application/json; charset=utf-8"}

    @property
    def bearer(self) -> dict[str, str]:
        """The header for files, which live behind the same token."""
        return self._form

    async def call(
        self,
        method: str,
        args: Mapping[str, Any],
        *,
        patience_s: float = 0.0,
        placed: bool = False,
        growing: bool = False,
    ) -> dict[str, Any]:
        """One call; with patience, what is limited or unsure is tried again: only for calls safe to repeat.

        While a method is limited, calls to it raise Limited without asking Slack. `placed` is true when
        `reserve` has taken the call's place already, `growing` where a later call will show the same.
        """
        give_up_at = time.monotonic() + patience_s
        pause_s = FIRST_RETRY_S
        while True:
            try:
                if not placed:
                    await self.reserve(method, growing=growing)
                return (await self.call_with_headers(method, args))[0]
            except (SlackRateLimited, SlackUnsure) as error:
                wait_s = error.wait_s if isinstance(error, SlackRateLimited) else pause_s
                if time.monotonic() + wait_s > give_up_at:
                    raise
            await asyncio.sleep(wait_s)
            pause_s *= 2

    async def reserve(self, method: str, *, growing: bool = False) -> None:
        """Take the place of one call in the minute that all workers share. Raises SlackRateLimited."""
        places = PLACES_PER_MINUTE.get(method)
        if self._limiter is None or places is None:
            return
        limit = f"{method} while growing" if growing else method
        self._check_quiet(method, method)
        self._check_quiet(method, limit)
        keep = round(places * KEPT_FOR_THE_END) if growing else 0
        wait_s = await self._limiter.take(f"slack:{self._workspace}:{method}", places, keep=keep)
        if wait_s > 0:
            self._quiet_until[limit] = time.monotonic() + wait_s
            raise SlackRateLimited(method, wait_s)

    async def call_with_headers(
        self, method: str, args: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """One call without a place, with the headers of its answer (`x-oauth-scopes`)."""
        # Posting is limited by channel, the rest by workspace (docs.slack.dev/apis/web-api/rate-limits).
        limit = f"{method} {args.get('channel')}" if method == "chat.postMessage" else method
        if self._quiet_until:
            self._check_quiet(method, limit)
        require_lease()
        try:
            status, headers, body = await self._post(method, args)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SlackUnsure(f"Slack did not answer {method}: {type(error).__name__}") from error
        if status == 429:
            raise self._limited(method, limit, headers)
        if status >= 500:
            raise SlackUnsure(f"Slack answered {method} with status {status}")
        try:
            answer = decode_object(body)
        except ValueError as error:
            raise SlackUnsure(f"Slack answered {method} with status {status} and no JSON object") from error
        if answer.get("ok") is True:
            return answer, headers
        code = str(answer.get("error", "unknown_error"))
        if code in LIMITED_CODES:
            raise self._limited(method, limit, headers)
        if code in UNSURE_CODES:
            raise SlackUnsure(f"Slack answered {method} with {code}")
        raise SlackRejected(method, code)

    async def _post(self, method: str, args: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        if method in FORM_METHODS:
            form = {name: str(value).lower() if value is True else str(value) for name, value in args.items()}
            sending = self.session.post(self.api_url + method, data=form, headers=self._form)
        else:
            body = msgspec.json.encode(args)
            sending = self.session.post(self.api_url + method, data=body, headers=self._json)
        async with sending as response:
            return response.status, response.headers, await read_body(response)

    def _check_quiet(self, method: str, limit: str) -> None:
        remaining_s = self._quiet_until.get(limit, 0.0) - time.monotonic()
        if remaining_s > 0:
            raise SlackRateLimited(method, remaining_s)
        self._quiet_until.pop(limit, None)

    def _limited(self, method: str, limit: str, headers: Mapping[str, str]) -> SlackRateLimited:
        asked_s = seconds(headers.get("Retry-After"))
        retry_after_s = DEFAULT_RETRY_AFTER_S if asked_s is None else asked_s
        self._quiet_until[limit] = time.monotonic() + retry_after_s
        return SlackRateLimited(method, retry_after_s)


def new_session() -> aiohttp.ClientSession:
    """The one session of an adapter; its owner closes it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S),
        connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
