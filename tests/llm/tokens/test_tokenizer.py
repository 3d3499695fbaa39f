"""Counting tokens with OpenAI's vocabularies, where they are installed."""

import asyncio
import gzip
import hashlib
import importlib.machinery
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bot.llm.tokens import tokenizer
from bot.llm.tokens.counter import TokenCounter, count_by
from bot.llm.tokens.estimator import estimate

CACHED = "fb374d419588a4632f3f557e76b4b70aebbca790"
"""How tiktoken names the file of o200k_base."""
CONTENT = b"eA== 0\nIHg= 1\n"
LONG = "x " * 1500


class Encoding:
    """Counts words, and its calls."""

    def __init__(self) -> None:
        self.asked = 0
        self.ranks: dict[bytes, int] = {}

    def __call__(self, name: str, *, mergeable_ranks: dict[bytes, int], **_: object) -> "Encoding":
        self.ranks = mergeable_ranks
        return self

    def encode_ordinary(self, text: str) -> list[int]:
        self.asked += text != "x"
        return [0 for _ in text.split()]


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Encoding]:
    """A stand-in for tiktoken; resets the tokenizer afterwards."""
    one = Encoding()
    module = ModuleType("tiktoken")
    monkeypatch.setattr(module, "Encoding", one, raising=False)
    monkeypatch.setitem(sys.modules, "tiktoken", module)
    monkeypatch.setitem(tokenizer.SHA256, "o200k_base", hashlib.sha256(CONTENT).hexdigest())
    yield one
    count_by({})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the vocabulary, named as in tiktoken's cache."""
    (tmp_path / CACHED).write_bytes(CONTENT)
    return tmp_path


async def test_long_texts_never_block_the_loop(encoding: Encoding, folder: Path) -> None:
    """Short ones are counted once, long ones estimated, until a thread has counted them."""
    count = tokenizer.load("o200k_base", folder)
    assert count is not None
    assert encoding.ranks == {b"x": 0, b" x": 1}
    count_by({"o200k_base": count})
    counter = TokenCounter()
    assert [counter.text("one two three"), counter.text("one two three")] == [3, 3]
    assert encoding.asked == 1
    assert counter.text(LONG) == estimate(LONG)
    assert await asyncio.to_thread(counter.text, LONG) == 1500
    assert counter.text(LONG) == 1500
    assert counter.text("\ud800 alone") == 2
    assert TokenCounter((None,)).text("one two three") == estimate("one two three", None)


def test_a_long_text_is_counted_in_slices(encoding: Encoding, folder: Path) -> None:
    count = tokenizer.load("o200k_base", folder)
    assert count is not None
    assert count("four" * 10_000) == 2
    assert encoding.asked == 2


@pytest.mark.parametrize("held", [None, b"another vocabulary"])
def test_a_tokenizer_never_downloads(encoding: Encoding, folder: Path, held: bytes | None) -> None:
    (folder / CACHED).unlink() if held is None else (folder / CACHED).write_bytes(held)
    assert tokenizer.load("o200k_base", folder) is None


def test_a_vocabulary_may_come_from_a_package(
    encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not imported, and a damaged one is passed over."""
    (tmp_path / "data").mkdir()
    spec = importlib.machinery.ModuleSpec("bpe_openai", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(tokenizer, "find_spec", {"bpe_openai": spec}.get)
    packed = tmp_path / "data" / "o200k_base.tiktoken.gz"
    packed.write_bytes(b"damaged")
    assert tokenizer.load("o200k_base", None) is None
    packed.write_bytes(gzip.compress(CONTENT))
    assert tokenizer.load("o200k_base", None) is not None
    assert tokenizer.load("cl100k_base", None) is None


def test_without_the_package_tokens_are_estimated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert tokenizer.load("o200k_base", folder) is None
    assert TokenCounter().text("one two three") == estimate("one two three")
