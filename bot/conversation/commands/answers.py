"""Commands about answers: other ones, more of them, none, and what was sent for one."""

from bot.conversation.commands.command import Command, CommandCall, CommandResult, CommandServices
from bot.conversation.personal_data import find
from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.turns import Reply


class CompareCommand(Command):
    """`/compare QUESTION`, or `compare: QUESTION`."""

    name = "compare"
    help = "ask several models the same question: `/compare QUESTION`"
    takes_text = True

    def typed_plainly(self, word: str, rest: str, services: CommandServices) -> bool:
        """With a colon: “compare apples and pears” is a question."""
        return word == "compare:"

    def is_available(self, received: MessageReceived, services: CommandServices) -> bool:
        """With at least two deployments."""
        return len(services.model_info.comparable_deployments()) > 1

    async def run(self, call: CommandCall) -> CommandResult | None:
        """Answer with every deployment."""
        await call.answering.compare(call.builder, call.rest, call.turns, call.context)
        return None


class AgainCommand(Command):
    """`/again`; the worker gives the answer itself anew, and this runs where there is none."""

    name = "again"
    help = "answer the last question anew"
    aliases = ("try again",)
    takes_text = True

    async def run(self, call: CommandCall) -> CommandResult | None:
        """Say why there is no other answer."""
        if find(call.turns, call.rest) is not None:
            raise NotAllowed(
                "Only the person who asked, and those who run this bot, may have an answer given anew. "
                "Ask it yourself, and I answer you."
            )
        text = "There is no question here that I could try again."
        return CommandResult(Reply(text=text, private=True))


class VariationsCommand(Command):
    """`/variations`, for a number of pictures or the post that shows one."""

    name = "variations"
    help = "draw another picture like the last one; `/variations 3` draws three"
    aliases = ("variation",)
    takes_text = True

    def is_available(self, received: MessageReceived, services: CommandServices) -> bool:
        """Where a template for pictures is served."""
        templates = services.sources.templates()
        return any(one.capability == "image" and services.model_info.is_served(one) for one in templates)

    async def run(self, call: CommandCall) -> CommandResult | None:
        """Draw."""
        await call.answering.vary(call.builder, call.rest, call.turns, call.context)
        return None


class StopCommand(Command):
    """`/stop`; what runs is stopped when the message arrives, and this runs where nothing does."""

    name = "stop"
    help = "stop writing"

    async def run(self, call: CommandCall) -> CommandResult | None:
        """Say that nothing is being written."""
        text = "I am not writing anything here."
        return CommandResult(Reply(text=text, private=True), keep=False)


class SentCommand(Command):
    """`/sent`, for the last answer or that of a post."""

    name = "sent"
    help = "what was sent to the model for the last answer"
    aliases = ("what did you send", "what did you send?")
    takes_text = True

    async def run(self, call: CommandCall) -> CommandResult | None:
        """Report the prompt."""
        received, personal_data = call.received, call.services.personal_data
        text = await personal_data.sent(received.user, received.address.conversation, call.rest)
        return CommandResult(Reply(text=text, private=True), keep=False)
