"""REST calls to the Bot Connector, with a cached token and bounded retries."""

import asyncio
import io
import logging
import random
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from adapters.shared.entra import Token
from adapters.shared.http_responses import SMALL_BYTES, ReplyTooLarge, read_object, seconds
from adapters.teams.activities.activity import as_object
from adapters.teams.cloud import Cloud
from bot.domain.adapter import require_lease
from bot.domain.errors import ConfigError, PlatformUnavailable

log = logging.getLogger(__name__)

Fields = dict[str, Any]
"""An activity as JSON. botbuilder's `Entity` would drop all fields of an entity except its type."""

RETRIED = {412, 429, 502, 503, 504}
"""The statuses to retry (Teams, "Optimize your bot with rate limiting"), and 503."""
ATTEMPTS = 5
PATIENCE_S = 20.0
"""With a longer `Retry-After`, the event goes back to the inbox instead of waiting here."""
GONE = {
    "BotNotInConversationRoster",
    "BotDisabledByAdmin",
    "BotDisabledByUser",
    "BotNotRegistered",
    "ConversationBlockedByUser",
    "ConversationNotFound",
    "MessageWritesBlocked",
    "MessageWritePermissionBlocked",
    "NotEnoughPermissions",
}
"""Permanent errors (Teams, "Conversation basics", status codes), which are not retried."""
GONE_S = 86_400.0
LARGE_BYTES = 1024 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)


class TeamsRejected(PlatformUnavailable):
    """The connector returned an error: HTTP `status` (0: no response), `code` and text (`words`)."""

    def __init__(self, status: int, code: str, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"Teams returned {status} {code} {words}".strip()[:300], retry_after_s)
        self.status = status
        self.permanent = 400 <= status < 500 and status not in (401, 408, 412, 429)
        self.code = code
        self.words = words

    @property
    def too_large(self) -> bool:
        """Whether the message was rejected for its size."""
        large = "size" in self.words.lower() or "size" in self.code.lower()
        return self.status == 413 or (self.status in (400, 403) and large)

    @property
    def about_content(self) -> bool:
        """Whether a simpler message may be accepted."""
        return self.status == 400 and self.code not in GONE

    @property
    def deleted(self) -> bool:
        """Whether a message to update may have been deleted, which Teams also tells as an unknown error with 403
        (microsoft/BotFramework-Services#269).
        """
        unknown = self.status == 403 and self.code == "ServiceError" and self.words.lower() in ("", "unknown")
        return unknown or (self.status == 404 and self.code not in GONE)


