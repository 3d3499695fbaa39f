"""Conversations that their owners share by link: what others read, and the owner's switch."""

import logging
from collections.abc import Iterable

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.chat.frames import rendered
from adapters.studio.chat.requests import NOT_YOURS, conversation_of, json_of
from adapters.studio.page import Page, Route, render
from adapters.studio.pages.thumbnails import PICTURES
from bot.storage.conversations.turns import Turns
from bot.storage.studio.shared_links import SharedLinks

log = logging.getLogger(__name__)

NOT_SHARED = "This link doesn't lead to a conversation, or its owner has stopped sharing it."
_PATH = "/studio/shared/{id}/{secret}"


class _LinkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    shared: bool


class SharedPage(Page):
    """Whoever is signed in and has the link reads the conversation, and can do nothing else with it."""

    name = "Chat"
    path = "/"
    listed = False

    def __init__(self, turns: Turns, links: SharedLinks) -> None:
        self._turns = turns
        self._links = links

    def routes(self) -> Iterable[Route]:
        return [
            Route("post", "/studio/conversations/{id}/link", self._share),
            Route("page", _PATH, self._show),
            Route("get", _PATH + "/images/{ref}", self._image),
        ]

    # -------------------------------------------------------------- by the owner

    async def _share(self, request: web.Request) -> web.Response:
        body, conversation = await json_of(request, _LinkRequest), await self._own(request)
        who, secret = person_of(request).audited, ""
        if body.shared:
            secret = await self._links.open(conversation)
            log.info("%s shared conversation %s by link", who, conversation)
        else:
            await self._links.close(conversation)
            log.info("%s stopped sharing conversation %s", who, conversation)
        return web.json_response({"link": link_path(conversation, secret)})

    async def _own(self, request: web.Request) -> str:
        """The conversation that the path names, which must be the person's. Raises HttpError."""
        conversation = conversation_of(request)
        if await self._turns.owner(conversation) != person_of(request).id:
            raise HttpError(404, NOT_YOURS)
        return conversation

    # -------------------------------------------------------------- by others

    async def _show(self, request: web.Request) -> web.Response:
        conversation = await self._linked(request)
        turns = await self._turns.turns(conversation)
        if not turns:
            raise HttpError(404, NOT_SHARED)
        log.info("shared conversation %s was read by %s", conversation, person_of(request).audited)
        link = link_path(conversation, request.match_info["secret"])
        rows = [(turn, await rendered(turn.reply.text)) for turn in turns]
        owner = turns[0].received.user
        yours = owner.id == person_of(request).id
        return render(request, "shared.html", rows=rows, link=link, owner=owner.name, yours=yours)

    async def _image(self, request: web.Request) -> web.Response:
        conversation = await self._linked(request)
        image = await self._turns.image(conversation, request.match_info["ref"])
        if image is None or image.mime not in PICTURES:
            raise HttpError(404, "This image is no longer available.")
        return web.Response(body=image.data, content_type=image.mime)

    async def _linked(self, request: web.Request) -> str:
        """The conversation to which the link leads. Raises HttpError."""
        conversation = conversation_of(request)
        if not await self._links.opens(conversation, request.match_info["secret"]):
            raise HttpError(404, NOT_SHARED)
        return conversation


def link_path(conversation: str, secret: str) -> str:
    """The path of the link with this secret; empty if there is none."""
    return f"/studio/shared/{conversation.removeprefix('studio:')}/{secret}" if secret else ""
