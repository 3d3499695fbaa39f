"""Commands about answers: compare, again, variations, stop, sent."""

from bot.conversation.commands.command import Command, CommandCall, CommandResult, CommandServices
from bot.conversation.personal_data import find
from bot.domain.errors import NotPermitted
from bot.domain.events import MessageReceived
from bot.domain.turns import Reply
from bot.domain.words import marked, tr
from bot.generation.context_window import seen_by

_DIGITS = 2  # of a number of variations


class CompareCommand(Command):
    """`/compare QUESTION`, or `compare: QUESTION`."""

    name = "compare"
    help = marked("send a question to several models: `compare: QUESTION`")
    is_answer = True

    def takes(self, rest: str, received: MessageReceived, services: CommandServices) -> bool:
        return True

    def typed_plainly(self, word: str, rest: str, services: CommandServices) -> bool:
        """Only with a colon, because “compare apples and pears” is a question."""
        return word == "compare:"

    def is_available(self, received: MessageReceived, services: CommandServices) -> bool:
        """With at least two deployments."""
        return len(services.model_info.comparable_deployments()) > 1

    async def run(self, call: CommandCall) -> CommandResult | None:
        turns = seen_by(call.received, call.turns)
        await call.answering.compare(call.builder, call.rest, turns, call.context)
        return None


class _PostCommand(Command):
    """A command about an answer: the last one or, by a button, the one in a post."""

    def takes(self, rest: str, received: MessageReceived, services: CommandServices) -> bool:
        """The id of a post or a number: one word with a digit, so that "/sent an hour ago?" is a question."""
        return received.registered or (len(rest.split()) == 1 and any(map(str.isdigit, rest)))


class AgainCommand(_PostCommand):
    """`/again`. The worker regenerates the answer; this only runs if it can't."""

    name = "again"
    help = marked("regenerate the last answer")
    aliases = ("try again",)
    any_case = True

    async def run(self, call: CommandCall) -> CommandResult | None:
        if find(call.turns, call.rest) is not None:
            message = marked(
                "Only {who} can regenerate this answer. Ask the question yourself to get your own answer."
            )
            raise NotPermitted(message, who=call.services.permissions.who("again"))
        text = tr("There is no answer to regenerate in this conversation. Ask a question first.")
        return CommandResult(Reply(text=text, private=True))


class VariationsCommand(_PostCommand):
    name = "variations"
    help = marked("generate a variation of the last image; `variations 3` generates three")
    aliases = ("variation",)
    is_answer = True

    def typed_plainly(self, word: str, rest: str, services: CommandServices) -> bool:
        """Only with a number."""
        return word == self.name and rest.isdecimal() and len(rest) <= _DIGITS

    def is_available(self, received: MessageReceived, services: CommandServices) -> bool:
        """If there is an image template with a deployment."""
        templates = services.sources.templates()
        return any(each.capability == "image" and services.model_info.is_served(each) for each in templates)

    async def run(self, call: CommandCall) -> CommandResult | None:
        turns = seen_by(call.received, call.turns)
        await call.answering.vary(call.builder, call.rest, turns, call.context)
        return None


class StopCommand(Command):
    """`/stop`. A running answer is stopped when the message arrives; this only runs if there is none."""

    name = "stop"
    help = marked("stop the answer in progress")
    any_case = True

    async def run(self, call: CommandCall) -> CommandResult | None:
        text = tr("There is no answer of yours in progress.")
        return CommandResult(Reply(text=text, private=True), keep=False)


class SentCommand(_PostCommand):
    """`/sent`, for the last answer or the one in a post."""

    name = "sent"
    help = marked("show what was sent to the model for the last answer")
    aliases = ("what did you send", "what did you send?")

    async def run(self, call: CommandCall) -> CommandResult | None:
        received, personal_data = call.received, call.services.personal_data
        text = await personal_data.sent(received.user, received.address.conversation, call.rest)
        return CommandResult(Reply(text=text, private=True), keep=False)
