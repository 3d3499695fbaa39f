"""The list of commands, and how they are distinguished from questions."""

from collections.abc import Mapping, Sequence

from bot.conversation.commands.answers import (
    AgainCommand,
    CompareCommand,
    SentCommand,
    StopCommand,
    VariationsCommand,
)
from bot.conversation.commands.choices import ModelCommand, PromptCommand, uncapitalised
from bot.conversation.commands.command import Command, CommandCall, CommandResult, CommandServices
from bot.conversation.commands.participation import (
    DialogueCommand,
    FollowCommand,
    MentionOnlyCommand,
    MuteCommand,
    QuietCommand,
)
from bot.conversation.commands.personal import ForgetCommand, ResetCommand, UsageCommand
from bot.domain.adapter import MenuCommand
from bot.domain.events import MessageReceived
from bot.domain.participation import MODES
from bot.domain.prompts import Template
from bot.domain.turns import Reply
from bot.domain.words import marked, tr
from bot.generation.hints import MENTION_FIRST


class HelpCommand(Command):
    name = "help"
    help = marked("show what I can do")
    menu = "Show what I can do, and how to ask"
    any_case = True

    async def run(self, call: CommandCall) -> CommandResult | None:
        """List the templates and commands that are available here."""
        services = call.services
        lines = [tr("Ask me anything. I remember this conversation."), ""]
        lines += [
            f"- `{begins(template)} …` {uncapitalised(template.description)}"
            for template in services.sources.templates(call.received)
            if template.match.commands and services.model_info.is_served(template)
        ]
        available = [command for command in COMMANDS if command.is_available(call.received, services)]
        lines += [f"- `{each.name}` {tr(each.help)}" for each in available if not each.channels_only]
        lines += await _participation(call, [each for each in available if each.channels_only])
        if not call.received.direct:
            lines += ["", tr(MENTION_FIRST)]
        return CommandResult(Reply(text="\n".join(lines), private=True))


async def _participation(call: CommandCall, commands: Sequence[Command]) -> list[str]:
    """The mode of the channel, and how to change it: by a mention, because not every platform has slash commands."""
    if not commands:
        return []
    mode = MODES[await call.services.preferences.mode(call.received)]
    head = tr(
        "In this channel the mode is *{mode}*: {description}. To change it, mention me with one of these:",
        mode=mode.name,
        description=tr(mode.description),
    )
    return ["", head, "", *(f"- `{command.name}` {tr(command.help)}" for command in commands)]


def begins(template: Template) -> str:
    """How a message for this template begins, where Slack or Teams may intercept a slash."""
    prefix = next(iter(template.match.prefixes), "").removesuffix(":")
    return f"{prefix}:" if prefix else f"/{template.match.commands[0]}"


COMMANDS: tuple[Command, ...] = (
    HelpCommand(),
    PromptCommand(),
    ModelCommand(),
    CompareCommand(),
    AgainCommand(),
    VariationsCommand(),
    StopCommand(),
    SentCommand(),
    UsageCommand(),
    ResetCommand(),
    ForgetCommand(),
    FollowCommand(),
    DialogueCommand(),
    MentionOnlyCommand(),
    QuietCommand(),
    MuteCommand(),
)
"""In the order in which `help` lists them."""


def by_word() -> Mapping[str, Command]:
    """The commands by name and alias."""
    return {word: command for command in COMMANDS for word in (command.name, *command.aliases)}


def clash(template: Template) -> str:
    """The first command word of a template that is a built-in command; empty if there is none."""
    return next((word for word in template.match.commands if word in by_word()), "")


def menu() -> list[MenuCommand]:
    """The commands for a platform's command menu, in the order of `help`."""
    return [MenuCommand(each.name, each.menu, each.channels_only) for each in COMMANDS if each.menu]


def is_stop(received: MessageReceived) -> bool:
    """Whether this is a request to stop, which must not queue behind the answer that it stops."""
    return received.addressed and received.text.strip().lower() in ("stop", "/stop")


def is_question(received: MessageReceived) -> bool:
    """Whether a message that begins with a command is a question, such as `/reset the router, how?`."""
    return not received.addressed or (received.command is not None and received.command[0] in by_word())


def parse(received: MessageReceived, services: CommandServices) -> tuple[Command, str] | None:
    """The command, with or without a slash, and the text after it; None for a question.

    Only what is said to the bot itself can be a command: in a direct conversation, with a mention, by a slash command
    of the app or a button. Commands must be typed exactly: "stop!", "Usage?" and "/forget about it" are questions.
    Without a slash, a word with text after it is a command only if `typed_plainly` says so.
    """
    if not received.addressed:
        return None
    text = received.text.strip()
    for command in COMMANDS:
        typed = text.lower() if command.any_case or text.startswith("/") else text
        if (found := command.typed_exactly(typed)) is not None:
            return command, found
    if received.command is not None:
        word, rest = received.command
        command = by_word().get(word)
        if command is None or not rest:
            return None if command is None else (command, rest)
        return (command, rest) if command.takes(rest, received, services) else None
    word, _, rest = text.partition(" ")
    for command in COMMANDS:
        if rest and command.typed_plainly(word, rest, services):
            return command, rest
    return None
