"""What a command is, and what it gets when it runs."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bot.conversation.answer_context import AnswerContext
from bot.conversation.personal_data import PersonalData
from bot.conversation.preferences import Preferences
from bot.domain.events import MessageReceived
from bot.domain.turns import Reply, Turn
from bot.generation.model_info import ModelInfo
from bot.generation.prompt_sources import PromptSources
from bot.generation.turn_builder import TurnBuilder


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandServices:
    """What commands read and change."""

    sources: PromptSources
    model_info: ModelInfo
    preferences: Preferences
    personal_data: PersonalData


class Answering(Protocol):
    """What of the engine a command may use: answers that take the path of any other. Raises Refused."""

    async def compare(
        self, builder: TurnBuilder, question: str, turns: Sequence[Turn], context: AnswerContext
    ) -> None:
        """End the turn with the answers of several deployments to one question."""
        ...

    async def vary(
        self, builder: TurnBuilder, rest: str, turns: Sequence[Turn], context: AnswerContext
    ) -> None:
        """End the turn with another picture like one that was drawn."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCall:
    """One use of a command: `rest` is what was typed behind it."""

    rest: str
    builder: TurnBuilder
    turns: Sequence[Turn]
    context: AnswerContext
    services: CommandServices
    answering: Answering

    @property
    def received(self) -> MessageReceived:
        """The message with the command."""
        return self.builder.received


class CommandResult(NamedTuple):
    """What a command led to: what to show, whether the history starts over, whether to keep a record."""

    reply: Reply
    resets: bool = False
    keep: bool = True


class Command:
    """A command that people type. `help` is what `help` says of it, in Markdown.

    `menu` is how a platform's own list of commands describes it; empty: it is not listed there. `takes_text`: text
    may follow; behind any other command it makes a question of the message. `channels_only`: it changes how the bot
    takes part in a channel.
    """

    name: str
    help: str
    menu: str = ""
    aliases: tuple[str, ...] = ()
    takes_text = False
    channels_only = False

    def typed_exactly(self, text: str) -> str | None:
        """What counts as typed behind the command where the whole message is `text`, in lower case; None: this is
        no form of the command.
        """
        return "" if text in (self.name, *self.aliases) else None

    def typed_plainly(self, word: str, rest: str, services: CommandServices) -> bool:
        """Whether a message without a slash, of the word and something behind it, is this command."""
        return False

    def is_available(self, received: MessageReceived, services: CommandServices) -> bool:
        """Whether there is anything that it could do here."""
        return not self.channels_only or (bool(received.channel) and not received.direct)

    @abstractmethod
    async def run(self, call: CommandCall) -> CommandResult | None:
        """Do it. None: the turn has ended already. Raises StateUnavailable and, in words, Refused."""
