"""What the studio does with templates: shows their versions, publishes, takes back, imports and exports."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff

from msgspec.structs import replace

from bot.domain.errors import NotAllowed
from bot.domain.prompts import Example, Match, Template
from bot.domain.publications import ActiveTemplate, Proposal, Trial, Version
from bot.domain.turns import Turn
from bot.prompts.example_images import LoadImage
from bot.prompts.formats import from_jsonl, from_studio, to_jsonl, to_prompty, to_studio
from bot.prompts.library import PromptLibrary
from bot.prompts.prompty import read_text


@dataclass(frozen=True, slots=True)
class PromptEditor:
    """Its methods raise StateUnavailable, TemplateError for wording that can't be used, and NotAllowed."""

    library: PromptLibrary

    def active(self, name: str) -> ActiveTemplate:
        """What counts for a template, and why."""
        return self.library.registry.active(name)

    def pools(self) -> Sequence[str]:
        """The pools of few-shot examples."""
        return sorted(self.library.registry.pools())

    async def history(self, name: str) -> Sequence[Version]:
        """Every version that was published, newest first."""
        return await self.library.publisher.history(name)

    async def publish(
        self,
        template: Template,
        *,
        author: str,
        reason: str,
        percent: int = 0,
        channels: Sequence[str] = (),
        after: int | None = None,
    ) -> Version:
        """Publish for everybody, or, with a share or channels, for a trial; `after` as for the publisher.

        A name that is new becomes a command of its own.
        """
        held = self.library.registry.active(template.name)
        if held.template is None and held.file is None:
            template = replace(template, match=Match(commands=(template.name,)))
        trial = Trial(percent=percent, channels=tuple(channels)) if percent or channels else None
        text = await asyncio.to_thread(to_prompty, replace(template, digest=""))
        return await self.library.publisher.publish(
            template.name, text, author=author, reason=reason, trial=trial, after=after
        )

    async def roll_back(self, name: str, number: int, *, author: str, reason: str) -> Version:
        """Make an earlier version count again; 0 is the file."""
        return await self.library.publisher.roll_back(name, number, author=author, reason=reason)

    def text(self, template: Template) -> str:
        """The template as `.prompty`."""
        return to_prompty(template)

    def diff(self, old: str, new: str) -> str:
        """What became of a text, line by line; empty when nothing did."""
        return "\n".join(unified_diff(old.splitlines(), new.splitlines(), "before", "after", lineterm=""))

    def read(self, file: str, data: bytes, name: str) -> Template:
        """A template from a file: `.prompty`, Azure OpenAI Studio's `.json`, or chat `.jsonl`."""
        template = _read(file, data, name, self.library.registry.look)
        wanted = {f"the pool “{template.pool}”": template.pool in (None, *self.library.registry.pools())}
        wanted |= {f"the text “{one}”": one in self.library.texts for one in template.knowledge}
        if missing := [what for what, there in wanted.items() if not there]:
            raise NotAllowed(f"“{file}” needs {missing[0]}, which is not here.")
        return template

    def write(self, template: Template, form: str) -> str:
        """A template as a file's text: prompty, json (Azure OpenAI Studio's set-up) or jsonl."""
        if form == "jsonl":
            return to_jsonl(template)
        return to_studio(template).decode() if form == "json" else to_prompty(template)

    # -------------------------------------------------------------- from answers to examples

    async def propose(self, turn: Turn, pool: str, *, author: str) -> Proposal:
        """Propose a well-rated answer for a pool."""
        return await self.library.review.propose(turn, pool, author=author)

    async def proposals(self) -> Sequence[Proposal]:
        """What waits for a review, newest first."""
        return await self.library.review.all("proposed")

    async def accept(self, id: str, *, reviewer: str, user: str, assistant: str) -> Proposal:
        """Publish a proposal into its pool, as the reviewer worded it."""
        return await self.library.review.accept(
            id, reviewer=reviewer, example=Example(user=user, assistant=assistant)
        )

    async def reject(self, id: str, *, reviewer: str) -> Proposal:
        """Decide against a proposal."""
        return await self.library.review.reject(id, reviewer=reviewer)


def _read(file: str, data: bytes, name: str, look: LoadImage) -> Template:
    if file.endswith(".prompty"):
        try:
            return read_text(data.decode(), name, look).template
        except UnicodeDecodeError:
            raise NotAllowed(f"“{file}” is no text.") from None
    return from_jsonl(data, name) if file.endswith(".jsonl") else from_studio(data, name)
