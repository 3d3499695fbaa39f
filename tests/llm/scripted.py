"""Models that do what they are told, and a gateway over them on a clock that a test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from bot.domain.errors import ModelUnavailable
from bot.domain.prompts import Capability, Image, Prompt
from bot.domain.turns import Delta, Deployment, Usage
from bot.llm.demo.model import deployments
from bot.llm.protocol import OnPartialImage
from bot.llm.routing.router import Gateway
from tests.llm.conftest import asks, text_of


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


class Scripted:
    """A model that does what it is told: `before` is raised first, `after` in the middle of an answer.

    Its answer is the pieces of `says`; `after` comes behind the first of them. Until `speaks` is set it
    says nothing; `left` counts those who did not wait for that. `prompts` are what it was asked.
    """

    def __init__(
        self, name: str, *, before: Sequence[Exception] = (), after: Exception | None = None
    ) -> None:
        self.name = name
        self.before: Sequence[Exception] = before
        self.after = after
        self.says = [f"{name} says ", "hello"]
        self.asked = 0
        self.left = 0
        self.prompts: list[Prompt] = []
        self.met = asyncio.Event()
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.refused: set[str] = set()
        self.on_spent: Callable[[float], None] | None = None

    def _strike(self) -> None:
        self.asked += 1
        self.met.set()
        if self.before:
            error, self.before = self.before[0], self.before[1:]
            raise error

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        self.prompts.append(prompt)
        self._strike()
        try:
            await self.speaks.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        for number, piece in enumerate(self.says):
            if number and self.after:
                raise self.after
            yield Delta(text=piece)
        counted = Usage(deployment=self.name, input_tokens=prompt.input_tokens or 1)
        yield Delta(usage=counted, finish="stop")

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        self._strike()
        return (Image(mime="image/png", data=self.name.encode()),), Usage(deployment=self.name)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        self._strike()
        return [[1.0] for _ in texts], Usage(deployment=self.name)


def named(name: str, capability: Capability = "chat", **more: Any) -> Deployment:
    return msgspec.structs.replace(deployments()[0], name=name, capability=capability, tags=(), **more)


def over(
    *models: tuple[Deployment, Scripted], clock: Callable[[], float] | None = None, **more: Any
) -> Gateway:
    return Gateway(models, clock=clock or Clock(), **more)


async def told(gateway: Gateway, **more: Any) -> str:
    prompt = msgspec.structs.replace(asks("Hello"), **more)
    return text_of([delta async for delta in gateway.chat(prompt)])


AWAY = ModelUnavailable("away")
