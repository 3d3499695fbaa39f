"""Which template answers: by command, by the channel's choice, by prefix, else the default one."""

from collections.abc import Sequence

from msgspec.structs import replace

from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.prompts import Template
from bot.generation.image_options import NOTHING_SAID


def choose(
    templates: Sequence[Template],
    received: MessageReceived,
    chosen: str = "",
    usual: str = "",
    *,
    question: bool = False,
) -> tuple[Template, str]:
    """The template for what was said, and the question without the words that chose it.

    `chosen` is the name of the template that people chose here, `usual` that of their tenant's own default.
    With `question` a text is none of the commands that it begins like.
    Exactly one template is the default one (`bot.prompts.loader` sees to it). Raises NotAllowed for a command
    that no template answers.
    """
    text = received.text.strip()
    command = received.command
    if command is not None and not question:
        word, rest = command
        for template in templates:
            if word in template.match.commands:
                return template, rest
        raise NotAllowed(f"I don't know the command `/{word}`. `/help` lists what I can do.")
    for template in templates:
        for prefix in template.match.prefixes:
            rest = _after(prefix, text)
            if rest is not None:
                return template, rest
    for template in templates:
        if template.name == chosen:
            return template, text
    for template in templates:
        if received.channel and received.channel in template.match.channels:
            return template, text
    for template in templates:
        if template.name == usual:
            return template, text
    return next(template for template in templates if template.match.default), text


def served_by(template: Template, deployment: str) -> Template:
    """The template with the deployment that people chose; one that asks for its own keeps it."""
    free = template.capability == "chat" and (template.match.default or template.deployment is None)
    return replace(template, deployment=deployment) if deployment and free else template


def nothing_said(template: Template) -> str:
    """What a person is told who called a template and said nothing."""
    if template.capability == "image":
        return NOTHING_SAID
    if template.match.default:
        return "Hello! Ask me anything, or say `help` to see what I can do."
    return f"Please say what it is about. This is what I do here: {template.description or template.name}."


def _after(prefix: str, text: str) -> str | None:
    """What follows the prefix, if the text starts with it and the prefix ends at a word's end."""
    if not text.casefold().startswith(prefix.casefold()):
        return None
    rest = text[len(prefix) :]
    if not rest or (prefix[-1:].isalnum() and rest[0].isalnum()):
        return None
    return rest.lstrip(" \t\n:,")