class Connector:
    """Sends, updates and deletes activities; a place is the `data` of an `Address` or a `PostedMessage`.

    In a `targeted` place only its user sees them (Teams, "Send and receive targeted messages").
    If the connection breaks before the response, the message is sent again: Teams has no way to look it up,
    and a duplicate is better than a lost answer.
    """

    def __init__(
        self, session: aiohttp.ClientSession, token: Token | None, cloud: Cloud, backoff_s: float
    ) -> None:
        self._session = session
        self._token = token
        self._cloud = cloud
        self._backoff_s = backoff_s

    async def send(self, place: Mapping[str, str], activity: Fields, attempts: int = ATTEMPTS) -> str:
        """Post an activity; returns its id, or "" if Teams gives none. Raises TeamsRejected, PlatformUnavailable."""
        answer = await self._call("POST", place, "", self._addressed(place, activity), attempts)
        return str(answer.get("id", ""))

    async def change(
        self, place: Mapping[str, str], id: str, activity: Fields, attempts: int = ATTEMPTS
    ) -> None:
        """Replace an activity. Raises TeamsRejected, PlatformUnavailable."""
        body = self._addressed(place, {**activity, "id": id})
        if "targeted" in place:
            del body["recipient"]
        await self._call("PUT", place, f"/{quote(id, safe='')}", body, attempts)

    async def delete(self, place: Mapping[str, str], id: str) -> None:
        """Delete an activity. Raises TeamsRejected, PlatformUnavailable."""
        await self._call("DELETE", place, f"/{quote(id, safe='')}", None, ATTEMPTS)

    async def team(self, place: Mapping[str, str], id: str) -> Fields:
        """The details of a team. Raises TeamsRejected, PlatformUnavailable."""
        return await self._ask("GET", place, f"teams/{quote(id, safe='')}", None, 2)

    async def channels(self, place: Mapping[str, str], team: str) -> Fields:
        """The channels of a team, in `conversations`. Raises TeamsRejected, PlatformUnavailable."""
        return await self._ask("GET", place, f"teams/{quote(team, safe='')}/conversations", None, 1)

    async def member(self, place: Mapping[str, str], conversation: str, user: str) -> Fields:
        """A member of a chat or channel. Raises TeamsRejected (404 for others), PlatformUnavailable."""
        path = f"conversations/{quote(conversation, safe='')}/members/{quote(user, safe='')}"
        return await self._ask("GET", place, path, None, 2)

    async def headers(self) -> dict[str, str]:
        """The authorization header of the bot. Raises PlatformUnavailable."""
        if self._token is None:
            return {}
        try:
            return {"Authorization": f"Bearer {await self._token.bearer()}"}
        except ConfigError as error:
            log.error("The bot can't authenticate with Teams: %s", error)
            raise PlatformUnavailable(str(error)) from error

    @staticmethod
    def _addressed(place: Mapping[str, str], activity: Fields) -> Fields:
        targeted = {"isTargeted": True} if "targeted" in place else {}
        return {
            **activity,
            "from": {"id": place["bot"]},
            "recipient": {"id": place["user"], **targeted},
            "conversation": {"id": place["conversation"]},
        }

    async def _call(
        self, method: str, place: Mapping[str, str], tail: str, body: Fields | None, attempts: int
    ) -> Fields:
        tail += "?isTargetedActivity=true" if "targeted" in place else ""
        path = f"conversations/{quote(place['conversation'], safe='')}/activities{tail}"
        return await self._ask(method, place, path, body, attempts)

    async def _ask(
        self, method: str, place: Mapping[str, str], path: str, body: Fields | None, attempts: int
    ) -> Fields:
        service = place["service_url"]
        if not self._cloud.serves(service):
            raise PlatformUnavailable("The service URL is not a Microsoft endpoint")
        url = URL(f"{service.rstrip('/')}/v3/{path}", encoded=True)
        for attempt in range(1, attempts + 1):
            try:
                return await self._once(method, url, body)
            except TeamsRejected as error:
                wait_s = error.retry_after_s
                if wait_s is None:
                    wait_s = self._backoff_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
                again = error.status in RETRIED or error.status == 0 or (error.status == 401 and attempt == 1)
                if not again or attempt == attempts or wait_s > PATIENCE_S:
                    raise
                if error.status == 401 and self._token is not None:
                    self._token.invalidate()
                log.info("Retrying %s in %.1f s: %s", method, wait_s, error)
                await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")

    async def _once(self, method: str, url: URL, body: Fields | None) -> Fields:
        headers = {"Content-Type": "application/json", **await self.headers()}
        raw = msgspec.json.encode(body) if body is not None else b""
        # Images make large bodies, which aiohttp wants as a file.
        data = io.BytesIO(raw) if len(raw) > LARGE_BYTES else raw
        require_lease()
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, timeout=_TIMEOUT, allow_redirects=False
            ) as response:
                status, after = response.status, response.headers.get("Retry-After")
                answer = await _answer(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TeamsRejected(0, "", type(error).__name__) from error
        if status < 300 and not answer.get("error"):
            return answer
        code, words = _problem(answer)
        raise TeamsRejected(status, code, words, GONE_S if code in GONE else seconds(after))


def _problem(answer: Fields) -> tuple[str, str]:
    """The code and the text of an error. Some have no `error`, but a `subCode` in JSON inside their message (Teams,
    "Proactive messages", on people who blocked the bot).
    """
    problem = answer.get("error") or answer
    known = cast("Fields", problem) if isinstance(problem, dict) else {"message": problem}
    told = known.get("message") or ""
    inner = as_object(told)
    words = inner.get("details") or inner.get("message") or told
    return str(inner.get("subCode") or known.get("code") or ""), str(words)


async def _answer(response: aiohttp.ClientResponse) -> Fields:
    """The response as JSON; empty if it can't be read, because the status is enough."""
    try:
        return await read_object(response, SMALL_BYTES)
    except (ReplyTooLarge, ValueError):
        return {}
