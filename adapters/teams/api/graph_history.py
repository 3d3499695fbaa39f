"""Reads earlier messages of a conversation through Microsoft Graph, if an owner allows it."""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast
from urllib.parse import quote

import aiohttp
from msgspec.structs import replace

from adapters.shared.bounded_cache import BoundedCache
from adapters.shared.entra import Token
from adapters.shared.http_responses import read_object
from adapters.teams.activities.activity import File, as_object
from adapters.teams.activities.attachments import OwnText, read_attachment
from adapters.teams.activities.html_text import html_to_text
from adapters.teams.activities.lenient import convert_leniently
from adapters.teams.activities.message_links import MessageLink, read_link
from adapters.teams.activities.quotes import Quote
from adapters.teams.api.connector import Connector, Fields, TeamsRejected
from adapters.teams.api.credentials import Credentials
from adapters.teams.cloud import Cloud
from bot.domain.errors import ConfigError, NotAllowed, PlatformUnavailable
from bot.domain.events import QuotedMessage
from bot.domain.words import marked

log = logging.getLogger(__name__)

MESSAGES = 50
PAGES = 4
"""Pages of 50 messages, the most that Graph returns; of longer threads 200 messages are read."""
REFUSAL_HOLDS_S = 1800.0
SEEN_SINCE_HOLDS_S = 600.0
"""A person who is removed and added again may then see less."""
UNREADABLE = marked(
    "I can't read earlier messages here, because Teams only sends me messages that mention me. Please paste "
    "the text, or ask an owner to grant me permission to read this conversation."
)
NO_LINK = marked("This is not a link to a message in Teams. Use *Copy link* in the message's menu.")
ELSEWHERE = marked(
    "The linked message belongs to another organisation, so I can't read it. Please paste its text."
)
NO_MEMBER = marked(
    "I only read linked messages of chats and channels that both of us are members of. Please paste the text, or add "
    "me there."
)
NOT_PERMITTED = marked(
    "I can't read the linked message, because I have no permission to read messages there. Please paste its text, or "
    "ask an owner to grant me permission to read that conversation."
)
NOT_FOUND = marked("I can't find the linked message. It may have been deleted. Please paste its text.")
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
        self._seen_since = BoundedCache[tuple[str, str], tuple[float, datetime | None]](_CACHE_SIZE)

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
        found = await self._seen(found, place, channel)
        found.sort(key=lambda message: int(message["id"]))
        return tuple(filter(None, map(_quote, found[-MESSAGES:])))

    async def linked(self, place: Mapping[str, str], address: str) -> tuple[QuotedMessage, ...]:
        """The message that a link names or, if it begins a thread of a channel, its newest messages, oldest first.

        Only of chats and channels that the asker is a member of. Raises NotAllowed, PlatformUnavailable.
        """
        link = read_link(address)
        if link is None:
            raise NotAllowed(NO_LINK)
        if link.tenant and link.tenant.casefold() != place["tenant"].casefold():
            raise NotAllowed(ELSEWHERE)
        owner = f"{place['tenant']} {link.group or link.conversation}"
        if self._credentials is None or self._refused_until.get(owner, 0.0) > time.monotonic():
            raise NotAllowed(NOT_PERMITTED)
        if link.conversation != place["conversation"].partition(";")[0] and not await self._is_member(
            place, link.conversation
        ):
            raise NotAllowed(NO_MEMBER)
        try:
            found = await self._linked(place, link)
        except _NotFound as error:
            raise NotAllowed(NOT_FOUND) from error
        except (_NotConsented, ConfigError) as error:
            log.info("Linked messages can't be read there: %s", error)
            self._refused_until[owner] = time.monotonic() + REFUSAL_HOLDS_S
            raise NotAllowed(NOT_PERMITTED) from error
        found = await self._seen(found, place, "" if link.in_channel else link.conversation)
        found = sorted(filter(_is_written, found), key=_number)[-MESSAGES:]
        quotes = tuple(filter(None, map(_quote, found)))
        if not quotes:
            raise NotAllowed(NOT_FOUND)
        return tuple(replace(quote, kind="linked", origin=address) for quote in quotes)

    # -------------------------------------------------------------- what later members may see

    async def seen_since(self, place: Mapping[str, str], chat: str = "") -> datetime | None:
        """From when on the asker may see the messages of a group chat, by default of this one.

        None is from the beginning, or not known: it takes a consent of its own (ChatMember.Read.Chat), which apps of
        earlier versions don't ask for. Raises PlatformUnavailable.
        """
        chat = chat or place["conversation"].partition(";")[0]
        person, now = place.get("object", ""), time.monotonic()
        refused = f"{place['tenant']} members {chat}"
        if not person or self._credentials is None or self._refused_until.get(refused, 0.0) > now:
            return None
        until, known = self._seen_since.get((chat, person), (0.0, None))
        if until > now:
            return known
        try:
            members = await self._members(chat, place)
        except (_NotConsented, ConfigError) as error:
            log.info("From when on people see the messages of a chat can't be read: %s", error)
            self._refused_until[refused] = now + REFUSAL_HOLDS_S
            return None
        (known,) = [_start(member) for member in members if member.get("userId") == person][:1] or [None]
        self._seen_since[chat, person] = now + SEEN_SINCE_HOLDS_S, known
        return known

    async def _members(self, chat: str, place: Mapping[str, str]) -> list[Fields]:
        found, url = list[Fields](), f"{self._cloud.graph_url}/v1.0/chats/{quote(chat, safe='')}/members"
        for _ in range(PAGES):
            page = await self._get(url, place)
            found += _objects(page.get("value"))
            url = str(page.get("@odata.nextLink") or "")
            if not url.startswith(f"{self._cloud.graph_url}/"):
                break
        return found

    async def _seen(self, messages: list[Fields], place: Mapping[str, str], chat: str) -> list[Fields]:
        """The messages that the asker may see, in a group chat; in a channel these are all."""
        if not chat or (chat == place["conversation"].partition(";")[0] and place["kind"] != "groupChat"):
            return messages
        since = await self.seen_since(place, chat)
        return [
            message for message in messages if since is None or _number(message) >= since.timestamp() * 1000
        ]

    async def _linked(self, place: Mapping[str, str], link: MessageLink) -> list[Fields]:
        base, conversation = f"{self._cloud.graph_url}/v1.0", quote(link.conversation, safe="")
        if not link.in_channel:
            return [await self._get(f"{base}/chats/{conversation}/messages/{link.message}", place)]
        here = link.conversation == place["conversation"].partition(";")[0]
        group = await self._group(place) if here else link.group
        if not _ID.fullmatch(group):
            raise _NotConsented("the link does not name the team")
        thread = f"{base}/teams/{group}/channels/{conversation}/messages/{link.root or link.message}"
        if link.root and link.root != link.message:
            return [await self._get(f"{thread}/replies/{link.message}", place)]
        return [await self._get(thread, place), *await self._list(f"{thread}/replies", place, _is_written)]

    async def _is_member(self, place: Mapping[str, str], conversation: str) -> bool:
        """Whether the asker is in another chat or channel; false also if the bot is not."""
        try:
            await self._connector.member(place, conversation, place["user"])
        except TeamsRejected as error:
            if error.status not in (400, 401, 403, 404):
                raise
            return False
        return True

    async def _read(self, place: Mapping[str, str], channel: str, root: str) -> list[Fields]:
        base = f"{self._cloud.graph_url}/v1.0"
        if not root:
            earlier = partial(self._is_earlier, place=place)
            return await self._list(f"{base}/chats/{quote(channel, safe='')}/messages", place, earlier)
        team = await self._group(place)
        thread = f"{base}/teams/{team}/channels/{quote(channel, safe='')}/messages/{quote(root, safe='')}"
        first = await self._get(thread, place)
        replies = await self._list(f"{thread}/replies", place, partial(self._is_earlier, place=place))
        return [*([first] if self._is_earlier(first, place) else []), *replies]

    async def _list(
        self, url: str, place: Mapping[str, str], wanted: Callable[[Fields], bool]
    ) -> list[Fields]:
        """The wanted messages at a URL, page by page. If the newest come first, stops at MESSAGES."""
        found: list[Fields] = []
        url = f"{url}?$top=50"
        for _ in range(PAGES):
            page = await self._get(url, place)
            messages = [message for message in _objects(page.get("value")) if _number(message)]
            found += filter(wanted, messages)
            newest_first = len(messages) > 1 and _number(messages[0]) > _number(messages[-1])
            url = str(page.get("@odata.nextLink") or "")
            if not url.startswith(f"{self._cloud.graph_url}/") or (newest_first and len(found) >= MESSAGES):
                break
        return found

    def _is_earlier(self, message: Fields, place: Mapping[str, str]) -> bool:
        """Whether a message came before the question, and not from the bot."""
        application = as_object(as_object(message.get("from")).get("application"))
        return (
            _number(message) < _number({"id": place["activity"]})
            and _is_written(message)
            and f"28:{application.get('id')}" != place["bot"]
        )

    async def _group(self, place: Mapping[str, str]) -> str:
        """The id of the team's group, which Graph needs and not every activity contains."""
        team = place.get("team", "")
        known = f"{place['tenant']} {team}"
        group = place.get("group") or self._groups.get(known)
        if not group and team:
            try:
                group = str((await self._connector.team(place, team)).get("aadGroupId") or "")
            except TeamsRejected as error:
                if error.status not in (400, 401, 403, 404):
                    raise
                raise _NotConsented(str(error)) from error
        if not group or not _ID.fullmatch(group):
            raise _NotConsented("the id of the team's group is not known")
        self._groups[known] = group
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


