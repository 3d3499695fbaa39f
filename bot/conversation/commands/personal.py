"""Commands about a person's own data: usage, reset, forget."""

from bot.conversation.commands.command import Command, CommandCall, CommandResult
from bot.conversation.personal_data import FORGET_NOW
from bot.domain.turns import Reply
from bot.storage.usage.charges import channel_of


class UsageCommand(Command):
    name = "usage"
    help = "show your usage today and this month, and your limits"
    menu = "Your usage today, and your limits"

    async def run(self, call: CommandCall) -> CommandResult | None:
        received = call.received
        text = await call.services.personal_data.usage(received.user, channel_of(received))
        return CommandResult(Reply(text=text, private=True))


class ResetCommand(Command):
    name = "reset"
    help = "start over: ignore the earlier messages of this conversation"
    menu = "Start over: ignore earlier messages"

    async def run(self, call: CommandCall) -> CommandResult | None:
        text = "Done. I'll ignore the earlier messages of this conversation."
        return CommandResult(Reply(text=text), resets=True)


_FORGET = {
    "forget": "",
    **dict.fromkeys(("/forget", "forget me", "/forget me"), "me"),
    **dict.fromkeys((FORGET_NOW, f"/{FORGET_NOW}"), "now"),
}


class ForgetCommand(Command):
    """`/forget` explains, `forget me` asks for confirmation, and only the confirmation deletes."""

    name = "forget"
    help = "delete all your data, in all conversations; asks for confirmation"
    menu = "Delete your data"

    def typed_exactly(self, text: str) -> str | None:
        """Only the exact words, because this deletes: not `forget me!`, and not `forget` in a sentence."""
        return _FORGET.get(text)

    async def run(self, call: CommandCall) -> CommandResult | None:
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
        text = "To delete all your data, in all conversations, send `forget me`. I'll ask you to confirm."
        return Reply(text=text, private=True)
