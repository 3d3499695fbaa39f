"""Counting tokens with OpenAI's vocabulary, if it is installed."""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bot.app.settings import Settings, tell_packages
from bot.generation import context_window, tokenizer

NAME = "fb374d419588a4632f3f557e76b4b70aebbca790"
"""How tiktoken names the file of o200k_base."""


class Encoding:
    """Counts words, and its calls."""

    def __init__(self) -> None:
        self.asked = 0

    def encode_ordinary(self, text: str) -> list[int]:
        self.asked += 1
        return [0 for _ in text.split()]


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Encoding]:
    """A stand-in for tiktoken; resets the tokenizer afterwards."""
    one = Encoding()
    module = ModuleType("tiktoken")
    monkeypatch.setattr(module, "get_encoding", {"o200k_base": one}.__getitem__, raising=False)
    monkeypatch.setitem(sys.modules, "tiktoken", module)
    yield one
    context_window.count_by(None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiktoken cache with a valid vocabulary."""
    (tmp_path / NAME).write_bytes(b"vocabulary")
    monkeypatch.setattr(tokenizer, "SHA256", hashlib.sha256(b"vocabulary").hexdigest())
    return tmp_path


def test_short_texts_are_counted_long_ones_estimated(encoding: Encoding, folder: Path) -> None:
    context_window.count_by(tokenizer.load(folder))
    assert [
        context_window.count_text_tokens("one two three"),
        context_window.count_text_tokens("one two three"),
    ] == [3, 3]
    assert encoding.asked == 1
    assert context_window.count_text_tokens("x " * 1500) == 1000
    assert encoding.asked == 1


@pytest.mark.parametrize("held", [None, b"another vocabulary"])
def test_tiktoken_never_downloads(encoding: Encoding, folder: Path, held: bytes | None) -> None:
    if held is None:
        (folder / NAME).unlink()
    else:
        (folder / NAME).write_bytes(held)
    assert tokenizer.load(folder) is None


def test_tiktoken_finds_the_cached_vocabulary(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "elsewhere")
    tell_packages(Settings(_env_file=None, tiktoken_cache_dir=folder))  # pyright: ignore[reportCallIssue]
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(folder)


def test_without_package_or_setting_tokens_are_estimated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    context_window.count_by(tokenizer.load(folder))
    assert tokenizer.load(None) is None
    assert context_window.count_text_tokens("one two three") == 5
