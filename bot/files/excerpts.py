"""Chooses what of a long document goes into a prompt: its beginning, the parts nearest to the question, and its end."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

from bot.domain.errors import BudgetSpent, NotAllowed, RateLimited, Unavailable
from bot.domain.words import marked
from bot.llm.protocol import NOT_EMBEDDED, Model
from bot.llm.similarity import deadline, similarities

log = logging.getLogger(__name__)

PART_CHARACTERS = 1500
"""About a page, unless there would be more than MOST_PARTS."""
MOST_PARTS = 256
"""Parts of one document that are embedded: at most three requests, and about a cent."""
_BEGINNING, _END = 0.3, 0.15
"""Shares of what fits, if the nearest parts are known; the rest is theirs."""
_NEAR = 200
"""Characters between a place and the end of its line or word."""
_BEGINNING_ALONE = 0.75
"""Else the end gets what the beginning leaves."""


class Similar(Protocol):
    """How similar texts are to the question, one number each, in order; None if that can't be said. Never raises."""

    async def __call__(self, texts: Sequence[str], /) -> Sequence[float] | None: ...


@dataclass(slots=True)
class SimilarToQuestion:
    """Similarity by the embedding deployment, for all documents of one answer. Implements Similar.

    They share one deadline, and none asks again after one has failed, or was refused by a limit.
    """

    model: Model
    question: str
    _until: float | None = field(default=None, init=False)
    _failed: bool = field(default=False, init=False)

    async def __call__(self, texts: Sequence[str], /) -> Sequence[float] | None:
        if self._failed or not self.question.strip():
            return None
        try:
            self._until = self._until or deadline()
            return await similarities(self.question, texts, self._embed, self._until)
        except (Unavailable, NotAllowed, RateLimited, BudgetSpent, *NOT_EMBEDDED) as error:
            self._failed = True
            log.info("Parts of a document are chosen without embeddings: %s", error)
            return None

    async def _embed(self, texts: Sequence[str], /) -> list[list[float]]:
        vectors, _ = await self.model.embed(texts)
        return vectors


_BOTH_ENDS = marked("the beginning and the end")
_NEAREST_PARTS = marked("the beginning, the parts nearest to the question, and the end")


class Excerpt(NamedTuple):
    """What is kept of a text, with a note where something is missing. `kept` and `how` say how much, and what."""

    text: str
    kept: int
    how: str


async def excerpt(text: str, limit: int, similar: Similar | None) -> Excerpt:
    """The most useful `limit` characters of a longer text."""
    middle = (_end(text, round(limit * _BEGINNING)), _start(text, len(text) - round(limit * _END)))
    left = limit - middle[0] - (len(text) - middle[1])
    parts = _parts(text, *middle) if similar is not None and left >= PART_CHARACTERS else []
    scores = (
        await similar([text[start:end] for start, end in parts]) if similar is not None and parts else None
    )
    if scores is None:
        beginning = round(limit * _BEGINNING_ALONE)
        kept = [(0, _end(text, beginning)), (_start(text, len(text) - (limit - beginning)), len(text))]
        return _joined(text, kept, _BOTH_ENDS)
    chosen: list[tuple[int, int]] = []
    for _, part in sorted(zip(scores, parts, strict=True), key=lambda pair: -pair[0]):
        if (size := part[1] - part[0]) > left:
            break
        chosen.append(part)
        left -= size
    kept = [(0, middle[0]), *sorted(chosen), (middle[1], len(text))]
    return _joined(text, kept, _NEAREST_PARTS)


def _parts(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The middle of a text in parts, as places; each ends with a line or a word where that is near."""
    size = max(PART_CHARACTERS, -(-(end - start) * 5 // (MOST_PARTS * 4)))  # a part may end a fifth earlier
    found: list[tuple[int, int]] = []
    while start < end:
        stop = min(start + size, end)
        stop = _end(text, stop, size // 5) if stop < end else end
        found.append((start, stop))
        start = stop
    return found


def _end(text: str, place: int, within: int = _NEAR) -> int:
    """The end of the last line, else of the last word, before a place, if one is near."""
    earliest = max(place - within, 0)
    near = max(text.rfind("\n", earliest, place), 0) or max(text.rfind(" ", earliest, place), 0)
    return near + 1 if near else place


def _start(text: str, place: int) -> int:
    """The start of the next line, else of the next word, after a place, if one is near."""
    found = [text.find(sign, place, place + _NEAR) for sign in "\n "]
    return next((near + 1 for near in found if near >= 0), place)


def _joined(text: str, kept: Sequence[tuple[int, int]], how: str) -> Excerpt:
    """These parts of a text, and between them how many characters are missing."""
    pieces = [text[kept[0][0] : kept[0][1]]]
    for (_, end), (start, stop) in pairwise(kept):
        pieces += [f"\n[… {start - end:,} characters left out here …]\n"] if start > end else []
        pieces.append(text[start:stop])
    return Excerpt("".join(pieces), sum(end - start for start, end in kept), how)
