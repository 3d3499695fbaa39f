"""Commands that set the participation mode of a channel."""

from typing import ClassVar

from bot.conversation.commands.command import Command, CommandCall, CommandResult
from bot.domain.errors import NotAllowed
from bot.domain.turns import Reply
from bot.storage.prompts.preferences import ParticipationMode


class _ParticipationCommand(Command):
    channels_only = True
    mode: ClassVar[ParticipationMode | None]
    """None: only for one conversation of the channel."""
    done: ClassVar[str]

    async def run(self, call: CommandCall) -> CommandResult | None:
        received, store = call.received, call.services.preferences.store
        if received.direct or not received.channel:
            raise NotAllowed(f"`{self.name}` only works in channels. In direct messages I answer everything.")
        if self.mode is None:
            await store.set_quiet(received, True)
        else:
            await store.choose(received.user, received.channel, mode=self.mode)
        if self.mode == "follow":
            await store.set_quiet(received, False)
        everything = self.mode == "follow" and not received.threaded
        return CommandResult(Reply(text=_EVERYTHING if everything else self.done))


_EVERYTHING = "I'll respond to all messages here. To undo this, send `/mention-only`."


class FollowCommand(_ParticipationCommand):
    name = "follow"
    help = "respond in my threads without a mention"
    menu = "Answer in this channel's threads without a mention"
    aliases = ("unmute",)
    mode = "follow"
    done = "I'll respond in my threads in this channel without a mention."


class MentionOnlyCommand(_ParticipationCommand):
    name = "mention-only"
    help = "respond in this channel only when mentioned"
    menu = "Answer only when mentioned"
    aliases = ("mention only",)
    mode = "mention"
    done = "I'll only respond in this channel when I'm mentioned."


class QuietCommand(_ParticipationCommand):
    name = "quiet"
    help = "respond in this conversation only when mentioned"
    mode = None
    done = "I'll only respond in this conversation when I'm mentioned. To undo this, send `/follow`."


class MuteCommand(_ParticipationCommand):
    name = "mute"
    help = "respond only to commands in this channel"
    mode = "mute"
    done = "I'll only respond to commands in this channel. To undo this, send `/follow`."
