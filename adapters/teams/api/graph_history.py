"""What was said before the bot was called, read through Microsoft Graph where an owner allows that."""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

import aiohttp

from adapters.shared.entra import Token
from adapters.shared.http_responses import read_object
from adapters.teams.activities.html_text import words
from adapters.teams.activities.parser import as_object
from adapters.teams.api.connector import Connector, Fields, TeamsRejected
from adapters.teams.api.credentials import Credentials
from adapters.teams.cloud import Cloud
from bot.domain.errors import ConfigError, NotAllowed, PlatformUnavailable
from bot.domain.events import QuotedMessage

log = logging.getLogger(__name__)

MESSAGES = 50
PAGES = 4
"""Graph gives at most 50 messages a page; of a thread with more than 200 the rest is not looked for."""
REFUSAL_HOLDS_S = 1800.0
UNREADABLE = (
    "I can't see what was said here before you called me: Teams shows me only what is written to me. Please "
    "paste the text here; or ask an owner to add me with the permission to read this conversation."
)
_KEPT = 1024
_TIMEOUT = aiohttp.ClientTimeout(total=6)
_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class GraphHistory:
    """Reads threads of channels, and group chats, with the consent that lets the bot read along there.

    That is the resource-specific consent of `parley manifest teams --all-messages`, for which Graph also
    tells what was said before (ChannelMessage.Read.Group, ChatMessage.Read.Chat). Where it was not given,
    that is remembered for a while, so that not every question asks again.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        credentials: Credentials | None,
        cloud: Cloud,
        connector: Connector,
    ) -> None:
        """Without `credentials` nothing can be read."""
        self._session = session
        self._credentials = credentials
        self._cloud = cloud
        self._connector = connector
        self._tokens: dict[str, Token] = {}
        self._groups: OrderedDict[str, str] = OrderedDict()
        self._refused: OrderedDict[str, float] = OrderedDict()

    async def close(self) -> None:
        """End what is still being fetched."""
        for token in self._tokens.values():
            await token.close()

    async def before(self, place: Mapping[str, str]) -> tuple[QuotedMessage, ...]:
        """The newest messages of others before the one that is answered, oldest first.

        Raises NotAllowed (in words), PlatformUnavailable.
        """
        room, _, root = place["conversation"].partition(";messageid=")
        if root == place["activity"] or (place["kind"] == "channel" and not root):
            return ()  # a new thread
        owner = f"{place['tenant']} {place.get('team') or room}"
        if self._credentials is None or self._refused.get(owner, 0.0) > time.monotonic():
            raise NotAllowed(UNREADABLE)
        try:
            found = await self._read(place, room, root)
        except (_NotConsented, ConfigError) as error:
            log.info("what was said before can't be read here: %s", error)
            if not isinstance(error, _NotThere):
                _keep(self._refused, owner, time.monotonic() + REFUSAL_HOLDS_S)
            raise NotAllowed(UNREADABLE) from error
        found.sort(key=lambda message: int(message["id"]))
        return tuple(filter(None, map(_quote, found[-MESSAGES:])))

    async def _read(self, place: Mapping[str, str], room: str, root: str) -> list[Fields]:
        base = f"{self._cloud.graph_url}/v1.0"
        if not root:
            return await self._listed(f"{base}/chats/{quote(room, safe='')}/messages", place)
        team = await self._group(place)
        thread = f"{base}/teams/{team}/channels/{quote(room, safe='')}/messages/{quote(root, safe='')}"
        first = await self._get(thread, place)
        replies = await self._listed(f"{thread}/replies", place)
        return [*([first] if self._counts(first, place) else []), *replies]

    async def _listed(self, url: str, place: Mapping[str, str]) -> list[Fields]:
        """Page by page; where the newest come first, no more than are wanted."""
        found: list[Fields] = []
        url = f"{url}?$top=50"
        for _ in range(PAGES):
            page = await self._get(url, place)
            messages = [message for message in _objects(page.get("value")) if _number(message)]
            found += [message for message in messages if self._counts(message, place)]
            newest_first = len(messages) > 1 and _number(messages[0]) > _number(messages[-1])
            url = str(page.get("@odata.nextLink") or "")
            if not url.startswith(f"{self._cloud.graph_url}/") or (newest_first and len(found) >= MESSAGES):
                break
        return found

    def _counts(self, message: Fields, place: Mapping[str, str]) -> bool:
        """Whether a message was said before the question, by somebody else than the bot."""
        application = as_object(as_object(message.get("from")).get("application"))
        return (
            0 < _number(message) < _number({"id": place["activity"]})
            and message.get("messageType") == "message"
            and not message.get("deletedDateTime")
            and f"28:{application.get('id')}" != place["bot"]
        )

    async def _group(self, place: Mapping[str, str]) -> str:
        """Graph knows a team by the id of its group, which not every activity tells."""
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
            raise _NotConsented("Teams does not tell which team this is")
        _keep(self._groups, team, group)
        return group

    async def _get(self, url: str, place: Mapping[str, str]) -> Fields:
        headers = {"Authorization": f"Bearer {await self._token(place['tenant']).bearer()}"}
        try:
            async with self._session.get(
                url, headers=headers, timeout=_TIMEOUT, allow_redirects=False
            ) as response:
                answer, status = await read_object(response), response.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PlatformUnavailable(f"Graph did not answer: {type(error).__name__}") from error
        if status in (400, 401, 403, 404):
            problem = as_object(answer.get("error"))
            refusal = _NotThere if status in (400, 404) else _NotConsented
            raise refusal(f"Graph answered {status} {str(problem.get('message', ''))[:200]}")
        if status != 200:
            raise PlatformUnavailable(f"Graph answered {status}")
        return answer

    def _token(self, tenant: str) -> Token:
        """A token of the organisation whose conversation it is."""
        credentials = self._credentials
        if credentials is None or not _ID.fullmatch(tenant):
            raise _NotConsented("no organisation is named")
        if tenant not in self._tokens:
            scope = f"{self._cloud.graph_url}/.default"
            self._tokens[tenant] = Token(credentials.fetch(self._session, self._cloud, scope, tenant))
        return self._tokens[tenant]


class _NotConsented(Exception):
    """Nobody has allowed the bot to read here."""


class _NotThere(_NotConsented):
    """Graph doesn't know this thread, which says nothing about others."""


def _keep(kept: OrderedDict[str, Any], name: str, value: object) -> None:
    kept[name] = value
    while len(kept) > _KEPT:
        kept.popitem(last=False)


def _objects(value: object) -> list[Fields]:
    return [as_object(one) for one in cast("list[object]", value)] if isinstance(value, list) else []


def _number(message: Mapping[str, Any]) -> int:
    """The id of a message is when it was said, in milliseconds; 0 where it is nothing of the kind."""
    id = str(message.get("id", ""))
    return int(id) if id.isascii() and id.isdigit() and len(id) < 15 else 0


def _quote(message: Fields) -> QuotedMessage | None:
    body, by = as_object(message.get("body")), as_object(message.get("from"))
    text = str(body.get("content") or "")
    if body.get("contentType") == "html":
        text = words(text)
    files = [str(one.get("name")) for one in _objects(message.get("attachments")) if one.get("name")]
    text = f"{text.strip()}\n[with {', '.join(files)}]".strip() if files else text.strip()
    author = as_object(by.get("user") or by.get("application")).get("displayName")
    at = datetime.fromtimestamp(_number(message) / 1000, UTC)
    return QuotedMessage(author=str(author or "somebody"), text=text, at=at) if text else None
