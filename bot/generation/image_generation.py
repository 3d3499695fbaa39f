"""Generates, edits and varies images, for a command or for a tool call of the chat model."""

import asyncio
import io
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from msgspec.structs import replace

from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.prompts import Image, Message, Prompt, Template
from bot.domain.turns import Reply, Turn
from bot.domain.words import Notice, marked, notice, tr
from bot.generation import context_window, image_options
from bot.generation.completion import Show, stopped, until_stopped
from bot.generation.hints import with_mention
from bot.generation.image_options import ImageRequest
from bot.generation.prompt_builder import PromptInputs, TokenBudget, build_prompt
from bot.generation.prompt_sources import PromptSources
from bot.generation.turn_builder import Stop, TurnBuilder
from bot.llm.protocol import ImageInterrupted, Model, OnPartialImage
from bot.storage.conversations.turns import refs

log = logging.getLogger(__name__)

Rewrite = Callable[[Prompt], Awaitable[Prompt]]
"""Rewrites the text of an image prompt."""

_TICK_S = 5.0
_BROKEN = marked("Generating this image failed twice before it was complete. Send `again` to retry.")
_CANT_EDIT = marked(
    "The image model used here can't edit images. Describe the whole image that you want instead."
)
_REGENERATED = marked("The image model used here can't edit images, so I generated a new one.")
_DESCRIBED = 1000
"""Characters of the original image's description that are kept where it is generated anew instead of edited."""
_RECALLED = 2
_RECENT_TURNS = 3
_ABOUT = re.compile(
    r"\b(?:picture|image|photo|drawing|screenshot|diagram|chart|figure|sketch|bild|foto|dessin|imagen)s?\b",
    re.I,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProgress:
    """How progress and partial images are shown, and how generation is stopped."""

    show: Show
    stop: Stop
    on_partial_image: OnPartialImage | None = None


async def draw(
    model: Model,
    builder: TurnBuilder,
    prompt: Prompt,
    image_progress: ImageProgress,
    rewrite: Rewrite | None = None,
) -> None:
    """Generate images for the last message of the prompt and complete the turn with them.

    The history keeps the original request; a rewritten one is kept as the description of the images.
    """
    request = prompt.messages[-1]
    words = request.text.strip()
    images: tuple[Image, ...] = ()

    async def work() -> tuple[Message, ...]:
        nonlocal images
        sent = prompt
        if rewrite is not None:
            await image_progress.show(f"_{tr('Writing an image prompt for “{words}”…', words=words)}_")
            sent = await rewrite(prompt)
        images = await drawn(model, builder, sent, image_progress, words)
        return ()

    try:
        done = await until_stopped(work(), image_progress.stop)
    except ImageInterrupted as error:
        log.warning("Image generation was interrupted twice: %s", error)
        builder.end(Reply(text=with_mention(tr(_BROKEN), builder.received)), "failed", reason=str(error))
        return
    if done is None:
        builder.end(Reply(text=stopped(image_progress.stop)))
        return
    called = image_options.as_call(words, prompt.parameters, images, changed=prompt.edits)
    messages = (builder.kept(request), *called)
    head = tr("Another one: {words}", words=words) if prompt.vary else words
    text = "\n\n".join(part for part in (head, builder.ending()) if part)
    builder.end(Reply(text=text, images=images, rate=True, generated=True), messages=messages)


async def drawn(
    model: Model,
    builder: TurnBuilder,
    prompt: Prompt,
    image_progress: ImageProgress,
    original_request: str = "",
) -> tuple[Image, ...]:
    """Make one call to the image model and add the images, with refs, to the turn builder.

    `original_request` is shown meanwhile if the prompt was rewritten. Raises Refused and Unavailable.
    """
    builder.sent.append(prompt)
    words = prompt.messages[-1].text.strip()
    ticking = asyncio.create_task(_tick(builder, original_request or words, image_progress.show))
    try:
        made, _ = await model.draw(prompt, image_progress.on_partial_image)
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
    # What an edit changed is its description: with the original's before it, it would grow with every edit.
    images = tuple(
        replace(image, ref=ref_of(builder.received.id, number), alt=image.alt or words)
        for number, image in enumerate(made, len(builder.drawn))
    )
    builder.drawn += images
    builder.pictures.update({image.ref: image for image in images})
    return images


async def _tick(builder: TurnBuilder, words: str, show: Show) -> None:
    """Show progress with the elapsed seconds: an image can take half a minute."""
    elapsed_s = 0.0
    while True:
        elapsed = f" ({elapsed_s:.0f} s)" if elapsed_s else ""
        progress = f"_{tr('Generating: {words}…', words=words)}{elapsed}_"
        await show("\n\n".join(part for part in (builder.text, progress) if part))
        await asyncio.sleep(_TICK_S)
        elapsed_s += _TICK_S


# ------------------------------------------------------------------ images of the conversation


async def last_picture(
    sources: PromptSources, received: MessageReceived, turns: Sequence[Turn]
) -> tuple[Image, ...]:
    """The image that was generated or sent last in this conversation, if it is still stored."""
    return (await _stored(sources, received, turns))[-1:]


async def picture_to_vary(
    sources: PromptSources, received: MessageReceived, turns: Sequence[Turn], post: str
) -> Image:
    """The last image of the answer in this post, else of the conversation. Raises NotAllowed."""
    shown = [turn for turn in turns if turn.post is not None and turn.post.id == post]
    found = await last_picture(sources, received, shown) or await last_picture(sources, received, turns)
    if not found:
        raise NotAllowed("There is no image in this conversation yet. Request one: `/image a red bicycle`.")
    return found[0]


async def recalled(
    sources: PromptSources, received: MessageReceived, question: str, turns: Sequence[Turn]
) -> tuple[Image, ...]:
    """The newest images of the conversation, if the question mentions images or a recent turn has one."""
    recent = any(refs(turn) for turn in context_window.remembered(turns)[-_RECENT_TURNS:])
    if not recent and not _ABOUT.search(question):
        return ()
    return await _stored(sources, received, turns)


async def _stored(
    sources: PromptSources, received: MessageReceived, turns: Sequence[Turn]
) -> tuple[Image, ...]:
    known = list(dict.fromkeys(ref for turn in context_window.remembered(turns) for ref in refs(turn)))
    found = [await sources.image(received.address.conversation, ref) for ref in known[-_RECALLED:]]
    return tuple(image for image in found if image is not None)


def ref_of(event: str, number: int, kind: str = "out") -> str:
    """The ref under which an image of this event is stored."""
    return f"{sha256(event.encode()).hexdigest()[:24]}-{kind}{number}"


# ------------------------------------------------------------------ the prompt


def build_image_prompt(
    template: Template,
    received: MessageReceived,
    request: ImageRequest,
    pictures: Sequence[Image],
    budget: TokenBudget,
    family: str,
    *,
    vary: bool = False,
) -> tuple[Prompt, tuple[Notice, ...]]:
    """The image prompt with the options of the request, and notes on those that are not supported.

    Raises NotAllowed if a person's own image is to be edited by a model that can't do so.
    """
    can = image_options.capabilities_of(family)
    found = image_options.resolve(request, template.parameters, family)
    words, notes, parameters = found.words, found.notes, found.parameters
    if pictures and request.size is None and request.aspect_ratio is None:
        parameters = replace(parameters, size=_size_like(pictures[0], can) or parameters.size)
    if pictures and not vary and not (can.masks if pictures[0].mask else can.edits):
        if pictures[0].mask or _was_sent(pictures[0]):
            raise NotAllowed(_CANT_EDIT)
        before = pictures[0].alt[-_DESCRIBED:]
        words, pictures, notes = f"{before}, {words}", (), (*notes, notice(_REGENERATED))
    # The image model gets the request alone: a system message for rewriting is not for it, nor are quotes.
    system = template.system if template.rewrite is None else ""
    template = replace(template, parameters=parameters, system=system)
    received = replace(received, quotes=())
    inputs = PromptInputs(template=template, received=received, question=words, pictures=pictures)
    return replace(build_prompt(inputs, budget), vary=vary), notes


def _was_sent(image: Image) -> bool:
    """Whether a person sent the image, by its ref (`ref_of`)."""
    return image.ref.rpartition("-")[2].startswith("in")


def _size_like(image: Image, can: image_options.ImageCapabilities) -> str | None:
    size = size_of(image)
    return None if size is None else image_options.shape_of(*size, can)


def size_of(image: Image) -> tuple[int, int] | None:
    """Width and height in pixels, by the header of the image; None if that can't be read."""
    from PIL import Image as Pictures

    try:
        with Pictures.open(io.BytesIO(image.data)) as opened:  # reads only the header
            return opened.size
    except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError):
        return None
