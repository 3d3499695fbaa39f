"""The routes of the studio: the page, what it sends, and the stream that it follows."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web

from adapters.studio.frames import Asked, encode, milliseconds, past_turn
from adapters.studio.gate import SAFE_HEADERS, SIGN_IN, Gate, Turned
from adapters.studio.ports import Feed, History
from bot.adapter import Accept
from bot.errors import StateUnavailable
from bot.types import Act, Address, Event, Image, Rated, Said, Stopped, User, now

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
MIMES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MAX_BODY_BYTES = 256 * 1024
MAX_TEXT = 48_000
"""Characters of one message: about what fills the smallest context of a chat model in use."""
KEEP_ALIVE_S = 15.0
"""Proxies commonly cut a stream that was silent for 30 or 60 seconds."""
PICTURE_PATIENCE_S = 5.0
"""A picture is shown a moment before the turn that holds it is written down: who asks for it waits."""
PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif")

Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
"""128 random bits, drawn by the page: a resent message is the same event; no conversation can be guessed."""

_ID = re.compile(r"[0-9a-f]{32}")
_CURSOR = re.compile(r"[0-9A-Za-z-]{1,64}")
_REF = re.compile(r"[0-9A-Za-z_.-]{1,128}")

ME = User(id="me", tenant="studio")
"""Whoever sits at the page: the studio knows one person, who holds the machine or the token."""


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the person typed."""

    id: Id
    text: str


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The person wants the answer to end here."""

    id: Id


class Rating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the person thinks of the answer `post`."""

    id: Id
    post: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\.[0-9a-f]{32}\Z")]
    good: bool
    comment: Annotated[str, msgspec.Meta(max_length=4000)] = ""


Body = TypeVar("Body", Words, Wish, Rating)


