"""Asks for confirmation before a command that other people notice, and checks it."""

from bot.conversation.commands.command import CommandCall, CommandResult, CommandServices
from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.turns import Reply
from bot.domain.words import marked, tr
from bot.storage.redis import keys


async def ask(
    services: CommandServices, received: MessageReceived, command: str, place: str, what: str, label: str
) -> CommandResult:
    """Say `what` the command would do, with a button `label`. Only the same person can confirm it, in `place`."""
    await services.personal_data.confirmations.ask(received.user, f"{command} {place}")
    minutes = keys.CONFIRM_S // 60
    message = marked("{what} To confirm, send `{command}` within {minutes} minutes.")
    if received.channel and not received.direct:
        message = marked("{what} To confirm, mention me with `{command}` within {minutes} minutes.")
    typed = f"{command} now"
    text = tr(message, what=what, command=typed, minutes=minutes)
    reply = Reply(text=text, private=True, confirm=typed, confirm_label=label)
    return CommandResult(reply, keep=False)


async def require(call: CommandCall, command: str, place: str) -> None:
    """Use the confirmation. Raises NotAllowed if none is waiting."""
    confirmations = call.services.personal_data.confirmations
    if await confirmations.confirm(call.received.user, f"{command} {place}", call.builder.event) is None:
        raise NotAllowed(
            "Nothing was changed, because there is nothing to confirm. A confirmation works once, within {minutes} "
            "minutes. To start again, send `{command}`.",
            minutes=keys.CONFIRM_S // 60,
            command=command,
        )
