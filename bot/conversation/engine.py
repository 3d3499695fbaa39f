"""Turns a message into a turn: by a command, an answer, a comparison or an image."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from bot.conversation import addressing, router
from bot.conversation.addressing import Decision
from bot.conversation.answer_context import AnswerContext
from bot.conversation.builtin_tools import BuiltinTools, abilities
from bot.conversation.commands import registry
from bot.conversation.commands.command import Command, CommandCall, CommandServices
from bot.conversation.linked_messages import with_links
from bot.conversation.summarizer import Summarizer
from bot.conversation.thread_context import earlier_files, with_thread
from bot.domain import telemetry
from bot.domain.calls import collected
from bot.domain.errors import ContentFiltered, NotAllowed, NotPermitted, Refused, TooLong
from bot.domain.events import Attachment, MessageReceived, UnreadPart, User, now
from bot.domain.participation import DEFAULT_MODE
from bot.domain.prompts import Image, Prompt, Template
from bot.domain.turns import Reply, Turn
from bot.files.attachments import NOTHING, AttachmentReader, ExtractedFiles
from bot.files.excerpts import SimilarToQuestion
from bot.generation import comparison, context_window, image_generation
from bot.generation.completion import Chat
from bot.generation.hints import with_mention
from bot.generation.images import ImageGeneration
from bot.generation.model_info import ModelInfo
from bot.generation.prompt_builder import PromptInputs, TokenBudget, build_prompt, reduced_budget
from bot.generation.prompt_sources import PromptSources, SingleTemplate
from bot.generation.reservations import Reservations
from bot.generation.tool_calls import ToolCalls, ToolSet
from bot.generation.turn_builder import Stop, TurnBuilder
from bot.llm.tokens.calibration import recalled
from bot.llm.tokens.counter import TokenCounter, run_counting
from bot.storage.conversations.summaries import Summary
from bot.storage.usage.quota import QuotaLedger
from bot.tools.registry import DRAW, Tool

_ROOM_TOKENS = 8000
"""In a smaller context window, the built-in tools would take the room of questions: they are about 1200 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Answers messages, any number of them concurrently. Implements `commands.command.Answering`."""

    model_info: ModelInfo
    sources: PromptSources
    commands: CommandServices
    ledger: QuotaLedger
    summarizer: Summarizer
    tools: ToolSet
    files: AttachmentReader

    def for_template(self, template: Template) -> "Engine":
        """An engine that answers everything with one template, for trying it out."""
        tools = dataclasses.replace(self.tools, built_in=False)
        return dataclasses.replace(self, sources=SingleTemplate(self.sources, template), tools=tools)

    @property
    def _reservations(self) -> Reservations:
        return Reservations(self.ledger, self.model_info)

    @property
    def _images(self) -> ImageGeneration:
        return ImageGeneration(
            model_info=self.model_info, sources=self.sources, reservations=self._reservations
        )

    async def should_answer(
        self, received: MessageReceived, turns: Sequence[Turn] = (), *, others_speak: bool = False
    ) -> Decision:
        """Whether to answer a message, and why (`addressing.decide`). Raises StateUnavailable."""
        command = self.command(received)
        if received.direct or not received.channel or (command is not None and not command[0].is_answer):
            return addressing.decide(received, DEFAULT_MODE)
        mode = await self.commands.preferences.mode(received)
        return addressing.decide(received, mode, turns, others_spoke=others_speak)

    def command(self, received: MessageReceived) -> tuple[Command, str] | None:
        """The command and the text after it; None for a question, which a message without a mention always is."""
        return registry.parse(received, self.commands) if received.addressed else None

    def may(self, user: User, turn: Turn) -> bool:
        """Whether this person may regenerate an answer."""
        return self.commands.personal_data.may("again", user, turn)

    async def answer(
        self, received: MessageReceived, turns: Sequence[Turn], context: AnswerContext, event: str = ""
    ) -> TurnBuilder:
        """The turn that answers a message; its final text is not shown yet, and nothing is committed.

        `event` is the id of the event to charge, if that is not the message but an edit or the command `again`.
        The text of a Refused becomes the answer. Raises Unavailable (retry later) and ConfigError.
        """
        builder = TurnBuilder(received, now(), event=event or received.id, allowance=self.tools.allowance())
        builder.surface, builder.calls, builder.payer = context.surface, context.calls, context.payer
        context = context.of(builder)
        seen, builder.kept_template = context_window.remembered(turns), router.kept_in(turns)
        builder.before, builder.ahead = (seen[-1].since, seen[-1].ahead) if seen else ("", "")
        command = self.command(received)
        try:
            self._reservations.begin(builder)
            with collected(builder.calls):
                if command is None:
                    await self._answer(builder, turns, context)
                else:
                    await self._run(*command, builder, turns, context)
        except Refused as refusal:
            builder.filter |= refusal.notes if isinstance(refusal, ContentFiltered) else {}
            text = with_mention(str(refusal), received) if "`" in str(refusal) else str(refusal)
            private = command is not None or isinstance(refusal, NotPermitted)
            reply = Reply(text=text, private=private and received.user.role != "bot")
            builder.end(reply, "refused", reason=type(refusal).__name__)
        builder.addressed(context.addressing, private=context.private)
        return builder

    async def _run(
        self, command: Command, rest: str, builder: TurnBuilder, turns: Sequence[Turn], context: AnswerContext
    ) -> None:
        builder.template = "" if command.is_answer else f"/{command.name}"
        call = CommandCall(
            rest=rest, builder=builder, turns=turns, context=context, services=self.commands, answering=self
        )
        result = await command.run(call)
        if result is not None:
            builder.keep = result.keep
            builder.end(result.reply, resets=result.resets)

    async def _answer(self, builder: TurnBuilder, turns: Sequence[Turn], context: AnswerContext) -> None:
        template, question = await self._template(builder, turns)
        turns = context_window.seen_by(builder.received, turns)
        builder.counter = TokenCounter(factors=recalled(turns))
        builder.template = template.version
        telemetry.report_progress(template=template.version)
        received = await self._with_context(builder, question, turns, context)
        draws = template.capability == "image"
        if draws:
            self.commands.permissions.require(
                "draw", builder.received.user, shared=_is_shared(builder.received)
            )
        images = draws or self.model_info.accepts_images(template)
        earlier, unread = earlier_files(received, own_parts_only=draws, images=images)
        builder.missing += unread
        async with self.files.read(
            received.attachments,
            context.fetch,
            user=received.user,
            ref=partial(image_generation.ref_of, received.id, kind="in"),
            text_bytes=3 * self._token_budget(builder, template).context_tokens // 2,
            earlier=earlier,
            similar=SimilarToQuestion(self.model_info.model, question),
        ) as found:
            builder.notes += found.notes
            builder.missing += found.unread
            if not (question or received.quotes):
                _require_something(found, builder.unread)
            elif draws and received.attachments:
                _require_something(found, found.unread)
            await self._answer_with(builder, template, question, found, turns, context)

    async def _template(self, builder: TurnBuilder, turns: Sequence[Turn]) -> tuple[Template, str]:
        """The template for the message, and the question. One chosen by its command stays for the conversation."""
        received = builder.received
        choice = await self.commands.preferences.effective(received)
        if choice.chosen_at > router.kept_since(turns):
            builder.kept_template = ""
        question = registry.is_question(received)
        template, text = router.choose(
            self.sources.templates(received),
            received,
            choice.template,
            choice.usual,
            kept=builder.kept_template,
            question=question,
        )
        by_command = not question and router.asked_of(template, received) is not None
        if by_command and template.capability == "chat":
            builder.kept_template = template.name
        builder.prompt = "" if template.match.default or template.capability != "chat" else template.name
        return router.served_by(template, choice.deployment), text

    async def _with_context(
        self, builder: TurnBuilder, question: str, turns: Sequence[Turn], context: AnswerContext
    ) -> MessageReceived:
        """Add the messages to which the question links, and those before it."""
        builder.received, unread = await with_links(builder.received, context.read_linked)
        builder.missing += unread
        read = await with_thread(builder.received, turns, question, context.read_thread)
        builder.received, notes, unread = read
        builder.notes += notes
        builder.missing += unread
        return builder.received

    async def _answer_with(
        self,
        builder: TurnBuilder,
        template: Template,
        question: str,
        found: ExtractedFiles,
        turns: Sequence[Turn],
        context: AnswerContext,
    ) -> None:
        """Answer with an image or a text, with the extracted files."""
        received = builder.received
        if template.capability == "image":
            pictures = (*context.given, *found.pictures)
            await self._images.draw(builder, template, question, pictures, turns, context.image_progress)
            return
        if not (question or found.pictures or found.documents or received.quotes):
            builder.end(Reply(text=router.reply_without_question(template)))
            return
        if not found.pictures and self.model_info.accepts_images(template):
            pictures = await image_generation.recalled(self.sources, received, question, turns)
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
        """Answer with text; if the prompt turns out to be too long, retry once with a smaller one."""
        received = builder.received
        tools = self._offered(builder, template, turns, context, found.pictures)
        summary = await self.summarizer.of(received, turns)
        prompt = await self._build_prompt(builder, template, question, turns, found, tools, summary)
        await self._reservations.reserve(builder, prompt)
        calls = ToolCalls(tools, builder, self._reservations)
        chat = Chat(self.model_info.model, calls, builder, context.show, self._reservations)
        try:
            await chat.write(prompt, context.stop)
        except TooLong as error:
            if builder.text or len(builder.sent) > 1:
                raise
            budget = reduced_budget(self._token_budget(builder, template), prompt, error)
            smaller = await self._build_prompt(
                builder, template, question, turns, found, tools, summary, budget
            )
            if smaller.input_tokens >= prompt.input_tokens:
                raise
            await chat.write(builder.instead(smaller), context.stop)
        builder.calibrate()
        self.summarizer.refresh(received, turns, prompt, summary, context.erasures)

    def _offered(
        self,
        builder: TurnBuilder,
        template: Template,
        turns: Sequence[Turn],
        context: AnswerContext,
        sent: Sequence[Image] = (),
    ) -> dict[str, Tool]:
        """The available tools by name: those of the template, then the built-in ones."""
        tools = {name: self.tools.functions[name] for name in template.tools if name in self.tools.functions}
        drawing = (
            self._images.tool(builder, turns, context.image_progress, sent)
            if DRAW in template.tools and self._may_draw(builder.received)
            else None
        )
        tools |= {} if drawing is None else {DRAW: drawing}
        if not self._tells_of_itself(builder, template):
            return tools
        built_in = BuiltinTools(services=self.commands, builder=builder, turns=turns, context=context)
        return {**tools, **{name: tool for name, tool in built_in.offered().items() if name not in tools}}

    def _may_draw(self, received: MessageReceived) -> bool:
        return self.commands.permissions.allows("draw", received.user, shared=_is_shared(received))

    async def with_images(self, conversation: str, reply: Reply) -> Reply:
        """A stored reply with the bytes of its images, without those that are no longer stored."""
        stored = [await self.sources.image(conversation, image.ref) for image in reply.images]
        images = [
            replace(image, data=found.data)
            for image, found in zip(reply.images, stored, strict=True)
            if found is not None
        ]
        return replace(reply, images=tuple(images))

    async def changed(self, conversation: str, turns: Sequence[Turn]) -> None:
        """Delete the summary of a conversation, because one of its turns was edited or deleted."""
        if any(turn.since or turn.ahead for turn in turns):
            await self.summarizer.forget(conversation)

    async def preview(self, received: MessageReceived, turns: Sequence[Turn]) -> Prompt:
        """The exact prompt for a message, without sending it. Raises Refused and Unavailable."""
        templates = self.sources.templates(received)
        template, question = router.choose(templates, received, question=registry.is_question(received))
        builder = TurnBuilder(received, now())
        context = AnswerContext(show=_show_nothing, fetch=_fetch_nothing, stop=Stop())
        tools = self._offered(builder, template, turns, context)
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
            examples=await self.sources.examples(template, question, builder.notes),
            passages=await self.sources.passages(template, question, builder.notes),
            pictures=found.pictures,
            documents=found.documents,
            left_out=found.left_out,
            unread=builder.unread,
            summaries=summary.texts() if summary is not None else {},
            tools=[tool.spec for tool in (tools or {}).values()],
            abilities=abilities(self.commands, builder.received, tools)
            if tools and self._tells_of_itself(builder, template)
            else "",
            accepts_images=self.model_info.accepts_images(template),
            surface=builder.surface,
        )
        budget = budget or self._token_budget(builder, template)
        builder.counter = budget.counter
        return await run_counting(inputs.characters, build_prompt, inputs, budget)

    def _tells_of_itself(self, builder: TurnBuilder, template: Template) -> bool:
        """Whether the model is told what people can do with Parley, and gets the tools for it."""
        if not self.tools.built_in or template.capability != "chat":
            return False
        return self._token_budget(builder, template).context_tokens >= _ROOM_TOKENS

    def _token_budget(self, builder: TurnBuilder, template: Template) -> TokenBudget:
        budget = self.model_info.token_budget(template, builder.received.address.conversation)
        factors = builder.counter.factors
        return dataclasses.replace(budget, counter=dataclasses.replace(budget.counter, factors=factors))

    async def compare(
        self, builder: TurnBuilder, question: str, turns: Sequence[Turn], context: AnswerContext
    ) -> None:
        """Send a question to several deployments; each call is reserved. Raises Refused."""
        names = self.model_info.comparable_deployments()
        if len(names) < 2:
            raise NotAllowed("There is only one model, so there is nothing to compare.")
        if not question:
            raise NotAllowed("Add a question, for example: `compare: why is the sky blue?`")
        template = next(each for each in self.sources.templates(builder.received) if each.match.default)
        builder.template = template.version
        telemetry.report_progress(template=template.version)
        budgets = [self._token_budget(builder, replace(template, deployment=name)) for name in names]
        budget = min(budgets, key=lambda budget: budget.context_tokens)
        prompt = await self._build_prompt(
            builder, replace(template, deployment=None), question, turns, budget=budget
        )
        sent = comparison.prompts(prompt, names)
        await self._reservations.reserve(builder, *sent)
        await comparison.Comparison(self.model_info.model, builder, context.show).write(sent, context.stop)

    async def vary(
        self, builder: TurnBuilder, rest: str, turns: Sequence[Turn], context: AnswerContext
    ) -> None:
        received = builder.received
        self.commands.permissions.require("draw", received.user, shared=_is_shared(received))
        await self._images.vary(builder, rest, turns, context.image_progress)


def _is_shared(received: MessageReceived) -> bool:
    return bool(received.channel) and not received.direct


def _require_something(found: ExtractedFiles, unread: Sequence[UnreadPart]) -> None:
    """Raise NotAllowed, with the reasons, if nothing was read although there was something.

    Raises PlatformUnavailable if a file may be available later.
    """
    if found.pictures or found.documents or not unread:
        return
    if found.unavailable is not None:
        raise found.unavailable
    raise NotAllowed("\n".join(part.worded for part in unread))


async def _show_nothing(text: str) -> bool:
    return True


async def _fetch_nothing(attachment: Attachment) -> bytes:
    raise NotAllowed("“{name}” can't be read here.", name=attachment.name)
