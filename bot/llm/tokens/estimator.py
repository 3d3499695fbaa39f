"""Estimates the tokens of a text by what it consists of: words, scripts, numbers, symbols.

A tokenizer splits a text into words, runs of up to three digits, runs of symbols and whitespace, and those into tokens
that are the shorter, the rarer they are where the tokenizer was made. So what counts is how many there are of each, how
long they are, and in which language. weights.yaml says what each costs in tokens.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from math import ceil
from pathlib import Path
from typing import Literal

import msgspec
import yaml

Kind = Literal["words", "scripts", "numbers", "symbols"]
"""What text consists of. Words are those in Latin letters; scripts are all other letters."""
KINDS: tuple[Kind, ...] = ("words", "scripts", "numbers", "symbols")
Vocabulary = Literal["o200k_base", "cl100k_base"]
"""What the tokens of a model are: o200k_base since GPT-4o, cl100k_base before."""
VOCABULARIES: tuple[Vocabulary, ...] = ("o200k_base", "cl100k_base")

_LOWER, _UPPER = "a-zß-öø-ÿĀ-ɏḀ-ỿ", "A-ZÀ-ÖØ-Þ"
_WORDS = re.compile(f"[{_UPPER}]?[{_LOWER}]+")
_CAPITALS = re.compile(f"[{_UPPER}]+(?![{_LOWER}])")
_MIXED = re.compile("[0-9][A-Z]{2,}")
_NUMBERS = re.compile("[0-9]{1,3}")
_SYMBOLS = re.compile(r"[!-/:-@\[-`{-~]+")
_REPEATED = re.compile(r"([^\w\s])\1{3,}")
_LONG_SYMBOLS = re.compile(r"[!-/:-@\[-`{-~]{4}")
_LINES = re.compile(r"[\r\n]\s*")
_GAPS = re.compile("  +")
_SPACED_DIGITS = tuple(f" {digit}" for digit in range(10))
_WRITTEN_IN_WORDS = frozenset(("cyrillic", "greek", "arabic", "indic", "hangul"))
_VARIANTS = {"cyrillic": "russian", "han": "simplified"}
"""The language of a script whose letters cost less than usual."""
_LONGEST = 14
"""Letters; of words that are longer, each further letter costs more. They are random, or joined."""


class _Language(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of languages: the words that give it away, and the share of all words that they usually have."""

    words: str
    usual: float


