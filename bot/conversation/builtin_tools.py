"""The built-in tools of chat templates: what a person asks of Parley itself, in whatever words and language."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from bot.conversation.answer_context import AnswerContext
from bot.conversation.commands.choices import ModelCommand, PromptCommand
from bot.conversation.commands.command import CommandResult, CommandServices
from bot.conversation.commands.personal import ask_forget, ask_reset
from bot.conversation.commands.registry import COMMANDS, begins
from bot.conversation.thread_context import GAP, newest
from bot.domain.errors import BotError, ConfigError, NotAllowed, Refused
from bot.domain.events import MessageReceived, QuotedMessage
from bot.domain.prompts import Message
from bot.domain.turns import Turn
from bot.files.fenced_data import quoted
from bot.generation import context_window
from bot.generation.turn_builder import TurnBuilder
from bot.storage.usage.charges import channel_of
from bot.tools.registry import DRAW, Tool

log = logging.getLogger(__name__)

_USAGE = (
    "Show the person what they have used of this assistant today and this month: answers, tokens, cost, and what "
    "is left of their limits. Only for their own use of you, not for how something is used or what another "
    "product costs."
)
_RESET = (
    "Show the person a button that starts this conversation over, so that its earlier messages are ignored. Only "
    "if they want to begin again here, from scratch. Not for resetting a password, a device, a setting or "
    "anything else."
)
_FORGET = (
    "Show the person a button that deletes everything stored about them, in all conversations. Only if they want "
    "their own data, history or traces deleted here. Not for “forget it”, “never mind”, or something to leave out "
    "of account."
)
_STOP = (
    "Stop an answer of yours that is being written. Only if the person wants you to stop answering, not for "
    "stopping a service, a machine, a meeting or an email."
)
_SUMMARISE = (
    "Read the earlier messages of this place, to sum them up or to say what was discussed, decided or missed in "
    "them. Not for a text, file or link that is in the message itself."
)
_PROMPT = (
    "Change which prompt answers here from now on. Only if the person asks to switch, by its name or by what it does, "
    "not where its help is only useful for one question. The choices: "
)
_MODEL = (
    "Change which model answers here from now on. Only if the person asks you to use another one, not for "
    "questions about models. The choices: "
)
Scope = Annotated[
    Literal["thread", "channel", "conversation"],
    msgspec.Meta(
        description="thread: this thread, with what other people wrote. channel: the channel around it. conversation: "
        "what was said between people and you here."
    ),
]
_PATIENCE_S = 20.0
"""For reading earlier messages; they are what was asked for."""
_NOTHING = "There are no earlier messages here that I can read."
_READ = (
    "These are the earlier messages that can be read from here. In a thread, that is the thread alone: say so if "
    "the whole channel was meant."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinTools:
    """The built-in tools of one answer, beside `draw`. What they show is added to the reply (`ToolOutcome`)."""

    services: CommandServices
    builder: TurnBuilder
    turns: Sequence[Turn]
    context: AnswerContext

    def offered(self) -> dict[str, Tool]:
        """The tools that are useful here, by name."""
        received, preferences = self.builder.received, self.services.preferences
        tools = [
            Tool(self._usage, "usage", description=_USAGE),
            Tool(self._reset, "reset", description=_RESET),
            Tool(self._forget, "forget", description=_FORGET),
            Tool(self._stop, "stop", description=_STOP),
        ]
        if self.services.permissions.allows("summarise", received.user, shared=not received.direct):
            tools.append(Tool(self._summarise, "summarise", description=_SUMMARISE))
        prompts, models = PromptCommand(), ModelCommand()
        if prompts.is_available(received, self.services):
            tools.append(_choice(self._choose_prompt, "choose_prompt", _PROMPT, preferences.templates))
        if models.is_available(received, self.services):
            tools.append(_choice(self._choose_model, "choose_model", _MODEL, preferences.deployments))
        return {tool.name: tool for tool in tools}

    async def _usage(self) -> str:
        self._keep_private("usage")
        received = self.builder.received
        text = await self.services.personal_data.usage(received.user, channel_of(received))
        self.builder.outcome.texts.append(text)
        return f"This is shown below your answer, so don't repeat it:\n\n{text}"

    async def _reset(self) -> str:
        self._keep_private("reset")
        return self._asked(await ask_reset(self.services, self.builder.received, self.turns, named=False))

    async def _forget(self) -> str:
        self._keep_private("forget me")
        self.services.permissions.require("forget", self.builder.received.user, shared=False)
        return self._asked(await ask_forget(self.services, self.builder.received))

    def _keep_private(self, command: str) -> None:
        """Show the whole reply to the asker alone. Raises NotAllowed if others have seen its beginning."""
        builder = self.builder
        if builder.received.direct or not builder.received.channel:
            return
        if builder.shown and not builder.outcome.private:
            raise NotAllowed(
                "This can't be shown in an answer that others have begun to read. Tell the person to send "
                f"`{command}`, which only they will see the answer to."
            )
        builder.outcome.private = True

    def _asked(self, result: CommandResult) -> str:
        """Add a question for confirmation to the reply."""
        outcome, reply = self.builder.outcome, result.reply
        if outcome.confirm:
            raise NotAllowed("There is already something to confirm below your answer. One at a time.")
        outcome.texts.append(reply.text)
        outcome.confirm, outcome.confirm_label = reply.confirm, reply.confirm_label
        return "Nothing has been done yet. The person is asked below your answer, with a button for it."

    async def _stop(self) -> str:
        return "There is nothing to stop: no other answer is in progress here. This one ends with what you say now."

    async def _choose_prompt(self, name: str) -> str:
        text = await PromptCommand().choose(name, self.builder.received, self.services.preferences)
        self.builder.kept_template = ""
        return f"{text} This answer is still given by the prompt that was used until now."

    async def _choose_model(self, name: str) -> str:
        return await ModelCommand().choose(name, self.builder.received, self.services.preferences)

    # -------------------------------------------------------------- earlier messages

    async def _summarise(self, scope: Scope) -> str:
        received = self.builder.received
        own = [quote for turn in context_window.remembered(self.turns) for quote in _messages_of(turn)]
        if scope == "conversation" or received.direct:
            others = own
        else:
            read = await _read(self.context.read_thread(scope == "channel"))
            answers = [quote for quote in own if not quote.by] if scope == "thread" else []
            others = sorted([*read, *answers], key=_time) if read else own
        if not others:
            raise NotAllowed(_NOTHING)
        gaps = [quote.text for quote in others if quote.kind == GAP]
        kept = newest([quote for quote in others if quote.kind != GAP])
        if left_out := len(others) - len(gaps) - len(kept):
            gaps.append(f"The oldest {left_out} messages were left out, because all are too long together.")
        return "\n\n".join([_READ, *gaps, quoted([replace(quote, kind="") for quote in kept])])


_ABILITIES = {
    DRAW: "pictures drawn and changed",
    "summarise": "a summary of this conversation, thread or channel",
    "usage": "their usage and limits",
    "reset": "a fresh start of the conversation",
    "forget": "everything stored about them deleted",
    "choose_prompt": "another prompt",
    "choose_model": "another model",
}


def abilities(services: CommandServices, received: MessageReceived, tools: Mapping[str, Tool]) -> str:
    """Two lines for the model on what people can ask of Parley here: only what is enabled."""
    able = [what for name, what in _ABILITIES.items() if name in tools]
    commands = [
        f"{begins(template)} TEXT"
        for template in services.sources.templates(received)
        if template.match.commands and services.model_info.is_served(template)
    ]
    commands += [command.name for command in COMMANDS if command.is_available(received, services)]
    how = "as a message of its own" if received.direct else "as a message of its own that mentions you"
    return (
        f"Besides answers, people can get from Parley here: {', '.join(able)}. They can also send these commands, "
        f"each {how}: {'; '.join(commands)}.\n"
        "When somebody wants one of these, in any words or language, call the tool for it, or else name the "
        "command. Say that something was done only if the result of a tool says so, and say what it could not do."
    )


def _choice(
    choose: Callable[[str], Awaitable[str]], name: str, description: str, choices: Mapping[str, str]
) -> Tool:
    """A tool with the names of the choices as the values of its parameter."""

    async def chosen(name: str) -> str:
        return await choose(name)

    listed = "; ".join(f"{one}: {what}" for one, what in choices.items())
    tool = Tool(chosen, name, description=f"{description}{listed}; auto: the default.")
    schema = {**tool.spec.schema, "properties": {"name": {"type": "string", "enum": [*choices, "auto"]}}}
    tool.spec = replace(tool.spec, schema=schema)
    return tool


async def _read(reading: Awaitable[tuple[QuotedMessage, ...]]) -> tuple[QuotedMessage, ...]:
    """The earlier messages. Raises NotAllowed, with a reason that the model can tell."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await reading
    except Refused:
        raise
    except ConfigError as error:
        log.warning("The earlier messages could not be read for a summary: %s", error)
        raise NotAllowed(
            "The app lacks a permission to read earlier messages; `parley check` says which."
        ) from error
    except (BotError, TimeoutError) as error:
        log.warning("The earlier messages could not be read for a summary: %s", error or "timeout")
        raise NotAllowed("The earlier messages can't be read at the moment. Suggest trying again.") from error


def _messages_of(turn: Turn) -> list[QuotedMessage]:
    """What a turn says, as messages: the question by its author, the answer by nobody (`by` is empty)."""
    user = turn.received.user
    answer = "".join(message.text for message in turn.messages if message.role == "assistant")
    messages = [
        QuotedMessage(author=user.name, text=_asked_in(turn.messages), at=turn.received.at, by=user.id),
        QuotedMessage(author="you, the assistant", text=answer, at=turn.ended_at),
    ]
    return [quote for quote in messages if quote.text]


def _asked_in(messages: Sequence[Message]) -> str:
    return next((message.text for message in messages if message.role == "user"), "")


def _time(quote: QuotedMessage) -> float:
    return quote.at.timestamp() if isinstance(quote.at, datetime) else 0.0
