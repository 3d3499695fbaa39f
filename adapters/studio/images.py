"""The images playground: a wish, the options that the deployment knows, and a gallery."""

from base64 import b64encode
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from aiohttp import web

from adapters.studio.acts import body_of
from adapters.studio.gate import Gate, Turned
from adapters.studio.paper import Draw, page
from adapters.studio.ports import Workbench
from adapters.studio.sent import cost_words
from bot.errors import ConfigError, Refused, Unavailable
from bot.types import Match, Parameters, Template

PLAIN = Template(name="images", digest="plain", capability="image", match=Match(default=True))


class _Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: Annotated[str, msgspec.Meta(max_length=4000)]
    deployment: str
    parameters: Parameters = Parameters()


class Images:
    """For editors: pictures cost money."""

    def __init__(self, workbench: Workbench, gate: Gate, draw: Draw) -> None:
        self._bench = workbench
        self._gate = gate
        self._draw = draw

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The page, and what it asks for."""
        guard = self._gate.guard
        return [
            web.get("/studio/images", guard(self._show, need="editor", page=True)),
            web.post("/studio/images", guard(self._take, need="editor")),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        able = [one for one in self._bench.deployments() if one.capability == "image"]
        facts = [{"name": one.name, "knobs": self._bench.knobs(one)} for one in able]
        return page(self._draw(request, "images.html", "Images", facts=facts))

    async def _take(self, request: web.Request) -> web.Response:
        try:
            wish = msgspec.json.decode(await body_of(request, "application/json"), type=_Wish)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Turned(400, f"This wish can't be read: {error}.") from None
        if not wish.prompt.strip():
            raise Turned(400, "Say what shall be drawn.")
        template = msgspec.structs.replace(PLAIN, deployment=wish.deployment, parameters=wish.parameters)
        try:
            turn, _ = await self._bench.run(template, (), wish.prompt, _unseen)
        except (Refused, Unavailable, ConfigError) as error:
            raise Turned(503 if isinstance(error, Unavailable) else 422, str(error)) from None
        if turn.outcome != "answered":
            raise Turned(422, turn.reply.text)
        images: list[dict[str, Any]] = [
            {"src": f"data:{one.mime};base64,{b64encode(one.data).decode()}", "alt": one.alt}
            for one in turn.reply.images
        ]
        return web.json_response({"images": images, "cost": cost_words(turn), "words": turn.reply.text})


async def _unseen(text: str) -> bool:
    return True
