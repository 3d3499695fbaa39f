"""Embeddings: how similar texts are, and which examples of a pool are nearest to a question."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import web

from adapters.studio.auth.guard import person_of
from adapters.studio.chat.requests import form_of
from adapters.studio.page import Page, Route, render
from adapters.studio.playground.failures import explained
from adapters.studio.web.charts import Dot, scatter
from adapters.studio.web.projection import apart, plane, similarities
from bot.domain.errors import ConfigError, Refused, Unavailable
from bot.domain.events import User
from bot.prompts.library import PromptLibrary

MOST_TEXTS = 20
MOST_CHARACTERS = 2000
SHOWN = 8
DOT = (0.1, 0.17)
"""Width and height of a dot, as a share of the distance from the middle of the plane to its edge."""


Charged = Callable[[User], AbstractAsyncContextManager[None]]
"""The calls of a block are charged to a person, within their limits."""


class EmbeddingsPage(Page):
    """For editors, as a call costs a little. What they compare is `charged` to them."""

    name = "Embeddings"
    path = "/studio/embeddings"
    icon = "dots"
    role = "editor"

    def __init__(self, library: PromptLibrary, charged: Charged) -> None:
        self._library = library
        self._charged = charged

    def routes(self) -> Iterable[Route]:
        return [Route("page", self.path, self._show), Route("form", self.path, self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        form = await form_of(request) if request.method == "POST" else {}
        pools = sorted(self._library.registry.pools())
        values: dict[str, Any] = {"texts": form.get("texts", ""), "question": form.get("question", "")}
        values |= {"pools": pools, "pool": form.get("pool", ""), "words": "", "figures": None, "ranked": []}
        try:
            async with self._charged(person_of(request).user):
                if form.get("texts"):
                    values |= await self._compare(form["texts"])
                elif form.get("question", "").strip() and form.get("pool") in pools:
                    values["ranked"] = await self._library.rank(form["pool"], form["question"])
        except (Refused, Unavailable, ConfigError) as error:
            values["words"] = explained(request, error, choice=False)
        values["ranked"] = values["ranked"][:SHOWN]
        return render(request, "embeddings.html", **values)

    async def _compare(self, given: str) -> dict[str, Any]:
        stripped = (line.strip()[:MOST_CHARACTERS] for line in given.splitlines())
        texts = list(dict.fromkeys(line for line in stripped if line))
        if not 2 <= len(texts) <= MOST_TEXTS:
            return {"words": f"Enter from 2 to {MOST_TEXTS} different texts, one per line."}
        matrix = similarities(await self._library.embed(texts))
        rows = [
            {"text": text, "cells": [(value, max(0, min(9, int(value * 10)))) for value in row]}
            for text, row in zip(texts, matrix, strict=True)
        ]
        return {"figures": {"rows": rows, "svg": await asyncio.to_thread(_drawn, matrix, texts)}}


def _drawn(matrix: Sequence[Sequence[float]], texts: Sequence[str]) -> str:
    places = enumerate(zip(apart(plane(matrix), *DOT), texts, strict=True), 1)
    dots = [Dot(x, y, str(number), f"{number} · {text}") for number, ((x, y), text) in places]
    return scatter("The texts on a plane; the table below shows how similar they are.", dots)
