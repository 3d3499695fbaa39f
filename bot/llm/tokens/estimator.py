"""Estimates the tokens of a text by what it consists of: words, scripts, numbers, symbols.

A tokenizer splits a text into words, runs of up to three digits, runs of symbols and whitespace, and those into tokens
that are the shorter, the rarer they are where the tokenizer was made. So what counts is how many there are of each, how
long they are, and in which language. weights.yaml says what each costs in tokens.

Every prompt is estimated, so each character becomes a byte that says what sort it is; `bytes.translate` and
`bytes.split` find the runs of a sort. No statement runs once per character.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from math import ceil
from pathlib import Path
from typing import Literal

import msgspec

from bot.llm import bundled_files
from bot.llm.tokens.scripts import Scripts, only, upper_bytes

Kind = Literal["words", "scripts", "numbers", "symbols"]
"""What text consists of. Words are those in Latin letters; scripts are all other letters."""
KINDS: tuple[Kind, ...] = ("words", "scripts", "numbers", "symbols")
Vocabulary = Literal["o200k_base", "cl100k_base"]
"""What the tokens of a model are: o200k_base since GPT-4o, cl100k_base before."""
VOCABULARIES: tuple[Vocabulary, ...] = ("o200k_base", "cl100k_base")

_LATIN_1 = [chr(code) for code in range(0x100)]
_ACCENTED = bytes(code for code in range(0x80, 0x100) if chr(code).isalpha())
_SIGNS = bytes(code for code in range(0x80, 0x100) if not chr(code).isalpha())
_EXTENDED = re.compile("[Ā-ɏḀ-ỿ]")
"""Letters with accents that are not in Latin-1; the upper bytes of all codes but theirs are `_OTHER_BLOCKS`."""
_OTHER_BLOCKS = bytes(block for block in range(0x100) if block not in (0x01, 0x02, 0x1E))
_REPEATED = re.compile(r"([^\w\s])\1\1\1+")
_LONGEST = 14
"""Letters; of words that are longer, each further letter costs more. They are random, or joined."""
_PIECE = 20_000
"""Characters; other threads wait for single calls that read a piece, which take less than half a millisecond."""
_LONG = re.compile(b"a{%d}(a+)" % _LONGEST)


def _sort(character: str) -> str:
    """The sort of a character: a and A letters, 0 digits, ! symbols, n ends of lines, t tabs, space, ? all others.

    Encoding puts a question mark in the place of characters beyond Latin-1, so it has no sort of its own.
    """
    if character.isalpha():
        return "A" if character.isupper() else "a"
    if character.isascii() and character.isdigit():
        return "0"
    if re.match("[!-/:-@[-`{-~]", character):
        return "?" if character == "?" else "!"
    return {"\n": "n", "\r": "n", "\t": "t", " ": " "}.get(character, "?")


_SORTS = "".join(map(_sort, _LATIN_1)).encode()


class _Runs:
    """The runs of a sort of characters. `lengths`: how many are at least one character long, two, and so on."""

    def __init__(self, sorts: bytes, sort: bytes, most: int) -> None:
        self.text, self._sort = b" " + sorts.translate(only(ord(sort))), sort
        self.lengths = [0] * most
        for length in range(most):
            self.lengths[length] = self.text.count(b" " + sort * (length + 1))
            if not self.lengths[length]:
                break

    def over(self, length: int) -> int:
        """The characters beyond the first `length` of each run."""
        return self.text.count(self._sort) - sum(self.lengths[:length]) if self.lengths[length - 1] else 0


class _Language(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of languages: the words that give it away, and the share of all words that they usually have.

    `script`: the script that it is a variant of, for those that are not written in Latin letters.
    """

    words: str
    usual: float
    script: str = ""


