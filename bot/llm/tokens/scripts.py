"""Counts the characters of a text beyond Latin-1, and their words, by script."""

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

_SURROGATE = 0xD8


class _Block(NamedTuple):
    """The script of most characters of a block of 256 code points, and what matches runs of its others."""

    script: str
    others: dict[str, re.Pattern[str]]


def upper_bytes(text: str) -> bytes:
    """The upper byte of each code unit of a text in UTF-16."""
    return text.encode("utf-16-le", "surrogatepass")[1::2]


@cache
def only(kept: int, written: int = 0) -> bytes:
    """A table for `bytes.translate` that makes all bytes a space but one, which it keeps, or writes as another one."""
    return bytes(written or kept if each == kept else ord(" ") for each in range(0x100))


class Scripts:
    """The ranges of code points that belong to each script, listed by their first one as in `weights.yaml`."""

    def __init__(self, starts: Mapping[int, str], worded: frozenset[str]) -> None:
        """`worded`: the scripts whose words are counted, too."""
        self._worded = worded
        ends = [*list(starts)[1:], 0x110000]
        self._ranges = [(start, end, name) for (start, name), end in zip(starts.items(), ends, strict=True)]
        self._table = bytearray(0x100)
        self._blocks: dict[int, _Block] = {}
        firsts: dict[str, int] = {}
        for upper in range(1, 0x100):
            block = self._block(upper)
            key = f"{upper:x}" if block.others else block.script
            key = "surrogates" if 0xD8 <= upper < 0xE0 else key
            self._table[upper] = firsts.setdefault(key, upper)
            self._blocks.setdefault(self._table[upper], block)

    def _block(self, upper: int) -> _Block:
        """What the code points are that begin with this byte. Surrogates stand for all code points from U+10000 on."""
        first, last = (0x10000, 0x10FFFF) if 0xD8 <= upper < 0xE0 else (upper << 8, upper << 8 | 0xFF)
        sizes: dict[str, int] = {}
        spans: dict[str, str] = {}
        for start, end, name in self._ranges:
            low, high = max(start, first), min(end - 1, last)
            if low <= high:
                sizes[name] = sizes.get(name, 0) + high - low
                spans[name] = spans.get(name, "") + f"{chr(low)}-{chr(high)}"
        most = max(sizes, key=lambda name: (name != "rare", sizes[name]))
        return _Block(most, {name: re.compile(f"[{span}]+") for name, span in spans.items() if name != most})

    def count(self, text: str) -> dict[str, int]:
        """The characters by script, and the words of those that have some as NAME_word.

        Takes what each block of 256 code points contains, and searches the text for the scripts that share one.
        """
        blocks = upper_bytes(text).translate(self._table)
        found: dict[str, int] = {}
        rest = blocks.replace(b"\0", b"")
        while rest:
            first = rest[0]
            block, here, rest = self._blocks[first], len(rest), rest.replace(rest[:1], b"")
            here = (here - len(rest)) // (2 if block is self._blocks[_SURROGATE] else 1)
            words = (
                len(blocks.translate(only(first, ord("x"))).split()) if block.script in self._worded else 0
            )
            for script, pattern in block.others.items():
                runs = pattern.findall(text)
                characters = len("".join(runs))
                here -= characters
                words -= len(runs) if script in self._worded else 0
                self._add(found, script, characters, len(runs))
            self._add(found, block.script, here, max(words, 1))
        return found

    def _add(self, found: dict[str, int], script: str, characters: int, words: int) -> None:
        if characters:
            found[script] = found.get(script, 0) + characters
            if script in self._worded:
                found[f"{script}_word"] = found.get(f"{script}_word", 0) + words
