"""The images playground: a prompt, the options of the deployment, a gallery, and edits with a mask."""

import asyncio
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.chat.event_streams import open_stream, write_line
from adapters.studio.chat.frames import milliseconds, partial_image_frame
from adapters.studio.chat.requests import body_of, parsed
from adapters.studio.page import Page, Route, render
from adapters.studio.playground.failures import explained
from adapters.studio.playground.prompt_report import cost_words
from bot.conversation.playground import Playground
from bot.domain.errors import ConfigError, Refused, Unavailable
from bot.domain.events import now
from bot.domain.prompts import Image, Match, Parameters, Template
from bot.domain.turns import Turn

PLAIN = Template(name="images", digest="plain", capability="image", match=Match(default=True))
MOST_BYTES = 16 * 1024 * 1024
"""Of a request with an image and a mask, as base64; the page scales both down."""


class _ImageRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`picture` is edited where `mask`, a PNG, is transparent; both come as base64."""

    prompt: Annotated[str, msgspec.Meta(max_length=4000)]
    deployment: str
    parameters: Parameters = Parameters()
    picture: bytes = b""
    mask: bytes = b""
    alt: Annotated[str, msgspec.Meta(max_length=4000)] = ""


class ImagesPage(Page):
    """For editors, as images cost money."""

    name = "Images"
    path = "/studio/images"
    icon = "picture"
    role = "editor"

    def __init__(self, playground: Playground) -> None:
        self._playground = playground

    def routes(self) -> Iterable[Route]:
        return [Route("page", self.path, self._show), Route("post", self.path, self._generate)]

    async def _show(self, request: web.Request) -> web.Response:
        facts: list[dict[str, Any]] = []
        for one in self._playground.deployments():
            if one.capability == "image":
                whole, masked = self._playground.changes(one)
                ranges = self._playground.parameter_ranges(one)
                facts.append({"name": one.name, "knobs": ranges, "whole": whole, "masked": masked})
        return render(request, "images.html", facts=facts)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        """Stream lines of JSON: partial images, then the images, or why there are none."""
        body = await body_of(request, "application/json", most_bytes=MOST_BYTES)
        asked = await asyncio.to_thread(parsed, body, _ImageRequest)
        if not asked.prompt.strip():
            raise HttpError(400, "Enter a prompt.")
        response = await open_stream(request)

        async def show(image: Image) -> None:
            partial = await asyncio.to_thread(partial_image_frame, "", "", milliseconds(now()), image)
            if partial is not None:
                await _write(response, partial)

        template = msgspec.structs.replace(PLAIN, deployment=asked.deployment, parameters=asked.parameters)
        given = Image(mime="image/png", data=asked.picture, mask=asked.mask, alt=asked.alt)
        picture, user = given if asked.picture else None, person_of(request).user
        try:
            turn, _ = await self._playground.run(
                template, (), asked.prompt, _ignore, user=user, picture=picture, on_partial_image=show
            )
        except (Refused, Unavailable, ConfigError) as error:
            await _write(response, {"kind": "failed", "words": explained(request, error)})
        else:
            await _write(response, _end(turn))
        return response


async def _write(response: web.StreamResponse, frame: object) -> None:
    """When the page is closed, the rest is dropped: the answer is paid for to its end."""
    with suppress(ConnectionError):
        await write_line(response, frame)


def _end(turn: Turn) -> dict[str, Any]:
    if turn.outcome != "answered":
        return {"kind": "failed", "words": turn.reply.text}
    images = [
        {"src": f"data:{one.mime};base64,{b64encode(one.data).decode()}", "alt": one.alt}
        for one in turn.reply.images
    ]
    return {"kind": "done", "images": images, "cost": cost_words(turn), "words": turn.reply.text}


async def _ignore(text: str) -> bool:
    return True
