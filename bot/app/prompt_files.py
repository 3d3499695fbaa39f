"""Loads prompts/ and checks the templates against commands, tools and knowledge files."""

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
    """Load a folder; None: the bundled one. Raises TemplateError."""
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
    """Checks that need more than the template itself. Raises TemplateError."""
    retrieval.check(template, texts)
    if word := registry.clash(template):
        raise TemplateError(f"{template.name}.prompty: /{word} is a built-in command; choose another word")
    for name in template.tools:
        if name != DRAW and name not in installed():
            raise TemplateError(f"{template.name}.prompty: there is no tool {name!r}")
