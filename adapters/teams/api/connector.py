"""The way out: the Bot Connector's REST calls, with a cached token and bounded patience."""

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
from adapters.teams.cloud import Cloud
from bot.domain.adapter import require_lease
from bot.domain.errors import ConfigError, PlatformUnavailable

log = logging.getLogger(__name__)

Fields = dict[str, Any]
"""An activity as JSON. botbuilder's `Entity` would drop every field of an entity but its type."""

RETRIED = {412, 429, 502, 503, 504}
"""Microsoft's list of what to try again (Teams, "Optimize your bot with rate limiting"), and 503."""
ATTEMPTS = 5
PATIENCE_S = 20.0
"""A longer `Retry-After` goes back to the inbox in place of being waited for here."""
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
"""Teams takes nothing here any more (Teams, "Conversation basics", status codes): another try is in vain."""
GONE_S = 86_400.0
LARGE_BYTES = 1024 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)


class TeamsRejected(PlatformUnavailable):
    """The connector answered with an error: `status` is HTTP's (0: no answer at all), `words` its own."""

    def __init__(self, status: int, code: str, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"Teams answered {status} {code} {words}".strip()[:300], retry_after_s)
        self.status = status
        self.code = code
        self.words = words

    @property
    def too_large(self) -> bool:
        """Whether a shorter message would have been taken."""
        large = "size" in self.words.lower() or "size" in self.code.lower()
        return self.status == 413 or (self.status in (400, 403) and large)


class Connector:
    """Sends, changes and deletes activities; a place is the `data` of an `Address` or a `PostedMessage`.

    In a place that is `targeted` only its user sees them (Teams, "Send and receive targeted messages").
    A message whose connection breaks before its answer may or may not have been posted: it is sent again,
    because Teams offers no way to look, and a doubled answer is better than a lost one.
    """

    def __init__(
        self, session: aiohttp.ClientSession, token: Token | None, cloud: Cloud, backoff_s: float
    ) -> None:
        self._session = session
        self._token = token
        self._cloud = cloud
        self._backoff_s = backoff_s

    async def send(self, place: Mapping[str, str], activity: Fields, attempts: int = ATTEMPTS) -> str:
        """Post an activity; its id, empty where Teams gives none. Raises TeamsRejected, PlatformUnavailable."""
        answer = await self._call("POST", place, "", self._addressed(place, activity), attempts)
        return str(answer.get("id", ""))

    async def change(
        self, place: Mapping[str, str], id: str, activity: Fields, attempts: int = ATTEMPTS
    ) -> None:
        """Put an activity in the place of an earlier one. Raises TeamsRejected, PlatformUnavailable."""
        body = self._addressed(place, {**activity, "id": id})
        if "targeted" in place:
            del body["recipient"]
        await self._call("PUT", place, f"/{quote(id, safe='')}", body, attempts)

    async def delete(self, place: Mapping[str, str], id: str) -> None:
        """Take an activity away. Raises TeamsRejected, PlatformUnavailable."""
        await self._call("DELETE", place, f"/{quote(id, safe='')}", None, ATTEMPTS)

    async def team(self, place: Mapping[str, str], id: str) -> Fields:
        """What Teams tells of a team. Raises TeamsRejected, PlatformUnavailable."""
        return await self._ask("GET", place, f"teams/{quote(id, safe='')}", None, 2)

    async def headers(self) -> dict[str, str]:
        """What authenticates the bot. Raises PlatformUnavailable."""
        if self._token is None:
            return {}
        try:
            return {"Authorization": f"Bearer {await self._token.bearer()}"}
        except ConfigError as error:
            log.error("the bot can't speak to Teams: %s", error)
            raise PlatformUnavailable(str(error)) from error

    @staticmethod
    def _addressed(place: Mapping[str, str], activity: Fields) -> Fields:
        alone = {"isTargeted": True} if "targeted" in place else {}
        return {
            **activity,
            "from": {"id": place["bot"]},
            "recipient": {"id": place["user"], **alone},
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
            raise PlatformUnavailable("the service URL is not one of Microsoft's")
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
                log.info("%s is tried again in %.1f s: %s", method, wait_s, error)
                await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")

    async def _once(self, method: str, url: URL, body: Fields | None) -> Fields:
        headers = {"Content-Type": "application/json", **await self.headers()}
        raw = msgspec.json.encode(body) if body is not None else b""
        # Pictures make large bodies, and aiohttp wants those as a file.
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
        problem = answer.get("error")
        if status < 300 and not problem:
            return answer
        known = cast("Fields", problem) if isinstance(problem, dict) else {"message": str(problem or "")}
        code, words = str(known.get("code", "")), str(known.get("message", ""))
        raise TeamsRejected(status, code, words, GONE_S if code in GONE else seconds(after))


async def _answer(response: aiohttp.ClientResponse) -> Fields:
    """What Teams said, empty where it is nothing that can be read: the status counts, also without it."""
    try:
        return await read_object(response, SMALL_BYTES)
    except (ReplyTooLarge, ValueError):
        return {}
