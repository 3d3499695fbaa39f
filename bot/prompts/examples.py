"""Chooses the few-shot examples for a question: the template's own, then the nearest of its pool."""

import asyncio
import hashlib
import logging
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from operator import mul
from typing import NamedTuple

from bot.domain.errors import NotAllowed, Unavailable
from bot.domain.prompts import Embed, Example, Template

log = logging.getLogger(__name__)


_MOST_VECTORS = 4096  # 25 MB for single-precision vectors of 1536 numbers
_BATCH = 128  # Azure takes up to 2048 texts and 300,000 tokens in one request

_vectors: OrderedDict[bytes, "array[float]"] = OrderedDict()
"""An LRU cache of vectors by the SHA-256 of their text. A process uses one embedding model."""


class ChosenExample(NamedTuple):
    """An example and why it was chosen; `similarity` is the cosine of its question and the asked one."""

    example: Example
    why: str
    similarity: float | None = None


async def choose(
    template: Template, pool: Sequence[Example], question: str, embed: Embed
) -> tuple[Example, ...]:
    """All examples of the template, then the `shots` nearest ones of the pool, nearest first.

    Ties keep the order of the pool. Without embeddings, the first `shots` of the pool are used: a weaker
    prompt is better than no answer.
    """
    return tuple(chosen.example for chosen in await choose_why(template, pool, question, embed))


async def choose_why(
    template: Template, pool: Sequence[Example], question: str, embed: Embed
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
        why = "first in the pool (no embeddings)"
        return own + [ChosenExample(example, why) for example in pool[:count]]
    return own + [
        ChosenExample(example, "similar to the question", similarity)
        for example, similarity in ranked[:count]
    ]


async def rank(pool: Sequence[Example], question: str, embed: Embed) -> list[tuple[Example, float]]:
    """The whole pool, nearest first, with the cosine similarity of each question.

    Raises what `embed` raises.
    """
    (question_vector,) = await embed([question])
    vectors = await _embedded([example.user for example in pool], len(question_vector), embed)
    # A thousand vectors take some 10 ms, which is too long for the event loop.
    similarities = await asyncio.to_thread(_similarities, array("f", question_vector), vectors)
    return sorted(zip(pool, similarities, strict=True), key=lambda pair: -pair[1])


def _similarities(question: "array[float]", vectors: Sequence["array[float]"]) -> list[float]:
    return [sum(map(mul, question, vector)) for vector in vectors]


async def _embedded(texts: Sequence[str], size: int, embed: Embed) -> list["array[float]"]:
    """The vectors of the texts, of `size` numbers each; embeds only those that are not cached."""
    keys = [hashlib.sha256(text.encode()).digest() for text in texts]
    known = {key: _vectors[key] for key in keys if key in _vectors and len(_vectors[key]) == size}
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    for start in range(0, len(missing), _BATCH):
        batch = list(missing)[start : start + _BATCH]
        found = await embed([missing[key] for key in batch])
        known.update(zip(batch, (array("f", vector) for vector in found), strict=True))
    for key in keys:
        _vectors[key] = known[key]
        _vectors.move_to_end(key)
    while len(_vectors) > _MOST_VECTORS:
        _vectors.popitem(last=False)
    return [known[key] for key in keys]


_logged: set[str] = set()
"""Templates for which missing embeddings have been logged."""


def forget() -> None:
    """Clear the cache, for another embedding model."""
    _vectors.clear()
    _logged.clear()


def _log_once(template: str, error: Exception) -> None:
    if template not in _logged:
        _logged.add(template)
        log.warning("Template %s uses the first examples of its pool, not the nearest: %s", template, error)
