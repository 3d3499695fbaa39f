"""A set-up as the playground's page holds it, and the template that it stands for."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from adapters.shared.http_body import parse_as
from adapters.studio.auth.guard import HttpError
from bot.conversation.playground import Playground
from bot.domain.errors import Malformed, TemplateError
from bot.domain.prompts import Example, Message, Parameters, Template, Text, say

MOST_EXAMPLES = 50
MOST_PAST = 200
MOST_TEXT = 100_000
"""Characters of a system message, a question or an answer."""

Words = Annotated[str, msgspec.Meta(max_length=MOST_TEXT)]


class ExamplePair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A few-shot example, or an exchange."""

    user: Words = ""
    assistant: Words = ""


class ImportedExtras(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What an imported file said beyond what the page shows: it comes along to where the set-up goes."""

    description: Words = ""
    pool: str | None = None
    shots: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    tools: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    extra: dict[str, Any] = {}


class PlaygroundConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the person changed of `template`; what that answers stays, and what `rest` does not say.

    `base` is the wording that the person began with, `name@digest`; empty where nobody knows.
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
    """A question to a set-up, after what was said before."""

    setup: PlaygroundConfig
    past: Annotated[list[ExamplePair], msgspec.Meta(max_length=MOST_PAST)] = []
    question: Words = ""

    @property
    def exchanges(self) -> Sequence[tuple[str, str]]:
        """The past, without what was never answered."""
        return [(pair.user, pair.assistant) for pair in self.past if pair.assistant]


def read_try(body: bytes) -> TryRequest:
    """Raises HttpError."""
    try:
        return parse_as(body, TryRequest)
    except Malformed as error:
        raise HttpError(400, f"This set-up can't be read: {error}.") from None


def template_of(setup: PlaygroundConfig, playground: Playground) -> Template:
    """The template as it stands on the page. Half-written examples don't count. Raises HttpError."""
    found = next((one for one in playground.templates() if one.name == setup.template), None)
    if found is None:
        raise HttpError(404, f"There is no template “{setup.template}” any more. Choose another one.")
    try:
        examples = tuple(
            next(
                (one for one in found.examples if (one.user, one.assistant) == (pair.user, pair.assistant)),
                None,
            )
            or playground.example(pair.user, pair.assistant)
            for pair in setup.examples
            if pair.user.strip() and pair.assistant.strip()
        )
    except TemplateError as error:
        raise HttpError(422, str(error)) from None
    placeholders = playground.placeholders(setup.system)
    template = msgspec.structs.replace(
        found,
        system=setup.system,
        examples=examples,
        parameters=setup.parameters,
        deployment=setup.deployment or None,
        inputs={placeholder: setup.inputs.get(placeholder, "") for placeholder in placeholders},
        past_messages=setup.past_messages,
        **_said(setup.rest),
    )
    return template if template == found else msgspec.structs.replace(template, digest="unsaved")


def weight(example: Example, playground: Playground) -> int:
    """Tokens of a few-shot pair, about: a picture's address counts beside the picture."""
    user = Message(role="user", parts=(Text(text=example.user), *example.images))
    return sum(map(playground.count_tokens, (user, say("assistant", example.assistant))))


def _said(rest: ImportedExtras) -> dict[str, Any]:
    """The fields that a file said anything in."""
    fields = {name: getattr(rest, name) for name in ImportedExtras.__struct_fields__}
    return {name: value for name, value in fields.items() if value != getattr(ImportedExtras(), name)}


def setup_of(template: Template, *, imported: bool = False) -> dict[str, Any]:
    """A template as the page shows it; an `imported` one with all else that its file said."""
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
