"""Has the model draw: at a person's wish or as a tool of the chat model, anew or as a change of a picture."""

import asyncio
import io
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

from msgspec.structs import replace

from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.prompts import Image, Message, Prompt, Template
from bot.domain.turns import Reply, Turn, Usage
from bot.generation import context_window, image_options
from bot.generation.completion import Show, stopped, until_stopped
from bot.generation.prompt_builder import PromptInputs, TokenBudget, build_prompt
from bot.generation.prompt_sources import PromptSources
from bot.generation.turn_builder import Stop, TurnBuilder
from bot.llm.protocol import ImageInterrupted, Model, OnPartialImage

log = logging.getLogger(__name__)

Rewrite = Callable[[Prompt], Awaitable[Prompt]]
"""Puts the words of a wish into other ones."""

_TICK_S = 5.0
_BROKEN = (
    "The model began to draw this and broke off before the picture was done, twice. "
    "Say `again` to let me try once more."
)
_CANT_CHANGE = (
    "The model that draws here can't change a picture, it only draws new ones. Please describe the whole "
    "picture that you would like."
)
_ANEW = "The model that draws here can't change a picture, so I drew it anew."
_DESCRIBED = 1000
"""Characters of an older picture's description that go on in that of its change."""
_RECALLED = 2
_NEAR = 3
_ABOUT = re.compile(
    r"\b(?:picture|image|photo|drawing|screenshot|diagram|chart|figure|sketch|bild|foto|dessin|imagen)s?\b",
    re.I,
)


async def draw(
    model: Model,
    builder: TurnBuilder,
    prompt: Prompt,
    show: Show,
    stop: Stop,
    on_partial_image: OnPartialImage | None = None,
    rewrite: Rewrite | None = None,
) -> None:
    """Draw the last message of the prompt, and end the draft with the pictures.

    The history keeps the wish as it was said; in which words it was drawn is told by the pictures.
    """
    request = prompt.messages[-1]
    words = request.text.strip()
    images: tuple[Image, ...] = ()

    async def work() -> tuple[Message, ...]:
        nonlocal images
        sent = prompt
        if rewrite is not None:
            await show(f"_Putting “{words}” into words for a picture…_")
            sent = await rewrite(prompt)
        images = await drawn(model, builder, sent, show, on_partial_image, words)
        return ()

    try:
        done = await until_stopped(work(), stop)
    except ImageInterrupted as error:
        log.warning("A drawing broke off twice: %s", error)
        builder.end(Reply(text=_BROKEN), "failed", reason=str(error))
        return
    if done is None:
        builder.end(Reply(text=stopped(stop)))
        return
    references = tuple(replace(image, data=b"") for image in images)
    messages = (builder.kept(request), Message(role="assistant", parts=references))
    head = f"Another one: {words}" if prompt.vary else words
    text = "\n\n".join(part for part in (head, builder.ending()) if part)
    builder.end(Reply(text=text, images=images, rate=True, generated=True), messages=messages)


async def drawn(
    model: Model,
    builder: TurnBuilder,
    prompt: Prompt,
    show: Show,
    on_partial_image: OnPartialImage | None = None,
    received: str = "",
) -> tuple[Image, ...]:
    """The pictures of one call, kept with the draft under refs of their own; `said` is the wish as the person
    said it, where the prompt has it in other words.
    """
    builder.sent.append(prompt)
    words = prompt.messages[-1].text.strip()
    ticking = asyncio.create_task(_tick(builder, received or words, show))
    try:
        made, usage = await model.draw(prompt, on_partial_image)
    except ImageInterrupted as error:
        builder.usage += error.spent or (_unknown(prompt),)
        raise
    except asyncio.CancelledError:
        builder.usage.append(_unknown(prompt))
        raise
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
    builder.usage.append(usage)
    first, given = len(builder.drawn), [part for part in prompt.messages[-1].parts if isinstance(part, Image)]
    images = tuple(
        replace(
            image,
            ref=ref_of(builder.received.id, number),
            alt=_described(image.alt or words, words, given, prompt),
        )
        for number, image in enumerate(made, first)
    )
    builder.drawn += images
    builder.pictures.update({image.ref: image for image in images})
    return images


def _unknown(prompt: Prompt) -> Usage:
    """A drawing that was left before its end: nobody told who drew, nor at what price."""
    deployment = prompt.deployment or "unknown"
    return Usage(deployment=deployment, input_tokens=prompt.input_tokens, estimated=True)


def _described(alt: str, words: str, given: Sequence[Image], prompt: Prompt) -> str:
    """What a picture shows, for those who can't see it: of a change, what was changed, too."""
    before = given[0].alt if given else ""
    changed = before and alt == words and not prompt.vary
    return f"{before[-_DESCRIBED:]}; {words}" if changed else alt


