"""Has the model write: streams its answer into the draft, runs its tools, and says how it ended."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import cast

from msgspec.structs import replace

from bot.domain import telemetry
from bot.domain.errors import ContentFiltered, ModelUnavailable, Refused
from bot.domain.events import now
from bot.domain.prompts import Message, Prompt, ToolCall, say
from bot.domain.turns import MAX_TOOL_CALLS, Delta, Outcome, Reply, Usage
from bot.generation import context_window
from bot.generation.reservations import Reservations
from bot.generation.tool_calls import ToolCalls
from bot.generation.turn_builder import Stop, TurnBuilder
from bot.llm.protocol import Model

log = logging.getLogger(__name__)

Show = Callable[[str], Awaitable[bool]]
"""Shows the whole text so far; False when the person asked to stop."""

ROUNDS = 5
"""How often in one turn the model may call tools before it has to answer."""

STOPPED = "_Stopped, as you asked._"
_INSTEAD = {
    "said": "_Stopped here: you wrote again._",
    "edited": "_Stopped here: you changed your question._",
    "deleted": "_Stopped here: you deleted your question._",
    "forgotten": "_Stopped here: you had everything about you deleted._",
}
_CUT = "_Cut off here: the answer reached its length limit. Say “go on” for the rest._"
_TOO_LONG = "_Cut off here: an answer has at most {:,} characters. Say “go on” for the rest._"
_BROKEN = "_The answer broke off here: the connection to the model was lost. Say “go on” for the rest._"


async def until_stopped(work: Awaitable[tuple[Message, ...]], stop: Stop) -> tuple[Message, ...] | None:
    """What the work returns; None when the person stopped it."""
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
    """Why an answer ends here."""
    return _INSTEAD.get(stop.why, STOPPED)


async def counted(deltas: AsyncIterator[Delta], prompt: Prompt, usage: list[Usage]) -> AsyncGenerator[Delta]:
    """The answer to a prompt; what it costs goes to `usage`, by estimate where it is left before its end."""
    # Before the first word nobody told who was asked, nor at what price.
    left: Usage | None = Usage(
        deployment=prompt.deployment or "unknown", input_tokens=prompt.input_tokens, estimated=True
    )
    try:
        async with aclosing(cast("AsyncGenerator[Delta]", deltas)):
            async for delta in deltas:
                left = delta.so_far or left
                if delta.usage is not None:
                    usage.append(delta.usage)
                    left = None
                yield delta
    except (GeneratorExit, asyncio.CancelledError):
        usage += [left] if left is not None else []
        raise


class Chat:
    """One answer by one prompt, which is paid for already. `tools` runs those that the prompt tells the model
    of; each further call, with what they said, is reserved for.
    """

    def __init__(
        self,
        model: Model,
        tools: ToolCalls,
        builder: TurnBuilder,
        show: Show,
        reservations: Reservations,
    ) -> None:
        self._model = model
        self._tools = tools
        self._builder = builder
        self._show = show
        self._reservations = reservations

    async def write(self, prompt: Prompt, stop: Stop) -> None:
        """Stream, run tools, stream again, and end the draft."""
        builder = self._builder
        try:
            messages = await until_stopped(self._rounds(prompt), stop)
        except ModelUnavailable as error:
            if not builder.text:
                raise
            log.warning("An answer broke off after %d characters: %s", len(builder.text), error)
            self._end(prompt, (), note=_BROKEN, outcome="failed", reason=str(error))
            return
        self._tools.note()
        if messages is None:
            self._end(prompt, (), note=stopped(stop), asked=stop.why in _INSTEAD)
        else:
            too_long = _TOO_LONG.format(builder.allowance.characters)
            notes = {"length": _CUT, "stopped": STOPPED, "too_long": too_long}
            note = notes.get(builder.finish or "", "")
            self._end(prompt, messages, note=note)

    async def _rounds(self, prompt: Prompt) -> tuple[Message, ...]:
        """Stream until the model is done with its tools; returns the messages of the tools."""
        between: tuple[Message, ...] = ()
        for left in reversed(range(ROUNDS)):
            offered = prompt.tools if left and self._builder.allowance.left else ()
            sent = replace(prompt, messages=prompt.messages + between, tools=offered)
            if between:
                sent = replace(
                    sent, input_tokens=prompt.input_tokens + sum(map(context_window.count_tokens, between))
                )
                if not await self._paid(sent):
                    break
            self._builder.sent.append(sent)
            calls, dropped = await self._stream(self._model.chat(sent))
            if not calls or not left:  # nobody would read the results of a last round
                break
            between += await self._tools.run(calls, dropped)
        return between

    async def _paid(self, sent: Prompt) -> bool:
        """Reserve one more call; where the budget doesn't allow that, what there is is the answer, with the
        words of the refusal under it. Raises Refused where there is nothing yet.
        """
        try:
            await self._reservations.reserve(self._builder, sent, more=True)
        except Refused as refusal:
            if not (self._builder.text.strip() or self._builder.drawn):
                raise
            self._builder.notes.append(str(refusal))
            return False
        return True

    async def _stream(self, deltas: AsyncIterator[Delta]) -> tuple[list[ToolCall], int]:
        """Gather one stream into the draft, showing it as it grows.

        Returns the tools that it calls for, and how many more calls there were than are kept.
        """
        builder = self._builder
        calls: list[ToolCall] = []
        dropped = 0
        # A stream that is left early is closed at once, not when it is collected.
        async with aclosing(counted(deltas, builder.sent[-1], builder.usage)) as stream:
            async for delta in stream:
                if delta.text:
                    if not builder.text:
                        telemetry.FIRST_SECONDS.observe((now() - builder.began_at).total_seconds())
                    room = builder.allowance.characters - len(builder.text)
                    builder.text += delta.text[:room]
                    if not await self._show(builder.text):
                        builder.finish = "stopped"
                        break
                    if len(delta.text) > room:
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
            raise ContentFiltered(
                "The content filter of the model stopped my answer. Please ask in another way."
            )
        return calls, dropped

    def _end(
        self,
        prompt: Prompt,
        between: tuple[Message, ...],
        *,
        note: str = "",
        outcome: Outcome = "answered",
        reason: str = "",
        asked: bool = False,
    ) -> None:
        """End the draft. `asked`: later prompts see the question, even without an answer."""
        builder = self._builder
        text = builder.text.strip()
        if not text and not note and not builder.drawn:
            raise ModelUnavailable("The model returned an empty answer.")
        answer = (say("assistant", text),) if text else ()
        messages = (
            (builder.kept(prompt.messages[-1]), *between, *answer) if answer or between or asked else ()
        )
        shown = "\n\n".join(part for part in (text, builder.ending(note)) if part)
        written = bool(text or builder.drawn)
        rate = written and outcome == "answered"
        reply = Reply(text=shown, images=tuple(builder.drawn), rate=rate, generated=written)
        builder.end(reply, outcome, messages=messages, reason=reason)
