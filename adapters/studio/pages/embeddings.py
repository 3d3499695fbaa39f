"""Compare texts as the embedding model sees them, and see what a pool would show for a question."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web

from adapters.studio.auth.guard import Guard
from adapters.studio.chat.requests import form_of
from adapters.studio.pages.projection import apart, plane, similarities
from adapters.studio.services import StudioServices
from adapters.studio.web.charts import Dot, scatter
from adapters.studio.web.rendering import Renderer, page
from bot.domain.errors import ConfigError, Refused, Unavailable

MOST_TEXTS = 20
MOST_CHARACTERS = 2000
SHOWN = 8
DOT = (0.1, 0.17)
"""How wide and how high a dot is, as a part of the plane from its middle to its edge."""


class EmbeddingsPage:
    """For editors: a call costs a little."""

    def __init__(self, services: StudioServices, guard: Guard, draw: Renderer) -> None:
        self._services = services
        self._guard = guard
        self._draw = draw

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The page, empty and with its figures."""
        guard = self._guard.guard
        return [
            web.get("/studio/embeddings", guard(self._show, need="editor", page=True)),
            web.post("/studio/embeddings", guard(self._show, need="editor", page=True, form=True)),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        form = await form_of(request) if request.method == "POST" else {}
        pools = self._services.editor.pools()
        values: dict[str, Any] = {"texts": form.get("texts", ""), "question": form.get("question", "")}
        values |= {"pools": pools, "pool": form.get("pool", ""), "words": "", "figures": None, "ranked": []}
        try:
            if form.get("texts"):
                values |= await self._compare(form["texts"])
            elif form.get("question", "").strip() and form.get("pool") in pools:
                values["ranked"] = await self._services.playground.rank(form["pool"], form["question"])
        except (Refused, Unavailable, ConfigError) as error:
            values["words"] = str(error)
        values["ranked"] = values["ranked"][:SHOWN]
        return page(self._draw(request, "embeddings.html", "Embeddings", **values))

    async def _compare(self, given: str) -> dict[str, Any]:
        stripped = (line.strip()[:MOST_CHARACTERS] for line in given.splitlines())
        texts = list(dict.fromkeys(line for line in stripped if line))
        if not 2 <= len(texts) <= MOST_TEXTS:
            return {"words": f"Give from 2 to {MOST_TEXTS} different texts, each on a line of its own."}
        matrix = similarities(await self._services.playground.embed(texts))
        rows = [
            {"text": text, "cells": [(value, max(0, min(9, int(value * 10)))) for value in row]}
            for text, row in zip(texts, matrix, strict=True)
        ]
        return {"figures": {"rows": rows, "svg": await asyncio.to_thread(_drawn, matrix, texts)}}


def _drawn(matrix: Sequence[Sequence[float]], texts: Sequence[str]) -> str:
    places = enumerate(zip(apart(plane(matrix), *DOT), texts, strict=True), 1)
    dots = [Dot(x, y, str(number), f"{number} · {text}") for number, ((x, y), text) in places]
    return scatter("The texts on a plane; the table below says how alike they are.", dots)