async def _tick(builder: TurnBuilder, words: str, show: Show) -> None:
    """Say that it is being drawn, and for how long already: pictures take half a minute."""
    passed = 0.0
    while True:
        since = f" ({passed:.0f} s)" if passed else ""
        await show("\n\n".join(part for part in (builder.text, f"_Drawing: {words}…{since}_") if part))
        await asyncio.sleep(_TICK_S)
        passed += _TICK_S


# ------------------------------------------------------------------ pictures of the conversation


async def last_picture(
    sources: PromptSources, received: MessageReceived, turns: Sequence[Turn]
) -> tuple[Image, ...]:
    """The picture that was drawn or sent last in this conversation, if it is still kept."""
    return (await _kept(sources, received, turns))[-1:]


async def one_to_vary(
    sources: PromptSources, received: MessageReceived, turns: Sequence[Turn], post: str
) -> Image:
    """The last picture of the answer that this post shows, else of the conversation. Raises NotAllowed."""
    shown = [turn for turn in turns if turn.post is not None and turn.post.id == post]
    found = await last_picture(sources, received, shown) or await last_picture(sources, received, turns)
    if not found:
        raise NotAllowed("There is no picture here yet. Ask for one: `/image a red bicycle`.")
    return found[0]


async def recalled(
    sources: PromptSources, received: MessageReceived, question: str, turns: Sequence[Turn]
) -> tuple[Image, ...]:
    """The conversation's newest pictures, where the question is about them: its words say so, or a picture
    was in one of the exchanges just before.
    """
    near = any(_refs(turn) for turn in context_window.remembered(turns)[-_NEAR:])
    if not near and not _ABOUT.search(question):
        return ()
    return await _kept(sources, received, turns)


async def _kept(
    sources: PromptSources, received: MessageReceived, turns: Sequence[Turn]
) -> tuple[Image, ...]:
    refs = list(dict.fromkeys(ref for turn in context_window.remembered(turns) for ref in _refs(turn)))
    found = [await sources.image(received.address.conversation, ref) for ref in refs[-_RECALLED:]]
    return tuple(image for image in found if image is not None)


def _refs(turn: Turn) -> list[str]:
    parts = [part for message in turn.messages for part in message.parts]
    found = [part.ref for part in (*parts, *turn.reply.images) if isinstance(part, Image) and part.ref]
    return list(dict.fromkeys(found))


def ref_of(event: str, number: int, kind: str = "out") -> str:
    """Under which a picture of this event is kept."""
    return f"{sha256(event.encode()).hexdigest()[:24]}-{kind}{number}"


# ------------------------------------------------------------------ the prompt


def build_image_prompt(
    template: Template,
    received: MessageReceived,
    request: str,
    pictures: Sequence[Image],
    budget: TokenBudget,
    family: str,
    *,
    vary: bool = False,
) -> tuple[Prompt, tuple[str, ...]]:
    """The prompt for a picture, with the options of the wish, and words on what could not be done.

    Raises NotAllowed when a person's own picture is to be changed by a model that can't.
    """
    can, found = (
        image_options.capabilities_of(family),
        image_options.read(request, template.parameters, family),
    )
    words, notes, parameters = found.words, found.notes, found.parameters
    if pictures and parameters.size == template.parameters.size:
        parameters = replace(parameters, size=_size_like(pictures[0], can) or parameters.size)
    if pictures and not vary and not (can.masks if pictures[0].mask else can.edits):
        if pictures[0].mask or _was_sent(pictures[0]):
            raise NotAllowed(_CANT_CHANGE)
        words, pictures, notes = f"{pictures[0].alt}, {words}", (), (*notes, _ANEW)
    # What is said to whoever rewrites the wish is no wish itself; nor is what others said before it.
    system = template.system if template.rewrite is None else ""
    template = replace(template, parameters=parameters, system=system)
    received = replace(received, quotes=())
    inputs = PromptInputs(template=template, received=received, question=words, pictures=pictures)
    return replace(build_prompt(inputs, budget), vary=vary), notes


def _was_sent(image: Image) -> bool:
    """Whether a person sent it, by what `ref_of` made of it."""
    return image.ref.rpartition("-")[2].startswith("in")


def _size_like(image: Image, can: image_options.ImageCapabilities) -> str | None:
    from PIL import Image as Pictures

    try:
        with Pictures.open(io.BytesIO(image.data)) as opened:  # reads the header alone
            return image_options.shape_of(*opened.size, can)
    except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError):
        return None
