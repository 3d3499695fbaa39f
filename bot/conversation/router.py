"""Chooses the template: by command, prefix, choice, channel, workspace, else the default one."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.prompts import Template
from bot.generation.image_options import NO_DESCRIPTION


def choose(
    templates: Sequence[Template],
    received: MessageReceived,
    chosen: str = "",
    usual: str = "",
    *,
    question: bool = False,
) -> tuple[Template, str]:
    """The template for a message, and the question without the command or prefix.

    `chosen` is the template chosen by the channel or person, `usual` that of the workspace. With `question`,
    commands are ignored; in a message that does not mention the bot, prefixes, too. Exactly one template is the
    default (checked by `bot.prompts.loader`). Raises NotAllowed for an unknown command.
    """
    text = received.text.strip()
    command = received.command
    if command is not None and not question and received.addressed:
        word, rest = command
        for template in templates:
            if word in template.match.commands:
                return template, rest
        raise NotAllowed(f"Unknown command `/{word}`. Send `/help` for a list of commands.")
    for template in templates if received.addressed else ():
        for prefix in template.match.prefixes:
            rest = _after(prefix, text)
            if rest is not None:
                return template, rest
    tests: tuple[Callable[[Template], bool], ...] = (
        lambda template: template.name == chosen,
        lambda template: bool(received.channel) and received.channel in template.match.channels,
        lambda template: template.name == usual,
        lambda template: template.match.default,
    )
    return next(template for test in tests for template in templates if test(template)), text


def served_by(template: Template, deployment: str) -> Template:
    """The template with the chosen deployment, unless it names its own."""
    free = template.capability == "chat" and (template.match.default or template.deployment is None)
    return replace(template, deployment=deployment) if deployment and free else template


def reply_without_question(template: Template) -> str:
    """The reply to a message without a question."""
    if template.capability == "image":
        return NO_DESCRIPTION
    if template.match.default:
        return "Hello! Ask me anything, or send `help` to see what I can do."
    return f"Add your question after the command. What it does: {template.description or template.name}."


def _after(prefix: str, text: str) -> str | None:
    """The text after the prefix; None if the text doesn't start with it as a whole word."""
    if not text.casefold().startswith(prefix.casefold()):
        return None
    rest = text[len(prefix) :]
    if not rest or (prefix[-1:].isalnum() and rest[0].isalnum()):
        return None
    return rest.lstrip(" \t\n:,")
