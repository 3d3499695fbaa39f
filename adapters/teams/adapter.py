"""Microsoft Teams: activities in, streamed answers out."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Self

import aiohttp
import msgspec
from aiohttp import web
from msgspec.structs import replace

from adapters.shared.background_tasks import BackgroundTasks
from adapters.shared.bounded_cache import BoundedCache
from adapters.shared.entra import Token
from adapters.shared.markdown import aside
from adapters.teams.activities.activity import Activity, post_id
from adapters.teams.activities.parser import address
from adapters.teams.answers import cards
from adapters.teams.answers.formatting import (
    PICTURE_BYTES,
    SMALLEST_PICTURE_BYTES,
    TEXT_LIMIT,
    add_buttons,
    is_plain,
    messages,
    pictures_of,
    simplified,
)
from adapters.teams.answers.stream import DOING, THINKING, TeamsStream, Typing
from adapters.teams.api import files
from adapters.teams.api.channel_names import ChannelNames
from adapters.teams.api.connector import Connector, Fields, TeamsRejected
from adapters.teams.api.credentials import Credentials
from adapters.teams.api.graph_history import GraphHistory
from adapters.teams.cloud import Cloud
from adapters.teams.inbound.http import WebhookHandler
from adapters.teams.inbound.jwt_auth import JwtAuthentication
from adapters.teams.inbound.settings import SettingsDialogs
from bot.domain.adapter import STREAMED, VISIBLE_TO_ASKER, Accept, SelfService, StreamRecord
from bot.domain.errors import ConfigError, NotAllowed, PlatformUnavailable
from bot.domain.events import Address, Attachment, MessageReceived, PostedMessage, QuotedMessage, User
from bot.domain.turns import CheckResult, Reply
from bot.domain.words import marked, tr

log = logging.getLogger(__name__)

ALONE = marked(
    "This answer is for you only, and Teams doesn't support private messages here. "
    "Please ask me again in a one-on-one chat."
)
_MAX_POSTS = 4096
SURFACE = (
    "Your answers are shown in Microsoft Teams: bold, italic, lists, links, quotes and code blocks, and tables of at "
    "most three narrow columns. LaTeX, HTML, footnotes and images by link are not shown: write formulas in plain "
    "characters."
)


class TeamsAdapter:
    """The adapter for Microsoft Teams.

    One-on-one chats see the answer grow; groups and channels see the typing indicator, then one message.
    Teams has no metadata that a bot can search, so a message whose process crashed before recording it
    can't be found again. A recorded one is completed in place.
    """

    name = "teams"
    surface = SURFACE

    def __init__(
        self,
        credentials: Credentials | None,
        *,
        tenants: Collection[str] = (),
        sensitivity: str = "",
        self_service: SelfService | None = None,
        cloud: Cloud | None = None,
        pace_s: float = 1.2,
        backoff_s: float = 0.5,
    ) -> None:
        """Take the settings; nothing is opened yet.

        Without `credentials` callers are not authenticated, and answers go to this machine only. `tenants`
        are the organisations that are served; empty serves all. `sensitivity` labels every answer
        ("Confidential"). With `self_service` there are settings cards. `pace_s` and `backoff_s` are for tests.
        """
        self._credentials = credentials
        self._tenants = frozenset(tenant.lower() for tenant in tenants)
        self._sensitivity = sensitivity
        self._dialogs = SettingsDialogs(self_service) if self_service is not None else None
        self._cloud = (cloud or Cloud()) if credentials else (cloud or Cloud()).local()
        self._pace_s = pace_s
        self._backoff_s = backoff_s
        self._token: Token | None = None
        self._showing: dict[str, TeamsStream | Typing] = {}
        self._shown = BoundedCache[str, PostedMessage](_MAX_POSTS)
        self._tasks = BackgroundTasks()

    # ------------------------------------------------------------------ lifecycle

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1024))
        if self._credentials is not None:
            self._token = Token(self._credentials.fetch(self._session, self._cloud))
            self._tasks.start(self._token.bearer(), "Fetching the first token")
        self._connector = Connector(self._session, self._token, self._cloud, self._backoff_s)
        self._channel_names = ChannelNames(self._connector)
        self._history = GraphHistory(self._session, self._credentials, self._cloud, self._connector)
        return self

    async def __aexit__(self, *error: object) -> None:
        for showing in self._showing.values():
            await showing.end()
        await self._tasks.close()
        await self._history.close()
        if self._token is not None:
            await self._token.close()
        await self._session.close()

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        """POST /api/messages, the messaging endpoint that Azure suggests."""
        app_id = self._credentials.app_id if self._credentials else None
        auth = JwtAuthentication(self._session, self._cloud, app_id)
        inbound = WebhookHandler(auth, self._cloud, accept, self._send_soon, self._dialogs, self._tenants)
        return [web.post("/api/messages", inbound.handle)]

    async def listen(self, accept: Accept) -> None:
        """Do nothing: Teams delivers events by HTTP only."""

    # ------------------------------------------------------------------ answering

    async def open(self, address: Address, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        """Start a streamed message, or show the typing indicator."""
        place = address.data
        if begun is not None:
            return await self._resume(begun)
        if place["kind"] == "personal":
            stream = TeamsStream(self._connector, place, self._pace_s)
            if await stream.begin(tr(DOING.get(place.get("doing", ""), THINKING))):
                data = {**place, "parts": stream.id, "stream": stream.id}
                post = PostedMessage(id=post_id(place["conversation"], stream.id), data=data)
                self._remember(post, stream)
                return post
        post = PostedMessage(id=post_id(place["conversation"], f"?{place['activity']}"), data=dict(place))
        self._remember(post, Typing(self._connector, place))
        return post

    async def _resume(self, begun: PostedMessage) -> PostedMessage:
        old = self._showing.pop(begun.id, None)
        if old is not None:
            await old.end()
        if isinstance(old, TeamsStream) and "shows" not in begun.data:
            self._remember(begun, old.resumed())
        elif (stream := begun.data.get("stream")) and "shows" not in begun.data:
            shown = begun.data.get(STREAMED)
            self._remember(begun, TeamsStream(self._connector, begun.data, self._pace_s, stream, shown))
        else:
            self._remember(begun, Typing(self._connector, begun.data))
        return begun

    async def update(self, post: PostedMessage, text: str) -> bool:
        """Show the whole text so far, throttled; False after the person pressed Stop."""
        showing = self._showing.get(post.id)
        if showing is None:
            return True
        showing.offer(text)
        return not showing.stopped

    def record_in(self, post: PostedMessage, record: StreamRecord) -> None:
        """Record each further text of a streamed message before it is shown."""
        showing = self._showing.get(post.id)
        if isinstance(showing, TeamsStream):
            showing.record_in(post, record)

    def streamed(self, post: PostedMessage) -> PostedMessage | None:
        """The post with what was streamed of it, for the process that completes it; None if nothing was."""
        showing = self._showing.get(post.id)
        if not isinstance(showing, TeamsStream) or not showing.shown:
            return None
        return PostedMessage(id=post.id, data={**post.data, STREAMED: showing.shown})

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        """Show the complete reply in the message of `open`; a stopped answer stays as it is."""
        digest = hashlib.sha256(msgspec.json.encode(reply)).hexdigest()[:16]
        showing = self._showing.get(post.id)
        if showing is not None:
            await showing.end()
        post = self._shown.get(post.id, post)
        if post.data.get("shows") == digest:
            self._showing.pop(post.id, None)
            return post
        try:
            post, shown = await self._show(post, reply, showing)
        except PlatformUnavailable as error:
            partial = self._shown.get(post.id, post)
            error.post = self.streamed(partial) or partial
            raise
        data = {name: value for name, value in post.data.items() if name != STREAMED}
        final = PostedMessage(
            id=post_id(post.data["conversation"], shown[0]),
            data={**data, "parts": ",".join(shown), "shows": digest},
        )
        for known in {post.id, final.id}:
            self._shown[known] = final
            self._showing.pop(known, None)
        return final

    async def _show(
        self, post: PostedMessage, reply: Reply, showing: TeamsStream | Typing | None
    ) -> tuple[PostedMessage, list[str]]:
        """Show the reply. In a group, a private one is a targeted message, or is replaced by a note."""
        private = reply.private and post.data["kind"] != "personal"
        if not private and "targeted" not in post.data:
            return post, await self._deliver(post, reply, showing)
        seen = post.data.get("parts", "") if "targeted" not in post.data else ""
        if seen:
            await self._deliver(post, Reply(text=tr(VISIBLE_TO_ASKER)), showing)
            showing, post = None, PostedMessage(id=post.id, data={**post.data, "parts": ""})
        targeted = PostedMessage(id=post.id, data={**post.data, "targeted": "1"})
        try:
            return targeted, await self._deliver(targeted, replace(reply, rate=False), showing)
        except TeamsRejected as error:
            if error.too_large or error.status not in (400, 403, 404, 405, 501):
                raise
            log.info("Targeted messages are not available here: %s", error)
        post = PostedMessage(id=post.id, data={**post.data, "parts": seen})
        data = {name: value for name, value in post.data.items() if name != "targeted"}
        post = PostedMessage(id=post.id, data=data)
        return post, await self._deliver(post, Reply(text=tr(ALONE)), showing)

    async def _deliver(
        self, post: PostedMessage, reply: Reply, showing: TeamsStream | Typing | None
    ) -> list[str]:
        """Show the parts: smaller ones if Teams rejects them as too large, simpler ones if it rejects their content.

        Returns the ids of the messages.
        """
        limit, picture_bytes, label = TEXT_LIMIT, PICTURE_BYTES, self._sensitivity
        ids = [id for id in post.data.get("parts", "").split(",") if id]
        while True:
            parts = await self._laid_out(post, reply, limit, picture_bytes, label)
            try:
                for at, part in enumerate(parts):
                    if showing is not None and at == 0 and await showing.finish(part):
                        showing = None
                    elif showing is not None and showing.stopped:
                        return ids
                    elif at < len(ids) and await self._changed(post.data, ids[at], part, showing):
                        pass
                    elif at < len(ids):
                        ids[at] = await self._connector.send(post.data, part)
                    else:
                        ids.append(await self._connector.send(post.data, part))
                        posted = {**post.data, "parts": ",".join(ids)}
                        self._shown[post.id] = PostedMessage(id=post.id, data=posted)
                break
            except TeamsRejected as error:
                simpler = simplified(reply, label) if error.about_content else None
                if error.too_large and limit > 1000:
                    limit, picture_bytes = limit // 2, max(picture_bytes // 4, SMALLEST_PICTURE_BYTES)
                elif simpler is not None:
                    log.warning("A part of an answer is left out: %s", error)
                    reply, label = simpler, ""
                else:
                    raise
        for surplus in ids[len(parts) :]:
            await self._withdraw(post.data, surplus)
        return ids[: len(parts)]

    async def _laid_out(
        self, post: PostedMessage, reply: Reply, limit: int, picture_bytes: int, label: str
    ) -> list[Fields]:
        """The activities that show a reply. `label` is the sensitivity."""
        pictures = await asyncio.to_thread(pictures_of, reply.images, picture_bytes)
        parts = await aside(len(reply.text), messages, reply, pictures, limit, label)
        if reply.rate and post.data["kind"] == "personal" and self._shows_buttons(parts[-1]):
            add_buttons(parts[-1], post.data["user"])
        if reply.rate and pictures:
            pictured = next(part for part in parts if "attachments" in part)
            pictured["attachments"].append(cards.attached(cards.image_buttons()))
        if reply.confirm:
            card = cards.attached(cards.confirming(reply.confirm, reply.confirm_label))
            parts[-1].setdefault("attachments", []).append(card)
        return parts

    async def _changed(
        self, place: Mapping[str, str], id: str, part: Fields, showing: TeamsStream | Typing | None
    ) -> bool:
        """Update an earlier message; False if somebody has deleted it, or if it can't be updated and is deleted now.

        The latter happens to a stream that another process left open with words that are not known here.
        """
        try:
            await self._connector.change(place, id, part)
        except TeamsRejected as error:
            unfinished = isinstance(showing, TeamsStream) and showing.is_open and showing.id == id
            if error.deleted:
                log.info("A message to update was deleted; it is posted again: %s", error)
            elif unfinished and not error.too_large and error.status in (400, 403, 405):
                log.info("A stream that was left open can't be updated; it is posted again: %s", error)
                await self._withdraw(place, id)
            else:
                raise
            return False
        return True

    def _shows_buttons(self, part: Fields) -> bool:
        """Whether to add buttons. The Agents Playground (no authentication) shows raw Markdown beside them."""
        return self._credentials is not None or is_plain(part["text"])

    async def _withdraw(self, place: Mapping[str, str], id: str) -> None:
        try:
            await self._connector.delete(place, id)
        except PlatformUnavailable as error:
            log.warning("Could not delete a message that is no longer needed: %s", error)

    def _remember(self, post: PostedMessage, showing: TeamsStream | Typing) -> None:
        self._showing[post.id] = showing
        if len(self._showing) > _MAX_POSTS:
            abandoned = self._showing.pop(next(iter(self._showing)))
            self._tasks.start(abandoned.end(), "Ending an abandoned answer")

    # ------------------------------------------------------------------ context, files, checks

    async def with_sender(self, received: MessageReceived) -> MessageReceived:
        """The message with the name of its channel, and from when on its author may see a group chat.

        Who sent it, Teams tells with each message.
        """
        if received.address.data["kind"] == "groupChat":
            with suppress(PlatformUnavailable):
                return replace(received, seen_since=await self._history.seen_since(received.address.data))
        if received.direct or received.channel_name:
            return received
        name = await self._channel_names.name(received.address.data, received.channel)
        return replace(received, channel_name=name)

    async def tell(self, user: User, address: Address | None, notice: str, write: Callable[[], str]) -> bool:
        """Send a message to a one-on-one chat that exists. A lost response can make it appear twice."""
        if address is None or address.data["kind"] != "personal":
            return False
        for message in messages(Reply(text=write()), (), TEXT_LIMIT):
            await self._connector.send(address.data, message)
        return True

    async def context(self, address: Address, include_channel: bool = False) -> tuple[QuotedMessage, ...]:
        """Earlier messages of the conversation, if an owner allows the bot to read them; see `GraphHistory`.

        Raises NotAllowed, PlatformUnavailable. In a group chat, nobody expects the bot to know what it was not told, so
        without permission there are no earlier messages, unless they are asked for (`include_channel`).
        """
        try:
            return await self._history.before(address.data)
        except NotAllowed:
            if include_channel or address.data["kind"] != "groupChat":
                raise
            return ()

    async def linked(self, address: Address, link: str) -> tuple[QuotedMessage, ...]:
        """The message or thread that a link names, if the asker and an owner allow it; see `GraphHistory`.

        Raises NotAllowed, PlatformUnavailable.
        """
        return await self._history.linked(address.data, link)

    async def fetch(self, attachment: Attachment) -> bytes:
        """The bytes of a file or an inline image. Raises NotAllowed, PlatformUnavailable."""
        return await files.fetch(self._session, self._connector, self._cloud, attachment)

    async def check(self) -> list[CheckResult]:
        """Check that Microsoft Entra issues a token, and when the certificate expires."""
        if self._token is None or self._credentials is None:
            words = "Token validation is off: any local process can send requests as Teams. Use this for testing only."
            return [CheckResult(level="warning", subject="Teams", words=words)]
        try:
            await self._token.bearer()
        except ConfigError as error:
            words = (
                f"{error} Compare MicrosoftAppId, MicrosoftAppPassword, MicrosoftAppType and "
                "MicrosoftAppTenantId with the bot's Configuration page in the Azure portal, "
                "and check that the client secret has not expired."
            )
            return [CheckResult(level="error", subject="Teams", words=words)]
        except PlatformUnavailable as error:
            words = f"{error}. Check that {self._cloud.login_url} can be reached."
            return [CheckResult(level="error", subject="Teams", words=words)]
        found = [CheckResult(level="ok", subject="Teams", words=f"{self._credentials.app_id} gets a token.")]
        if words := self._credentials.expiry_notice():
            found.append(CheckResult(level="warning", subject="Teams", words=words))
        return found

    def _send_soon(self, activity: Activity, message: Fields) -> None:
        self._tasks.start(self._connector.send(address(activity).data, message), "Sending a notice")
