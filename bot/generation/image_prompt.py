"""Lets a chat model rewrite an image request in more detail, if the template asks for that."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from msgspec.structs import replace

from bot.domain.calls import serving
from bot.domain.errors import BotError, ModelUnavailable
from bot.domain.prompts import Image, Parameters, Prompt, Template, Text
from bot.domain.turns import Delta
from bot.files.frames import cut
from bot.generation.prompt_builder import PromptInputs, TokenBudget, build_prompt
from bot.generation.turn_builder import TurnBuilder
from bot.llm.protocol import Model

log = logging.getLogger(__name__)

_WITHIN_S = 20.0
"""Short, because generating the image takes long enough."""
_OUTPUT_TOKENS = 2000
"""Includes the reasoning tokens of models that reason."""
_MOST_CHARACTERS = 10_000
"""Reading stops here."""
_MOST_BYTES = 1000
"""The limit of DALL-E 2, the smallest of all families."""


def writer(template: Template) -> Template:
    """The chat template that rewrites requests: the system message and examples of an image template."""
    return replace(
        template,
        name="rewrite",
        capability="chat",
        deployment=template.rewrite or None,
        parameters=Parameters(max_output_tokens=_OUTPUT_TOKENS),
        tools=(),
    )


def request(template: Template, builder: TurnBuilder, drawn: Prompt, budget: TokenBudget) -> Prompt | None:
    """The prompt for the rewrite; None if an image is to be edited, which is not rewritten. Raises TooLong."""
    request = drawn.messages[-1]
    if not request.text.strip() or any(isinstance(part, Image) for part in request.parts):
        return None
    chat = writer(template)
    inputs = PromptInputs(
        template=chat,
        received=builder.received,
        question=request.text,
        examples=chat.examples,
        with_senders=False,
    )
    # Without history; where that begins must not change.
    return replace(build_prompt(inputs, budget), since=builder.before, ahead=builder.ahead)


async def rewritten(model: Model, builder: TurnBuilder, asked: Prompt, drawn: Prompt) -> Prompt:
    """The image prompt with the rewritten request, or unchanged if rewriting failed.

    The rewriting prompt is added to the turn either way.
    """
    builder.sent.append(asked)
    try:
        with serving("rewrite"):
            async with asyncio.timeout(_WITHIN_S):
                text = await _text(model, builder, asked)
    except (BotError, TimeoutError) as error:
        log.warning("An image request could not be rewritten and is used as it is: %r", error)
        return drawn
    words = cut(text.strip(), _MOST_BYTES)
    if not words:
        return drawn
    request = replace(drawn.messages[-1], parts=(Text(text=words),))
    messages = (*drawn.messages[:-1], request)
    return replace(drawn, messages=messages, input_tokens=builder.counter.messages(messages))


async def _text(model: Model, builder: TurnBuilder, asked: Prompt) -> str:
    """The answer to a prompt, up to a little more than _MOST_CHARACTERS. Raises errors of the model."""
    text = ""
    async with aclosing(cast("AsyncGenerator[Delta]", model.chat(asked))) as deltas:
        async for delta in deltas:
            text = delta.onto(text)
            builder.filter |= delta.filter
            if delta.finish in ("content_filter", "length"):
                raise ModelUnavailable(f"The rewrite ended early: {delta.finish}")
            if len(text) > _MOST_CHARACTERS:
                break
    return text
