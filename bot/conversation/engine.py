"""Turns what a person said into a turn: a command, an answer, a comparison, a picture."""

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from bot.conversation import router
from bot.conversation.commands import Commands, is_question
from bot.conversation.preferences import Desk, find
from bot.conversation.summarizer import Recollection
from bot.conversation.thread_context import Context, nothing_before, with_thread
from bot.domain import telemetry
from bot.domain.errors import ContentFiltered, NotAllowed, Refused, TooLong
from bot.domain.events import Said, User, now
from bot.domain.prompts import Example, Image, Match, Prompt, Template
from bot.domain.turns import Reply, Turn
from bot.files.attachments import NOTHING, Contents, Fetch, Files
from bot.generation import comparison, context_window, image_generation
from bot.generation.completion import Chat, Show
from bot.generation.images import Atelier, Sheet
from bot.generation.prompt_builder import Material, Room, compose, smaller
from bot.generation.tool_calls import ToolCalls
from bot.generation.turn_builder import Allowance, Draft, Stop
from bot.llm.protocol import Glimpse, Model
from bot.storage.conversations.summaries import Summary
from bot.storage.usage.quota import Estimate, Ledger, estimate
from bot.tools.registry import DRAW, Tool

log = logging.getLogger(__name__)

_NOT_YOURS = (
    "Only the person who asked, and those who run this bot, may have an answer given anew. "
    "Ask it yourself, and I answer you."
)

