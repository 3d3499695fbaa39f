"""Commands that set the participation mode of a channel."""

from typing import ClassVar

from bot.conversation.commands import confirmation
from bot.conversation.commands.command import Command, CommandCall, CommandResult
from bot.domain.errors import NotAllowed
from bot.domain.participation import ParticipationMode
from bot.domain.turns import Reply
from bot.domain.words import marked, tr


class _ParticipationCommand(Command):
    channels_only = True
    mode: ClassVar[ParticipationMode | None]
    """None: only for one conversation of the channel."""
    done: ClassVar[str]

    async def run(self, call: CommandCall) -> CommandResult | None:
        received, preferences = call.received, call.services.preferences
        if received.direct or not received.channel:
            raise NotAllowed(
                "`{command}` only works in channels. In direct messages I answer everything.",
                command=self.name,
            )
        if self.mode is None:
            await preferences.set_quiet(received, True)
        else:
            await preferences.choose(received.user, received.channel, mode=self.mode)
        if self.mode in ("follow", "dialogue"):
            await preferences.set_quiet(received, False)
        return CommandResult(Reply(text=tr(self.done if received.threaded else self.done_without_threads)))

    @property
    def done_without_threads(self) -> str:
        """The reply in a chat without threads."""
        return self.done


class FollowCommand(_ParticipationCommand):
    name = "follow"
    help = marked("answer everything in my threads here, unless somebody else is tagged")
    menu = "Answer everything in this channel's threads"
    mode = "follow"
    done = marked(
        "I'll answer everything in my threads in this channel, unless somebody else is tagged. To undo this, mention "
        "me with `dialogue`."
    )

    @property
    def done_without_threads(self) -> str:
        return marked(
            "I'll respond to all messages here, unless somebody else is tagged. To undo this, mention me with "
            "`mention-only`."
        )


class DialogueCommand(_ParticipationCommand):
    name = "dialogue"
    help = marked("answer mentions here, and follow-ups until others join in")
    menu = "Answer mentions, and follow-ups until others join in"
    aliases = ("unmute",)
    mode = "dialogue"
    done = marked(
        "In this channel I'll answer mentions, and follow-ups of the person who mentioned me until somebody else joins "
        "in or is tagged."
    )

    @property
    def done_without_threads(self) -> str:
        return marked("I'll answer mentions here, and replies to my questions.")


class MentionOnlyCommand(_ParticipationCommand):
    name = "mention-only"
    help = marked("respond in this channel only when mentioned")
    menu = "Answer only when mentioned"
    aliases = ("mention only",)
    mode = "mention"
    done = marked(
        "I'll only respond in this channel when I'm mentioned. To undo this, mention me with `dialogue`."
    )


class QuietCommand(_ParticipationCommand):
    name = "quiet"
    help = marked("respond in this conversation only when mentioned")
    mode = None
    done = marked(
        "I'll only respond in this conversation when I'm mentioned. To undo this, mention me with `dialogue`."
    )


class MuteCommand(_ParticipationCommand):
    name = "mute"
    help = marked("answer only mentions in this channel, visibly only to the person who asks")
    menu = "Answer only mentions, and only to the person who asks"
    mode = "mute"
    done = marked(
        "In this channel I'll answer mentions only, and only the person who asks sees the answer. To undo this, "
        "mention me with `dialogue`."
    )

    def typed_exactly(self, text: str) -> str | None:
        return {"mute": "", "mute now": "now"}.get(text.removeprefix("/"))

    async def run(self, call: CommandCall) -> CommandResult | None:
        """Ask for confirmation first, because everybody in the channel notices."""
        received, channel = call.received, call.received.channel
        if received.direct or not channel:
            return await super().run(call)
        call.services.permissions.require("mute", received.user, shared=True)
        if call.rest != "now":
            what = tr(
                "For everybody in this channel, I'll answer mentions only, and only to the person who asks."
            )
            return await confirmation.ask(call.services, received, self.name, channel, what, marked("Mute"))
        await confirmation.require(call, self.name, channel)
        return await super().run(call)
