"""Reads earlier messages of a conversation through Microsoft Graph, if an owner allows it."""

import logging
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

import aiohttp

from adapters.shared.bounded_cache import BoundedCache
from adapters.shared.entra import Token
from adapters.shared.http_responses import read_object
from adapters.teams.activities.activity import as_object
from adapters.teams.activities.html_text import html_to_text
from adapters.teams.api.connector import Connector, Fields, TeamsRejected
from adapters.teams.api.credentials import Credentials
from adapters.teams.cloud import Cloud
from bot.domain.errors import ConfigError, NotAllowed, PlatformUnavailable
from bot.domain.events import QuotedMessage

log = logging.getLogger(__name__)

MESSAGES = 50
PAGES = 4
"""Pages of 50 messages, the most that Graph returns; of longer threads 200 messages are read."""
REFUSAL_HOLDS_S = 1800.0
UNREADABLE = (
    "I can't read earlier messages here, because Teams only sends me messages that mention me. Please paste "
    "the text, or ask an owner to grant me permission to read this conversation."
)
_CACHE_SIZE = 1024
_TIMEOUT = aiohttp.ClientTimeout(total=6)
_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class GraphHistory:
    """Reads threads of channels, and group chats, with resource-specific consent.

    It is the consent of `parley manifest teams --all-messages` (ChannelMessage.Read.Group,
    ChatMessage.Read.Chat). A missing consent is cached for REFUSAL_HOLDS_S.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        credentials: Credentials | None,
        cloud: Cloud,
        connector: Connector,
    ) -> None:
        """Without `credentials`, nothing can be read."""
        self._session = session
        self._credentials = credentials
        self._cloud = cloud
        self._connector = connector
        self._tokens: dict[str, Token] = {}
        self._groups = BoundedCache[str, str](_CACHE_SIZE)
        self._refused_until = BoundedCache[str, float](_CACHE_SIZE)

    async def close(self) -> None:
        for token in self._tokens.values():
            await token.close()

    async def before(self, place: Mapping[str, str]) -> tuple[QuotedMessage, ...]:
        """The newest messages of others before the question, oldest first. Raises NotAllowed, PlatformUnavailable."""
        channel, _, root = place["conversation"].partition(";messageid=")
        if root == place["activity"] or (place["kind"] == "channel" and not root):
            return ()  # a new thread
        owner = f"{place['tenant']} {place.get('team') or channel}"
        if self._credentials is None or self._refused_until.get(owner, 0.0) > time.monotonic():
            raise NotAllowed(UNREADABLE)
        try:
            found = await self._read(place, channel, root)
        except (_NotConsented, ConfigError) as error:
            log.info("Earlier messages can't be read here: %s", error)
            if not isinstance(error, _NotFound):
                self._refused_until[owner] = time.monotonic() + REFUSAL_HOLDS_S
            raise NotAllowed(UNREADABLE) from error
        found.sort(key=lambda message: int(message["id"]))
        return tuple(filter(None, map(_quote, found[-MESSAGES:])))

    async def _read(self, place: Mapping[str, str], channel: str, root: str) -> list[Fields]:
        base = f"{self._cloud.graph_url}/v1.0"
        if not root:
            return await self._list(f"{base}/chats/{quote(channel, safe='')}/messages", place)
        team = await self._group(place)
        thread = f"{base}/teams/{team}/channels/{quote(channel, safe='')}/messages/{quote(root, safe='')}"
        first = await self._get(thread, place)
        replies = await self._list(f"{thread}/replies", place)
        return [*([first] if self._is_earlier(first, place) else []), *replies]

    async def _list(self, url: str, place: Mapping[str, str]) -> list[Fields]:
        """The messages at a URL, page by page. If the newest come first, stops at MESSAGES."""
        found: list[Fields] = []
        url = f"{url}?$top=50"
        for _ in range(PAGES):
            page = await self._get(url, place)
            messages = [message for message in _objects(page.get("value")) if _number(message)]
            found += [message for message in messages if self._is_earlier(message, place)]
            newest_first = len(messages) > 1 and _number(messages[0]) > _number(messages[-1])
            url = str(page.get("@odata.nextLink") or "")
            if not url.startswith(f"{self._cloud.graph_url}/") or (newest_first and len(found) >= MESSAGES):
                break
        return found

    def _is_earlier(self, message: Fields, place: Mapping[str, str]) -> bool:
        """Whether a message came before the question, and not from the bot."""
        application = as_object(as_object(message.get("from")).get("application"))
        return (
            0 < _number(message) < _number({"id": place["activity"]})
            and message.get("messageType") == "message"
            and not message.get("deletedDateTime")
            and f"28:{application.get('id')}" != place["bot"]
        )

    async def _group(self, place: Mapping[str, str]) -> str:
        """The id of the team's group, which Graph needs and not every activity contains."""
        team = place.get("team", "")
        group = place.get("group") or self._groups.get(team)
        if not group and team:
            try:
                group = str((await self._connector.team(place, team)).get("aadGroupId") or "")
            except TeamsRejected as error:
                if error.status not in (400, 401, 403, 404):
                    raise
                raise _NotConsented(str(error)) from error
        if not group or not _ID.fullmatch(group):
            raise _NotConsented("the id of the team's group is not known")
        self._groups[team] = group
        return group

    async def _get(self, url: str, place: Mapping[str, str]) -> Fields:
        headers = {"Authorization": f"Bearer {await self._token(place['tenant']).bearer()}"}
        try:
            async with self._session.get(
                url, headers=headers, timeout=_TIMEOUT, allow_redirects=False
            ) as response:
                answer, status = await read_object(response), response.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PlatformUnavailable(f"Microsoft Graph did not answer: {type(error).__name__}") from error
        if status in (400, 401, 403, 404):
            problem = as_object(answer.get("error"))
            refusal = _NotFound if status in (400, 404) else _NotConsented
            raise refusal(f"Microsoft Graph returned {status} {str(problem.get('message', ''))[:200]}")
        if status != 200:
            raise PlatformUnavailable(f"Microsoft Graph returned {status}")
        return answer

    def _token(self, tenant: str) -> Token:
        """The token for the organisation of the conversation."""
        credentials = self._credentials
        if credentials is None or not _ID.fullmatch(tenant):
            raise _NotConsented("the organisation is not known")
        if tenant not in self._tokens:
            scope = f"{self._cloud.graph_url}/.default"
            self._tokens[tenant] = Token(credentials.fetch(self._session, self._cloud, scope, tenant))
        return self._tokens[tenant]


class _NotConsented(Exception):
    """The bot has no permission to read here."""


class _NotFound(_NotConsented):
    """Graph does not find this thread; others may still be readable."""


def _objects(value: object) -> list[Fields]:
    return [as_object(item) for item in cast("list[object]", value)] if isinstance(value, list) else []


def _number(message: Mapping[str, Any]) -> int:
    """The id of a message, which is its time in milliseconds; 0 if it is not a number."""
    id = str(message.get("id", ""))
    return int(id) if id.isascii() and id.isdigit() and len(id) < 15 else 0


def _quote(message: Fields) -> QuotedMessage | None:
    body, by = as_object(message.get("body")), as_object(message.get("from"))
    text = str(body.get("content") or "")
    if body.get("contentType") == "html":
        text = html_to_text(text)
    files = [str(file.get("name")) for file in _objects(message.get("attachments")) if file.get("name")]
    text = f"{text.strip()}\n[with {', '.join(files)}]".strip() if files else text.strip()
    author = as_object(by.get("user") or by.get("application")).get("displayName")
    at = datetime.fromtimestamp(_number(message) / 1000, UTC)
    return QuotedMessage(author=str(author or "somebody"), text=text, at=at) if text else None
