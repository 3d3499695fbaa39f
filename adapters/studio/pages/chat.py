"""The chat: the page, what it sends, and the stream that it follows."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from functools import partial

from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.chat.event_streams import Streams
from adapters.studio.chat.frames import encode, past_turn
from adapters.studio.chat.requests import ACTS, NOT_YOURS, Act, body_of, conversation_of
from adapters.studio.page import Page, Route, render_html
from adapters.studio.pages.shared import link_path
from adapters.studio.pages.thumbnails import PICTURES
from adapters.studio.web.rendering import cached
from bot.domain.adapter import Accept
from bot.domain.errors import StateUnavailable
from bot.domain.prompts import Image
from bot.storage.conversations.turns import Turns
from bot.storage.live.event_stream import EventStream
from bot.storage.studio.shared_links import SharedLinks

PICTURE_PATIENCE_S = 5.0
"""A picture is shown a moment before its turn is committed; a request for it waits."""

_PATH = "/studio/conversations/{id}"
_CURSOR = re.compile(r"[0-9A-Za-z-]{1,64}")
_REF = re.compile(r"[0-9A-Za-z_.-]{1,128}")


class ChatPage(Page):
    """Needs no worker in its process, only the event stream and the turns."""

    name = "Chat"
    path = "/"
    icon = "chat"

    def __init__(
        self,
        event_stream: EventStream,
        turns: Turns,
        streams: Streams,
        accept: Accept,
        links: SharedLinks | None = None,
    ) -> None:
        self._event_stream = event_stream
        self._turns = turns
        self._streams = streams
        self._accept = accept
        self._links = links

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", "/", self._show),
            Route("get", _PATH, self._conversation),
            Route("get", f"{_PATH}/events", self._events),
            Route("get", _PATH + "/images/{ref}", self._image),
            *(Route("post", f"{_PATH}/{name}", partial(self._take, act)) for name, act in ACTS.items()),
        ]

    # -------------------------------------------------------------- from the person

    async def _take(self, act: Act, request: web.Request) -> web.Response:
        """Store the event, then tell the open pages. Raises HttpError, StateUnavailable."""
        body = await body_of(request, "application/json")
        event, asked = act(conversation_of(request), body, person_of(request).user)
        receipt = await self._accept(event)
        if receipt == "denied":
            raise HttpError(404, NOT_YOURS)
        if receipt == "busy":
            raise HttpError(429, "Too many messages are waiting in this conversation. Try again shortly.", 5)
        if receipt == "accepted" and asked is not None:
            with suppress(StateUnavailable):  # it is stored: the other pages show it later
                await self._event_stream.publish(event.address.conversation, encode(asked))
        return web.json_response({"receipt": receipt}, status=202)

    # -------------------------------------------------------------- to the page

    async def _show(self, request: web.Request) -> web.Response:
        """Holds nobody's messages, so the browser may keep it."""
        html = render_html(request, "chat.html")
        return cached(request, html.encode(), "text/html", "private, no-cache")

    async def _conversation(self, request: web.Request) -> web.Response:
        conversation, _ = await self._own(request)
        person = person_of(request)
        kept = await self._turns.turns(conversation)
        turns = [
            await past_turn(conversation, turn, person.user, causes=person.role == "operator")
            for turn in kept
        ]
        secret = await self._links.find(conversation) if self._links is not None else ""
        body = encode({"turns": turns, "link": link_path(conversation, secret)})
        return web.Response(body=body, content_type="application/json")

    async def _image(self, request: web.Request) -> web.Response:
        ref = request.match_info["ref"]
        conversation, _ = await self._own(request)
        image = await self._picture(conversation, ref) if _REF.fullmatch(ref) else None
        if image is None or image.mime not in PICTURES:
            raise HttpError(404, "This image is no longer available.")
        headers = {"Cache-Control": "private, max-age=86400, immutable", "Vary": "Cookie"}
        return web.Response(body=image.data, content_type=image.mime, headers=headers)

    async def _picture(self, conversation: str, ref: str) -> Image | None:
        # The clock is read each time: a timeout's cancellation can get lost in a reply of Redis (Python 3.11).
        until_s = time.monotonic() + PICTURE_PATIENCE_S
        while (image := await self._turns.image(conversation, ref)) is None:
            if time.monotonic() >= until_s:
                return None
            await asyncio.sleep(0.1)
        return image

    async def _events(self, request: web.Request) -> web.StreamResponse:
        conversation, claimed = await self._own(request)
        after = request.headers.get("Last-Event-ID") or request.query.get("after") or "0"
        if not _CURSOR.fullmatch(after):
            raise HttpError(400, "This is not the id of an event.")
        person = person_of(request)
        frames = self._frames(conversation, after, None if claimed else person.id)
        return await self._streams.send(request, person, frames)

    async def _own(self, request: web.Request) -> tuple[str, bool]:
        """The conversation that the path names, and whether its owner is known. Raises HttpError.

        Until somebody has written in it, whoever knows its id may open it: a page does so before it sends its
        first message.
        """
        conversation = conversation_of(request)
        owner = await self._turns.owner(conversation)
        if owner not in (None, person_of(request).id):
            raise HttpError(404, NOT_YOURS)
        return conversation, owner is not None

    async def _frames(
        self, conversation: str, after: str, person: str | None
    ) -> AsyncGenerator[tuple[str, bytes]]:
        """The frames of a conversation; for a `person` who came before its owner, only if they are the same."""
        async for id, frame in self._event_stream.follow(conversation, after):
            if person is not None and await self._turns.owner(conversation) != person:
                return
            person = None
            yield id, frame
