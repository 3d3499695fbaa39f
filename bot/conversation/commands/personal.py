"""Commands about oneself: what was used, what is remembered, what is stored."""

from bot.conversation.commands.command import Command, CommandCall, CommandResult
from bot.conversation.personal_data import FORGET_NOW
from bot.domain.turns import Reply
from bot.storage.usage.charges import channel_of


class UsageCommand(Command):
    """`/usage`."""

    name = "usage"
    help = "what you have used today and this month, and what is left"
    menu = "Your usage today, and your limits"

    async def run(self, call: CommandCall) -> CommandResult | None:
        """Report."""
        received = call.received
        text = await call.services.personal_data.usage(received.user, channel_of(received))
        return CommandResult(Reply(text=text, private=True))


class ResetCommand(Command):
    """`/reset`."""

    name = "reset"
    help = "start anew: I no longer see what was said before in this conversation"
    menu = "Start over: ignore earlier messages"

    async def run(self, call: CommandCall) -> CommandResult | None:
        """Start over."""
        text = "Done. This conversation starts anew: I no longer see what was said before."
        return CommandResult(Reply(text=text), resets=True)


_FORGET = {
    "forget": "",
    **dict.fromkeys(("/forget", "forget me", "/forget me"), "me"),
    **dict.fromkeys((FORGET_NOW, f"/{FORGET_NOW}"), "now"),
}


class ForgetCommand(Command):
    """`/forget` explains, `forget me` asks, and only what it asks for deletes."""

    name = "forget"
    help = "delete everything that is kept about you, in every conversation; asks first"
    menu = "Delete your data"

    def typed_exactly(self, text: str) -> str | None:
        """It deletes, so nothing else is taken for it: not `forget me!`, and not `forget` in a sentence."""
        return _FORGET.get(text)

    async def run(self, call: CommandCall) -> CommandResult | None:
        """Explain, ask, or delete: only the confirmation of the person who was asked deletes."""
        return CommandResult(await self._reply(call), keep=False)

    async def _reply(self, call: CommandCall) -> Reply:
        personal_data, user = call.services.personal_data, call.received.user
        conversation = call.received.address.conversation
        if call.rest == "now":
            text = await personal_data.confirm_forget(user, call.builder.event, conversation)
            return Reply(text=text, private=True, forgotten=True)
        if call.rest == "me":
            text = await personal_data.ask_forget(user, conversation)
            return Reply(text=text, private=True, confirm=FORGET_NOW)
        text = "To delete what I keep about you, in every conversation, type `forget me`. I ask you first."
        return Reply(text=text, private=True)
