"""Reads prompts/ and holds its templates against commands, tools and texts."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bot.conversation.commands import registry
from bot.domain.errors import TemplateError
from bot.domain.prompts import Template
from bot.knowledge import retrieval
from bot.prompts import loader
from bot.prompts.library import LoadedPrompts
from bot.tools.registry import DRAW, installed


def read_prompts(folder: Path | None) -> LoadedPrompts:
    """Everything that a folder holds, Parley's own without one. Raises TemplateError."""
    folder = folder or loader.FOLDER
    texts = retrieval.load(folder)
    found = LoadedPrompts(
        templates=loader.load(folder),
        pools=loader.load_pools(folder),
        texts=texts,
        check=partial(_check, texts),
    )
    for template in found.templates:
        found.check(template)
    return found


def _check(texts: Mapping[str, object], template: Template) -> None:
    """What a template can't be told from alone: commands, tools, texts. Raises TemplateError."""
    retrieval.check([template], texts)
    if word := registry.clash(template):
        raise TemplateError(f"{template.name}.prompty: /{word} is a command of Parley's own")
    for name in template.tools:
        if name != DRAW and name not in installed():
            raise TemplateError(f"{template.name}.prompty: there is no tool {name!r}")
