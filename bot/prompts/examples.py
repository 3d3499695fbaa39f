"""Chooses the few-shot examples for a question: the template's own, then the nearest of its pool."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from bot.domain.errors import NotAllowed, Unavailable
from bot.domain.prompts import Embed, Example, Template
from bot.domain.words import marked, tr
from bot.llm import similarity

log = logging.getLogger(__name__)


_NOTE = marked("The examples closest to your question could not be found, so this answer follows others.")


class ChosenExample(NamedTuple):
    """An example and why it was chosen; `similarity` is the cosine of its question and the asked one."""

    example: Example
    why: str
    similarity: float | None = None


async def choose(
    template: Template,
    pool: Sequence[Example],
    question: str,
    embed: Embed,
    notes: list[str],
) -> tuple[Example, ...]:
    """All examples of the template, then the `shots` nearest ones of the pool, nearest first.

    Ties keep the order of the pool. Without embeddings, the first `shots` of the pool are used: a weaker
    prompt is better than no answer. If they are only unavailable, `notes` says so to the person.
    """
    chosen = await choose_why(template, pool, question, embed, notes)
    return tuple(one.example for one in chosen)


async def choose_why(
    template: Template,
    pool: Sequence[Example],
    question: str,
    embed: Embed,
    notes: list[str],
) -> list[ChosenExample]:
    """The examples that `choose` returns, in order, with the reason for each."""
    own = [ChosenExample(example, "part of the template") for example in template.examples]
    count = min(template.shots, len(pool))
    if count == 0:
        return own
    if count == len(pool):
        return own + [ChosenExample(example, "the whole pool is used") for example in pool]
    try:
        ranked = await rank(pool, question, embed)
    except (Unavailable, NotAllowed) as error:
        _log_once(template.name, error)
        if isinstance(error, Unavailable) and tr(_NOTE) not in notes:
            notes.append(tr(_NOTE))
        why = "first in the pool (no embeddings)"
        return own + [ChosenExample(example, why) for example in pool[:count]]
    return own + [
        ChosenExample(example, "similar to the question", similarity)
        for example, similarity in ranked[:count]
    ]


async def rank(pool: Sequence[Example], question: str, embed: Embed) -> list[tuple[Example, float]]:
    """The whole pool, nearest first, with the cosine similarity of each question.

    Raises what `similarities` raises.
    """
    similarities = await similarity.similarities(question, [example.user for example in pool], embed)
    return sorted(zip(pool, similarities, strict=True), key=lambda pair: -pair[1])


_logged: set[str] = set()
"""Templates for which missing embeddings have been logged."""


def forget() -> None:
    """Clear the cache of vectors, for another embedding model."""
    similarity.forget()
    _logged.clear()


def _log_once(template: str, error: Exception) -> None:
    if template not in _logged:
        _logged.add(template)
        log.warning("Template %s uses the first examples of its pool, not the nearest: %s", template, error)