def _start(member: Fields) -> datetime | None:
    """From when on a member sees the history; Graph says the year 1 for all of it."""
    try:
        start = datetime.fromisoformat(str(member.get("visibleHistoryStartDateTime") or ""))
    except ValueError:
        return None
    start = start.replace(tzinfo=start.tzinfo or UTC)
    return start if start.year > 1 else None


def _is_written(message: Fields) -> bool:
    """Whether somebody wrote it, and has not deleted it."""
    written = message.get("messageType") == "message" and not message.get("deletedDateTime")
    return written and _number(message) > 0


def _quote(message: Fields) -> QuotedMessage | None:
    body, by = as_object(message.get("body")), as_object(message.get("from"))
    text = str(body.get("content") or "")
    if body.get("contentType") == "html":
        text = html_to_text(text)
    text = _with_attachments(text.strip(), _objects(message.get("attachments")))
    author = as_object(by.get("user") or by.get("application")).get("displayName")
    at = datetime.fromtimestamp(_number(message) / 1000, UTC)
    return QuotedMessage(author=str(author or "somebody"), text=text, at=at) if text else None


def _with_attachments(text: str, attachments: Sequence[Fields]) -> str:
    """A text with the cards and quotes that came with it, and the names of the files."""
    before: list[str] = []
    after: list[str] = []
    names: list[str] = []
    for file in attachments:
        match read_attachment(convert_leniently(file, File)):
            case Quote(kind="card") as card:
                after.append(card.text)
            case Quote() as quoted if quoted.text:
                before += [f"> {line}" for line in f"{quoted.author}: {quoted.text}".split("\n")]
            case OwnText(text=words):
                after.append(words)
            case Quote() | None:
                pass
            case part:
                names.append(part.name)
    with_names = [f"[with {', '.join(names)}]"] if names else []
    return "\n".join(part for part in [*before, text, *after, *with_names] if part)
