"""Finds a person's text in other texts: lines, sequences of words, names, codes."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

REMOVED = "[removed at the author's request]"

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])[^\W_])+")
"""A word; in scripts without spaces, one character."""
_LINE = re.compile(r"[\r\n]+|(?<=[.!?;:])\s+|[。！？；]+")
"""The end of a line or sentence."""
_CHUNK = re.compile(r"[^\s<>()\[\]{}\"'`*|,;!?…“”«»]+")
"""A run without spaces: an address, a code, a file name."""
_MIN_WORDS = 4
_MAX_WORDS = 16
_WINDOW_WEIGHT = 20
_LINE_WEIGHT = 8
_LONG_WORD = 7
_COMMON = 3
"""A passage is common if this many other people use it."""
_MAX_NEEDLES = 200_000
"""Per person, about 60 MB. The newest texts are added first."""

Words = tuple[str, ...]


class _Token(NamedTuple):
    word: str
    start: int
    end: int


@dataclass(slots=True)
class _Needle:
    """A passage: when the person first wrote it, whether to search it in all conversations, who else wrote it."""

    at: datetime
    strong: bool
    others: tuple[str, ...] = ()


class Passages:
    """The passages of one person. Not thread-safe.

    Matching ignores case, punctuation, line breaks and Markdown. `exclude` removes passages that others wrote
    before the person, and common ones.
    """

    def __init__(self) -> None:
        self._needles: dict[Words, _Needle] = {}
        self._lengths: dict[str, set[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._needles)

    def add(self, text: str, at: datetime) -> None:
        """Add the passages of a text that the person wrote at this time."""
        if REMOVED in text:  # redacted text of another person
            text = text.replace(REMOVED, "\n")
        text = unicodedata.normalize("NFC", text)
        for words, strong in (*_lines(text), *_identifiers(text), *_windows(_words(text))):
            if len(self._needles) >= _MAX_NEEDLES:
                return
            known = self._needles.get(words)
            if known is None:
                self._needles[words] = _Needle(at, strong)
                self._lengths.setdefault(words[0], set()).add(len(words))
            else:
                known.at, known.strong = min(known.at, at), known.strong or strong

    def exclude(self, text: str, at: datetime, author: str) -> None:
        """Remove passages that somebody else wrote before the person, and short ones that several people use."""
        words = _words(unicodedata.normalize("NFC", text))
        for place, first in enumerate(words):
            for needle in list(self._matching(words, place, first, everything=True)):
                known = self._needles[needle]
                if len(needle) < _MIN_WORDS and author not in known.others:
                    known.others += (author,)
                if at < known.at or len(known.others) >= _COMMON:
                    del self._needles[needle]

    def redact(self, text: str, *, everything: bool) -> str:
        """The text with the person's passages replaced; the same object if there are none.

        With `everything`, short passages are replaced, too; use it where the person took part in the conversation.
        """
        normal = unicodedata.normalize("NFC", text)
        tokens = _tokens(normal)
        words = [token.word for token in tokens]
        spans: list[tuple[int, int]] = []
        for place, first in enumerate(words):
            longest = max(map(len, self._matching(words, place, first, everything=everything)), default=0)
            if longest:
                start, end = tokens[place].start, tokens[place + longest - 1].end
                if spans and place and start <= spans[-1][1] + (start - tokens[place - 1].end):
                    spans[-1] = (spans[-1][0], max(spans[-1][1], end))
                else:
                    spans.append((start, end))
        return _replaced(normal, spans) if spans else text

    def _matching(self, words: Sequence[str], place: int, first: str, *, everything: bool) -> Iterator[Words]:
        for length in self._lengths.get(first, ()):
            run = tuple(words[place : place + length])
            known = self._needles.get(run) if len(run) == length else None
            if known is not None and (known.strong or everything):
                yield run


def _replaced(text: str, spans: Sequence[tuple[int, int]]) -> str:
    parts: list[str] = []
    at = 0
    for start, end in spans:
        parts += [text[at:start], REMOVED]
        at = end
    return "".join((*parts, text[at:]))


def _tokens(text: str) -> list[_Token]:
    return [_Token(found[0].casefold(), *found.span()) for found in _WORD.finditer(text)]


def _is_distinctive(word: str) -> bool:
    """Whether a word is more than a courtesy ("thank you very much")."""
    return len(word) >= 6 or not word.isascii() or any(letter.isdigit() for letter in word)


def _weight(word: str) -> int:
    """The information in a word, in letters; a character that is a word counts as three."""
    return 3 if re.match(f"[{_CJK}]", word) else len(word)


def _words(text: str) -> Words:
    return tuple(token.word for token in _tokens(text))


def _lines(text: str) -> Iterator[tuple[Words, bool]]:
    """Lines and sentences; long ones in pieces."""
    for line in (*text.splitlines(), *_LINE.split(text)):
        whole = _words(line)
        for at in range(0, len(whole), _MAX_WORDS):
            words = whole[at : at + _MAX_WORDS]
            weight = sum(map(_weight, words))
            if weight >= _LINE_WEIGHT and any(map(_is_distinctive, words)):
                yield words, len(words) >= _MIN_WORDS and weight >= _WINDOW_WEIGHT


def _identifiers(text: str) -> Iterator[tuple[Words, bool]]:
    """Addresses, codes, numbers, file names, words in capitals, which are unlikely coincidences."""
    for found in _CHUNK.finditer(text):
        chunk = found[0].strip(".:-_/")
        words = _words(chunk)[:_MAX_WORDS]
        if not words:
            continue
        digits = sum(letter.isdigit() for letter in chunk)
        letters = sum(letter.isalpha() for letter in chunk)
        strong = (
            (digits > 0 and letters > 1 and len(chunk) >= 6)
            or digits >= 6
            or ("@" in chunk[1:] and len(chunk) >= 6)
            or ("_" in chunk and len(chunk) >= 8)
        )
        compound = len(words) > 1 and letters >= 8
        odd = letters >= 6 and (chunk.isupper() or not (chunk.islower() or chunk.istitle()))
        foreign = any(re.match(f"[{_CJK}]", word) for word in words) and 4 <= len(words) <= 12
        if strong or compound or odd or foreign:
            yield words, strong


def _windows(words: Sequence[str]) -> Iterator[tuple[Words, bool]]:
    """The shortest sequence from each word on that is distinctive."""
    weights = [_weight(word) for word in words]
    scores = [_distinctiveness(word) for word in words]
    for place in range(len(words)):
        weight, score = 0, 0.0
        for end in range(place, min(place + _MAX_WORDS, len(words))):
            weight += weights[end]
            score += scores[end]
            if end - place + 1 >= _MIN_WORDS and weight >= _WINDOW_WEIGHT and score >= 2:
                yield tuple(words[place : end + 1]), True
                break


def _distinctiveness(word: str) -> float:
    """How distinctive a word is: 0 for short and common ones."""
    if re.match(f"[{_CJK}]", word):
        return 0.25
    if any(letter.isdigit() for letter in word) or len(word) >= _LONG_WORD:
        return 1
    return 0.5 if not word.isascii() else 0
