"""The base class of commands, and what they get when they run."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bot.conversation.answer_context import AnswerContext
from bot.conversation.personal_data import PersonalData
from bot.conversation.preferences import Preferences
from bot.domain.events import MessageReceived
from bot.domain.permissions import Permissions
from bot.domain.turns import Reply, Turn
from bot.generation.model_info import ModelInfo
from bot.generation.prompt_sources import PromptSources
from bot.generation.turn_builder import TurnBuilder


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandServices:
    """The services that commands use."""

    sources: PromptSources
    model_info: ModelInfo
    preferences: Preferences
    personal_data: PersonalData

    @property
    def permissions(self) -> Permissions:
        """Who may do what."""
        return self.preferences.permissions


class Answering(Protocol):
    """The part of the engine that commands may use. Raises Refused."""

    async def compare(
        self, builder: TurnBuilder, question: str, turns: Sequence[Turn], context: AnswerContext
    ) -> None:
        """Complete the turn with the answers of several deployments to one question."""
        ...

    async def vary(
        self, builder: TurnBuilder, rest: str, turns: Sequence[Turn], context: AnswerContext
    ) -> None:
        """Complete the turn with variations of an earlier image."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCall:
    """One use of a command; `rest` is the text after it."""

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
    """The reply of a command, whether it resets the history, and whether the turn is recorded."""

    reply: Reply
    resets: bool = False
    keep: bool = True


class Command(ABC):
    """A command that people type.

    `help` is its line in the reply to `help`, in Markdown. `menu` is its description in a platform's command menu;
    empty: not listed. `is_answer`: its turn is an answer that `again` regenerates. `channels_only`: it only applies to
    channels. `any_case`: without a slash, it may be capitalised, as phones do; "Sent" and "Usage" are rather answers.
    """

    name: str
    help: str
    menu: str = ""
    aliases: tuple[str, ...] = ()
    is_answer = False
    channels_only = False
    any_case = False

    def typed_exactly(self, text: str) -> str | None:
        """The text after the command if `text`, the whole message, is a form of it; else None."""
        bare = text.removeprefix("/")
        sentences = (alias for alias in self.aliases if " " in alias)  # no words that mean something else
        return "" if bare in (self.name, *self.aliases) or bare.lower() in sentences else None

    def takes(self, rest: str, received: MessageReceived, services: CommandServices) -> bool:
        """Whether `rest`, after the command with a slash, is what it takes; otherwise the message is a question."""
        return False

    def typed_plainly(self, word: str, rest: str, services: CommandServices) -> bool:
        """Whether a message without a slash, consisting of `word` and `rest`, is this command."""
        return False

    def is_available(self, received: MessageReceived, services: CommandServices) -> bool:
        """Whether the command is useful here, and listed by `help`."""
        return not self.channels_only or (bool(received.channel) and not received.direct)

    @abstractmethod
    async def run(self, call: CommandCall) -> CommandResult | None:
        """Run the command. None: it has completed the turn itself. Raises StateUnavailable and Refused."""
