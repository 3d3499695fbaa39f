"""Has the model draw: progress words, the pictures of an answer, and which picture a change is about."""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

from msgspec.structs import replace

from bot import window
from bot.chat import Show
from bot.draft import Draft
from bot.models import Model
from bot.types import Image, Message, Prompt, Reply, Said, Turn

Picture = Callable[[str, str], Awaitable[Image | None]]
"""The kept picture of a conversation by its ref, with its bytes."""


async def draw(model: Model, draft: Draft, prompt: Prompt, show: Show) -> None:
    """Draw the last message of the prompt, and end the draft with the pictures."""
    wish = prompt.messages[-1]
    words = wish.text.strip()
    await show(f"_Drawing: {words}…_")
    images = await drawn(model, draft, prompt)
    references = tuple(replace(image, data=b"") for image in images)
    messages = (draft.kept(wish), Message(role="assistant", parts=references))
    draft.end(Reply(text=words, images=images, rate=True), messages=messages)


async def drawn(model: Model, draft: Draft, prompt: Prompt) -> tuple[Image, ...]:
    """The pictures of one call, kept with the draft under refs of their own."""
    draft.sent.append(prompt)
    made, usage = await model.draw(prompt)
    draft.usage.append(usage)
    first = len(draft.drawn)
    alt = prompt.messages[-1].text.strip()
    images = tuple(
        replace(image, ref=ref_of(draft.said.id, number), alt=image.alt or alt)
        for number, image in enumerate(made, first)
    )
    draft.drawn += images
    draft.pictures.update({image.ref: image for image in images})
    return images


async def last_picture(picture: Picture, said: Said, turns: Sequence[Turn]) -> tuple[Image, ...]:
    """The picture that this conversation drew last, if it is still kept."""
    for turn in reversed(window.remembered(turns)):
        for image in turn.reply.images:
            kept = await picture(said.address.conversation, image.ref)
            return (kept,) if kept else ()
    return ()


def ref_of(event: str, number: int, kind: str = "out") -> str:
    """Under which a picture of this event is kept."""
    return f"{sha256(event.encode()).hexdigest()[:24]}-{kind}{number}"
