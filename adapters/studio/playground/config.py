"""A config of the playground as the page holds it, and the template that it stands for."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from adapters.shared.http_body import parse_as
from adapters.studio.auth.guard import HttpError
from bot.conversation.playground import Playground
from bot.domain.errors import Malformed, TemplateError
from bot.domain.prompts import Example, Message, Parameters, Template, Text, say
from bot.generation.context_window import count_tokens

MOST_EXAMPLES = 50
MOST_PAST = 200
MOST_TEXT = 100_000
"""Characters of a system message, a question or an answer."""

Words = Annotated[str, msgspec.Meta(max_length=MOST_TEXT)]


class ExamplePair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A few-shot example, or a past question with its answer."""

    user: Words = ""
    assistant: Words = ""


class ImportedExtras(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The fields of an imported file that the page doesn't show; they stay with the config."""

    description: Words = ""
    pool: str | None = None
    shots: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    tools: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    extra: dict[str, Any] = {}
    question: Words = ""


class PlaygroundConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The person's changes to `template`; everything else is the template's, or that of `rest`.

    `base` is the version that the person began to edit, as `name@digest`; empty if unknown.
    """

    template: Annotated[str, msgspec.Meta(max_length=64)]
    base: Annotated[str, msgspec.Meta(max_length=100)] = ""
    deployment: Annotated[str, msgspec.Meta(max_length=200)] = ""
    system: Words = ""
    examples: Annotated[list[ExamplePair], msgspec.Meta(max_length=MOST_EXAMPLES)] = []
    parameters: Parameters = Parameters()
    inputs: dict[str, Words] = {}
    past_messages: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None = None
    rest: ImportedExtras = ImportedExtras()


class TryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question to a config, with the conversation so far."""

    setup: PlaygroundConfig
    past: Annotated[list[ExamplePair], msgspec.Meta(max_length=MOST_PAST)] = []
    question: Words = ""

    @property
    def exchanges(self) -> Sequence[tuple[str, str]]:
        """The conversation so far, without unanswered questions."""
        return [(pair.user, pair.assistant) for pair in self.past if pair.assistant]


def read_try(body: bytes) -> TryRequest:
    """Raises HttpError."""
    try:
        return parse_as(body, TryRequest)
    except Malformed as error:
        raise HttpError(400, f"This configuration is not valid: {error}.") from None


def template_of(setup: PlaygroundConfig, playground: Playground) -> Template:
    """The template as edited on the page, without incomplete examples. Raises HttpError."""
    found = next((one for one in playground.templates() if one.name == setup.template), None)
    if found is None:
        raise HttpError(404, f"The template “{setup.template}” no longer exists. Choose another one.")
    known = {(one.user, one.assistant): one for one in found.examples}
    try:
        examples = tuple(
            known.get((pair.user, pair.assistant)) or playground.example(pair.user, pair.assistant)
            for pair in setup.examples
            if pair.user.strip() and pair.assistant.strip()
        )
    except TemplateError as error:
        raise HttpError(422, str(error)) from None
    placeholders = playground.placeholders(setup.system)
    # The page does not show the text around the question, nor its inputs.
    given = {**found.inputs, **setup.inputs}
    asked = playground.placeholders(setup.rest.question or found.question)
    around = {name: given[name] for name in asked if name in given}
    template = msgspec.structs.replace(
        found,
        system=setup.system,
        examples=examples,
        parameters=setup.parameters,
        deployment=setup.deployment or None,
        inputs=around | {name: setup.inputs.get(name, "") for name in placeholders},
        past_messages=setup.past_messages,
        **_set_fields(setup.rest),
    )
    return template if template == found else msgspec.structs.replace(template, digest="unsaved")


def check_deployment(setup: PlaygroundConfig, playground: Playground) -> None:
    """Raises HttpError for a deployment that does not exist: another one must not answer in its place."""
    names = [one.name for one in playground.deployments() if one.capability == "chat"]
    if setup.deployment and setup.deployment not in names:
        words = (
            f"The deployment “{setup.deployment}” doesn’t exist here. Choose another one under Deployment."
        )
        raise HttpError(422, words)


def check_inputs(setup: PlaygroundConfig, playground: Playground) -> None:
    """Raises HttpError for placeholders without a value, which would be published as nothing."""
    missing = [
        f"{{{{{name}}}}}"
        for name in playground.placeholders(setup.system)
        if not setup.inputs.get(name, "").strip()
    ]
    if missing:
        has = "has" if len(missing) == 1 else "have"
        words = f"{', '.join(missing)} {has} no value. Enter it under Variables, or take it out of the system message."
        raise HttpError(422, words)


def tokens_of(example: Example) -> int:
    """Estimated tokens of a few-shot example; the address of an image counts beside the image."""
    user = Message(role="user", parts=(Text(text=example.user), *example.images))
    return sum(map(count_tokens, (user, say("assistant", example.assistant))))


def _set_fields(rest: ImportedExtras) -> dict[str, Any]:
    """The fields that a file set."""
    fields = {name: getattr(rest, name) for name in ImportedExtras.__struct_fields__}
    return {name: value for name, value in fields.items() if value != getattr(ImportedExtras(), name)}


def setup_of(template: Template, *, imported: bool = False) -> dict[str, Any]:
    """A template as the page shows it; an `imported` one with the other fields of its file."""
    rest = ImportedExtras(**{name: getattr(template, name) for name in ImportedExtras.__struct_fields__})
    setup = PlaygroundConfig(
        template=template.name,
        base=template.version,
        deployment=template.deployment or "",
        system=template.system,
        examples=[ExamplePair(one.user, one.assistant) for one in template.examples],
        parameters=template.parameters,
        inputs=dict(template.inputs),
        past_messages=template.past_messages,
        rest=rest if imported else ImportedExtras(),
    )
    return msgspec.to_builtins(setup)
