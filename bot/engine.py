"""Turns what a person said into a turn: admit, compose, stream, run tools, or draw."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from msgspec.structs import replace

from bot import commands, observe, routing, window
from bot.commands import Commands
from bot.compose import Material, Room, compose
from bot.draft import Draft, Stop
from bot.errors import ContentFiltered, ModelUnavailable, NotAllowed, Refused
from bot.models import Model
from bot.state.ledger import Ledger
from bot.tools import Tool, run_all
from bot.types import (
    Attachment,
    Delta,
    Example,
    Image,
    Match,
    Message,
    Outcome,
    Prompt,
    Reply,
    Said,
    Template,
    ToolCall,
    Turn,
    now,
    say,
)

log = logging.getLogger(__name__)

Show = Callable[[str], Awaitable[bool]]
"""Shows the whole text so far; False when the person asked to stop."""
Fetch = Callable[[Attachment], Awaitable[bytes]]
Choose = Callable[[Template, str], Awaitable[Sequence[Example]]]
Recall = Callable[[Template, str], Awaitable[Sequence[str]]]

ROUNDS = 5
"""How often in one turn the model may call tools before it has to answer."""
_STOPPED = "_Stopped, as you asked._"
_CUT = "_Cut off here: the answer reached its length limit. Say “go on” for the rest._"
_BROKEN = "_The answer broke off here: the connection to the model was lost. Say “go on” for the rest._"
_PICTURE_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an engine is made of; everything that `bot.app` puts together."""

    model: Model
    ledger: Ledger
    commands: Commands
    templates: Sequence[Template]
    tools: Mapping[str, Tool]
    choose: Choose
    recall: Recall
    room: Callable[[Template], Room]
    estimate_usd: Callable[[Prompt], float | None]
    picture: Callable[[str, str], Awaitable[Image | None]]


