"""The images playground: a prompt, the options of the deployment, a gallery, and edits with a mask."""

import asyncio
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from aiohttp import web

from adapters.shared.http_body import parse_as
from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.chat.event_streams import open_json_lines
from adapters.studio.chat.frames import milliseconds, partial_image_frame
from adapters.studio.chat.requests import body_of
from adapters.studio.page import Page, Route, render
from adapters.studio.playground.prompt_report import cost_words
from bot.conversation.playground import Playground
from bot.domain.errors import ConfigError, Malformed, Refused, Unavailable
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
                facts.append(
                    {
                        "name": one.name,
                        "knobs": self._playground.parameter_ranges(one),
                        "whole": whole,
                        "masked": masked,
                    }
                )
        return render(request, "images.html", facts=facts)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        """Stream lines of JSON: partial images, then the images, or why there are none."""
        asked = await _read(request)
        response = await open_json_lines(request)
        lines = _Lines(response)
        template = msgspec.structs.replace(PLAIN, deployment=asked.deployment, parameters=asked.parameters)
        given = Image(mime="image/png", data=asked.picture, mask=asked.mask, alt=asked.alt)
        try:
            turn, _ = await self._playground.run(
                template,
                (),
                asked.prompt,
                _ignore,
                user=person_of(request).user,
                picture=given if asked.picture else None,
                on_partial_image=lines.show_partial_image,
            )
        except (Refused, Unavailable, ConfigError) as error:
            await lines.write({"kind": "failed", "words": str(error)})
            return response
        await lines.write(_end(turn))
        return response


class _Lines:
    """Lines of JSON to the page. When it is closed, the rest is dropped: the answer is paid for to its end."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response

    async def write(self, frame: object) -> None:
        with suppress(ConnectionError):
            await self._response.write(msgspec.json.encode(frame) + b"\n")

    async def show_partial_image(self, image: Image) -> None:
        partial = await asyncio.to_thread(partial_image_frame, "", "", milliseconds(now()), image)
        if partial is not None:
            await self.write(partial)


def _end(turn: Turn) -> dict[str, Any]:
    if turn.outcome != "answered":
        return {"kind": "failed", "words": turn.reply.text}
    images = [
        {"src": f"data:{one.mime};base64,{b64encode(one.data).decode()}", "alt": one.alt}
        for one in turn.reply.images
    ]
    return {"kind": "done", "images": images, "cost": cost_words(turn), "words": turn.reply.text}


async def _read(request: web.Request) -> _ImageRequest:
    body = await body_of(request, "application/json", most_bytes=MOST_BYTES)
    try:
        asked = await asyncio.to_thread(parse_as, body, _ImageRequest)
    except Malformed as error:
        raise HttpError(400, f"Invalid request: {error}.") from None
    if not asked.prompt.strip():
        raise HttpError(400, "Enter a prompt.")
    return asked


async def _ignore(text: str) -> bool:
    return True
