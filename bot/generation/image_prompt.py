"""Has a chat model put a wish for a picture into fuller words, where its template asks for that."""

import asyncio
import logging
from contextlib import aclosing

from msgspec.structs import replace

from bot.domain.errors import BotError, ModelUnavailable
from bot.domain.prompts import Image, Parameters, Prompt, Template, Text
from bot.files.frames import cut
from bot.generation import context_window
from bot.generation.completion import counted
from bot.generation.prompt_builder import PromptInputs, TokenBudget, build_prompt
from bot.generation.turn_builder import TurnBuilder
from bot.llm.protocol import Model

log = logging.getLogger(__name__)

_WITHIN_S = 20.0
"""A person waits for a picture already."""
_OUTPUT_TOKENS = 2000
"""More than the words take: models that reason spend a part of it before the first word."""
_MOST_CHARACTERS = 10_000
"""A model that writes more than this is not waited for."""
_MOST_BYTES = 1000
"""The shortest wish that a family takes at most is DALL-E 2's, of 1000 characters."""


def writer(template: Template) -> Template:
    """Who rewrites for a template: its text and its examples, asked of a chat deployment."""
    return replace(
        template,
        name="rewrite",
        capability="chat",
        deployment=template.rewrite or None,
        parameters=Parameters(max_output_tokens=_OUTPUT_TOKENS),
        tools=(),
    )


def request(template: Template, builder: TurnBuilder, drawn: Prompt, budget: TokenBudget) -> Prompt | None:
    """What asks for other words; None for a change of a picture, which is said as the person said it.

    Raises TooLong.
    """
    request = drawn.messages[-1]
    if not request.text.strip() or any(isinstance(part, Image) for part in request.parts):
        return None
    one = writer(template)
    inputs = PromptInputs(
        template=one, received=builder.received, question=request.text, examples=one.examples
    )
    # It holds no history: where that begins is left as it is.
    return replace(build_prompt(inputs, budget), since=builder.before, ahead=builder.ahead)


async def rewritten(model: Model, builder: TurnBuilder, asked: Prompt, drawn: Prompt) -> Prompt:
    """The prompt for the picture in the words that came; as it is where none came. What was asked, and what
    it cost, is kept with the draft either way.
    """
    builder.sent.append(asked)
    text = ""
    try:
        async with asyncio.timeout(_WITHIN_S):
            async with aclosing(counted(model.chat(asked), asked, builder.usage)) as deltas:
                async for delta in deltas:
                    text += delta.text
                    builder.filter |= delta.filter
                    if delta.finish in ("content_filter", "length"):
                        raise ModelUnavailable(f"The rewriting of a wish ended early: {delta.finish}")
                    if len(text) > _MOST_CHARACTERS:
                        break
    except (BotError, TimeoutError) as error:
        log.warning("A wish for a picture is drawn as it was said, it could not be rewritten: %r", error)
        return drawn
    words = cut(text.strip(), _MOST_BYTES)
    if not words:
        return drawn
    request = replace(drawn.messages[-1], parts=(Text(text=words),))
    messages = (*drawn.messages[:-1], request)
    return replace(drawn, messages=messages, input_tokens=sum(map(context_window.count_tokens, messages)))
