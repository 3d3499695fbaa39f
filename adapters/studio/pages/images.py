"""The images playground: a wish, the options that the deployment knows, a gallery, and changes by a mask."""

import asyncio
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from aiohttp import web

from adapters.shared.http_body import parse_as
from adapters.studio.auth.guard import SAFE_HEADERS, Guard, HttpError
from adapters.studio.chat.frames import milliseconds, partial_image_frame
from adapters.studio.chat.requests import body_of
from adapters.studio.playground.prompt_report import cost_words
from adapters.studio.web.rendering import Renderer, page
from bot.conversation.playground import Playground
from bot.domain.errors import ConfigError, Malformed, Refused, Unavailable
from bot.domain.events import now
from bot.domain.prompts import Image, Match, Parameters, Template

PLAIN = Template(name="images", digest="plain", capability="image", match=Match(default=True))
MOST_BYTES = 16 * 1024 * 1024
"""Of a wish with a picture and a mask, as base64: the page makes both small enough."""


class _ImageRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`picture` is to be changed, where `mask`, a PNG, is transparent; both come as base64."""

    prompt: Annotated[str, msgspec.Meta(max_length=4000)]
    deployment: str
    parameters: Parameters = Parameters()
    picture: bytes = b""
    mask: bytes = b""
    alt: Annotated[str, msgspec.Meta(max_length=4000)] = ""


class ImagesPage:
    """For editors: pictures cost money."""

    def __init__(self, playground: Playground, guard: Guard, draw: Renderer) -> None:
        self._playground = playground
        self._guard = guard
        self._draw = draw

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The page, and what it asks for."""
        guard = self._guard.guard
        return [
            web.get("/studio/images", guard(self._show, need="editor", page=True)),
            web.post("/studio/images", guard(self._take, need="editor")),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        facts: list[dict[str, Any]] = []
        for one in self._playground.deployments():
            if one.capability == "image":
                whole, masked = self._playground.changes(one)
                facts.append(
                    {
                        "name": one.name,
                        "knobs": self._playground.parameter_ranges(one),
                        "whole": whole,
                        "masked": masked,
                    }
                )
        return page(self._draw(request, "images.html", "Images", facts=facts))

    async def _take(self, request: web.Request) -> web.StreamResponse:
        """Stream lines of JSON: the picture as far as it is drawn, then the whole, or why there is none."""
        asked = await _read(request)
        headers = {**SAFE_HEADERS, "Content-Type": "application/x-ndjson", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)

        async def write(frame: object) -> None:
            with suppress(ConnectionError):  # what was asked for is paid, and counted, to its end
                await response.write(msgspec.json.encode(frame) + b"\n")

        async def on_partial_image(picture: Image) -> None:
            partial = await asyncio.to_thread(partial_image_frame, "", "", milliseconds(now()), picture)
            if partial is not None:
                await write(partial)

        template = msgspec.structs.replace(PLAIN, deployment=asked.deployment, parameters=asked.parameters)
        given = Image(mime="image/png", data=asked.picture, mask=asked.mask, alt=asked.alt)
        try:
            turn, _ = await self._playground.run(
                template,
                (),
                asked.prompt,
                _unseen,
                user=self._guard.person(request).user,
                picture=given if asked.picture else None,
                on_partial_image=on_partial_image,
            )
        except (Refused, Unavailable, ConfigError) as error:
            await write({"kind": "failed", "words": str(error)})
            return response
        if turn.outcome != "answered":
            await write({"kind": "failed", "words": turn.reply.text})
            return response
        images: list[dict[str, Any]] = [
            {"src": f"data:{one.mime};base64,{b64encode(one.data).decode()}", "alt": one.alt}
            for one in turn.reply.images
        ]
        words = turn.reply.text
        await write({"kind": "done", "images": images, "cost": cost_words(turn), "words": words})
        return response


async def _read(request: web.Request) -> _ImageRequest:
    body = await body_of(request, "application/json", most_bytes=MOST_BYTES)
    try:
        asked = await asyncio.to_thread(parse_as, body, _ImageRequest)
    except Malformed as error:
        raise HttpError(400, f"This wish can't be read: {error}.") from None
    if not asked.prompt.strip():
        raise HttpError(400, "Say what shall be drawn.")
    return asked


async def _unseen(text: str) -> bool:
    return True