class Engine:
    """Answers one event at a time; any number of answers may run side by side."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def trying(self, template: Template) -> "Engine":
        """An engine like this one that answers everything by one template: what is tried there is what
        people get.
        """
        match = Match(default=True)
        return Engine(dataclasses.replace(self._parts, templates=(replace(template, match=match),)))

    async def answer(
        self, said: Said, turns: Sequence[Turn], *, show: Show, fetch: Fetch, stop: Stop
    ) -> Draft:
        """The turn that answers what was said, not yet shown in full nor written down.

        A refusal is an answer, in its own words. Raises Unavailable (try again later) and ConfigError.
        """
        draft = Draft(said, now())
        try:
            word = commands.parse(said)
            if word is not None:
                done = await self._parts.commands.run(word, said)
                draft.keep = done.keep
                draft.template = f"/{word}"
                draft.end(done.reply, resets=done.resets)
                return draft
            await self._answer(draft, turns, show, fetch, stop)
        except Refused as refusal:
            draft.end(Reply(text=str(refusal)), "refused", reason=type(refusal).__name__)
        return draft

    async def look(self, said: Said, turns: Sequence[Turn], *, fetch: Fetch) -> Prompt:
        """Exactly what would be sent to answer this, without sending it. Raises Refused and Unavailable."""
        template, question = routing.choose(self._parts.templates, said)
        return await self._prompt(template, question, said, turns, await _pictures(said, fetch))

    async def _answer(
        self, draft: Draft, turns: Sequence[Turn], show: Show, fetch: Fetch, stop: Stop
    ) -> None:
        said = draft.said
        template, question = routing.choose(self._parts.templates, said)
        draft.template = template.version
        pictures = await _pictures(said, fetch)
        if template.capability == "image" and not pictures and routing.is_change(question):
            pictures = await self._last_picture(said, turns)
        if not question and not pictures:
            draft.end(Reply(text=_nothing_said(template)))
            return
        prompt = await self._prompt(template, question, said, turns, pictures)
        await self._parts.ledger.admit(said.user, said.id, self._parts.estimate_usd(prompt))
        if template.capability == "image":
            await self._draw(draft, prompt, show)
        else:
            await self._chat(draft, prompt, show, stop)

    async def _prompt(
        self,
        template: Template,
        question: str,
        said: Said,
        turns: Sequence[Turn],
        pictures: tuple[Image, ...],
    ) -> Prompt:
        tools = [self._parts.tools[name] for name in template.tools if name in self._parts.tools]
        return compose(
            Material(
                template=template,
                said=said,
                question=question,
                turns=turns if template.capability == "chat" else (),
                examples=await self._parts.choose(template, question),
                passages=await self._parts.recall(template, question),
                pictures=pictures,
                tools=[tool.spec for tool in tools],
            ),
            self._parts.room(template),
        )

    async def _last_picture(self, said: Said, turns: Sequence[Turn]) -> tuple[Image, ...]:
        """The picture that this conversation drew last, if it is still kept."""
        for turn in reversed(window.remembered(turns)):
            for image in turn.reply.images:
                kept = await self._parts.picture(said.address.conversation, image.ref)
                return (kept,) if kept else ()
        return ()

    # -------------------------------------------------------------- chat

    async def _chat(self, draft: Draft, prompt: Prompt, show: Show, stop: Stop) -> None:
        """Stream, run tools, stream again, and end the draft."""
        work = asyncio.ensure_future(self._rounds(draft, prompt, show))
        stop.then(work.cancel)
        try:
            if stop.wished:
                work.cancel()
            messages = await work
        except asyncio.CancelledError:
            if not stop.wished:
                raise
            self._end_chat(draft, prompt, (), note=_STOPPED)
        except ModelUnavailable as error:
            if not draft.text:
                raise
            log.warning("An answer broke off after %d characters: %s", len(draft.text), error)
            note = (
                "_The answer broke off here: the connection to the model was lost. Say “go on” for the rest._"
            )
            self._end_chat(draft, prompt, (), note=note, outcome="failed", reason=str(error))
        else:
            note = {"length": _CUT, "stopped": _STOPPED}.get(draft.finish or "", "")
            self._end_chat(draft, prompt, messages, note=note)
        finally:
            stop.then(None)

    async def _rounds(self, draft: Draft, prompt: Prompt, show: Show) -> tuple[Message, ...]:
        """Stream until the model is done with its tools; returns the messages of the tools."""
        between: tuple[Message, ...] = ()
        for left in reversed(range(ROUNDS)):
            sent = replace(prompt, messages=prompt.messages + between, tools=prompt.tools if left else ())
            draft.sent.append(sent)
            calls = await self._stream(draft, self._parts.model.chat(sent), show)
            if not calls:
                break
            results = await run_all(self._parts.tools, calls)
            asked = Message(role="assistant", parts=tuple(calls))
            between += (asked, *(Message(role="tool", parts=(result,)) for result in results))
        return between

    async def _stream(self, draft: Draft, deltas: AsyncIterator[Delta], show: Show) -> list[ToolCall]:
        """Gather one stream into the draft, showing it as it grows; returns the tools it calls for."""
        calls: list[ToolCall] = []
        # A stream that is left early is closed at once, not when it is collected.
        async with aclosing(cast("AsyncGenerator[Delta]", deltas)):
            async for delta in deltas:
                if delta.text:
                    if not draft.text:
                        observe.FIRST_SECONDS.observe((now() - draft.began_at).total_seconds())
                    draft.text += delta.text
                    if not await show(draft.text):
                        draft.finish = "stopped"
                        break
                if delta.call is not None:
                    calls.append(delta.call)
                if delta.usage is not None:
                    draft.usage.append(delta.usage)
                draft.finish = delta.finish or draft.finish
        if draft.finish == "content_filter":
            raise ContentFiltered(
                "The content filter of the model stopped my answer. Please ask in another way."
            )
        return calls

    def _end_chat(
        self,
        draft: Draft,
        prompt: Prompt,
        between: tuple[Message, ...],
        *,
        note: str = "",
        outcome: Outcome = "answered",
        reason: str = "",
    ) -> None:
        text = draft.text.strip()
        if not text and not note:
            raise ModelUnavailable("The model returned an empty answer.")
        question = prompt.messages[-1]
        answer = (say("assistant", text),) if text else ()
        messages = (draft.kept(question), *between, *answer) if answer else ()
        shown = "\n\n".join(part for part in (text, note, draft.forgetting()) if part)
        draft.end(Reply(text=shown, rate=outcome == "answered"), outcome, messages=messages, reason=reason)

    # -------------------------------------------------------------- pictures

    async def _draw(self, draft: Draft, prompt: Prompt, show: Show) -> None:
        draft.sent.append(prompt)
        wish = prompt.messages[-1]
        await show(f"_Drawing: {wish.text.strip()}…_")
        drawn, usage = await self._parts.model.draw(prompt)
        draft.usage.append(usage)
        images = tuple(
            replace(image, ref=_ref(draft.said.id, number), alt=image.alt or wish.text)
            for number, image in enumerate(drawn)
        )
        draft.pictures.update({image.ref: image for image in images})
        references = tuple(replace(image, data=b"") for image in images)
        messages = (draft.kept(wish), Message(role="assistant", parts=references))
        draft.end(Reply(text=wish.text.strip(), images=images, rate=True), messages=messages)


async def _pictures(said: Said, fetch: Fetch) -> tuple[Image, ...]:
    """The pictures that came with a message, as bytes. Raises NotAllowed for what can't be read."""
    found: list[Image] = []
    for attachment in said.attachments:
        if not attachment.mime.startswith("image/"):
            raise NotAllowed(
                f"I can read pictures, but not yet files like “{attachment.name}” ({attachment.mime}). "
                "Please paste the text that matters."
            )
        if (attachment.size_bytes or 0) > _PICTURE_BYTES:
            raise NotAllowed(
                f"The picture “{attachment.name}” is larger than 20 MB. Please send a smaller one."
            )
        data = await fetch(attachment)
        ref = _ref(said.id, len(found), "in")
        found.append(Image(mime=attachment.mime, data=data, alt=attachment.name, ref=ref))
    return tuple(found)


def _ref(event: str, number: int, kind: str = "out") -> str:
    return f"{sha256(event.encode()).hexdigest()[:24]}-{kind}{number}"


def _nothing_said(template: Template) -> str:
    if template.capability == "image":
        return "What shall I draw? For example: `/image a red bicycle`."
    if template.match.default:
        return "Hello! Ask me anything, or say `help` to see what I can do."
    return f"Please say what it is about. This is what I do here: {template.description or template.name}."
