"""Chooses the few-shot examples to show: the template's own, then the nearest of its pool."""

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

"""One vector of length 1 for each text."""

_MOST_VECTORS = 4096  # single precision: 25 MB for vectors of 1536 numbers
_BATCH = 128  # Azure takes up to 2048 texts and 300,000 tokens in one request

_vectors: OrderedDict[bytes, "array[float]"] = OrderedDict()
"""Vectors of pool questions by the digest of their text, the last used at the end.

A process embeds with one model, so that a text has one vector.
"""


class ChosenExample(NamedTuple):
    """An example that is shown, and why; `similarity` is that of its question (1: the same words)."""

    example: Example
    why: str
    similarity: float | None = None


async def choose(
    template: Template, pool: Sequence[Example], question: str, embed: Embed
) -> tuple[Example, ...]:
    """The template's examples, always, then the `shots` of the pool nearest to the question, nearest first.

    Equally near ones keep the pool's order. When embeddings are away or not to be had, the first `shots` of
    the pool are shown: a poorer prompt is better than no answer.
    """
    return tuple(chosen.example for chosen in await choose_why(template, pool, question, embed))


async def choose_why(
    template: Template, pool: Sequence[Example], question: str, embed: Embed
) -> list[ChosenExample]:
    """The examples that `choose` chooses, in their order, with the reason for each."""
    own = [ChosenExample(example, "the template's own") for example in template.examples]
    shots = min(template.shots, len(pool))
    if shots == 0:
        return own
    if shots == len(pool):
        return own + [ChosenExample(example, "the whole pool is shown") for example in pool]
    try:
        ranked = await rank(pool, question, embed)
    except (Unavailable, NotAllowed) as error:
        _say_once(template.name, error)
        return own + [ChosenExample(one, "at the top of the pool: no embeddings") for one in pool[:shots]]
    return own + [
        ChosenExample(one, "near to the question", similarity) for one, similarity in ranked[:shots]
    ]


async def rank(pool: Sequence[Example], question: str, embed: Embed) -> list[tuple[Example, float]]:
    """The whole pool, nearest first, with the similarity of each question (the cosine of the angle).

    Raises what `embed` raises.
    """
    (asked,) = await embed([question])
    vectors = await _embedded([example.user for example in pool], len(asked), embed)
    # A thousand vectors take some hundredths of a second: too long for the loop.
    near = await asyncio.to_thread(_similarities, array("f", asked), vectors)
    return sorted(zip(pool, near, strict=True), key=lambda one: -one[1])


def _similarities(asked: "array[float]", vectors: Sequence["array[float]"]) -> list[float]:
    return [sum(map(mul, asked, vector)) for vector in vectors]


async def _embedded(texts: Sequence[str], size: int, embed: Embed) -> list["array[float]"]:
    """The vectors of the texts, of `size` numbers each; only those not yet known are asked for."""
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


_said: set[str] = set()
"""The templates whose poorer examples have been logged."""


def forget() -> None:
    """Forget every vector, as when the embedding model changes, and what was logged."""
    _vectors.clear()
    _said.clear()


def _say_once(template: str, error: Exception) -> None:
    if template not in _said:
        _said.add(template)
        log.warning("template %s shows the first examples of its pool, not the nearest: %s", template, error)