Choose = Callable[[Template, str], Awaitable[Sequence[Example]]]
Recall = Callable[[Template, str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an engine is made of; everything that `bot.app.services` puts together.

    `room` is what the deployment takes that will be asked for a conversation. `rivals` tells the names of the
    chat deployments that can be compared. `family` is that of the models that serve a template, None when
    none does; `sees` is whether they are known to see pictures. `picture_tokens` is what drawing takes at
    most, beside the prompt; `allowance` makes the limits of one answer's tool calls.
    """

    model: Model
    ledger: Ledger
    desk: Desk
    commands: Commands
    templates: Callable[[Said], Sequence[Template]]
    tools: Mapping[str, Tool]
    choose: Choose
    recall: Recall
    room: Callable[[Template, str], Room]
    estimate_usd: Callable[[Prompt], float | None]
    picture: image_generation.Picture
    recollection: Recollection
    recall_counts: Callable[[Sequence[Turn]], None] = lambda turns: None
    rivals: Callable[[], Sequence[str]] = tuple
    family: Callable[[Template], str | None] = lambda template: None
    sees: Callable[[Template], bool] = lambda template: False
    picture_tokens: Callable[[Prompt], int] = lambda prompt: 0
    allowance: Callable[[], Allowance] = Allowance


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What surrounds one answer: how it is shown, where files and the thread come from, how it is stopped.

    `glimpse` shows a picture while it is drawn, where the platform can. `given` are pictures that come with
    what was said and need no fetching. `erasures` is that of the claim.
    """

    show: Show
    fetch: Fetch
    stop: Stop
    context: Context = nothing_before
    glimpse: Glimpse | None = None
    given: Sequence[Image] = ()
    erasures: str = "0"

    @property
    def sheet(self) -> Sheet:
        """What a picture is drawn on."""
        return Sheet(show=self.show, stop=self.stop, glimpse=self.glimpse)


class Engine:
    """Answers one event at a time; any number of answers may run side by side."""

    def __init__(self, parts: Parts, files: Files | None = None) -> None:
        self._parts = parts
        self.files = files or Files()
        self._atelier = Atelier(
            model=parts.model,
            templates=parts.templates,
            room=self._room,
            family=parts.family,
            picture=parts.picture,
            reserve=self._admit,
        )

    def trying(self, template: Template) -> "Engine":
        """An engine like this one that answers everything by one template: what is tried there is what
        people get.
        """
        only = (replace(template, match=Match(default=True)),)

        def templates(said: Said) -> Sequence[Template]:
            return only

        return Engine(dataclasses.replace(self._parts, templates=templates), self.files)

    async def heeds(self, said: Said) -> bool:
        """Whether this is answered at all, by the manners that people chose for this channel."""
        if said.direct or not said.channel:
            return True
        if said.addressed and self._parts.commands.parse(said) is not None:
            return True
        choice = await self._parts.desk.here(said)
        if choice.manner == "mute":
            return False
        if choice.quiet or choice.manner == "mention":
            return said.addressed
        return said.addressed or said.threaded or choice.manner == "follow"

    def command(self, said: Said) -> tuple[str, str] | None:
        """The command of the engine's own that was typed, and what came after it; None for a question."""
        return self._parts.commands.parse(said)

    def may(self, user: User, turn: Turn) -> bool:
        """Whether this person may have an answer given anew."""
        return self._parts.desk.may(user, turn)

    async def answer(self, said: Said, turns: Sequence[Turn], around: Around, event: str = "") -> Draft:
        """The turn that answers what was said, not yet shown in full nor written down.

        `event` is the act that pays for it, where that is another than what was said: an edit, a wish for
        another answer. A refusal is an answer, in its own words. Raises Unavailable (try again later) and
        ConfigError.
        """
        draft = Draft(said, now(), event=event or said.id, allowance=self._parts.allowance())
        seen = context_window.remembered(turns)
        draft.before, draft.ahead = (seen[-1].since, seen[-1].ahead) if seen else ("", "")
        try:
            command = self._parts.commands.parse(said)
            if command is None:
                await self._answer(draft, turns, around)
            elif command[0] == "compare":
                await self._compare(draft, command[1], turns, around)
            elif command[0] == "variations":
                await self._atelier.vary(draft, command[1], turns, around.sheet)
            else:
                draft.template = f"/{command[0]}"
                if command[0] == "again" and find(turns, command[1]) is not None:
                    raise NotAllowed(_NOT_YOURS)
                done = await self._parts.commands.run(*command, said, draft.event)
                draft.keep = done.keep
                draft.end(done.reply, resets=done.resets)
        except Refused as refusal:
            draft.filter |= refusal.notes if isinstance(refusal, ContentFiltered) else {}
            reply = Reply(text=str(refusal), private=self._parts.commands.parse(said) is not None)
            draft.end(reply, "refused", reason=type(refusal).__name__)
        return draft

    async def _answer(self, draft: Draft, turns: Sequence[Turn], around: Around) -> None:
        parts = self._parts
        choice = await parts.desk.here(draft.said)
        template, question = router.choose(
            parts.templates(draft.said),
            draft.said,
            choice.template,
            choice.usual,
            question=is_question(draft.said),
        )
        template = router.served_by(template, choice.deployment)
        parts.recall_counts(turns)
        draft.template = template.version
        telemetry.see(template=template.version)
        draft.said, notes = await with_thread(draft.said, turns, question, around.context)
        draft.notes += notes
        said = draft.said
        async with self.files.read(
            said.attachments,
            around.fetch,
            user=said.user,
            ref=partial(image_generation.ref_of, said.id, kind="in"),
            text_bytes=3 * self._room(draft, template).context_tokens // 2,
        ) as found:
            draft.notes += found.notes
            await self._answer_with(draft, template, question, found, turns, around)

    async def _answer_with(
        self,
        draft: Draft,
        template: Template,
        question: str,
        found: Contents,
        turns: Sequence[Turn],
        around: Around,
    ) -> None:
        """An answer in pictures or in words, with the files that came."""
        parts, said = self._parts, draft.said
        if template.capability == "image":
            pictures = (*around.given, *found.pictures)
            await self._atelier.draw(draft, template, question, pictures, turns, around.sheet)
            return
        if not (question or found.pictures or found.documents or said.quotes):
            draft.end(Reply(text=router.nothing_said(template)))
            return
        if not found.pictures and parts.sees(template):
            pictures = await image_generation.recalled(parts.picture, said, question, turns)
            draft.recalled = frozenset(image.ref for image in pictures)
            found = dataclasses.replace(found, pictures=pictures)
        await self._chat(draft, template, question, found, turns, around)

    async def _chat(
        self,
        draft: Draft,
        template: Template,
        question: str,
        found: Contents,
        turns: Sequence[Turn],
        around: Around,
    ) -> None:
        """An answer in words; where the prompt was too long after all, by a smaller one."""
        parts, said = self._parts, draft.said
        tools = self._tools(draft, template, turns, around.sheet, found.pictures)
        summary = await parts.recollection.of(said, turns)
        prompt = await self._compose(draft, template, question, turns, found, tools, summary)
        await self._admit(draft, prompt)
        calls = ToolCalls(tools, draft, partial(self._spend, draft))
        chat = Chat(parts.model, calls, draft, around.show, partial(self._admit, draft, more=True))
        try:
            await chat.write(prompt, around.stop)
        except TooLong as error:
            if draft.text or len(draft.sent) > 1:
                raise
            room = smaller(self._room(draft, template), prompt, error)
            less = await self._compose(draft, template, question, turns, found, tools, summary, room)
            if less.input_tokens >= prompt.input_tokens:
                raise
            await chat.write(draft.instead(less), around.stop)
        parts.recollection.refresh(said, turns, prompt, summary, around.erasures)

    async def _admit(self, draft: Draft, *prompts: Prompt, more: bool = False) -> None:
        """Reserve what these will take; that a budget is nearly used up is said under the answer."""
        parts = self._parts
        estimates = [
            estimate(prompt, parts.estimate_usd(prompt), parts.picture_tokens(prompt)) for prompt in prompts
        ]
        await self._set_aside(draft, estimates, more=more)

    async def _spend(self, draft: Draft, usd: float) -> None:
        """Reserve what a call of a tool costs."""
        await self._set_aside(draft, [Estimate(usd=usd)], more=True)

    async def _set_aside(self, draft: Draft, estimates: Sequence[Estimate], *, more: bool) -> None:
        notice = await self._parts.ledger.admit(draft.said, draft.event, estimates, more=more)
        draft.reserved = True
        draft.notes += [notice] if notice else []

    def _tools(
        self,
        draft: Draft,
        template: Template,
        turns: Sequence[Turn],
        sheet: Sheet,
        sent: Sequence[Image] = (),
    ) -> dict[str, Tool]:
        """What the model may call in this turn: the template's tools, as far as they are there."""
        tools = {name: self._parts.tools[name] for name in template.tools if name in self._parts.tools}
        draw = self._atelier.tool(draft, turns, sheet, sent) if DRAW in template.tools else None
        return tools if draw is None else {**tools, DRAW: draw}

    async def changed(self, conversation: str, turns: Sequence[Turn]) -> None:
        """A turn was changed or deleted: a summary of it must not go on telling it."""
        if any(turn.since or turn.ahead for turn in turns):
            await self._parts.recollection.forget(conversation)

    async def look(self, said: Said, turns: Sequence[Turn]) -> Prompt:
        """Exactly what would be sent to answer this, without sending it. Raises Refused and Unavailable."""
        templates = self._parts.templates(said)
        template, question = router.choose(templates, said, question=is_question(said))
        draft = Draft(said, now())
        tools = self._tools(draft, template, turns, Sheet(show=_unseen, stop=Stop()))
        return await self._compose(draft, template, question, turns, tools=tools)

    async def _compose(
        self,
        draft: Draft,
        template: Template,
        question: str,
        turns: Sequence[Turn],
        found: Contents = NOTHING,
        tools: Mapping[str, Tool] | None = None,
        summary: Summary | None = None,
        room: Room | None = None,
    ) -> Prompt:
        material = Material(
            template=template,
            said=draft.said,
            question=question,
            turns=turns if template.capability == "chat" else (),
            examples=await self._parts.choose(template, question),
            passages=await self._parts.recall(template, question),
            pictures=found.pictures,
            documents=found.documents,
            left_out=found.left_out,
            summaries=summary.texts() if summary is not None else {},
            tools=[tool.spec for tool in (tools or {}).values()],
            sees=self._parts.sees(template),
        )
        return compose(material, room or self._room(draft, template))

    def _room(self, draft: Draft, template: Template) -> Room:
        return self._parts.room(template, draft.said.address.conversation)

    async def _compare(self, draft: Draft, question: str, turns: Sequence[Turn], around: Around) -> None:
        """The same question to several deployments, each reserved for."""
        parts = self._parts
        rivals = parts.rivals()
        if len(rivals) < 2:
            raise NotAllowed("There is only one model here, so there is nothing to compare it with.")
        if not question:
            raise NotAllowed("What shall I ask the models? For example: `/compare why is the sky blue?`")
        template = next(one for one in parts.templates(draft.said) if one.match.default)
        draft.template = template.version
        telemetry.see(template=template.version)
        rooms = [self._room(draft, replace(template, deployment=name)) for name in rivals]
        room = min(rooms, key=lambda room: room.context_tokens)
        prompt = await self._compose(draft, replace(template, deployment=None), question, turns, room=room)
        sent = comparison.prompts(prompt, rivals)
        await self._admit(draft, *sent)
        await comparison.Comparison(parts.model, draft, around.show).write(sent, around.stop)


async def _unseen(text: str) -> bool:
    """Shows nothing: nobody is there to see it."""
    return True
