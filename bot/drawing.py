"""Has the model draw: at a person's wish or as a tool of the chat model, anew or as a change of a picture."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from msgspec.structs import replace

from bot import window, wishes
from bot.chat import Show, stopped, until_stopped
from bot.compose import Material, Room, compose
from bot.draft import Draft, Stop
from bot.errors import NotAllowed
from bot.models import Glimpse, Model, Unfinished
from bot.tools import DRAW, Tool
from bot.types import Image, Message, Prompt, Reply, Said, Template, Turn

log = logging.getLogger(__name__)

Picture = Callable[[str, str], Awaitable[Image | None]]
"""The kept picture of a conversation by its ref, with its bytes."""
Reserve = Callable[[Prompt], Awaitable[None]]
"""Reserves what a prompt will cost. Raises Refused."""

_TICK_S = 5.0
_BROKEN = (
    "The model began to draw this and broke off before the picture was done, twice. "
    "Say `again` to let me try once more."
)
_RECALLED = 2
_NEAR = 3
_ABOUT = re.compile(
    r"\b(?:picture|image|photo|drawing|screenshot|diagram|chart|figure|sketch|bild|foto|dessin|imagen)s?\b",
    re.I,
)


async def draw(
    model: Model, draft: Draft, prompt: Prompt, show: Show, stop: Stop, glimpse: Glimpse | None = None
) -> None:
    """Draw the last message of the prompt, and end the draft with the pictures."""
    wish = prompt.messages[-1]
    words = wish.text.strip()
    images: tuple[Image, ...] = ()

    async def work() -> tuple[Message, ...]:
        nonlocal images
        images = await drawn(model, draft, prompt, show, glimpse)
        return ()

    try:
        done = await until_stopped(work(), stop)
    except Unfinished as error:
        log.warning("A drawing broke off twice: %s", error)
        draft.end(Reply(text=_BROKEN), "failed", reason=str(error))
        return
    if done is None:
        draft.end(Reply(text=stopped(stop)))
        return
    references = tuple(replace(image, data=b"") for image in images)
    messages = (draft.kept(wish), Message(role="assistant", parts=references))
    text = "\n\n".join(part for part in (words, draft.ending()) if part)
    draft.end(Reply(text=text, images=images, rate=True, generated=True), messages=messages)


async def drawn(
    model: Model, draft: Draft, prompt: Prompt, show: Show, glimpse: Glimpse | None = None
) -> tuple[Image, ...]:
    """The pictures of one call, kept with the draft under refs of their own."""
    draft.sent.append(prompt)
    words = prompt.messages[-1].text.strip()
    ticking = asyncio.create_task(_tick(draft, words, show))
    try:
        made, usage = await model.draw(prompt, glimpse)
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
    draft.usage.append(usage)
    first = len(draft.drawn)
    images = tuple(
        replace(image, ref=ref_of(draft.said.id, number), alt=image.alt or words)
        for number, image in enumerate(made, first)
    )
    draft.drawn += images
    draft.pictures.update({image.ref: image for image in images})
    return images


async def _tick(draft: Draft, words: str, show: Show) -> None:
    """Say that it is being drawn, and for how long already: pictures take half a minute."""
    passed = 0.0
    while True:
        since = f" ({passed:.0f} s)" if passed else ""
        await show("\n\n".join(part for part in (draft.text, f"_Drawing: {words}…{since}_") if part))
        await asyncio.sleep(_TICK_S)
        passed += _TICK_S


# ------------------------------------------------------------------ pictures of the conversation


async def last_picture(picture: Picture, said: Said, turns: Sequence[Turn]) -> tuple[Image, ...]:
    """The picture that was drawn or sent last in this conversation, if it is still kept."""
    return (await _kept(picture, said, turns))[-1:]


async def recalled(picture: Picture, said: Said, question: str, turns: Sequence[Turn]) -> tuple[Image, ...]:
    """The conversation's newest pictures, where the question is about them: its words say so, or a picture
    was in one of the exchanges just before.
    """
    near = any(_refs(turn) for turn in window.remembered(turns)[-_NEAR:])
    if not near and not _ABOUT.search(question):
        return ()
    return await _kept(picture, said, turns)


async def _kept(picture: Picture, said: Said, turns: Sequence[Turn]) -> tuple[Image, ...]:
    refs = list(dict.fromkeys(ref for turn in window.remembered(turns) for ref in _refs(turn)))
    found = [await picture(said.address.conversation, ref) for ref in refs[-_RECALLED:]]
    return tuple(image for image in found if image is not None)


def _refs(turn: Turn) -> list[str]:
    parts = [part for message in turn.messages for part in message.parts]
    found = [part.ref for part in (*parts, *turn.reply.images) if isinstance(part, Image) and part.ref]
    return list(dict.fromkeys(found))


def ref_of(event: str, number: int, kind: str = "out") -> str:
    """Under which a picture of this event is kept."""
    return f"{sha256(event.encode()).hexdigest()[:24]}-{kind}{number}"


# ------------------------------------------------------------------ the tool


@dataclass(slots=True, kw_only=True)
class Pen:
    """What the `draw` tool needs of the turn that it is called in."""

    model: Model
    template: Template
    room: Room
    family: str
    draft: Draft
    show: Show
    glimpse: Glimpse | None
    reserve: Reserve
    last: Callable[[], Awaitable[tuple[Image, ...]]]

    def tool(self) -> Tool:
        """The tool; its pictures appear under the answer."""

        async def draw(wish: str, change_last_picture: bool = False) -> str:
            """Draw a picture that the person asked for, or change the last picture of this conversation."""
            pictures = await self.last() if change_last_picture else ()
            if change_last_picture and not pictures:
                raise NotAllowed("There is no picture in this conversation that could be changed.")
            prompt, notes = composed(self.template, self.draft.said, wish, pictures, self.room, self.family)
            await self.reserve(prompt)
            images = await drawn(self.model, self.draft, prompt, self.show, self.glimpse)
            done = (
                f"{len(images)} drawn. The person sees this under your answer; don't describe or link to it."
            )
            return " ".join((done, *notes))

        return Tool(draw, DRAW, timeout_s=180.0)


def composed(
    template: Template, said: Said, wish: str, pictures: Sequence[Image], room: Room, family: str
) -> tuple[Prompt, tuple[str, ...]]:
    """The prompt for a picture, with the options of the wish, and words on what could not be done."""
    found = wishes.read(wish, template.parameters, family)
    template = replace(template, parameters=found.parameters)
    material = Material(template=template, said=said, question=found.words, pictures=pictures)
    return compose(material, room), found.notes
