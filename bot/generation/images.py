"""Pictures at a person's wish: which template draws, what is drawn or changed, and who pays for it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Protocol

import msgspec
from msgspec.structs import replace

from bot.domain.errors import BudgetSpent, NotAllowed, RateLimited
from bot.domain.events import Said
from bot.domain.prompts import Image, Prompt, Template
from bot.domain.turns import Reply, Turn
from bot.generation import image_generation, image_prompt
from bot.generation.completion import Show
from bot.generation.image_options import NOTHING_SAID, is_change
from bot.generation.prompt_builder import Room
from bot.generation.turn_builder import Draft, Stop
from bot.llm.openai.images import MAX_IMAGES
from bot.llm.protocol import Glimpse, Model
from bot.tools.registry import DRAW, Tool

_TIMEOUT_S = 180.0
"""How long the tool may draw."""
Wish = Annotated[str, msgspec.Meta(max_length=4000)]
"""What a model asks to be drawn, in as many characters as every model for pictures takes."""


class Reserve(Protocol):
    """Reserves what prompts will cost; `more` in a turn that has reserved already. Raises Refused."""

    def __call__(self, draft: Draft, *prompts: Prompt, more: bool = False) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Where one picture is drawn: how it is told and shown meanwhile, and how it is stopped."""

    show: Show
    stop: Stop
    glimpse: Glimpse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Atelier:
    """Draws, changes, varies. `family` is that of the models that serve a template, None when none does.

    Its methods raise Refused and Unavailable.
    """

    model: Model
    templates: Callable[[Said], Sequence[Template]]
    room: Callable[[Draft, Template], Room]
    family: Callable[[Template], str | None]
    picture: image_generation.Picture
    reserve: Reserve

    async def draw(
        self,
        draft: Draft,
        template: Template,
        wish: str,
        pictures: Sequence[Image],
        turns: Sequence[Turn],
        sheet: Sheet,
    ) -> None:
        """Draw a new picture, or change one that was sent with the wish or drawn before; end the draft."""
        if not pictures and is_change(wish):
            pictures = await image_generation.last_picture(self.picture, draft.said, turns)
        if not wish and not pictures:
            draft.end(Reply(text=NOTHING_SAID))
            return
        await self._paint(draft, template, wish, pictures, sheet)

    async def vary(self, draft: Draft, rest: str, turns: Sequence[Turn], sheet: Sheet) -> None:
        """Another picture like one that was drawn; `rest` is how many, or the post that shows that one."""
        artist = self._artist(draft.said)
        if artist is None:
            raise NotAllowed("Nobody draws here: there is no template for pictures.")
        draft.template = artist.version
        like = await image_generation.one_to_vary(self.picture, draft.said, turns, rest)
        wish = f"{like.alt} --n {rest}" if rest.isdecimal() else like.alt
        await self._paint(draft, artist, wish, (like,), sheet, vary=True)

    def tool(
        self, draft: Draft, turns: Sequence[Turn], sheet: Sheet, sent: Sequence[Image] = ()
    ) -> Tool | None:
        """The tool `draw` for one turn, whose pictures appear under the answer; None where nobody draws.

        `sent` are the pictures that came with the question.
        """
        template = self._artist(draft.said)
        family = self.family(template) if template is not None else None
        if template is None or family is None:
            return None

        async def draw(wish: Wish, change_last_picture: bool = False) -> str:
            """Draw a picture that was asked for, or change the one that was sent, else the last one here."""
            said, pictures = draft.said, ()
            if change_last_picture:
                new = tuple(image for image in sent if image.ref not in draft.recalled)
                pictures = new or await image_generation.last_picture(self.picture, said, turns)
                if not pictures:
                    raise NotAllowed("There is no picture in this conversation that could be changed.")
            room = self.room(draft, template)
            prompt, notes = image_generation.composed(template, said, wish, pictures, room, family)
            prompt, notes = _allowed(prompt, notes, draft)
            try:
                await self.reserve(draft, prompt, more=True)
            except (RateLimited, BudgetSpent) as refusal:
                draft.allowance.refuse(refusal)
                raise
            images = await image_generation.drawn(self.model, draft, prompt, sheet.show, sheet.glimpse)
            done = (
                f"{len(images)} drawn. The person sees this under your answer; don't describe or link to it."
            )
            return " ".join((done, *notes))

        return Tool(draw, DRAW, timeout_s=_TIMEOUT_S)

    def _artist(self, said: Said) -> Template | None:
        return next((one for one in self.templates(said) if one.capability == "image"), None)

    async def _paint(
        self,
        draft: Draft,
        template: Template,
        wish: str,
        pictures: Sequence[Image],
        sheet: Sheet,
        *,
        vary: bool = False,
    ) -> None:
        family, room = self.family(template) or "", self.room(draft, template)
        prompt, notes = image_generation.composed(
            template, draft.said, wish, pictures, room, family, vary=vary
        )
        draft.notes += notes
        asked = None
        if template.rewrite is not None:
            room = self.room(draft, image_prompt.writer(template))
            asked = image_prompt.request(template, draft, prompt, room)
        rewrite = None if asked is None else partial(image_prompt.rewritten, self.model, draft, asked)
        await self.reserve(draft, *([asked] if asked is not None else []), prompt)
        await image_generation.draw(self.model, draft, prompt, sheet.show, sheet.stop, sheet.glimpse, rewrite)


def _allowed(prompt: Prompt, notes: tuple[str, ...], draft: Draft) -> tuple[Prompt, tuple[str, ...]]:
    """The prompt for as many pictures as the tool calls of this answer still allow: each counts as a call."""
    wanted = min(prompt.parameters.images or 1, MAX_IMAGES)
    number = 1 + draft.allowance.take(wanted - 1)
    if number == wanted:
        return prompt, notes
    less = replace(prompt, parameters=replace(prompt.parameters, images=number))
    return less, (*notes, f"{wanted - number} of {wanted} pictures were left out: an answer has no more.")
