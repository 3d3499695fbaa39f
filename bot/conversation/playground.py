"""Where a template is tried before people meet it: composed and answered by the engine's own path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from msgspec.structs import replace

from bot.conversation.answer_context import AnswerContext
from bot.conversation.engine import Engine
from bot.domain.errors import NotAllowed, TemplateError
from bot.domain.events import Address, Attachment, MessageReceived, User, now
from bot.domain.prompts import Example, Image, Prompt, Template, say
from bot.domain.turns import Deployment, Reply, Turn
from bot.generation import image_options
from bot.generation.completion import Show
from bot.generation.model_info import ModelInfo
from bot.generation.turn_builder import Stop
from bot.llm.catalog import catalog
from bot.llm.protocol import OnPartialImage
from bot.prompts import example_images
from bot.prompts.body import BUILT_IN, PLACEHOLDER
from bot.prompts.library import PromptLibrary
from bot.storage.usage.charges import Charges

PERSON = User(id="playground", tenant="studio", name="Playground")
"""Who asks where nobody is known by name: what is tried costs money, too, and keeps to the same limits."""

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
    """Nothing that is tried is stored, but what it cost is counted.

    Its methods raise Refused, Unavailable and ConfigError.
    """

    engine: Engine
    library: PromptLibrary
    model_info: ModelInfo
    charges: Charges

    def templates(self) -> Sequence[Template]:
        """The templates in force, by name."""
        return self.library.registry.templates()

    def deployments(self) -> Sequence[Deployment]:
        """Every deployment, of every capability."""
        return self.model_info.deployments()

    def parameter_ranges(self, deployment: Deployment) -> Mapping[str, ParameterRange]:
        """What each parameter may be that this deployment takes: a range, or some words."""
        family = catalog.families().get(deployment.family)
        if deployment.capability == "image":
            return _of_pictures(image_options.capabilities_of(deployment.family))
        refused = family.refuses if family else ()
        ranges = {name: knob for name, knob in _SAMPLING.items() if name not in refused}
        if "temperature" in refused:
            ranges |= _REASONING
        return {**ranges, "max_output_tokens": (1.0, float(deployment.output_tokens))}

    def changes(self, deployment: Deployment) -> tuple[bool, bool]:
        """Whether it changes a whole picture, and whether it changes the part that a mask leaves open."""
        can = image_options.capabilities_of(deployment.family)
        return can.edits, can.masks

    def placeholders(self, text: str) -> Sequence[str]:
        """The placeholders of a system message that an input has to fill, in order, each once."""
        found = (placeholder.strip() for placeholder in PLACEHOLDER.findall(text))
        return list(dict.fromkeys(placeholder for placeholder in found if placeholder not in BUILT_IN))

    def example(self, user: str, assistant: str) -> Example:
        """A few-shot pair with the pictures that its words show. Raises TemplateError."""
        try:
            images = example_images.pictures(user, self.library.registry.load_image)
        except ValueError as error:
            raise TemplateError(f"In an example, {error}.") from None
        return Example(user=user, assistant=assistant, images=images)

    async def preview(
        self, template: Template, past: Sequence[tuple[str, str]], question: str, *, user: User | None = None
    ) -> Prompt:
        """Exactly what would be sent."""
        received = _said(question, user)
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

        `user` is who asks and whose use it is, the playground itself where nobody is known by name.
        `picture` is to be changed, where its mask is open; `on_partial_image` gets a picture as far as it is drawn.
        """
        received = _said(question, user)
        given = () if picture is None else (await self._checked(picture, received.user),)
        context = AnswerContext(
            show=show, fetch=_fetch, stop=Stop(), on_partial_image=on_partial_image, given=given
        )
        builder = await self._engine_for(template).answer(received, _turns(past, received), context)
        turn = builder.done()
        if turn.usage:
            await self.charges.book(turn)
        images = tuple(
            replace(image, data=_bytes(builder.pictures, image.ref)) for image in turn.reply.images
        )
        return replace(turn, reply=replace(turn.reply, images=images)), tuple(builder.sent)

    async def _checked(self, picture: Image, user: User) -> Image:
        """The picture and its mask in a kind and a size that models take, as a person's own.

        Raises NotAllowed.
        """
        read: list[Image] = []
        for what, data in (("picture", picture.data), ("mask", picture.mask)):
            try:
                read.append(await self.engine.files.picture(data, user) if data else Image(mime=picture.mime))
            except NotAllowed as refusal:
                raise NotAllowed(f"The {what} {refusal}") from None
        found, mask = read
        return replace(found, ref="playground-in0", alt=picture.alt, mask=mask.data)

    def _engine_for(self, template: Template) -> Engine:
        given = dict.fromkeys(self.placeholders(template.system), "") | template.inputs
        there = tuple(name for name in template.knowledge if name in self.library.texts)
        return self.engine.for_template(replace(template, inputs=given, knowledge=there))


def _of_pictures(can: image_options.ImageCapabilities) -> Mapping[str, ParameterRange]:
    words: dict[str, tuple[str, ...]] = {
        "size": (*can.shapes.values(), *can.sizes),
        "quality": can.qualities,
        "style": can.styles,
        "background": ("auto", "opaque", "transparent") if can.transparent else (),
    }
    ranges: dict[str, ParameterRange] = {name: choice for name, choice in words.items() if len(choice) > 1}
    return {**ranges, "images": (1.0, float(can.most))} if can.most > 1 else ranges


def _bytes(pictures: Mapping[str, object], ref: str) -> bytes:
    return getattr(pictures.get(ref), "data", b"")


def _said(question: str, user: User | None) -> MessageReceived:
    id = f"studio:playground:{uuid4().hex}"
    address = Address(conversation="studio:playground", event=id)
    return MessageReceived(id=id, address=address, user=user or PERSON, at=now(), text=question, direct=True)


def _turns(past: Sequence[tuple[str, str]], received: MessageReceived) -> list[Turn]:
    """What was said before, as the engine remembers it."""
    return [
        Turn(
            id=f"{received.id}:{number}",
            received=received,
            template="",
            messages=(say("user", question), say("assistant", answer)),
            reply=Reply(text=answer),
            outcome="answered",
            began_at=received.at,
            ended_at=received.at,
        )
        for number, (question, answer) in enumerate(past)
    ]


async def _fetch(attachment: Attachment) -> bytes:
    raise NotAllowed(f"“{attachment.name}” can't be tried here.")
