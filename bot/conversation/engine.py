"""Turns what a person said into a turn: a command, an answer, a comparison, a picture."""

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from bot.conversation import router
from bot.conversation.commands import Commands, is_question
from bot.conversation.preferences import Preferences, find
from bot.conversation.summarizer import Summarizer
from bot.conversation.thread_context import Context, nothing_before, with_thread
from bot.domain import telemetry
from bot.domain.errors import ContentFiltered, NotAllowed, Refused, TooLong
from bot.domain.events import MessageReceived, User, now
from bot.domain.prompts import Example, Image, Match, Prompt, Template
from bot.domain.turns import Reply, Turn
from bot.files.attachments import NOTHING, AttachmentReader, ExtractedFiles, Fetch
from bot.generation import comparison, context_window, image_generation
from bot.generation.completion import Chat, Show
from bot.generation.images import ImageGeneration, ImageProgress
from bot.generation.prompt_builder import PromptInputs, TokenBudget, build_prompt, reduced_budget
from bot.generation.tool_calls import ToolCalls
from bot.generation.turn_builder import Stop, ToolCallAllowance, TurnBuilder
from bot.llm.protocol import Model, OnPartialImage
from bot.storage.conversations.summaries import Summary
from bot.storage.usage.quota import Estimate, QuotaLedger, estimate
from bot.tools.registry import DRAW, Tool

log = logging.getLogger(__name__)

_NOT_YOURS = (
    "Only the person who asked, and those who run this bot, may have an answer given anew. "
    "Ask it yourself, and I answer you."
)

