"""The organisation's own texts: Markdown files cut into passages, and the ones nearest to a question."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.domain.errors import NotAllowed, TemplateError, Unavailable
from bot.domain.prompts import Embed, Template

log = logging.getLogger(__name__)


PASSAGE_CHARS = 1200
"""How long a passage may grow before the next paragraph starts a new one: about 300 tokens."""
MOST_PASSAGES = 2000
_NEAREST = 4


def load(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """Passages of each `knowledge/NAME.md` in the folder of the templates. Raises TemplateError."""
    texts = {path.stem: _cut(path.read_text("utf-8")) for path in sorted((folder / "knowledge").glob("*.md"))}
    for name, passages in texts.items():
        if len(passages) > MOST_PASSAGES:
            raise TemplateError(f"knowledge/{name}.md: more than {MOST_PASSAGES} passages; split the file")
    return texts


def check(templates: Sequence[Template], texts: Mapping[str, object]) -> None:
    """Raises TemplateError for a template that names a text which is not there."""
    for template in templates:
        for name in template.knowledge:
            if name not in texts:
                raise TemplateError(f"{template.name}.prompty: there is no knowledge/{name}.md")


def _cut(text: str) -> tuple[str, ...]:
    """Passages of whole paragraphs; each keeps the heading that it stands under."""
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
    template: Template, texts: Mapping[str, tuple[str, ...]], question: str, embed: Embed
) -> tuple[str, ...]:
    """The passages of the template's texts nearest to the question; none without embeddings."""
    passages = [passage for name in template.knowledge for passage in texts[name]]
    if not passages or not question:
        return ()
    try:
        asked, *vectors = await embed([question, *passages])
    except (Unavailable, NotAllowed) as error:
        log.warning("No passages for %s: %s", template.name, error)
        return ()
    return await asyncio.to_thread(_nearest, asked, vectors, passages)


@dataclass(frozen=True, slots=True)
class Retriever:
    """Passages of texts, found by what `embed` makes of them."""

    texts: Mapping[str, tuple[str, ...]]
    embed: Embed

    async def retrieve(self, template: Template, question: str) -> Sequence[str]:
        """The passages of the template's texts that are nearest to a question."""
        return await retrieve(template, self.texts, question, self.embed)


def _nearest(asked: list[float], vectors: list[list[float]], passages: list[str]) -> tuple[str, ...]:
    near = [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in vectors]
    order = sorted(range(len(passages)), key=lambda n: -near[n])
    return tuple(passages[n] for n in order[:_NEAREST])
