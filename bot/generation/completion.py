"""Streams the model's answer into the turn builder, runs its tool calls and notes how it ended."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from msgspec.structs import replace

from bot.domain import telemetry
from bot.domain.errors import ContentFiltered, ModelUnavailable, Refused
from bot.domain.events import now
from bot.domain.prompts import Message, Prompt, ToolCall, say
from bot.domain.turns import MAX_TOOL_CALLS, Delta, Outcome, Reply
from bot.domain.words import marked, tr
from bot.generation.hints import in_channel
from bot.generation.reservations import Reservations
from bot.generation.tool_calls import ToolCalls
from bot.generation.turn_builder import Stop, TurnBuilder
from bot.llm.protocol import EmptyAnswer, Model
from bot.llm.tokens.counter import run_counting

log = logging.getLogger(__name__)

Show = Callable[[str], Awaitable[bool]]
"""Shows the whole text so far; False if the person asked to stop."""

ROUNDS = 5
"""Model calls in one turn; the last one is made without tools."""

STOPPED = marked("_Stopped at your request._")
_SUPERSEDED = {
    "said": marked("_Stopped: you sent a new message._"),
    "edited": marked("_Stopped: you edited your question._"),
    "deleted": marked("_Stopped: you deleted your question._"),
    "forgotten": marked("_Stopped: you deleted your data._"),
}
_CUT = marked("The answer reached its length limit.")
_TOO_LONG = marked("The answer reached the limit of {limit} characters.")
_BROKEN = marked("The answer is incomplete: the connection to the model was lost.")


async def until_stopped(work: Awaitable[tuple[Message, ...]], stop: Stop) -> tuple[Message, ...] | None:
    """The result of the work; None if the person stopped it."""
    task = asyncio.ensure_future(work)
    stop.then(task.cancel)
    try:
        if stop.requested:
            task.cancel()
        return await task
    except asyncio.CancelledError:
        if not stop.requested:
            task.cancel()
            raise
        return None
    finally:
        stop.then(None)


def stopped(stop: Stop) -> str:
    """The note under a stopped answer."""
    return tr(_SUPERSEDED.get(stop.why, STOPPED))


@dataclass(frozen=True, slots=True)
class Chat:
    """One answer. The first model call is already reserved; `reserve` is called before each further one."""

    model: Model
    tools: ToolCalls
    builder: TurnBuilder
    show: Show
    reservations: Reservations

    async def write(self, prompt: Prompt, stop: Stop) -> None:
        """Stream, run tools, stream again, and complete the turn. Raises Refused and Unavailable."""
        builder = self.builder
        try:
            messages = await until_stopped(self._rounds(prompt), stop)
        except ModelUnavailable as error:
            if not builder.text:
                raise
            log.warning("The stream of an answer broke after %d characters: %s", len(builder.text), error)
            self._end(prompt, (), note=self._incomplete(_BROKEN), outcome="failed", reason=str(error))
            return
        self.tools.note()
        if messages is None:
            self._end(prompt, (), note=stopped(stop), keep_question=stop.why in _SUPERSEDED)
        else:
            cut = {"length": _CUT, "too_long": _TOO_LONG}.get(builder.finish or "", "")
            note = tr(STOPPED) if builder.finish == "stopped" else self._incomplete(cut) if cut else ""
            self._end(prompt, messages, note=note)

    def _incomplete(self, why: str) -> str:
        """The note below an answer that is not whole."""
        received = self.builder.received
        what = tr(why, limit=self.builder.allowance.characters)
        if in_channel(received):
            return f"_{what} {tr('Mention me with “continue” for the rest.')}_"
        return f"_{what} {tr('Reply “continue” for the rest.')}_"

    async def _rounds(self, prompt: Prompt) -> tuple[Message, ...]:
        """Stream until the model makes no more tool calls; returns the tool calls and their results."""
        tool_messages: tuple[Message, ...] = ()
        for rounds_left in reversed(range(ROUNDS)):
            offered = prompt.tools if rounds_left and self.builder.allowance.left else ()
            sent = replace(prompt, messages=prompt.messages + tool_messages, tools=offered)
            if tool_messages:
                characters = sum(message.characters for message in tool_messages)
                added_tokens = await run_counting(characters, self.builder.counter.messages, tool_messages)
                sent = replace(sent, input_tokens=prompt.input_tokens + added_tokens)
                if not await self._reserved(sent):
                    break
            self.builder.sent.append(sent)
            try:
                calls, dropped = await self._stream(self.model.chat(sent))
            except EmptyAnswer as empty:
                if not (self.builder.text.strip() or self.builder.drawn or self.builder.outcome.texts):
                    raise
                if empty.exhausted or not (self.builder.drawn or self.builder.outcome.texts):
                    self.builder.notes.append(str(empty))
                break
            if not calls or not rounds_left:  # no further call would read the results
                break
            tool_messages += await self.tools.run(calls, dropped)
        return tool_messages

    async def _reserved(self, sent: Prompt) -> bool:
        """Reserve one more call. False if refused: the answer so far stands, with the refusal as a note.

        Raises Refused if there is no answer yet.
        """
        try:
            await self.reservations.reserve(self.builder, sent, more=True)
        except Refused as refusal:
            if not (self.builder.text.strip() or self.builder.drawn or self.builder.outcome.texts):
                raise
            self.builder.notes.append(str(refusal))
            return False
        return True

    async def _stream(self, deltas: AsyncIterator[Delta]) -> tuple[list[ToolCall], int]:
        """Add one stream to the turn builder and show it as it grows.

        Returns the tool calls, and the number of calls dropped beyond MAX_TOOL_CALLS.
        """
        builder = self.builder
        calls: list[ToolCall] = []
        dropped, before = 0, builder.text
        # Close the connection at once when we stop early, not when the generator is collected.
        async with aclosing(cast("AsyncGenerator[Delta]", deltas)) as stream:
            async for delta in stream:
                if delta.retracts:
                    builder.text = before
                if delta.text:
                    if not builder.text:
                        telemetry.FIRST_SECONDS.observe((now() - builder.began_at).total_seconds())
                    characters_left = builder.allowance.characters - len(builder.text)
                    builder.text += delta.text[:characters_left]
                    if not await self.show(builder.text):
                        builder.finish = "stopped"
                        break
                    if len(delta.text) > characters_left:
                        builder.finish = "too_long"
                        return [], 0
                dropped += delta.dropped
                if delta.call is not None and len(calls) < MAX_TOOL_CALLS:
                    calls.append(delta.call)
                elif delta.call is not None:
                    dropped += 1
                builder.finish = delta.finish or builder.finish
                builder.filter |= delta.filter
        if builder.finish == "content_filter":
            raise ContentFiltered("The content filter stopped this answer. Please rephrase your message.")
        return calls, dropped

    def _end(
        self,
        prompt: Prompt,
        tool_messages: tuple[Message, ...],
        *,
        note: str = "",
        outcome: Outcome = "answered",
        reason: str = "",
        keep_question: bool = False,
    ) -> None:
        """Complete the turn. `keep_question`: keep the question in the history even without an answer."""
        builder = self.builder
        text, shown_by_tools = builder.text.strip(), builder.outcome.texts
        if not (text or note or builder.drawn or shown_by_tools):
            raise Refused("The model returned no text. Ask again, perhaps in other words.")
        answer = (say("assistant", text),) if text else ()
        messages: tuple[Message, ...] = ()
        if answer or tool_messages or keep_question:
            messages = (builder.kept(prompt.messages[-1]), *tool_messages, *answer)
        shown = "\n\n".join(part for part in (text, *shown_by_tools, builder.ending(note)) if part)
        written = bool(text or builder.drawn)
        reply = Reply(
            text=shown,
            images=tuple(builder.drawn),
            rate=written and outcome == "answered",
            generated=written,
            private=builder.outcome.private,
            confirm=builder.outcome.confirm,
            confirm_label=builder.outcome.confirm_label,
        )
        if (
            reply.private
        ):  # in a conversation of several people, what only one may see is not for later prompts
            messages = ()
        builder.end(reply, outcome, messages=messages, reason=reason)
