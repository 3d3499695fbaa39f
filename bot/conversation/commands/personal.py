"""Commands about a person's own data and conversations: usage, reset, forget."""

from collections.abc import Sequence

from bot.conversation.commands import confirmation
from bot.conversation.commands.command import Command, CommandCall, CommandResult, CommandServices
from bot.conversation.personal_data import FORGET_NOW
from bot.domain.errors import NotPermitted
from bot.domain.events import MessageReceived, User
from bot.domain.names import shown_name
from bot.domain.turns import Reply, Turn
from bot.domain.words import marked, tr
from bot.generation import context_window
from bot.generation.hints import with_mention
from bot.storage.usage.charges import channel_of


class UsageCommand(Command):
    name = "usage"
    help = marked("show your usage today and this month, and your limits")
    menu = "Your usage today, and your limits"

    async def run(self, call: CommandCall) -> CommandResult | None:
        received = call.received
        text = await call.services.personal_data.usage(received.user, channel_of(received))
        return CommandResult(Reply(text=text, private=True))


class ResetCommand(Command):
    """`reset` starts over. Where several people take part, it asks for confirmation by who may do that."""

    name = "reset"
    help = marked("start over: ignore the earlier messages of this conversation")
    menu = "Start over: ignore earlier messages"

    def typed_exactly(self, text: str) -> str | None:
        return {"reset": "", "reset now": "now"}.get(text.removeprefix("/"))

    async def run(self, call: CommandCall) -> CommandResult | None:
        received, services = call.received, call.services
        _require_permission(services, received, call.turns)
        if _others(received, call.turns):
            if call.rest != "now":
                return await ask_reset(services, received, call.turns)
            await confirmation.require(call, self.name, received.address.conversation)
        text = tr("Done. I'll ignore the earlier messages of this conversation.")
        return CommandResult(Reply(text=text), resets=True)


async def ask_reset(
    services: CommandServices, received: MessageReceived, turns: Sequence[Turn], *, named: bool = True
) -> CommandResult:
    """Ask whether to start over, and say what that means.

    Raises NotPermitted for those who may not. Its message names who may only if `named`: a model gets no names.
    """
    _require_permission(services, received, turns, named=named)
    others = [shown_name(user.name) or tr("somebody") for user in _others(received, turns)]
    what = tr("This starts the conversation over: I'll ignore its earlier messages. Nothing is deleted.")
    if others:
        what = tr(
            "This starts the conversation over, for {names}, too: I'll ignore its earlier messages. Nothing is "
            "deleted.",
            names=", ".join(others),
        )
    place = received.address.conversation
    return await confirmation.ask(services, received, ResetCommand.name, place, what, marked("Start over"))


def _others(received: MessageReceived, turns: Sequence[Turn]) -> list[User]:
    """The other people whose messages a reset would leave out."""
    people = {turn.received.user.id: turn.received.user for turn in context_window.remembered(turns)}
    return [user for user in people.values() if not user.is_same(received.user)]


def _require_permission(
    services: CommandServices, received: MessageReceived, turns: Sequence[Turn], *, named: bool = True
) -> None:
    """Raise NotPermitted unless the table allows it; the asker is whoever asked first of what would be left out."""
    permissions, known = services.permissions, context_window.remembered(turns)
    if not _others(received, turns):
        permissions.require("reset", received.user, shared=False)
        return
    asker = known[0].received.user
    if permissions.allows("reset", received.user, shared=True, asker=asker):
        return
    name = shown_name(asker.name) if named else ""
    began = (
        tr("{name} (who began this conversation)", name=name)
        if name
        else tr("the person who began this conversation")
    )
    message = marked(
        "Only {who} can start this conversation over. To ask me something without it, begin a new thread."
    )
    raise NotPermitted(message, who=permissions.who("reset", asker=began))


class ForgetCommand(Command):
    """`forget` explains, `forget me` asks for confirmation, and only the confirmation deletes."""

    name = "forget"
    help = marked("delete all your data, in all conversations; asks for confirmation")
    menu = "Delete your data"
    any_case = True

    def typed_exactly(self, text: str) -> str | None:
        """Only the exact words, because this deletes: not `forget me!`, and not `forget` in a sentence."""
        forms = {self.name: "", "/forget": "me", "forget me": "me", FORGET_NOW: "now"}
        return forms.get(text, forms.get(text.removeprefix("/")))

    async def run(self, call: CommandCall) -> CommandResult | None:
        personal_data, received = call.services.personal_data, call.received
        call.services.permissions.require("forget", received.user, shared=False)
        if call.rest == "now":
            conversation = received.address.conversation
            text = await personal_data.confirm_forget(received.user, call.builder.event, conversation)
            return CommandResult(Reply(text=text, private=True, forgotten=True), keep=False)
        if call.rest == "me":
            return await ask_forget(call.services, received)
        text = tr("To delete all your data, in all conversations, send `forget me`. I'll ask you to confirm.")
        return CommandResult(Reply(text=with_mention(text, received), private=True), keep=False)


async def ask_forget(services: CommandServices, received: MessageReceived) -> CommandResult:
    """Ask whether to delete a person's data, and say what that is."""
    text = await services.personal_data.ask_forget(received.user, received.address.conversation)
    text = with_mention(text, received)
    return CommandResult(
        Reply(text=text, private=True, confirm=FORGET_NOW, confirm_label="Delete"), keep=False
    )
