"""Template operations of the studio: versions, publishing, roll back, import and export."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from typing import NamedTuple

from msgspec.structs import replace

from bot.domain.errors import NotAllowed, TemplateError
from bot.domain.prompts import Match, Template
from bot.domain.publications import ActiveTemplate, Trial, Version
from bot.prompts import formats
from bot.prompts.example_images import LoadImage
from bot.prompts.formats import to_prompty
from bot.prompts.library import PromptLibrary
from bot.prompts.prompty import read_text


class ImportedTemplate(NamedTuple):
    """A template of a file, and what was left out of it, or is not used: one sentence each."""

    template: Template
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PromptEditor:
    """Its methods raise StateUnavailable, TemplateError for an invalid template, and NotAllowed."""

    library: PromptLibrary

    def active(self, name: str) -> ActiveTemplate:
        """The active version of a template and where it comes from."""
        return self.library.registry.active(name)

    async def history(self, name: str) -> Sequence[Version]:
        """All published versions, newest first."""
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
        """Publish for everyone, or as a trial if `percent` or `channels` are given (see `Publisher.publish`).

        A new template gets a command with its name.
        """
        active = self.library.registry.active(template.name)
        if active.template is None and active.file is None:
            template = replace(template, match=Match(commands=(template.name,)))
        trial = Trial(percent=percent, channels=tuple(channels)) if percent or channels else None
        text = await asyncio.to_thread(to_prompty, replace(template, digest=""))
        return await self.library.publisher.publish(
            template.name, text, author=author, reason=reason, trial=trial, after=after
        )

    def latest(self, name: str, versions: Sequence[Version] = ()) -> Template | None:
        """The template that people get, or those of a trial; else, of `versions`, the newest that can be read."""
        active = self.active(name)
        on_trial = (each for each in self.library.registry.on_trial() if each.name == name)
        if template := active.template or active.file or next(on_trial, None):
            return template
        for version in versions:
            with suppress(TemplateError):
                if version.text:
                    return read_text(version.text, name, self.library.registry.load_image).template
        return None

    async def roll_back(self, name: str, number: int, *, author: str, reason: str) -> Version:
        """Publish an earlier version again; 0 is the file."""
        return await self.library.publisher.roll_back(name, number, author=author, reason=reason)

    def diff(self, old: str, new: str) -> str:
        """A unified diff of two texts; empty if they are equal."""
        return "\n".join(unified_diff(old.splitlines(), new.splitlines(), "before", "after", lineterm=""))

    def read(self, file: str, data: bytes, name: str) -> ImportedTemplate:
        """Import a template: `.prompty`, `.json` of Azure OpenAI Studio, or chat `.jsonl`."""
        found = _read(file, data, name, self.library.registry.load_image)
        template = found.template
        needed = {f"the pool “{template.pool}”": template.pool in (None, *self.library.registry.pools())}
        needed |= {f"knowledge “{text}”": text in self.library.texts for text in template.knowledge}
        if missing := [what for what, available in needed.items() if not available]:
            raise NotAllowed(f"“{file}” needs {missing[0]}, which does not exist here.")
        return found

    def write(self, template: Template, form: str) -> str:
        """Export a template as prompty, json (a chat setup of Azure OpenAI Studio) or jsonl."""
        return formats.write(template, form)


def _read(file: str, data: bytes, name: str, load_image: LoadImage) -> ImportedTemplate:
    if file.endswith(".prompty"):
        try:
            loaded = read_text(data.decode(), name, load_image)
            return ImportedTemplate(loaded.template, loaded.notes)
        except UnicodeDecodeError:
            raise NotAllowed(f"“{file}” is not a text file. Save it as UTF-8.") from None
    template, secret = formats.read(file, data, name), formats.left_out(file, data)
    notes = [f"Left out, because it may be a secret: {', '.join(secret)}."] if secret else []
    return ImportedTemplate(template, notes)
