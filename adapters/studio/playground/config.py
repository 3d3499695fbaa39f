"""A set-up as the playground's page holds it, and the template that it stands for."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from adapters.shared.http_body import parse_as
from adapters.studio.auth.guard import Turned
from adapters.studio.services import Workbench
from bot.domain.errors import Malformed, TemplateError
from bot.domain.prompts import Example, Message, Parameters, Template, Text, say

MOST_EXAMPLES = 50
MOST_PAST = 200
MOST_TEXT = 100_000
"""Characters of a system message, a question or an answer."""

Words = Annotated[str, msgspec.Meta(max_length=MOST_TEXT)]


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A few-shot example, or an exchange."""

    user: Words = ""
    assistant: Words = ""


class Rest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an imported file said beyond what the page shows: it comes along to where the set-up goes."""

    description: Words = ""
    pool: str | None = None
    shots: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    tools: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    extra: dict[str, Any] = {}


class Setup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the person changed of `template`; what that answers stays, and what `rest` does not say.

    `base` is the wording that the person began with, `name@digest`; empty where nobody knows.
    """

    template: Annotated[str, msgspec.Meta(max_length=64)]
    base: Annotated[str, msgspec.Meta(max_length=100)] = ""
    deployment: Annotated[str, msgspec.Meta(max_length=200)] = ""
    system: Words = ""
    examples: Annotated[list[Pair], msgspec.Meta(max_length=MOST_EXAMPLES)] = []
    parameters: Parameters = Parameters()
    inputs: dict[str, Words] = {}
    past_messages: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None = None
    rest: Rest = Rest()


class Try(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question to a set-up, after what was said before."""

    setup: Setup
    past: Annotated[list[Pair], msgspec.Meta(max_length=MOST_PAST)] = []
    question: Words = ""

    @property
    def exchanges(self) -> Sequence[tuple[str, str]]:
        """The past, without what was never answered."""
        return [(pair.user, pair.assistant) for pair in self.past if pair.assistant]


def read_try(body: bytes) -> Try:
    """Raises Turned."""
    try:
        return parse_as(body, Try)
    except Malformed as error:
        raise Turned(400, f"This set-up can't be read: {error}.") from None


def template_of(setup: Setup, workbench: Workbench) -> Template:
    """The template as it stands on the page. Half-written examples don't count. Raises Turned."""
    found = next((one for one in workbench.templates() if one.name == setup.template), None)
    if found is None:
        raise Turned(404, f"There is no template “{setup.template}” any more. Choose another one.")
    try:
        examples = tuple(
            next(
                (one for one in found.examples if (one.user, one.assistant) == (pair.user, pair.assistant)),
                None,
            )
            or workbench.example(pair.user, pair.assistant)
            for pair in setup.examples
            if pair.user.strip() and pair.assistant.strip()
        )
    except TemplateError as error:
        raise Turned(422, str(error)) from None
    holes = workbench.holes(setup.system)
    template = msgspec.structs.replace(
        found,
        system=setup.system,
        examples=examples,
        parameters=setup.parameters,
        deployment=setup.deployment or None,
        inputs={hole: setup.inputs.get(hole, "") for hole in holes},
        past_messages=setup.past_messages,
        **_said(setup.rest),
    )
    return template if template == found else msgspec.structs.replace(template, digest="unsaved")


def weight(example: Example, workbench: Workbench) -> int:
    """Tokens of a few-shot pair, about: a picture's address counts beside the picture."""
    user = Message(role="user", parts=(Text(text=example.user), *example.images))
    return sum(map(workbench.weigh, (user, say("assistant", example.assistant))))


def _said(rest: Rest) -> dict[str, Any]:
    """The fields that a file said anything in."""
    fields = {name: getattr(rest, name) for name in Rest.__struct_fields__}
    return {name: value for name, value in fields.items() if value != getattr(Rest(), name)}


def setup_of(template: Template, *, imported: bool = False) -> dict[str, Any]:
    """A template as the page shows it; an `imported` one with all else that its file said."""
    rest = Rest(**{name: getattr(template, name) for name in Rest.__struct_fields__})
    setup = Setup(
        template=template.name,
        base=template.version,
        deployment=template.deployment or "",
        system=template.system,
        examples=[Pair(one.user, one.assistant) for one in template.examples],
        parameters=template.parameters,
        inputs=dict(template.inputs),
        past_messages=template.past_messages,
        rest=rest if imported else Rest(),
    )
    return msgspec.to_builtins(setup)
