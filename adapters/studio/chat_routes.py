"""The routes of the studio: the page, what it sends, and the stream that it follows."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from adapters.studio.auth.guard import Guard, HttpError
from adapters.studio.chat.frames import QuestionFrame, encode, past_turn
from adapters.studio.chat.requests import ACTS, body_of, conversation_of
from adapters.studio.routes import Routes
from adapters.studio.web.rendering import kept_page
from bot.domain.adapter import Accept
from bot.domain.errors import StateUnavailable
from bot.domain.events import Event
from bot.domain.prompts import Image
from bot.storage.conversations.turns import Turns
from bot.storage.live.event_stream import EventStream

STATIC = Path(__file__).parent / "static"
MIMES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PICTURE_PATIENCE_S = 5.0
"""A picture is shown a moment before the turn that holds it is written down: who asks for it waits."""
NOT_YOURS = "There is no such conversation, or it is somebody else's."
PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif")

_CURSOR = re.compile(r"[0-9A-Za-z-]{1,64}")
_REF = re.compile(r"[0-9A-Za-z_.-]{1,128}")


class ChatRoutes:
    """The web half of the studio: needs no worker in its process, only the feed and the history."""

    def __init__(self, event_stream: EventStream, history: Turns, guard: Guard, pages: Routes) -> None:
        self._pages = pages
        self._event_stream = event_stream
        self._history = history
        self._guard = guard

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        """Every route behind the guard."""
        guard = self._guard.guard
        room = "/studio/conversations/{id}"

        def taking(name: str) -> web.RouteDef:
            async def take(request: web.Request) -> web.StreamResponse:
                body = await body_of(request, "application/json")
                user = self._guard.person(request).user
                return await self._take(accept, *ACTS[name](conversation_of(request), body, user))

            return web.post(f"{room}/{name}", guard(take))

        return [
            web.get("/", guard(self._chat, page=True)),
            *(
                web.get(f"/studio/static/{path.name}", guard(_file(path.name), open_to_all=True))
                for path in sorted(STATIC.iterdir())
                if path.suffix in MIMES
            ),
            web.get(room, guard(self._conversation)),
            web.get(f"{room}/events", guard(self._events)),
            web.get(room + "/images/{ref}", guard(self._image)),
            *(taking(name) for name in ACTS),
            *self._pages.routes(),
        ]

    async def hang_up(self) -> None:
        """End every open stream; the pages come back by themselves when there is a server again."""
        await self._pages.streams.hang_up()

    # -------------------------------------------------------------- from the person

    async def _take(self, accept: Accept, event: Event, asked: QuestionFrame | None) -> web.Response:
        """Have the event written down, then tell the open pages of it. Raises HttpError, StateUnavailable."""
        receipt = await accept(event)
        if receipt == "denied":
            raise HttpError(404, NOT_YOURS)
        if receipt == "busy":
            raise HttpError(429, "Too many messages are waiting here. Send this again in a moment.", 5)
        if receipt == "accepted" and asked is not None:
            with suppress(StateUnavailable):  # it is written down: the other pages show it later
                await self._event_stream.publish(event.address.conversation, encode(asked))
        return web.json_response({"receipt": receipt}, status=202)

    # -------------------------------------------------------------- to the page

    async def _chat(self, request: web.Request) -> web.Response:
        return kept_page(request, self._pages.draw(request, "chat.html", "Chat"))

    async def _conversation(self, request: web.Request) -> web.Response:
        conversation, _ = await self._own(request)
        reader = self._guard.person(request).user
        kept = await self._history.turns(conversation)
        turns = [await past_turn(conversation, turn, reader) for turn in kept]
        return web.Response(body=encode({"turns": turns}), content_type="application/json")

    async def _image(self, request: web.Request) -> web.Response:
        ref = request.match_info["ref"]
        conversation, _ = await self._own(request)
        image = await self._picture(conversation, ref) if _REF.fullmatch(ref) else None
        if image is None or image.mime not in PICTURES:
            raise HttpError(404, "That picture is not kept any more.")
        headers = {"Cache-Control": "private, max-age=86400, immutable", "Vary": "Cookie"}
        return web.Response(body=image.data, content_type=image.mime, headers=headers)

    async def _picture(self, conversation: str, ref: str) -> Image | None:
        # The clock is asked each time: a timeout's cancellation can get lost in an answer of Redis (Python 3.11).
        until_s = time.monotonic() + PICTURE_PATIENCE_S
        while (image := await self._history.image(conversation, ref)) is None:
            if time.monotonic() >= until_s:
                return None
            await asyncio.sleep(0.1)
        return image

    async def _events(self, request: web.Request) -> web.StreamResponse:
        conversation, claimed = await self._own(request)
        after = request.headers.get("Last-Event-ID") or request.query.get("after") or "0"
        if not _CURSOR.fullmatch(after):
            raise HttpError(400, "That is not the id of an event.")
        person = self._guard.person(request)
        frames = self._frames(conversation, after, None if claimed else person.id)
        return await self._pages.streams.send(request, person, frames)

    async def _own(self, request: web.Request) -> tuple[str, bool]:
        """The conversation that the path names, and whether its owner is known. Raises HttpError.

        While nobody has written in it, it may be looked at by whoever knows its id: a page does so before it
        sends its first message.
        """
        conversation = conversation_of(request)
        owner = await self._history.owner(conversation)
        if owner not in (None, self._guard.person(request).id):
            raise HttpError(404, NOT_YOURS)
        return conversation, owner is not None

    async def _frames(
        self, conversation: str, after: str, person: str | None
    ) -> AsyncGenerator[tuple[str, bytes]]:
        """What is written in a conversation; for a `person` who came before its owner, if they are that."""
        async for id, frame in self._event_stream.follow(conversation, after):
            if person is not None and await self._history.owner(conversation) != person:
                return
            person = None
            yield id, frame


def _file(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A file of the page, read once; asked for again at each visit, sent again only when it changed."""
    body = (STATIC / name).read_bytes()
    mime = MIMES[Path(name).suffix]
    tag = sha256(body).hexdigest()[:16]

    async def serve(request: web.Request) -> web.Response:
        headers = {"Cache-Control": "no-cache", "ETag": f'"{tag}"'}
        if any(each.value == tag for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=mime, charset="utf-8", headers=headers)

    return serve
