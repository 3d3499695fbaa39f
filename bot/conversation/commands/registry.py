"""Every command, and how one is told from a question."""

from collections.abc import Mapping

from bot.conversation.commands.answers import (
    AgainCommand,
    CompareCommand,
    SentCommand,
    StopCommand,
    VariationsCommand,
)
from bot.conversation.commands.choices import ModelCommand, PromptCommand
from bot.conversation.commands.command import Command, CommandCall, CommandResult, CommandServices
from bot.conversation.commands.participation import (
    FollowCommand,
    MentionOnlyCommand,
    MuteCommand,
    QuietCommand,
)
from bot.conversation.commands.personal import ForgetCommand, ResetCommand, UsageCommand
from bot.domain.adapter import MenuCommand
from bot.domain.events import MessageReceived
from bot.domain.prompts import Template
from bot.domain.turns import Reply


class HelpCommand(Command):
    """`/help`."""

    name = "help"
    help = "what I can do"
    menu = "What I can do, and how to ask"

    async def run(self, call: CommandCall) -> CommandResult | None:
        """List what can be done here: only what is there."""
        services = call.services
        lines = ["Ask me anything, in your own words. I remember this conversation.", ""]
        for template in services.sources.templates():
            if template.match.commands and services.model_info.is_served(template):
                description = template.description[:1].lower() + template.description[1:]
                lines.append(f"- `/{template.match.commands[0]} …` {description}")
        available = [command for command in COMMANDS if command.is_available(call.received, services)]
        lines += [f"- `/{command.name}` {command.help}" for command in available]
        lines += ["", "Where a slash is taken by the app itself, the word alone does the same: `help`."]
        return CommandResult(Reply(text="\n".join(lines), private=True))


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
    MentionOnlyCommand(),
    QuietCommand(),
    MuteCommand(),
)
"""In the order in which `help` lists them."""


def by_word() -> Mapping[str, Command]:
    """Every command by its name and its other names."""
    return {word: command for command in COMMANDS for word in (command.name, *command.aliases)}


def clash(template: Template) -> str:
    """The word of a command that a template claims for itself; empty when it claims none."""
    return next((word for word in template.match.commands if word in by_word()), "")


def menu() -> list[MenuCommand]:
    """The commands that a platform may list, in the order of `help`."""
    return [MenuCommand(one.name, one.menu, one.channels_only) for one in COMMANDS if one.menu]


def is_stop(received: MessageReceived) -> bool:
    """Whether this is a request to stop, which can't wait behind the answer that it is to stop."""
    return _typed(received) in ("stop", "/stop")


def is_question(received: MessageReceived) -> bool:
    """Whether a message that begins like a command is a question: `/reset the router, how?`."""
    return received.command is not None and received.command[0] in by_word()


def parse(received: MessageReceived, services: CommandServices) -> tuple[Command, str] | None:
    """The command that was typed, with or without its slash, and the rest; None for a question.

    A command is typed exactly: "stop!", "usage?" and "/forget about it" are questions. Without a slash, a word with
    more behind it is a command only where that names something that can be chosen.
    """
    typed = _typed(received)
    for command in COMMANDS:
        if (found := command.typed_exactly(typed)) is not None:
            return command, found
    if received.command is not None:
        word, rest = received.command
        command = by_word().get(word)
        return (command, rest) if command is not None and (command.takes_text or not rest) else None
    word, _, rest = received.text.strip().partition(" ")
    for command in COMMANDS:
        if rest and command.typed_plainly(word.lower(), rest, services):
            return command, rest
    return None


def _typed(received: MessageReceived) -> str:
    """The text as it is compared with a command: without surrounding space, in lower case."""
    return received.text.strip().lower()