class Weights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of weights.yaml; `scripts` are the first code points of ranges."""

    languages: dict[str, _Language]
    scripts: dict[int, str]
    tokens: dict[Vocabulary, dict[Kind, dict[str, float]]]


@cache
def weights() -> Weights:
    """The weights, read once."""
    raw = yaml.safe_load((Path(__file__).parent / "weights.yaml").read_text("utf-8"))
    return msgspec.convert(raw, Weights)


@cache
def _words_of(language: str) -> frozenset[str]:
    return frozenset(weights().languages[language].words.split())


@cache
def _runs(script: str) -> re.Pattern[str]:
    """Matches runs of the letters of a script."""
    starts = [*weights().scripts, 0x110000]
    ranges = [
        f"{chr(start)}-{chr(starts[number + 1] - 1)}"
        for number, (start, name) in enumerate(weights().scripts.items())
        if name == script
    ]
    return re.compile(f"[{''.join(ranges)}]+")


@cache
def _starts() -> tuple[tuple[int, ...], tuple[str, ...]]:
    return tuple(weights().scripts), tuple(weights().scripts.values())


def features(text: str) -> dict[str, float]:
    """How much of everything that has a weight a text contains."""
    found: dict[str, float] = {}
    if not text.isascii() or _LONG_SYMBOLS.search(text):
        text, found["repeated"] = _REPEATED.subn(r"\1", text)
    if not text.isascii():
        found |= _letters(text)
    if numbers := len(_NUMBERS.findall(text)):
        found["number"], found["spaced"] = numbers, sum(map(text.count, _SPACED_DIGITS))
    found["line"], found["gap"], found["tab"] = (
        len(_LINES.findall(text)),
        len(_GAPS.findall(text)),
        text.count("\t"),
    )
    runs = Counter(map(len, _SYMBOLS.findall(text)))
    found["symbol"], found["pair"] = runs.pop(1, 0), runs.pop(2, 0)
    found["symbols"], found["further_symbol"] = runs.total(), _sum_over(runs, 3)
    capitals = Counter(map(len, _CAPITALS.findall(text)))
    found["capital"], found["further_capital"] = capitals.pop(1, 0), _sum_over(capitals, 5)
    found["capitals"], found["mixed"] = capitals.total(), len(_MIXED.findall(text)) if numbers else 0
    symbols = found["symbol"] + found["pair"] + found["symbols"]
    found |= _word_features(_WORDS.findall(text), symbols, found.get("accented", 0))
    return found


def _sum_over(lengths: Mapping[int, int], most: int) -> int:
    """The letters beyond the first `most` of each run."""
    return sum(count * (length - most) for length, count in lengths.items() if length > most)


def _word_features(words: list[str], symbols: float, accented: float) -> dict[str, float]:
    """Words, and their letters from the fifth on, shared out to the languages by their commonest words."""
    if not words:
        return {}
    lengths = Counter(map(len, words))
    long, beyond = _sum_over(lengths, _LONGEST), _sum_over(lengths, 4)
    found: dict[str, float] = {"word": len(words), "long": long}
    known = Counter(map(_language_of().get, words))
    hits = {name: known[name] / each.usual for name, each in _latin()}
    whole = max(sum(hits.values()), len(words))
    for name, share in hits.items():
        found[name] = (beyond - long) * share / whole
    rest = 1 - sum(hits.values()) / whole
    code = rest * min(1.0, max(0.0, symbols / len(words) - 0.3) * 2)
    found["vietnamese_accent"] = accented * hits["vietnamese"] / whole
    found["accented"] = accented * (1 - (hits["vietnamese"] + hits["turkish"] / 2) / whole)
    return found | {"code": (beyond - long) * code, "other": (beyond - long) * (rest - code)}


def _latin() -> Iterable[tuple[str, _Language]]:
    return ((name, each) for name, each in weights().languages.items() if name not in _VARIANTS.values())


@cache
def _language_of() -> dict[str, str]:
    """The language of each word that gives one away; the first of several."""
    return {word: name for name, each in reversed(list(_latin())) for word in each.words.split()}


def _letters(text: str) -> dict[str, float]:
    """The characters beyond ASCII, by their script, and the words of each script that has some."""
    starts, names = _starts()
    characters = Counter(text)
    found: dict[str, float] = {}
    for character, count in characters.items():
        if character > "\x7f":
            script = names[bisect_right(starts, ord(character)) - 1]
            found[script] = found.get(script, 0) + count
    runs = {script: _runs(script).findall(text) for script in _WRITTEN_IN_WORDS.intersection(found)}
    counts = {script: Counter(words) for script, words in runs.items()} | {"han": characters}
    for script, language in _VARIANTS.items():
        if whole := len(runs.get(script, ())) or found.get(script, 0):
            known = _words_of(language)
            hits = sum(counts[script][word] for word in known) / weights().languages[language].usual
            share = min(1.0, hits / whole)
            found[language], found[script] = found[script] * share, found[script] * (1 - share)
    return found | {f"{script}_word": len(words) for script, words in runs.items()}


def estimate_by_kind(text: str, vocabulary: Vocabulary | None = "o200k_base") -> dict[Kind, float]:
    """The estimated tokens of a text by kind, zero or more; with an unknown vocabulary, of the highest estimate."""
    found = features(text)
    names = (vocabulary,) if vocabulary else VOCABULARIES
    return max((_weighed(found, name) for name in names), key=lambda by_kind: sum(by_kind.values()))


def _weighed(found: Mapping[str, float], vocabulary: Vocabulary) -> dict[Kind, float]:
    return {
        kind: sum(found.get(name, 0.0) * weight for name, weight in each.items())
        for kind, each in weights().tokens[vocabulary].items()
    }


def estimate(text: str, vocabulary: Vocabulary | None = "o200k_base") -> int:
    """The estimated tokens of a text, rather too many than too few."""
    return ceil(sum(estimate_by_kind(text, vocabulary).values()))