class Pages:
    """The web half of the studio: needs no worker in its process, only the feed and the history."""

    def __init__(self, feed: Feed, history: History, gate: Gate) -> None:
        self._feed = feed
        self._history = history
        self._gate = gate
        self._streams: set[asyncio.Task[None]] = set()

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        """Every route behind the gate."""
        guard = self._gate.guard
        room = "/studio/conversations/{id}"

        def taking(handler: Callable[[web.Request, Accept], Awaitable[web.Response]]) -> web.RouteDef:
            async def handle(request: web.Request) -> web.StreamResponse:
                return await handler(request, accept)

            return web.post(f"{room}/{handler.__name__.removeprefix('take_')}", guard(handle))

        return [
            web.get("/", guard(_file("index.html"), page=True)),
            web.get(SIGN_IN, guard(_file("sign-in.html"), open_to_all=True)),
            web.post(SIGN_IN, guard(self._sign_in, open_to_all=True)),
            *(
                web.get(f"/studio/static/{path.name}", guard(_file(path.name), open_to_all=True))
                for path in sorted(STATIC.iterdir())
                if path.suffix in MIMES and path.suffix != ".html"
            ),
            web.get(room, guard(self._conversation)),
            web.get(f"{room}/events", guard(self._events)),
            web.get(room + "/images/{ref}", guard(self._image)),
            taking(self.take_messages),
            taking(self.take_stop),
            taking(self.take_rating),
        ]

    async def hang_up(self) -> None:
        """End every open stream; the pages come back by themselves when there is a server again."""
        for stream in [*self._streams]:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    # -------------------------------------------------------------- from the person

    async def take_messages(self, request: web.Request, accept: Accept) -> web.Response:
        """202 once the message is written down; a resent one is the same event."""
        conversation = _conversation(request)
        words = await _read(request, Words)
        if not words.text.strip():
            raise Turned(400, "There is nothing in this message.")
        if len(words.text) > MAX_TEXT:
            raise Turned(413, f"This message is too long: {len(words.text):,} characters, {MAX_TEXT:,} fit.")
        act = _act(conversation, words.id)
        said = Said(
            id=act.id, address=act.address, user=ME, at=act.at, text=words.text, channel="studio", direct=True
        )
        receipt = await self._accept(accept, said)
        if receipt == "accepted":
            with suppress(StateUnavailable):  # it is written down: another page shows the question later
                asked = Asked(event=words.id, at=milliseconds(act.at), text=words.text)
                await self._feed.publish(conversation, encode(asked))
        return web.json_response({"receipt": receipt}, status=202)

    async def take_stop(self, request: web.Request, accept: Accept) -> web.Response:
        """The person pressed Stop."""
        act = _act(_conversation(request), (await _read(request, Wish)).id)
        receipt = await self._accept(accept, Stopped(id=act.id, address=act.address, user=ME, at=act.at))
        return web.json_response({"receipt": receipt}, status=202)

    async def take_rating(self, request: web.Request, accept: Accept) -> web.Response:
        """The person rated an answer of this conversation."""
        conversation = _conversation(request)
        rating = await _read(request, Rating)
        if rating.post.partition(".")[0] != conversation.removeprefix("studio:"):
            raise Turned(400, "That answer belongs to another conversation.")
        act = _act(conversation, rating.id)
        rated = Rated(
            id=act.id,
            address=act.address,
            user=ME,
            at=act.at,
            post=rating.post,
            good=rating.good,
            comment=rating.comment,
        )
        return web.json_response({"receipt": await self._accept(accept, rated)}, status=202)

    async def _accept(self, accept: Accept, event: Event) -> str:
        receipt = await accept(event)
        if receipt == "busy":
            raise Turned(
                429, "Too many messages are waiting here. Send this again when some are answered.", 5
            )
        return receipt

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/x-www-form-urlencoded":
            raise Turned(400, "Sign in with the form.")
        await _body(request)
        token = (await request.post()).get("token", "")
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        try:
            return self._gate.sign_in(token if isinstance(token, str) else "", secure=secure)
        except Turned as turned:
            page = (STATIC / "sign-in.html").read_text()
            page = page.replace('<p role="alert"></p>', f'<p role="alert">{turned}</p>')
            return web.Response(text=page, content_type="text/html", status=turned.status)

    # -------------------------------------------------------------- to the page

    async def _conversation(self, request: web.Request) -> web.Response:
        conversation = _conversation(request)
        turns = [past_turn(conversation, turn) for turn in await self._history.turns(conversation)]
        return web.Response(body=encode({"turns": turns}), content_type="application/json")

    async def _image(self, request: web.Request) -> web.Response:
        ref = request.match_info["ref"]
        image = await self._picture(_conversation(request), ref) if _REF.fullmatch(ref) else None
        if image is None or image.mime not in PICTURES:
            raise Turned(404, "That picture is not kept any more.")
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return web.Response(body=image.data, content_type=image.mime, headers=headers)

    async def _picture(self, conversation: str, ref: str) -> Image | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PICTURE_PATIENCE_S):
                while True:
                    image = await self._history.image(conversation, ref)
                    if image is not None:
                        return image
                    await asyncio.sleep(0.1)
        return None

    async def _events(self, request: web.Request) -> web.StreamResponse:
        conversation = _conversation(request)
        after = request.headers.get("Last-Event-ID") or request.query.get("after") or "0"
        if not _CURSOR.fullmatch(after):
            raise Turned(400, "That is not the id of an event.")
        headers = {**SAFE_HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        frames = self._feed.follow(conversation, after)
        tasks = {asyncio.create_task(_pump(response, frames)), asyncio.create_task(_stay(response))}
        self._streams |= tasks
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._streams -= tasks
        return response


async def _pump(response: web.StreamResponse, frames: AsyncIterator[tuple[str, bytes]]) -> None:
    try:
        async for id, frame in frames:
            await response.write(b"id: %s\ndata: %s\n\n" % (id.encode(), frame))
    except ConnectionError:
        log.debug("a page went away")
    except StateUnavailable:
        log.warning("the feed is away; a page will come back for it")


async def _stay(response: web.StreamResponse) -> None:
    """Comments keep proxies from cutting a silent stream, and show when the page has gone."""
    with suppress(ConnectionError):
        while True:
            await response.write(b": here\n\n")
            await asyncio.sleep(KEEP_ALIVE_S)


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


def _conversation(request: web.Request) -> str:
    id = request.match_info["id"]
    if not _ID.fullmatch(id):
        raise Turned(400, "A conversation has an id of 32 hexadecimal digits.")
    return f"studio:{id}"


def _act(conversation: str, id: str) -> Act:
    event = f"{conversation}:{id}"
    address = Address(conversation=conversation, event=event, data={"message": id})
    return Act(id=event, address=address, user=ME, at=now())


async def _read(request: web.Request, kind: type[Body]) -> Body:
    if request.content_type != "application/json":
        raise Turned(400, "A message is JSON.")
    try:
        return msgspec.json.decode(await _body(request), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Turned(400, "This message can't be read.") from None


async def _body(request: web.Request) -> bytes:
    """The body, if it is small enough; a larger one is not read to its end."""
    if (request.content_length or 0) <= MAX_BODY_BYTES:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            body = b" " * (MAX_BODY_BYTES + 1)
        if len(body) <= MAX_BODY_BYTES:
            return body
    raise Turned(413, f"This message is too large: at most {MAX_BODY_BYTES // 1024} kB fit.")
