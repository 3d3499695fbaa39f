"""The similarity of texts to a question, by vectors that are kept in memory."""

import asyncio
import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from operator import mul

from bot.domain.errors import ModelUnavailable
from bot.domain.prompts import Embed

LIMIT_S = 10.0
"""An answer waits no longer for similarities; texts that were embedded by then are kept for the next question."""

MOST_CHARACTERS = 8000
"""Only the beginning of a longer text is compared. Azure takes 8192 tokens, some of one character."""

_MOST_VECTORS = 4096  # 25 MB for single-precision vectors of 1536 numbers
_BATCH = 128  # Azure takes up to 2048 texts and 300,000 tokens in one request

_vectors: OrderedDict[bytes, "array[float]"] = OrderedDict()
"""An LRU cache of vectors by the SHA-256 of their text. A process uses one embedding model."""


def deadline() -> float:
    """When similarities that are asked for now must be there, in the time of the event loop."""
    return asyncio.get_running_loop().time() + LIMIT_S


async def similarities(
    question: str, texts: Sequence[str], embed: Embed, until: float | None = None
) -> list[float]:
    """The cosine similarity of each text to the question.

    Raises what `embed` raises, and ModelUnavailable after LIMIT_S, or at the deadline `until`.
    """
    try:
        async with asyncio.timeout_at(deadline() if until is None else until):
            (vector,) = await embed([question[:MOST_CHARACTERS]])
            vectors = await _embedded([text[:MOST_CHARACTERS] for text in texts], len(vector), embed)
    except TimeoutError:
        raise ModelUnavailable(f"The embeddings took longer than {LIMIT_S:g} s") from None
    # A thousand vectors take some 10 ms, which is too long for the event loop.
    return await asyncio.to_thread(_compared, array("f", vector), vectors)


def forget() -> None:
    """Clear the cache, for another embedding model."""
    _vectors.clear()


def _compared(question: "array[float]", vectors: Sequence["array[float]"]) -> list[float]:
    return [sum(map(mul, question, vector)) for vector in vectors]


async def _embedded(texts: Sequence[str], size: int, embed: Embed) -> list["array[float]"]:
    """The vectors of the texts, of `size` numbers each; embeds only those that are not cached."""
    keys = [hashlib.sha256(text.encode()).digest() for text in texts]
    known = {key: _vectors[key] for key in keys if key in _vectors and len(_vectors[key]) == size}
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    for start in range(0, len(missing), _BATCH):
        batch = list(missing)[start : start + _BATCH]
        for key, vector in zip(batch, await embed([missing[key] for key in batch]), strict=True):
            known[key] = array("f", vector)
            _keep(key, known[key])
    for key in keys:
        _keep(key, known[key])
    return [known[key] for key in keys]


def _keep(key: bytes, vector: "array[float]") -> None:
    _vectors[key] = vector
    _vectors.move_to_end(key)
    while len(_vectors) > _MOST_VECTORS:
        _vectors.popitem(last=False)
