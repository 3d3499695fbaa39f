"""Commands that say when the bot takes part in a channel."""

from typing import ClassVar

from bot.conversation.commands.command import Command, CommandCall, CommandResult
from bot.domain.errors import NotAllowed
from bot.domain.turns import Reply
from bot.storage.prompts.preferences import ParticipationMode


class _ParticipationCommand(Command):
    channels_only = True
    mode: ClassVar[ParticipationMode | None]
    """None: this holds for one conversation of the channel."""
    done: ClassVar[str]

    async def run(self, call: CommandCall) -> CommandResult | None:
        """Set the mode."""
        received, preferences = call.received, call.services.preferences
        if received.direct or not received.channel:
            raise NotAllowed(f"`{self.name}` is for channels: here I answer everything.")
        if self.mode is None:
            await preferences.set_quiet(received, True)
        else:
            await preferences.set_participation(received, self.mode)
        if self.mode == "follow":
            await preferences.set_quiet(received, False)
        everything = self.mode == "follow" and not received.threaded
        return CommandResult(Reply(text=_EVERYTHING if everything else self.done))


_EVERYTHING = "From now on I answer everything that is said here. `/mention-only` ends this."


class FollowCommand(_ParticipationCommand):
    """`/follow`."""

    name = "follow"
    help = "answer what is said in threads that I am in, without being named"
    menu = "Answer in this channel's threads without a mention"
    aliases = ("unmute",)
    mode = "follow"
    done = "From now on I answer what is said in threads of this channel that I am in."


class MentionOnlyCommand(_ParticipationCommand):
    """`/mention-only`."""

    name = "mention-only"
    help = "answer in this channel only where I am named"
    menu = "Answer only when mentioned"
    aliases = ("mention only",)
    mode = "mention"
    done = "From now on I answer in this channel only where I am named."


class QuietCommand(_ParticipationCommand):
    """`/quiet`."""

    name = "quiet"
    help = "answer in this conversation only where I am named"
    mode = None
    done = "From now on I answer in this conversation only where I am named. `/follow` ends this."


class MuteCommand(_ParticipationCommand):
    """`/mute`."""

    name = "mute"
    help = "answer nothing in this channel but these commands"
    mode = "mute"
    done = "From now on I answer nothing in this channel but commands. `/follow` ends this."
