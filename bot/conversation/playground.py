"""The playground: tries templates before they are published, with the same engine."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from msgspec.structs import replace

from bot.conversation.answer_context import AnswerContext
from bot.conversation.engine import Engine
from bot.domain.calls import CallLog
from bot.domain.errors import NotAllowed, StateUnavailable, TemplateError
from bot.domain.events import Address, Attachment, MessageReceived, User, now
from bot.domain.prompts import Example, Image, Prompt, Template
from bot.domain.turns import Deployment, Turn, past_turn
from bot.generation import image_options
from bot.generation.completion import Show
from bot.generation.model_info import ModelInfo
from bot.generation.turn_builder import Stop
from bot.llm.catalog import catalog
from bot.llm.protocol import OnPartialImage
from bot.prompts import example_images
from bot.prompts.body import BUILT_IN, PLACEHOLDER
from bot.prompts.library import PromptLibrary
from bot.storage.usage.charges import Charges, charge_of

log = logging.getLogger(__name__)

PERSON = User(id="playground", tenant="studio", name="Playground")
"""The user to whom anonymous use is charged; the usual limits apply."""

ParameterRange = tuple[float, float] | tuple[str, ...]

_SAMPLING: Mapping[str, ParameterRange] = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}
_REASONING: Mapping[str, ParameterRange] = {
    "reasoning_effort": ("minimal", "low", "medium", "high"),
    "verbosity": ("low", "medium", "high"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Playground:
    """Stores no conversations, but charges usage. Its methods raise Refused, Unavailable and ConfigError."""

    engine: Engine
    library: PromptLibrary
    model_info: ModelInfo
    charges: Charges

    def templates(self) -> Sequence[Template]:
        """The active templates, sorted by name."""
        return self.library.registry.templates()

    def deployments(self) -> Sequence[Deployment]:
        """All deployments, of all capabilities."""
        return self.model_info.deployments()

    def parameter_ranges(self, deployment: Deployment) -> Mapping[str, ParameterRange]:
        """The parameters that this deployment supports, with their range or their values."""
        family = catalog.families().get(deployment.family)
        if deployment.capability == "image":
            return _image_ranges(image_options.capabilities_of(deployment.family))
        refused = family.refuses if family else ()
        ranges = {name: values for name, values in _SAMPLING.items() if name not in refused}
        if "temperature" in refused:
            ranges |= _REASONING
        return {**ranges, "max_output_tokens": (1.0, float(deployment.output_tokens))}

    def changes(self, deployment: Deployment) -> tuple[bool, bool]:
        """Whether a deployment can edit whole images, and whether it can edit the area of a mask."""
        can = image_options.capabilities_of(deployment.family)
        return can.edits, can.masks

    def placeholders(self, text: str) -> Sequence[str]:
        """The placeholders of a system message that are not built in, in order and without duplicates."""
        found = (placeholder.strip() for placeholder in PLACEHOLDER.findall(text))
        return list(dict.fromkeys(placeholder for placeholder in found if placeholder not in BUILT_IN))

    def example(self, user: str, assistant: str) -> Example:
        """An example with the images in its text. Raises TemplateError."""
        try:
            images = example_images.pictures(user, self.library.registry.load_image)
        except ValueError as error:
            raise TemplateError(f"In an example, {error}.") from None
        return Example(user=user, assistant=assistant, images=images)

    async def preview(
        self, template: Template, past: Sequence[tuple[str, str]], question: str, *, user: User | None = None
    ) -> Prompt:
        received = _received(question, user)
        return await self._engine_for(template).preview(received, _turns(past, received))

    async def run(
        self,
        template: Template,
        past: Sequence[tuple[str, str]],
        question: str,
        show: Show,
        *,
        user: User | None = None,
        picture: Image | None = None,
        on_partial_image: OnPartialImage | None = None,
    ) -> tuple[Turn, Sequence[Prompt]]:
        """Answer; `show` gets the whole text so far, and stops the answer by returning False.

        `user` is charged, or PERSON if it is None. `picture` is an image to edit, in the area of its mask if it
        has one; `on_partial_image` gets partial images.
        """
        received = _received(question, user)
        given = () if picture is None else (await self._checked(picture, received.user),)
        calls = CallLog("playground")
        context = AnswerContext(
            show=show, fetch=_fetch, stop=Stop(), on_partial_image=on_partial_image, given=given, calls=calls
        )
        try:
            builder = await self._engine_for(template).answer(received, _turns(past, received), context)
        except BaseException:
            await self._book(received, template, calls, turns=0)
            raise
        turn = builder.done()
        await self._book(received, template, calls, turns=int(builder.reserved))
        images = tuple(
            replace(image, data=_bytes(builder.pictures, image.ref)) for image in turn.reply.images
        )
        return replace(turn, reply=replace(turn.reply, images=images)), tuple(builder.sent)

    async def _book(
        self, received: MessageReceived, template: Template, calls: CallLog, *, turns: int
    ) -> None:
        """Count what a try cost, and release what it had reserved. Failures are logged: the try has ended."""
        try:
            await self.charges.book(charge_of(received, received.id, template.name, calls, turns=turns))
        except StateUnavailable as error:
            log.warning("What a try in the playground cost is booked later: %s", error)

    async def _checked(self, picture: Image, user: User) -> Image:
        """The image and its mask in a format and size that models accept. Raises NotAllowed."""
        read: list[Image] = []
        for what, data in (("image", picture.data), ("mask", picture.mask)):
            try:
                read.append(await self.engine.files.picture(data, user) if data else Image(mime=picture.mime))
            except NotAllowed as refusal:
                raise NotAllowed(f"The {what} {refusal}") from None
        found, mask = read
        return replace(found, ref="playground-in0", alt=picture.alt, mask=mask.data)

    def _engine_for(self, template: Template) -> Engine:
        given = dict.fromkeys(self.placeholders(template.system), "") | template.inputs
        available = tuple(name for name in template.knowledge if name in self.library.texts)
        return self.engine.for_template(replace(template, inputs=given, knowledge=available))


def _image_ranges(can: image_options.ImageCapabilities) -> Mapping[str, ParameterRange]:
    values: dict[str, tuple[str, ...]] = {
        "size": (*can.shapes.values(), *can.sizes),
        "quality": can.qualities,
        "style": can.styles,
        "background": ("auto", "opaque", "transparent") if can.transparent else (),
    }
    ranges: dict[str, ParameterRange] = {name: choice for name, choice in values.items() if len(choice) > 1}
    return {**ranges, "images": (1.0, float(can.most))} if can.most > 1 else ranges


def _bytes(pictures: Mapping[str, object], ref: str) -> bytes:
    return getattr(pictures.get(ref), "data", b"")


def _received(question: str, user: User | None) -> MessageReceived:
    id = f"studio:playground:{uuid4().hex}"
    address = Address(conversation="studio:playground", event=id)
    return MessageReceived(id=id, address=address, user=user or PERSON, at=now(), text=question, direct=True)


def _turns(past: Sequence[tuple[str, str]], received: MessageReceived) -> list[Turn]:
    return [
        past_turn(received, question, answer, f"{received.id}:{number}")
        for number, (question, answer) in enumerate(past)
    ]


async def _fetch(attachment: Attachment) -> bytes:
    raise NotAllowed(f"“{attachment.name}” can't be used in the playground.")
