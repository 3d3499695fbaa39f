"""Microsoft Teams: activities in, streamed answers out."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Collection, Coroutine, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web
from msgspec.structs import replace
from pydantic import SecretStr

from adapters.shared.entra import Token
from adapters.shared.markdown import aside
from adapters.teams.activities.parser import Activity, address, post_id
from adapters.teams.answers import cards
from adapters.teams.answers.formatting import (
    PICTURE_BYTES,
    SMALLEST_PICTURE_BYTES,
    TEXT_LIMIT,
    is_plain,
    messages,
    offer,
    pictures_of,
)
from adapters.teams.answers.stream import DOING, THINKING, TeamsStream, Typing
from adapters.teams.api import files
from adapters.teams.api.connector import Connector, Fields, TeamsRejected
from adapters.teams.api.credentials import Credentials
from adapters.teams.api.graph_history import GraphHistory
from adapters.teams.cloud import Cloud
from adapters.teams.inbound.http import WebhookHandler
from adapters.teams.inbound.settings import SettingsDialogs
from bot.domain.adapter import Accept, SelfService
from bot.domain.errors import BotError, ConfigError, PlatformUnavailable
from bot.domain.events import Address, Attachment, PostedMessage, QuotedMessage
from bot.domain.turns import CheckResult, Reply

log = logging.getLogger(__name__)

ALONE = (
    "Only you should see the answer to this, and Teams doesn't let me show it to you alone here. Please ask "
    "me the same in a chat with nobody else."
)
_REMEMBERED = 4096


class TeamsAdapter:
    """The adapter for Microsoft Teams.

    One-to-one chats see the answer grow; groups and channels see the sign of typing, then one message.
    Teams keeps no metadata that a bot could search, so a message that was posted by a process that died
    before recording it can't be found again; a recorded one is completed in place.
    """

    name = "teams"

    def __init__(
        self,
        app_id: str,
        app_password: SecretStr | None,
        app_type: str = "MultiTenant",
        tenant_id: str | None = None,
        authenticate: bool = True,
        *,
        certificate_path: Path | None = None,
        tenants: Collection[str] = (),
        sensitivity: str = "",
        self_service: SelfService | None = None,
        cloud: Cloud | None = None,
        pace_s: float = 1.2,
        backoff_s: float = 0.5,
    ) -> None:
        """Take the settings; nothing is opened yet.

        The certificate, a PEM file with its key, stands in for a password. `tenants` are the organisations
        that are served, all without any; `sensitivity` labels every answer ("Confidential"); with a `self_service`
        there are cards for settings. `cloud` is for other endpoints than Microsoft's public ones, `pace_s`
        and `backoff_s` for tests. Without `authenticate` anybody may speak as Teams, and answers go to this
        machine only. Raises ConfigError when credentials are missing.
        """
        self._credentials: Credentials | None = None
        if authenticate:
            self._credentials = Credentials.demanded(
                app_id, app_password, app_type, tenant_id, certificate_path
            )
        self._app_id = app_id
        self._authenticate = authenticate
        self._tenants = frozenset(tenant.lower() for tenant in tenants)
        self._sensitivity = sensitivity
        self._reception = SettingsDialogs(self_service) if self_service is not None else None
        self._cloud = (cloud or Cloud()) if authenticate else (cloud or Cloud()).local()
        self._pace_s = pace_s
        self._backoff_s = backoff_s
        self._token: Token | None = None
        self._showing: OrderedDict[str, TeamsStream | Typing] = OrderedDict()
        self._shown: OrderedDict[str, PostedMessage] = OrderedDict()
        self._errands: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------ life

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1024))
        if self._credentials is not None:
            self._token = Token(self._credentials.fetch(self._session, self._cloud))
            self._run(self._token.bearer(), "fetching the first token")
        self._connector = Connector(self._session, self._token, self._cloud, self._backoff_s)
        self._history = GraphHistory(self._session, self._credentials, self._cloud, self._connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for showing in self._showing.values():
            await showing.end()
        for errand in self._errands:
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)
        await self._history.close()
        if self._token is not None:
            await self._token.close()
        await self._session.close()

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        """POST /api/messages, the address that Azure's page of a bot proposes."""
        inbound = WebhookHandler(
            self._session,
            self._app_id,
            self._cloud,
            self._authenticate,
            accept,
            self._say_soon,
            self._reception,
            self._tenants,
        )
        return [web.post("/api/messages", inbound.handle)]

    async def listen(self, accept: Accept) -> None:
        """Teams speaks to bots by HTTP only."""

    # ------------------------------------------------------------------ answering

    async def open(self, address: Address, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        """Begin a streamed message, or show the sign of typing; see the protocol for the rest."""
        place = address.data
        if begun is not None:
            return await self._resume(begun)
        if place["kind"] == "personal":
            stream = TeamsStream(self._connector, place, self._pace_s)
            if await stream.begin(DOING.get(place.get("doing", ""), THINKING)):
                data = {**place, "parts": stream.id, "stream": stream.id}
                post = PostedMessage(id=post_id(place["conversation"], stream.id), data=data)
                self._remember(post, stream)
                return post
        post = PostedMessage(id=post_id(place["conversation"], f"?{place['activity']}"), data=dict(place))
        self._remember(post, Typing(self._connector, place))
        return post

    async def _resume(self, begun: PostedMessage) -> PostedMessage:
        if old := self._showing.pop(begun.id, None):
            await old.end()
        if (stream := begun.data.get("stream")) and "shows" not in begun.data:
            self._remember(begun, TeamsStream(self._connector, begun.data, self._pace_s, stream))
        else:
            self._remember(begun, Typing(self._connector, begun.data))
        return begun

    async def update(self, post: PostedMessage, text: str) -> bool:
        """Offer the whole text so far; False after the person pressed Stop."""
        showing = self._showing.get(post.id)
        if showing is None:
            return True
        showing.offer(text)
        return not showing.stopped

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        """Show the whole reply in place of what was begun; a stopped answer stays as it is."""
        digest = hashlib.sha256(msgspec.json.encode(reply)).hexdigest()[:16]
        showing = self._showing.get(post.id)
        if showing is not None:
            await showing.end()
        post = self._shown.get(post.id, post)
        if post.data.get("shows") == digest:
            self._showing.pop(post.id, None)
            return post
        post, shown = await self._show(post, reply, showing)
        final = PostedMessage(
            id=post_id(post.data["conversation"], shown[0]),
            data={**post.data, "parts": ",".join(shown), "shows": digest},
        )
        for known in {post.id, final.id}:
            self._shown[known] = final
            self._showing.pop(known, None)
        while len(self._shown) > _REMEMBERED:
            self._shown.popitem(last=False)
        return final

    async def _show(
        self, post: PostedMessage, reply: Reply, showing: TeamsStream | Typing | None
    ) -> tuple[PostedMessage, list[str]]:
        """Deliver; in a group what is meant for one person is shown to them alone, or not at all."""
        private = reply.private and post.data["kind"] != "personal"
        if not private and "targeted" not in post.data:
            return post, await self._deliver(post, reply, showing)
        if "targeted" in post.data or not post.data.get("parts"):
            alone = PostedMessage(id=post.id, data={**post.data, "targeted": "1"})
            try:
                return alone, await self._deliver(alone, replace(reply, rate=False), showing)
            except TeamsRejected as error:
                if error.too_large or error.status not in (400, 403, 404, 405, 501):
                    raise
                log.info("nothing can be shown to one person here: %s", error)
            post = PostedMessage(id=post.id, data={**post.data, "parts": ""})
        post = PostedMessage(
            id=post.id, data={name: one for name, one in post.data.items() if name != "targeted"}
        )
        return post, await self._deliver(post, Reply(text=ALONE), showing)

    async def _deliver(
        self, post: PostedMessage, reply: Reply, showing: TeamsStream | Typing | None
    ) -> list[str]:
        """Show the parts, smaller ones if Teams finds them too large; the ids of the messages."""
        limit, picture_bytes = TEXT_LIMIT, PICTURE_BYTES
        ids = [id for id in post.data.get("parts", "").split(",") if id]
        while True:
            pictures = await asyncio.to_thread(pictures_of, reply.images, picture_bytes)
            parts = await aside(len(reply.text), messages, reply, pictures, limit, self._sensitivity)
            if reply.rate and post.data["kind"] == "personal" and self._shows_buttons(parts[-1]):
                offer(parts[-1], post.data["user"])
            if reply.rate and pictures:
                pictured = next(part for part in parts if "attachments" in part)
                pictured["attachments"].append(cards.attached(cards.of_picture()))
            if reply.confirm:
                card = cards.attached(cards.confirming(reply.confirm))
                parts[-1].setdefault("attachments", []).append(card)
            try:
                for at, part in enumerate(parts):
                    if showing is not None and at == 0 and await showing.finish(part):
                        showing = None
                    elif showing is not None and showing.stopped:
                        return ids
                    elif at < len(ids) and await self._changed(post.data, ids[at], part):
                        pass
                    elif at < len(ids):
                        ids[at] = await self._connector.send(post.data, part)
                    else:
                        ids.append(await self._connector.send(post.data, part))
                        self._shown[post.id] = _with_parts(post, ids)
                break
            except TeamsRejected as error:
                if not error.too_large or limit <= 1000:
                    raise
                limit, picture_bytes = limit // 2, max(picture_bytes // 4, SMALLEST_PICTURE_BYTES)
        for surplus in ids[len(parts) :]:
            await self._withdraw(post.data, surplus)
        return ids[: len(parts)]

    async def _changed(self, place: Mapping[str, str], id: str, part: Fields) -> bool:
        """Whether an earlier message now shows this; not when somebody has deleted it."""
        try:
            await self._connector.change(place, id, part)
        except TeamsRejected as error:
            if error.code != "ActivityNotFoundInConversation":
                raise
            log.info("a message that was to be changed is gone; it comes anew")
            return False
        return True

    def _shows_buttons(self, part: Fields) -> bool:
        """Not below Markdown in the Agents Playground, which shows its signs raw beside buttons.

        Without authentication there is nobody else to speak to.
        """
        return self._authenticate or is_plain(part["text"])

    async def _withdraw(self, place: Mapping[str, str], id: str) -> None:
        try:
            await self._connector.delete(place, id)
        except PlatformUnavailable as error:
            log.warning("a part that is no longer needed could not be deleted: %s", error)

    def _remember(self, post: PostedMessage, showing: TeamsStream | Typing) -> None:
        self._showing[post.id] = showing
        while len(self._showing) > _REMEMBERED:
            _, forgotten = self._showing.popitem(last=False)
            self._run(forgotten.end(), "ending an answer that nobody closed")

    # ------------------------------------------------------------------ the rest

    async def context(self, address: Address, include_channel: bool = False) -> tuple[QuotedMessage, ...]:
        """What was said before the bot was called, where an owner allows it to read that; see `GraphHistory`.

        Raises NotAllowed (in words), PlatformUnavailable.
        """
        return await self._history.before(address.data)

    async def fetch(self, attachment: Attachment) -> bytes:
        """The bytes of a file or an inline picture. Raises NotAllowed, PlatformUnavailable."""
        return await files.fetch(self._session, self._connector, self._cloud, attachment)

    async def check(self) -> list[CheckResult]:
        """Whether Microsoft Entra gives the bot a token."""
        if self._token is None:
            words = "Authentication is off: anybody on this machine may speak as Teams."
            return [CheckResult(level="warning", subject="Teams", words=words)]
        try:
            await self._token.bearer()
        except ConfigError as error:
            words = (
                f"{error} Check MicrosoftAppId, MicrosoftAppPassword, MicrosoftAppType and "
                "MicrosoftAppTenantId against the bot's page in the Azure portal, under Configuration; "
                "a client secret there has an end."
            )
            return [CheckResult(level="error", subject="Teams", words=words)]
        except PlatformUnavailable as error:
            words = f"{error}. Is {self._cloud.login_url} reachable from here?"
            return [CheckResult(level="error", subject="Teams", words=words)]
        found = [CheckResult(level="ok", subject="Teams", words=f"The bot {self._app_id} gets a token.")]
        if self._credentials is not None and (words := self._credentials.ending()):
            found.append(CheckResult(level="warning", subject="Teams", words=words))
        return found

    def _say_soon(self, activity: Activity, message: Fields) -> None:
        self._run(self._connector.send(address(activity).data, message), "saying something short")

    def _run(self, doing: Coroutine[Any, Any, object], what: str) -> None:
        """Do something off the path of a request."""

        async def errand() -> None:
            try:
                await doing
            except BotError as error:
                log.warning("%s failed: %s", what, error)

        task = asyncio.create_task(errand())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)


def _with_parts(post: PostedMessage, ids: list[str]) -> PostedMessage:
    return PostedMessage(id=post.id, data={**post.data, "parts": ",".join(ids)})