class Weights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of weights.yaml; `scripts` are the first code points of ranges."""

    languages: dict[str, _Language]
    scripts: dict[int, str]
    tokens: dict[Vocabulary, dict[Kind, dict[str, float]]]


@cache
def weights() -> Weights:
    """The weights, read once."""
    raw = bundled_files.load(Path(__file__).parent / "weights.yaml")
    return msgspec.convert(raw, Weights)


def features(text: str) -> dict[str, float]:
    """How much of everything that has a weight a text contains."""
    found: dict[str, float] = {}
    languages = Counter(filter(None, map(_language_of().get, text.split())))
    latin = _latin(text)
    if not text.isascii() or b"!!!!" in latin.translate(_SORTS):
        text, found["repeated"] = _REPEATED.subn(r"\1", text)
        latin = _latin(text) if found["repeated"] else latin
    if not text.isascii():
        found |= _letters(text, languages)
        found["sign"] = found.get("sign", 0) + _among(latin, _SIGNS)
        found["accented"] = _among(latin, _ACCENTED)
    sorts = latin.translate(_SORTS)
    symbols = _Runs(sorts, b"!", 3)
    found |= _spacing(sorts) | _symbol_features(symbols) | _numbers(sorts)
    sorts = sorts.replace(b"Aa", b" aa")
    if b"a" in sorts or b"A" in sorts:
        found |= _words(sorts, languages, symbols.lengths[0], found.get("accented", 0))
    return found


def _words(sorts: bytes, languages: Mapping[str, int], symbols: int, accented: float) -> dict[str, float]:
    """Words in small and in capital letters, of languages in Latin letters."""
    small, capitals = _Runs(sorts, b"a", 4), _Runs(sorts, b"A", 5)
    shares = _shares(languages, small.lengths[0] + capitals.lengths[1])
    found = _word_features(small, shares, symbols, accented) if small.lengths[0] else {}
    return found | (_capital_features(capitals, shares.get("english", 0)) if capitals.lengths[0] else {})


def _spacing(sorts: bytes) -> dict[str, float]:
    """Ends of lines with the whitespace after them, tabs, and two spaces or more."""
    found: dict[str, float] = {"line": 0, "tab": sorts.count(b"t"), "gap": 0}
    if b"n" in sorts:
        found["line"] = len(sorts.translate(only(ord("n")), b" t").split())
    if b"  " in sorts:
        found["gap"] = (b" " + sorts.translate(only(ord(" "), ord("s")))).count(b" ss")
    return found


def _numbers(sorts: bytes) -> dict[str, float]:
    """Numbers of up to three digits, in which longer ones are split."""
    if b"0" not in sorts:
        return {}
    threes = sorts.replace(b"000", b"3")
    number = threes.count(b"3") + threes.count(b"0") - threes.count(b"00")
    return {"number": number, "spaced": sorts.count(b" 0"), "mixed": sorts.count(b"0AA")}


def _symbol_features(symbols: _Runs) -> dict[str, float]:
    one, two, three = symbols.lengths
    return {"symbol": one - two, "pair": two - three, "symbols": three, "further_symbol": symbols.over(3)}


def _latin(text: str) -> bytes:
    """A text in Latin-1, in which ÿ stands for other letters with accents, and a question mark for all the rest."""
    if not text.isascii() and upper_bytes(text).translate(None, _OTHER_BLOCKS):
        text = _EXTENDED.sub("ÿ", text)
    return text.replace("?", "!").encode("latin-1", "replace")


def _among(latin: bytes, those: bytes) -> int:
    return len(latin) - len(latin.translate(None, those))


def _shares(languages: Mapping[str, int], words: int) -> dict[str, float]:
    """The share of the words that is in each language, by its commonest words."""
    known = weights().languages
    hits = {name: count / known[name].usual for name, count in languages.items() if not known[name].script}
    whole = max(sum(hits.values()), words)
    return {name: count / whole for name, count in hits.items()}


def _capital_features(runs: _Runs, english: float) -> dict[str, float]:
    """Words in capital letters, of which a share is English, and their letters from the sixth on."""
    one, two = runs.lengths[:2]
    further = runs.over(5)
    found: dict[str, float] = {"capital": one - two, "capitals": two * (1 - english)}
    found |= {"english_capitals": two * english, "further_capital": further * (1 - english)}
    return found | {"further_english": further * english}


def _word_features(
    runs: _Runs, shares: Mapping[str, float], symbols: int, accented: float
) -> dict[str, float]:
    """Words, and their letters from the fifth on, by language."""
    long = len(b"".join(_LONG.findall(runs.text))) if b"a" * _LONGEST in runs.text else 0
    words, beyond = runs.lengths[0], runs.over(4) - long
    rest = max(0.0, 1 - sum(shares.values()))
    code = rest * min(1.0, max(0.0, symbols / words - 0.3) * 2)
    found: dict[str, float] = {name: beyond * share for name, share in shares.items()}
    found |= {"word": words, "long": long, "code": beyond * code, "other": beyond * (rest - code)}
    vietnamese, turkish = shares.get("vietnamese", 0), shares.get("turkish", 0)
    found["vietnamese_accent"] = accented * vietnamese
    return found | {"accented": accented * max(0.0, 1 - vietnamese - turkish / 2)}


@cache
def _language_of() -> dict[str, str]:
    """The language of each word that gives one away, also in capital letters; the first of several."""
    found: dict[str, str] = {}
    for name, each in weights().languages.items():
        for word in each.words.split():
            found.setdefault(word, name)
            if len(word) > 1:
                found.setdefault(word.upper(), name)
    return found


@cache
def _scripts() -> Scripts:
    return Scripts(weights().scripts, frozenset(filter(_is_worded, weights().scripts.values())))


def _is_worded(script: str) -> bool:
    """Whether a word of a script has a weight."""
    return f"{script}_word" in weights().tokens["o200k_base"]["scripts"]


def _letters(text: str, languages: Mapping[str, int]) -> dict[str, float]:
    """The characters beyond Latin-1 by their script and language, and the words of each script that has some."""
    found: dict[str, float] = {**_scripts().count(text)}
    for script in list(found):
        for name, usual, whole in _variants().get(script, ()):
            hits = languages.get(name, 0) if whole != script else len(_characters(name).findall(text))
            share = min(1.0, hits / usual / found[whole])
            found[name], found[script] = found[script] * share, found[script] * (1 - share)
    return found


@cache
def _variants() -> dict[str, list[tuple[str, float, str]]]:
    """The languages that are variants of a script, how usual their words are, and the feature that has all words."""
    found: dict[str, list[tuple[str, float, str]]] = {}
    for name, each in weights().languages.items():
        if each.script:
            whole = f"{each.script}_word" if _is_worded(each.script) else each.script
            found.setdefault(each.script, []).append((name, each.usual, whole))
    return found


@cache
def _characters(language: str) -> re.Pattern[str]:
    """Matches a character that gives a language away."""
    return re.compile(f"[{''.join(weights().languages[language].words.split())}]")


@cache
def _weight_of(vocabulary: Vocabulary) -> dict[str, tuple[Kind, float]]:
    """The kind and the weight of each feature."""
    return {
        name: (kind, weight)
        for kind, each in weights().tokens[vocabulary].items()
        for name, weight in each.items()
    }


def estimate_by_kind(text: str, vocabulary: Vocabulary | None = "o200k_base") -> dict[Kind, float]:
    """The estimated tokens of a text by kind, zero or more; with an unknown vocabulary, of the highest estimate.

    Long texts are read in pieces, between which other threads may run.
    """
    pieces = [features(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE)]
    if vocabulary:
        return _weighed(pieces, vocabulary)
    return max((_weighed(pieces, name) for name in VOCABULARIES), key=lambda by_kind: sum(by_kind.values()))


def _weighed(pieces: Iterable[Mapping[str, float]], vocabulary: Vocabulary) -> dict[Kind, float]:
    tokens: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
    weight_of = _weight_of(vocabulary)
    for found in pieces:
        for name, count in found.items():
            kind, weight = weight_of[name]
            tokens[kind] += count * weight
    return tokens


def estimate(text: str, vocabulary: Vocabulary | None = "o200k_base") -> int:
    """The estimated tokens of a text, rather too many than too few."""
    return ceil(sum(estimate_by_kind(text, vocabulary).values()))
