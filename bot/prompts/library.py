"""The active templates, pools and knowledge files of a process."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from bot.domain.errors import StateUnavailable
from bot.domain.prompts import Embed, Example, Template
from bot.prompts import examples
from bot.prompts.publisher import Publisher
from bot.prompts.registry import Check, TemplateRegistry
from bot.prompts.review import ProposalReview
from bot.storage.prompts.proposals import Proposals
from bot.storage.prompts.versions import Versions
from bot.storage.redis import tasks
from bot.storage.redis.client import Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPrompts:
    """The checked contents of prompts/; `check` is applied to published templates.

    `problems` are those of files that are not used, with file and line; `notes` say by template what is not
    used of its file.
    """

    templates: Sequence[Template]
    pools: Mapping[str, Sequence[Example]]
    texts: Mapping[str, tuple[str, ...]]
    check: Check
    problems: Sequence[str] = ()
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLibrary:
    """The registry, publishing, reviews, and the choice of examples."""

    registry: TemplateRegistry
    publisher: Publisher
    review: ProposalReview
    proposals: Proposals
    texts: Mapping[str, tuple[str, ...]]
    embed: Embed

    async def choose(self, template: Template, question: str, notes: list[str]) -> Sequence[Example]:
        return await examples.choose(template, self._pool(template), question, self.embed, notes)

    async def choose_why(self, template: Template, question: str) -> list[examples.ChosenExample]:
        """The same, with the reason for each."""
        return await examples.choose_why(template, self._pool(template), question, self.embed, [])

    async def rank(self, pool: str, question: str) -> list[tuple[Example, float]]:
        """A whole pool, nearest first, with similarities. Raises what `embed` raises."""
        return await examples.rank(self.registry.pools().get(pool, ()), question, self.embed)

    def _pool(self, template: Template) -> Sequence[Example]:
        return self.registry.pools().get(template.pool or "", ())


@asynccontextmanager
async def open_library(prompts: LoadedPrompts, redis: Redis, embed: Embed) -> AsyncGenerator[PromptLibrary]:
    """The library of the files and publications, kept up to date in the background."""
    versions, proposals = Versions(redis), Proposals(redis)
    registry = TemplateRegistry(
        prompts.templates, prompts.pools, versions, prompts.check, prompts.problems, prompts.notes
    )
    publisher = Publisher(registry, versions)
    with suppress(StateUnavailable):  # the files are used until Redis is available
        await registry.refresh()
    watching = asyncio.create_task(registry.watch())
    try:
        yield PromptLibrary(
            registry=registry,
            publisher=publisher,
            review=ProposalReview(proposals, registry, publisher),
            proposals=proposals,
            texts=prompts.texts,
            embed=embed,
        )
    finally:
        await tasks.end(watching)
