"""Everything that people wrote for the bot: templates, pools and texts, as they count now."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bot import commands, examples, knowledge, templates
from bot.errors import StateUnavailable, TemplateError
from bot.publisher import Publisher
from bot.review import Review
from bot.shelf import Shelf
from bot.state import tasks
from bot.state.proposals import Proposals
from bot.state.redis import Redis
from bot.state.versions import Versions
from bot.tools import DRAW, installed
from bot.types import Example, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What prompts/ holds, checked."""

    templates: Sequence[Template]
    pools: Mapping[str, Sequence[Example]]
    texts: Mapping[str, tuple[str, ...]]


def read_prompts(folder: Path | None) -> Prompts:
    """Everything that a folder holds, Parley's own without one. Raises TemplateError."""
    folder = folder or templates.FOLDER
    found = Prompts(
        templates=templates.load(folder),
        pools=templates.load_pools(folder),
        texts=knowledge.load(folder),
    )
    for template in found.templates:
        _check(template, found.texts)
    return found


def _check(template: Template, texts: Mapping[str, object]) -> None:
    """What a template can't be told from alone: commands, tools, texts. Raises TemplateError."""
    knowledge.check([template], texts)
    if word := commands.clash(template):
        raise TemplateError(f"{template.name}.prompty: /{word} is a command of Parley's own")
    for name in template.tools:
        if name != DRAW and name not in installed():
            raise TemplateError(f"{template.name}.prompty: there is no tool {name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """What is on the shelf, how it is published and reviewed, and what of it goes into a prompt.

    The methods raise what `embed` raises, but for what they can do without it.
    """

    shelf: Shelf
    publisher: Publisher
    review: Review
    proposals: Proposals
    texts: Mapping[str, tuple[str, ...]]
    embed: examples.Embed

    async def choose(self, template: Template, question: str) -> Sequence[Example]:
        """The few-shot examples to show with a question."""
        return await examples.choose(template, self._pool(template), question, self.embed)

    async def choose_why(self, template: Template, question: str) -> list[examples.Chosen]:
        """The same, with the reason for each."""
        return await examples.choose_why(template, self._pool(template), question, self.embed)

    async def rank(self, pool: str, question: str) -> list[tuple[Example, float]]:
        """A whole pool, nearest first, with the similarity of each."""
        return await examples.rank(self.shelf.pools().get(pool, ()), question, self.embed)

    async def recall(self, template: Template, question: str) -> Sequence[str]:
        """The passages of the template's texts that are nearest to a question."""
        return await knowledge.recall(template, self.texts, question, self.embed)

    def _pool(self, template: Template) -> Sequence[Example]:
        return self.shelf.pools().get(template.pool or "", ())


@asynccontextmanager
async def open_library(prompts: Prompts, redis: Redis, embed: examples.Embed) -> AsyncGenerator[Library]:
    """The files, and what is published over them, kept up to date in the background."""
    versions, proposals = Versions(redis), Proposals(redis)

    def check(template: Template) -> None:
        _check(template, prompts.texts)

    shelf = Shelf(prompts.templates, prompts.pools, versions, check)
    publisher = Publisher(shelf, versions)
    with suppress(StateUnavailable):  # the files count until it can be read
        await shelf.refresh()
    watching = asyncio.create_task(shelf.watch())
    try:
        yield Library(
            shelf=shelf,
            publisher=publisher,
            review=Review(proposals, shelf, publisher),
            proposals=proposals,
            texts=prompts.texts,
            embed=embed,
        )
    finally:
        await tasks.end(watching)
