"""Sends the same prompt to several deployments and shows their answers below one another."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

from msgspec.structs import replace

from bot.domain.errors import BotError, ModelUnavailable, Refused
from bot.domain.prompts import Message, Prompt, say
from bot.domain.turns import Delta, Reply
from bot.domain.words import tr
from bot.generation.completion import Show, stopped, until_stopped
from bot.generation.turn_builder import Stop, TurnBuilder
from bot.llm.protocol import Model

log = logging.getLogger(__name__)

MOST = 3
"""Deployments in one comparison; more answers would not be readable in a chat message."""


def prompts(prompt: Prompt, deployments: Sequence[str]) -> list[Prompt]:
    """One prompt per deployment, without tools: an action must not be repeated by each of them."""
    return [replace(prompt, deployment=name, tools=()) for name in deployments[:MOST]]


class Comparison:
    """The answers of several deployments, streamed at the same time."""

    def __init__(self, model: Model, builder: TurnBuilder, show: Show) -> None:
        self._model = model
        self._builder = builder
        self._show = show
        self._texts: dict[str, str] = {}
        self._failed = 0

    async def write(self, sent: Sequence[Prompt], stop: Stop) -> None:
        """Ask all deployments at once and complete the turn. Raises ModelUnavailable if none answers."""
        builder = self._builder
        builder.sent += sent
        self._texts = {prompt.deployment or "": "" for prompt in sent}
        done = await until_stopped(self._all(sent), stop)
        if self._failed == len(sent):
            raise ModelUnavailable("None of the deployments answered.")
        text = self._whole()
        note = stopped(stop) if done is None else ""
        shown = "\n\n".join(part for part in (text, builder.ending(note)) if part)
        messages = (builder.kept(sent[0].messages[-1]), say("assistant", text))
        builder.end(Reply(text=shown, rate=True, generated=True), messages=messages)

    async def _all(self, sent: Sequence[Prompt]) -> tuple[Message, ...]:
        await asyncio.gather(*map(self._one, sent))
        return ()

    async def _one(self, prompt: Prompt) -> None:
        name = prompt.deployment or ""
        try:
            answer = cast("AsyncGenerator[Delta]", self._model.chat(prompt))
            async with aclosing(answer) as deltas:
                async for delta in deltas:
                    if delta.retracts:
                        self._texts[name] = ""
                    if delta.text:
                        self._texts[name] += delta.text
                        await self._show(self._whole())
        except BotError as error:
            self._failed += 1
            log.warning("Comparison: deployment %s failed: %s", name, error)
            unavailable = tr("This deployment is unavailable at the moment.")
            why = str(error) if isinstance(error, Refused) else unavailable
            self._texts[name] = f"{self._texts[name]}\n\n_{why}_".strip()

    def _whole(self) -> str:
        parts = [f"**{name}**\n\n{text.strip() or '…'}" for name, text in self._texts.items()]
        return "\n\n---\n\n".join(parts)
