"""The sources of a prompt: templates, examples, passages, and images of the conversation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from bot.domain.events import MessageReceived
from bot.domain.prompts import Embed, Example, Image, Match, Template
from bot.knowledge.retrieval import retrieve
from bot.prompts import examples
from bot.prompts.library import LoadedPrompts, PromptLibrary
from bot.storage.conversations.turns import Turns


class PromptSources(Protocol):
    """Where the engine and evaluations get the parts of a prompt.

    To `notes`, once each, is added what a person should know because embeddings are unavailable.
    """

    def templates(self, received: MessageReceived | None = None) -> Sequence[Template]:
        """The active templates; for a message, with the trials of its conversation."""
        ...

    async def examples(self, template: Template, question: str, notes: list[str]) -> Sequence[Example]:
        """The few-shot examples for a question."""
        ...

    async def passages(self, template: Template, question: str, notes: list[str]) -> Sequence[str]:
        """The passages of the template's knowledge files that are nearest to a question."""
        ...

    async def image(self, conversation: str, ref: str) -> Image | None:
        """A stored image of a conversation, with its bytes; None once it has expired."""
        ...


@dataclass(frozen=True, slots=True)
class PublishedPrompts:
    """The files of prompts/ with the publications. Implements PromptSources."""

    library: PromptLibrary
    turns: Turns

    def templates(self, received: MessageReceived | None = None) -> Sequence[Template]:
        return self.library.registry.templates(received)

    async def examples(self, template: Template, question: str, notes: list[str]) -> Sequence[Example]:
        return await self.library.choose(template, question, notes)

    async def passages(self, template: Template, question: str, notes: list[str]) -> Sequence[str]:
        return await retrieve(template, self.library.texts, question, self.library.embed, notes)

    async def image(self, conversation: str, ref: str) -> Image | None:
        return await self.turns.image(conversation, ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePrompts:
    """The files of prompts/ only, without storage. Implements PromptSources."""

    files: LoadedPrompts
    embed: Embed

    def templates(self, received: MessageReceived | None = None) -> Sequence[Template]:
        return self.files.templates

    async def examples(self, template: Template, question: str, notes: list[str]) -> Sequence[Example]:
        pool = self.files.pools.get(template.pool or "", ())
        return await examples.choose(template, pool, question, self.embed, notes)

    async def passages(self, template: Template, question: str, notes: list[str]) -> Sequence[str]:
        return await retrieve(template, self.files.texts, question, self.embed, notes)

    async def image(self, conversation: str, ref: str) -> Image | None:
        return None  # there is no storage


class SingleTemplate:
    """One template for all messages; everything else comes from `sources`. Implements PromptSources."""

    def __init__(self, sources: PromptSources, template: Template) -> None:
        self._only = (replace(template, match=Match(default=True)),)
        self.examples = sources.examples
        self.passages = sources.passages
        self.image = sources.image

    def templates(self, received: MessageReceived | None = None) -> Sequence[Template]:
        return self._only
