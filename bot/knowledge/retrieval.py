"""Splits the organisation's Markdown files into passages and retrieves the nearest ones for a question."""

import logging
from collections.abc import Mapping
from pathlib import Path

from bot.domain.errors import NotAllowed, TemplateError, Unavailable
from bot.domain.prompts import Embed, Template
from bot.domain.words import marked, tr
from bot.llm.similarity import similarities

log = logging.getLogger(__name__)


PASSAGE_CHARS = 1200
"""A longer passage is split between paragraphs; about 300 tokens."""
MOST_PASSAGES = 2000
_NEAREST = 4
_NOTE = marked("The organisation's documents could not be searched, so this answer does without them.")


def load(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """The passages of each `knowledge/NAME.md`, by NAME; `folder` is that of the templates. Raises TemplateError."""
    texts = {
        path.stem: _split(path.read_text("utf-8")) for path in sorted((folder / "knowledge").glob("*.md"))
    }
    for name, passages in texts.items():
        if len(passages) > MOST_PASSAGES:
            raise TemplateError(f"knowledge/{name}.md: more than {MOST_PASSAGES} passages; shorten the file")
    return texts


def check(template: Template, texts: Mapping[str, object]) -> None:
    """Raises TemplateError for a template that refers to a missing file."""
    for name in template.knowledge:
        if name not in texts:
            raise TemplateError(f"{template.name}.prompty: there is no knowledge/{name}.md")


def _split(text: str) -> tuple[str, ...]:
    """Passages of whole paragraphs, each with its heading."""
    passages: list[str] = []
    heading = ""
    current = ""
    for paragraph in (part.strip() for part in text.split("\n\n")):
        if not paragraph:
            continue
        if paragraph.startswith("#") and "\n" not in paragraph:
            if current:
                passages.append(current)
            heading, current = paragraph.lstrip("# "), ""
            continue
        if current and len(current) + len(paragraph) > PASSAGE_CHARS:
            passages.append(current)
            current = ""
        current = f"{current}\n\n{paragraph}" if current else f"{heading}\n{paragraph}".strip()
    return (*passages, current) if current else tuple(passages)


async def retrieve(
    template: Template,
    texts: Mapping[str, tuple[str, ...]],
    question: str,
    embed: Embed,
    notes: list[str],
) -> tuple[str, ...]:
    """The passages of the template's files nearest to the question; none without embeddings. If they are only
    unavailable, `notes` says so to the person.
    """
    passages = [passage for name in template.knowledge for passage in texts[name]]
    if not passages or not question:
        return ()
    try:
        near = await similarities(question, passages, embed)
    except (Unavailable, NotAllowed) as error:
        log.warning("Template %s is used without passages: %s", template.name, error)
        if isinstance(error, Unavailable) and tr(_NOTE) not in notes:
            notes.append(tr(_NOTE))
        return ()
    order = sorted(range(len(passages)), key=lambda n: -near[n])
    return tuple(passages[n] for n in order[:_NEAREST])
