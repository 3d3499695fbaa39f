"""Handles image requests: chooses the template, builds the prompt, reserves the cost, generates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import msgspec
from msgspec.structs import replace

from bot.domain.errors import BudgetSpent, NotAllowed, RateLimited
from bot.domain.events import MessageReceived
from bot.domain.prompts import Image, Prompt, Template
from bot.domain.turns import Reply, Turn
from bot.domain.words import Notice, notice, tr
from bot.generation import image_generation, image_options, image_prompt
from bot.generation.image_generation import ImageProgress
from bot.generation.image_options import (
    NO_DESCRIPTION,
    AspectRatio,
    Background,
    Description,
    ImageRequest,
    Number,
    Quality,
    Size,
    Style,
)
from bot.generation.model_info import ModelInfo
from bot.generation.prompt_builder import TokenBudget
from bot.generation.prompt_sources import PromptSources
from bot.generation.reservations import Reservations
from bot.generation.turn_builder import TurnBuilder
from bot.llm.openai.images import MAX_IMAGES
from bot.tools.registry import DRAW, Tool

_TIMEOUT_S = 180.0
"""For one call of the tool `draw`."""
_DRAW = (
    "Create pictures, or change one. This is the only way to show a picture: call it whenever somebody wants one "
    "drawn, painted, designed or altered, in any words and any language, and pass on every option that they name. "
    "Not for questions about pictures, and not where “image” or “picture” means something else, such as a file, "
    "a disk image or a fault. Pictures cost money: make one call per request, with `number` for several."
)
"""The description of the tool for the model."""
_SHOWN = "The pictures appear under your answer: don't describe or link them."
Change = Annotated[
    bool,
    msgspec.Meta(
        description="True if the request alters the picture just sent, or else the last one here (make it brighter, in "
        "blue, without the dog, the same at night). False for another subject, even if it mentions “it”."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGeneration:
    """Generates, edits and varies images. Its methods raise Refused and Unavailable."""

    model_info: ModelInfo
    sources: PromptSources
    reservations: Reservations

    async def draw(
        self,
        builder: TurnBuilder,
        template: Template,
        request: str,
        pictures: Sequence[Image],
        turns: Sequence[Turn],
        image_progress: ImageProgress,
    ) -> None:
        """Generate an image, or edit one that was sent with the request; complete the turn.

        No chat model reads the request, so that only the flag `--change` makes it an edit of the last image.
        """
        asked = image_options.read(request)
        if not pictures and asked.change:
            pictures = await image_generation.last_picture(self.sources, builder.received, turns)
        if not asked.words and not pictures:
            builder.end(Reply(text=tr(NO_DESCRIPTION)))
            return
        await self._generate(builder, template, asked, pictures, image_progress)

    async def vary(
        self, builder: TurnBuilder, rest: str, turns: Sequence[Turn], image_progress: ImageProgress
    ) -> None:
        """Generate a variation of an earlier image; `rest` is how many, or the id of the post with it."""
        template = self._image_template(builder.received)
        if template is None:
            raise NotAllowed(
                "Image generation isn't set up. Ask your administrator to add an image template."
            )
        builder.template = template.version
        original = await image_generation.picture_to_vary(self.sources, builder.received, turns, rest)
        number = int(rest[:4]) if rest.isdecimal() else 1
        request = ImageRequest(words=original.alt, number=max(1, number))
        await self._generate(builder, template, request, (original,), image_progress, vary=True)

    def tool(
        self,
        builder: TurnBuilder,
        turns: Sequence[Turn],
        image_progress: ImageProgress,
        sent: Sequence[Image] = (),
    ) -> Tool | None:
        """The tool `draw` for one turn; None if image generation isn't set up. Images appear under the answer.

        `sent` are the images that came with the question.
        """
        template = self._image_template(builder.received)
        if template is None or self.model_info.family(template) is None:
            return None

        async def draw(
            prompt: Description,
            change_last_picture: Change = False,
            size: Size | None = None,
            aspect_ratio: AspectRatio | None = None,
            number: Number = 1,
            quality: Quality | None = None,
            background: Background | None = None,
            style: Style | None = None,
        ) -> str:
            request = ImageRequest(
                words=prompt,
                size=size,
                aspect_ratio=aspect_ratio,
                number=number,
                quality=quality,
                background=background,
                style=style,
            )
            pictures = await self._image_to_edit(builder, turns, sent) if change_last_picture else ()
            return await self._drawn(builder, template, request, pictures, image_progress)

        return Tool(draw, DRAW, description=_DRAW, timeout_s=_TIMEOUT_S)

    async def _drawn(
        self,
        builder: TurnBuilder,
        template: Template,
        request: ImageRequest,
        pictures: Sequence[Image],
        image_progress: ImageProgress,
    ) -> str:
        """Generate images for a tool call; returns what was done and what was not, for the model."""
        family, budget = self.model_info.family(template) or "", self._token_budget(builder, template)
        prompt, notes = image_generation.build_image_prompt(
            template, builder.received, request, pictures, budget, family
        )
        prompt, notes = _allowed(prompt, notes, builder)
        try:
            await self.reservations.reserve(builder, prompt, more=True)
        except (RateLimited, BudgetSpent) as refusal:
            builder.allowance.refuse(refusal)
            raise
        images = await image_generation.drawn(self.model_info.model, builder, prompt, image_progress)
        size = image_generation.size_of(images[0]) if images else None
        actual = "{}x{}".format(*size) if size else ""
        result = f"Done: {image_options.done(prompt.parameters, len(images), actual)}."
        not_done = [f"Not as asked, so tell the person: {note.english}" for note in notes]
        return " ".join((result, *not_done, _SHOWN))

    async def _image_to_edit(
        self, builder: TurnBuilder, turns: Sequence[Turn], sent: Sequence[Image]
    ) -> tuple[Image, ...]:
        """The image that came with the question, else the last one of the conversation. Raises NotAllowed."""
        new = tuple(image for image in sent if image.ref not in builder.recalled)
        pictures = new or await image_generation.last_picture(self.sources, builder.received, turns)
        if not pictures:
            raise NotAllowed("There is no image in this conversation to edit.")
        return pictures

    def _token_budget(self, builder: TurnBuilder, template: Template) -> TokenBudget:
        return self.model_info.token_budget(template, builder.received.address.conversation)

    def _image_template(self, received: MessageReceived) -> Template | None:
        return next((each for each in self.sources.templates(received) if each.capability == "image"), None)

    async def _generate(
        self,
        builder: TurnBuilder,
        template: Template,
        request: ImageRequest,
        pictures: Sequence[Image],
        image_progress: ImageProgress,
        *,
        vary: bool = False,
    ) -> None:
        family, budget = self.model_info.family(template) or "", self._token_budget(builder, template)
        prompt, notes = image_generation.build_image_prompt(
            template, builder.received, request, pictures, budget, family, vary=vary
        )
        builder.notes += [note.worded for note in notes]
        rewriting = None
        if template.rewrite is not None:
            budget = self._token_budget(builder, image_prompt.writer(template))
            rewriting = image_prompt.request(template, builder, prompt, budget)
        model = self.model_info.model
        rewrite = None if rewriting is None else partial(image_prompt.rewritten, model, builder, rewriting)
        at_once, later = ((prompt,), ()) if rewriting is None else ((rewriting,), (prompt,))
        await self.reservations.reserve(builder, *at_once, later=later)
        await image_generation.draw(model, builder, prompt, image_progress, rewrite)


def _allowed(
    prompt: Prompt, notes: tuple[Notice, ...], builder: TurnBuilder
) -> tuple[Prompt, tuple[Notice, ...]]:
    """The prompt for as many images as the allowance still has: each image counts as a tool call."""
    wanted = min(prompt.parameters.images or 1, MAX_IMAGES)
    number = 1 + builder.allowance.take(wanted - 1)
    if number == wanted:
        return prompt, notes
    fewer = replace(prompt, parameters=replace(prompt.parameters, images=number))
    left_out = notice(
        "{number} of {wanted} images were left out: the limit of this answer.",
        number=wanted - number,
        wanted=wanted,
    )
    return fewer, (*notes, left_out)