Choose = Callable[[Template, str], Awaitable[Sequence[Example]]]
Retrieve = Callable[[Template, str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDependencies:
    """What an engine is made of; everything that `bot.app.services` puts together.

    `room` is what the deployment takes that will be asked for a conversation. `rivals` tells the names of the
    chat deployments that can be compared. `family` is that of the models that serve a template, None when
    none does; `accepts_images` is whether they are known to see pictures. `picture_tokens` is what drawing takes at
    most, beside the prompt; `allowance` makes the limits of one answer's tool calls.
    """

    model: Model
    ledger: QuotaLedger
    preferences: Preferences
    commands: Commands
    templates: Callable[[MessageReceived], Sequence[Template]]
    tools: Mapping[str, Tool]
    choose: Choose
    retrieve: Retrieve
    token_budget: Callable[[Template, str], TokenBudget]
    estimate_usd: Callable[[Prompt], float | None]
    picture: image_generation.Picture
    summarizer: Summarizer
    recall_counts: Callable[[Sequence[Turn]], None] = lambda turns: None
    comparable_deployments: Callable[[], Sequence[str]] = tuple
    family: Callable[[Template], str | None] = lambda template: None
    accepts_images: Callable[[Template], bool] = lambda template: False
    picture_tokens: Callable[[Prompt], int] = lambda prompt: 0
    allowance: Callable[[], ToolCallAllowance] = ToolCallAllowance


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerContext:
    """What surrounds one answer: how it is shown, where files and the thread come from, how it is stopped.

    `on_partial_image` shows a picture while it is drawn, where the platform can. `given` are pictures that come with
    what was said and need no fetching. `erasures` is that of the claim.
    """

    show: Show
    fetch: Fetch
    stop: Stop
    read_thread: Context = nothing_before
    on_partial_image: OnPartialImage | None = None
    given: Sequence[Image] = ()
    erasures: str = "0"

    @property
    def image_progress(self) -> ImageProgress:
        """What a picture is drawn on."""
        return ImageProgress(show=self.show, stop=self.stop, on_partial_image=self.on_partial_image)


class Engine:
    """Answers one event at a time; any number of answers may run side by side."""

    def __init__(self, parts: EngineDependencies, files: AttachmentReader | None = None) -> None:
        self._parts = parts
        self.files = files or AttachmentReader()
        self._images = ImageGeneration(
            model=parts.model,
            templates=parts.templates,
            token_budget=self._token_budget,
            family=parts.family,
            picture=parts.picture,
            reserve=self._reserve,
        )

    def for_template(self, template: Template) -> "Engine":
        """An engine like this one that answers everything by one template: what is tried there is what
        people get.
        """
        only = (replace(template, match=Match(default=True)),)

        def templates(received: MessageReceived) -> Sequence[Template]:
            return only

        return Engine(dataclasses.replace(self._parts, templates=templates), self.files)

    async def should_answer(self, received: MessageReceived) -> bool:
        """Whether this is answered at all, by the participation mode that people chose for this channel."""
        if received.direct or not received.channel:
            return True
        if received.addressed and self._parts.commands.parse(received) is not None:
            return True
        choice = await self._parts.preferences.effective(received)
        if choice.participation == "mute":
            return False
        if choice.quiet or choice.participation == "mention":
            return received.addressed
        return received.addressed or received.threaded or choice.participation == "follow"

    def command(self, received: MessageReceived) -> tuple[str, str] | None:
        """The command of the engine's own that was typed, and what came after it; None for a question."""
        return self._parts.commands.parse(received)

    def may(self, user: User, turn: Turn) -> bool:
        """Whether this person may have an answer given anew."""
        return self._parts.preferences.may(user, turn)

    async def answer(
        self, received: MessageReceived, turns: Sequence[Turn], context: AnswerContext, event: str = ""
    ) -> TurnBuilder:
        """The turn that answers what was said, not yet shown in full nor written down.

        `event` is the act that pays for it, where that is another than what was said: an edit, a wish for
        another answer. A refusal is an answer, in its own words. Raises Unavailable (try again later) and
        ConfigError.
        """
        builder = TurnBuilder(received, now(), event=event or received.id, allowance=self._parts.allowance())
        seen = context_window.remembered(turns)
        builder.before, builder.ahead = (seen[-1].since, seen[-1].ahead) if seen else ("", "")
        try:
            command = self._parts.commands.parse(received)
            if command is None:
                await self._answer(builder, turns, context)
            elif command[0] == "compare":
                await self._compare(builder, command[1], turns, context)
            elif command[0] == "variations":
                await self._images.vary(builder, command[1], turns, context.image_progress)
            else:
                builder.template = f"/{command[0]}"
                if command[0] == "again" and find(turns, command[1]) is not None:
                    raise NotAllowed(_NOT_YOURS)
                done = await self._parts.commands.run(*command, received, builder.event)
                builder.keep = done.keep
                builder.end(done.reply, resets=done.resets)
        except Refused as refusal:
            builder.filter |= refusal.notes if isinstance(refusal, ContentFiltered) else {}
            reply = Reply(text=str(refusal), private=self._parts.commands.parse(received) is not None)
            builder.end(reply, "refused", reason=type(refusal).__name__)
        return builder

    async def _answer(self, builder: TurnBuilder, turns: Sequence[Turn], context: AnswerContext) -> None:
        parts = self._parts
        choice = await parts.preferences.effective(builder.received)
        template, question = router.choose(
            parts.templates(builder.received),
            builder.received,
            choice.template,
            choice.usual,
            question=is_question(builder.received),
        )
        template = router.served_by(template, choice.deployment)
        parts.recall_counts(turns)
        builder.template = template.version
        telemetry.report_progress(template=template.version)
        builder.received, notes = await with_thread(builder.received, turns, question, context.read_thread)
        builder.notes += notes
        received = builder.received
        async with self.files.read(
            received.attachments,
            context.fetch,
            user=received.user,
            ref=partial(image_generation.ref_of, received.id, kind="in"),
            text_bytes=3 * self._token_budget(builder, template).context_tokens // 2,
        ) as found:
            builder.notes += found.notes
            await self._answer_with(builder, template, question, found, turns, context)

    async def _answer_with(
        self,
        builder: TurnBuilder,
        template: Template,
        question: str,
        found: ExtractedFiles,
        turns: Sequence[Turn],
        context: AnswerContext,
    ) -> None:
        """An answer in pictures or in words, with the files that came."""
        parts, received = self._parts, builder.received
        if template.capability == "image":
            pictures = (*context.given, *found.pictures)
            await self._images.draw(builder, template, question, pictures, turns, context.image_progress)
            return
        if not (question or found.pictures or found.documents or received.quotes):
            builder.end(Reply(text=router.nothing_said(template)))
            return
        if not found.pictures and parts.accepts_images(template):
            pictures = await image_generation.recalled(parts.picture, received, question, turns)
            builder.recalled = frozenset(image.ref for image in pictures)
            found = dataclasses.replace(found, pictures=pictures)
        await self._chat(builder, template, question, found, turns, context)

    async def _chat(
        self,
        builder: TurnBuilder,
        template: Template,
        question: str,
        found: ExtractedFiles,
        turns: Sequence[Turn],
        context: AnswerContext,
    ) -> None:
        """An answer in words; where the prompt was too long after all, by a smaller one."""
        parts, received = self._parts, builder.received
        tools = self._tools(builder, template, turns, context.image_progress, found.pictures)
        summary = await parts.summarizer.of(received, turns)
        prompt = await self._build_prompt(builder, template, question, turns, found, tools, summary)
        await self._reserve(builder, prompt)
        calls = ToolCalls(tools, builder, partial(self._spend, builder))
        chat = Chat(parts.model, calls, builder, context.show, partial(self._reserve, builder, more=True))
        try:
            await chat.write(prompt, context.stop)
        except TooLong as error:
            if builder.text or len(builder.sent) > 1:
                raise
            budget = reduced_budget(self._token_budget(builder, template), prompt, error)
            less = await self._build_prompt(builder, template, question, turns, found, tools, summary, budget)
            if less.input_tokens >= prompt.input_tokens:
                raise
            await chat.write(builder.instead(less), context.stop)
        parts.summarizer.refresh(received, turns, prompt, summary, context.erasures)

    async def _reserve(self, builder: TurnBuilder, *prompts: Prompt, more: bool = False) -> None:
        """Reserve what these will take; that a budget is nearly used up is said under the answer."""
        parts = self._parts
        estimates = [
            estimate(prompt, parts.estimate_usd(prompt), parts.picture_tokens(prompt)) for prompt in prompts
        ]
        await self._set_aside(builder, estimates, more=more)

    async def _spend(self, builder: TurnBuilder, usd: float) -> None:
        """Reserve what a call of a tool costs."""
        await self._set_aside(builder, [Estimate(usd=usd)], more=True)

    async def _set_aside(self, builder: TurnBuilder, estimates: Sequence[Estimate], *, more: bool) -> None:
        notice = await self._parts.ledger.reserve(builder.received, builder.event, estimates, more=more)
        builder.reserved = True
        builder.notes += [notice] if notice else []

    def _tools(
        self,
        builder: TurnBuilder,
        template: Template,
        turns: Sequence[Turn],
        image_progress: ImageProgress,
        sent: Sequence[Image] = (),
    ) -> dict[str, Tool]:
        """What the model may call in this turn: the template's tools, as far as they are there."""
        tools = {name: self._parts.tools[name] for name in template.tools if name in self._parts.tools}
        draw = self._images.tool(builder, turns, image_progress, sent) if DRAW in template.tools else None
        return tools if draw is None else {**tools, DRAW: draw}

    async def changed(self, conversation: str, turns: Sequence[Turn]) -> None:
        """A turn was changed or deleted: a summary of it must not go on telling it."""
        if any(turn.since or turn.ahead for turn in turns):
            await self._parts.summarizer.forget(conversation)

    async def preview(self, received: MessageReceived, turns: Sequence[Turn]) -> Prompt:
        """Exactly what would be sent to answer this, without sending it. Raises Refused and Unavailable."""
        templates = self._parts.templates(received)
        template, question = router.choose(templates, received, question=is_question(received))
        builder = TurnBuilder(received, now())
        tools = self._tools(builder, template, turns, ImageProgress(show=_unseen, stop=Stop()))
        return await self._build_prompt(builder, template, question, turns, tools=tools)

    async def _build_prompt(
        self,
        builder: TurnBuilder,
        template: Template,
        question: str,
        turns: Sequence[Turn],
        found: ExtractedFiles = NOTHING,
        tools: Mapping[str, Tool] | None = None,
        summary: Summary | None = None,
        budget: TokenBudget | None = None,
    ) -> Prompt:
        inputs = PromptInputs(
            template=template,
            received=builder.received,
            question=question,
            turns=turns if template.capability == "chat" else (),
            examples=await self._parts.choose(template, question),
            passages=await self._parts.retrieve(template, question),
            pictures=found.pictures,
            documents=found.documents,
            left_out=found.left_out,
            summaries=summary.texts() if summary is not None else {},
            tools=[tool.spec for tool in (tools or {}).values()],
            accepts_images=self._parts.accepts_images(template),
        )
        return build_prompt(inputs, budget or self._token_budget(builder, template))

    def _token_budget(self, builder: TurnBuilder, template: Template) -> TokenBudget:
        return self._parts.token_budget(template, builder.received.address.conversation)

    async def _compare(
        self, builder: TurnBuilder, question: str, turns: Sequence[Turn], context: AnswerContext
    ) -> None:
        """The same question to several deployments, each reserved for."""
        parts = self._parts
        names = parts.comparable_deployments()
        if len(names) < 2:
            raise NotAllowed("There is only one model here, so there is nothing to compare it with.")
        if not question:
            raise NotAllowed("What shall I ask the models? For example: `/compare why is the sky blue?`")
        template = next(one for one in parts.templates(builder.received) if one.match.default)
        builder.template = template.version
        telemetry.report_progress(template=template.version)
        budgets = [self._token_budget(builder, replace(template, deployment=name)) for name in names]
        budget = min(budgets, key=lambda budget: budget.context_tokens)
        prompt = await self._build_prompt(
            builder, replace(template, deployment=None), question, turns, budget=budget
        )
        sent = comparison.prompts(prompt, names)
        await self._reserve(builder, *sent)
        await comparison.Comparison(parts.model, builder, context.show).write(sent, context.stop)


async def _unseen(text: str) -> bool:
    """Shows nothing: nobody is there to see it."""
    return True
