"""Chooses the template: by command, prefix, conversation, choice, channel, workspace, else the default one."""

from collections.abc import Callable, Sequence
from itertools import takewhile

from msgspec.structs import replace

from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.prompts import Template
from bot.domain.turns import Turn
from bot.domain.words import tr
from bot.generation.image_options import NO_DESCRIPTION


def choose(
    templates: Sequence[Template],
    received: MessageReceived,
    chosen: str = "",
    usual: str = "",
    *,
    kept: str = "",
    question: bool = False,
) -> tuple[Template, str]:
    """The template for a message, and the question without the command or prefix.

    `kept` is the template that stays for the conversation, `chosen` that of the channel or person, `usual` that of the
    workspace. With `question`, commands and prefixes are ignored. Exactly one template is the default (checked by
    `bot.prompts.loader`). Raises NotAllowed for an unknown slash command of the app.
    """
    text = received.text.strip()
    if not question:
        for template in templates:
            if (rest := asked_of(template, received)) is not None:
                return template, rest
    text = _without_slash(received) or text
    tests: tuple[Callable[[Template], bool], ...] = (
        lambda template: template.name == kept and template.capability == "chat",
        lambda template: template.name == chosen,
        lambda template: bool(received.channel) and received.channel in template.match.channels,
        lambda template: template.name == usual,
        lambda template: template.match.default,
    )
    return next(template for test in tests for template in templates if test(template)), text


def asked_of(template: Template, received: MessageReceived) -> str | None:
    """The text after the template's command or prefix; None if the message begins with neither."""
    if received.command is not None:
        word, rest = received.command
        return rest if word in template.match.commands else None
    text = received.text.strip()
    return next(
        (rest for prefix in template.match.prefixes if (rest := _after(prefix, text)) is not None), None
    )


def kept_in(turns: Sequence[Turn]) -> str:
    """The name of the template that stays for a conversation with these turns; empty if there is none."""
    return next((turn.kept for turn in reversed(turns) if turn.template or turn.resets), "")


def kept_since(turns: Sequence[Turn]) -> float:
    """Since when that template stays, in seconds since 1970, as far as the turns go back."""
    name = kept_in(turns)
    run = takewhile(lambda turn: turn.kept == name or not turn.template, reversed(turns))
    return min((turn.received.at.timestamp() for turn in run if turn.kept), default=0.0)


def _without_slash(received: MessageReceived) -> str:
    """The question behind a slash command of the app that has no such command, as in `/parley why is the sky blue?`.

    Raises NotAllowed if there is nothing but an unknown word.
    """
    command = received.command
    if command is None or not received.registered:
        return ""
    if not command[1]:
        raise NotAllowed("Unknown command `/{word}`. Send `help` for a list of commands.", word=command[0])
    return received.text.strip().removeprefix("/")


def served_by(template: Template, deployment: str) -> Template:
    """The template with the chosen deployment, unless it names its own."""
    free = template.capability == "chat" and (template.match.default or template.deployment is None)
    return replace(template, deployment=deployment) if deployment and free else template


def reply_without_question(template: Template) -> str:
    """The reply to a message without a question."""
    if template.capability == "image":
        return tr(NO_DESCRIPTION)
    if template.match.default:
        return tr("Hello! Ask me anything, or send `help` to see what I can do.")
    return tr(
        "Add your question after the command. What it does: {description}.",
        description=template.description or template.name,
    )


def _after(prefix: str, text: str) -> str | None:
    """The text after the prefix and a colon; None for anything else.

    Without a colon, it may be the first word of a question: "translate requirements into test cases".
    """
    whole = prefix if prefix.endswith(":") else f"{prefix}:"
    if not text.casefold().startswith(whole.casefold()):
        return None
    return text[len(whole) :].strip() or None
