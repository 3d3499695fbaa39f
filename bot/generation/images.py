"""Pictures at a person's wish: which template draws, what is drawn or changed, and who pays for it."""

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
from bot.generation import image_generation, image_prompt
from bot.generation.completion import Show
from bot.generation.image_options import NOTHING_SAID, is_change
from bot.generation.model_info import ModelInfo
from bot.generation.prompt_builder import TokenBudget
from bot.generation.prompt_sources import PromptSources
from bot.generation.reservations import Reservations
from bot.generation.turn_builder import Stop, TurnBuilder
from bot.llm.openai.images import MAX_IMAGES
from bot.llm.protocol import OnPartialImage
from bot.tools.registry import DRAW, Tool

_TIMEOUT_S = 180.0
"""How long the tool may draw."""
ImageRequest = Annotated[str, msgspec.Meta(max_length=4000)]
"""What a model asks to be drawn, in as many characters as every model for pictures takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProgress:
    """Where one picture is drawn: how it is told and shown meanwhile, and how it is stopped."""

    show: Show
    stop: Stop
    on_partial_image: OnPartialImage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGeneration:
    """Draws, changes, varies. Its methods raise Refused and Unavailable."""

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
        """Draw a new picture, or change one that was sent with the wish or drawn before; end the draft."""
        if not pictures and is_change(request):
            pictures = await image_generation.last_picture(self.sources, builder.received, turns)
        if not request and not pictures:
            builder.end(Reply(text=NOTHING_SAID))
            return
        await self._paint(builder, template, request, pictures, image_progress)

    async def vary(
        self, builder: TurnBuilder, rest: str, turns: Sequence[Turn], image_progress: ImageProgress
    ) -> None:
        """Another picture like one that was drawn; `rest` is how many, or the post that shows that one."""
        artist = self._artist(builder.received)
        if artist is None:
            raise NotAllowed("Nobody draws here: there is no template for pictures.")
        builder.template = artist.version
        like = await image_generation.one_to_vary(self.sources, builder.received, turns, rest)
        request = f"{like.alt} --n {rest}" if rest.isdecimal() else like.alt
        await self._paint(builder, artist, request, (like,), image_progress, vary=True)

    def tool(
        self,
        builder: TurnBuilder,
        turns: Sequence[Turn],
        image_progress: ImageProgress,
        sent: Sequence[Image] = (),
    ) -> Tool | None:
        """The tool `draw` for one turn, whose pictures appear under the answer; None where nobody draws.

        `sent` are the pictures that came with the question.
        """
        template = self._artist(builder.received)
        family = self.model_info.family(template) if template is not None else None
        if template is None or family is None:
            return None

        async def draw(wish: ImageRequest, change_last_picture: bool = False) -> str:
            """Draw a picture that was asked for, or change the one that was sent, else the last one here."""
            pictures = await self._to_change(builder, turns, sent) if change_last_picture else ()
            budget = self._token_budget(builder, template)
            prompt, notes = image_generation.build_image_prompt(
                template, builder.received, wish, pictures, budget, family
            )
            prompt, notes = _allowed(prompt, notes, builder)
            try:
                await self.reservations.reserve(builder, prompt, more=True)
            except (RateLimited, BudgetSpent) as refusal:
                builder.allowance.refuse(refusal)
                raise
            images = await image_generation.drawn(
                self.model_info.model, builder, prompt, image_progress.show, image_progress.on_partial_image
            )
            done = (
                f"{len(images)} drawn. The person sees this under your answer; don't describe or link to it."
            )
            return " ".join((done, *notes))

        return Tool(draw, DRAW, timeout_s=_TIMEOUT_S)

    async def _to_change(
        self, builder: TurnBuilder, turns: Sequence[Turn], sent: Sequence[Image]
    ) -> tuple[Image, ...]:
        """The picture that came with the question, else the last one of the conversation."""
        new = tuple(image for image in sent if image.ref not in builder.recalled)
        pictures = new or await image_generation.last_picture(self.sources, builder.received, turns)
        if not pictures:
            raise NotAllowed("There is no picture in this conversation that could be changed.")
        return pictures

    def _token_budget(self, builder: TurnBuilder, template: Template) -> TokenBudget:
        return self.model_info.token_budget(template, builder.received.address.conversation)

    def _artist(self, received: MessageReceived) -> Template | None:
        return next((one for one in self.sources.templates(received) if one.capability == "image"), None)

    async def _paint(
        self,
        builder: TurnBuilder,
        template: Template,
        request: str,
        pictures: Sequence[Image],
        image_progress: ImageProgress,
        *,
        vary: bool = False,
    ) -> None:
        family, budget = self.model_info.family(template) or "", self._token_budget(builder, template)
        prompt, notes = image_generation.build_image_prompt(
            template, builder.received, request, pictures, budget, family, vary=vary
        )
        builder.notes += notes
        asked = None
        if template.rewrite is not None:
            budget = self._token_budget(builder, image_prompt.writer(template))
            asked = image_prompt.request(template, builder, prompt, budget)
        rewrite = (
            None if asked is None else partial(image_prompt.rewritten, self.model_info.model, builder, asked)
        )
        await self.reservations.reserve(builder, *([asked] if asked is not None else []), prompt)
        await image_generation.draw(
            self.model_info.model,
            builder,
            prompt,
            image_progress.show,
            image_progress.stop,
            image_progress.on_partial_image,
            rewrite,
        )


def _allowed(prompt: Prompt, notes: tuple[str, ...], builder: TurnBuilder) -> tuple[Prompt, tuple[str, ...]]:
    """The prompt for as many pictures as the tool calls of this answer still allow: each counts as a call."""
    wanted = min(prompt.parameters.images or 1, MAX_IMAGES)
    number = 1 + builder.allowance.take(wanted - 1)
    if number == wanted:
        return prompt, notes
    less = replace(prompt, parameters=replace(prompt.parameters, images=number))
    return less, (*notes, f"{wanted - number} of {wanted} pictures were left out: an answer has no more.")
