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
    """Load a folder; None: the bundled one. Raises TemplateError if there is a problem with any file."""
    found = read_usable(folder)
    if found.problems:
        raise TemplateError("\n".join(found.problems))
    return found


def read_usable(folder: Path | None) -> LoadedPrompts:
    """The same without the templates and examples of pools that can't be used; `problems` say why.

    Raises TemplateError without a default template.
    """
    folder = folder or loader.FOLDER
    texts = retrieval.load(folder)
    check = partial(_check, texts)
    files = loader.load_usable(folder)
    usable: list[Template] = []
    pools, unusable = loader.load_usable_pools(folder)
    found = [*files.problems, *unusable]
    for template in files.templates:
        try:
            check(template)
            usable.append(template)
        except TemplateError as error:
            found.append(str(error))
    if not any(template.match.default for template in usable):
        raise TemplateError("\n".join(found))
    return LoadedPrompts(
        templates=usable, pools=pools, texts=texts, check=check, problems=found, notes=files.notes
    )


def _check(texts: Mapping[str, object], template: Template) -> None:
    """Checks that need more than the template itself. Raises TemplateError."""
    retrieval.check(template, texts)
    if word := registry.clash(template):
        raise TemplateError(f"{template.name}.prompty: /{word} is a built-in command; choose another word")
    for name in template.tools:
        if name != DRAW and name not in installed():
            raise TemplateError(f"{template.name}.prompty: there is no tool {name!r}")
