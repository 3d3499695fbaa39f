"""A model whose calls are noted, as the gateway notes those of its deployments."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

from bot.domain import calls
from bot.domain.calls import Call
from bot.domain.errors import BotError
from bot.domain.prompts import Image, Prompt
from bot.domain.turns import Delta, Purpose, Usage
from bot.llm.protocol import EmptyAnswer, ImageNotDownloaded, Model, OnPartialImage


class NotingModel:
    """Passes everything on to a model."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        call = _begin(prompt, "answer")
        try:
            async with aclosing(cast("AsyncGenerator[Delta]", self._model.chat(prompt))) as deltas:
                async for delta in deltas:
                    if delta.usage is not None:
                        call.end(delta.usage)
                    yield delta
        except BotError as error:
            _fail(call, error)
            raise

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        call = _begin(prompt, "edit" if prompt.edits else "image")
        try:
            drawn, usage = await self._model.draw(prompt, on_partial_image)
        except BotError as error:
            _fail(call, error)
            raise
        call.end(usage)
        return drawn, usage

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        most = Usage(deployment="ada", input_tokens=sum(len(text.encode()) for text in texts), usd=0.0001)
        call = await calls.current().begins(most, "embedding", expected=most, most=most)
        try:
            vectors, usage = await self._model.embed(texts)
        except BotError as error:
            _fail(call, error)
            raise
        call.end(usage)
        return vectors, usage


def _begin(prompt: Prompt, purpose: Purpose) -> Call:
    usage = Usage(deployment=prompt.deployment or "unknown", input_tokens=prompt.input_tokens)
    return calls.current().begin(usage, purpose)


def _fail(call: Call, error: BotError) -> None:
    if isinstance(error, (EmptyAnswer, ImageNotDownloaded)):
        call.end(error.usage)
    elif call.usage.outcome == "interrupted":
        call.fail(unprocessed=error.unprocessed)
