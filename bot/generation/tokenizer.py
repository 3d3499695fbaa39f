"""Counts the tokens of texts by OpenAI's own vocabulary, where tiktoken and its file are at hand."""

import hashlib
import logging
from functools import lru_cache
from pathlib import Path

from bot.generation.context_window import Count

log = logging.getLogger(__name__)

_NAME = "o200k_base"
"""The vocabulary of OpenAI's models since GPT-4o; older ones count a little more, which is learnt."""
_FILE = hashlib.sha1(
    f"https://openaipublic.blob.core.windows.net/encodings/{_NAME}.tiktoken".encode(), usedforsecurity=False
).hexdigest()
"""How tiktoken names it in its cache: by the address that it would download it from."""
SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
"""Of the file, as tiktoken checks it: another one it would delete, and download anew."""
_TEXTS = 8192


def load(folder: Path | None) -> Count | None:
    """The count of a text, kept for the texts that were counted last; None where estimates have to do.

    Never downloads: tiktoken, whose cache this folder is, is only asked for a file that it will take. Blocks
    for about a second.
    """
    path = folder / _FILE if folder is not None else None
    if path is None or not path.is_file():
        return None
    try:
        import tiktoken  # pyright: ignore[reportMissingImports]

        if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
            log.warning("%s is not the vocabulary %s: tokens are estimated by bytes", path, _NAME)
            return None
        encoding = tiktoken.get_encoding(_NAME)  # pyright: ignore
    except Exception as error:  # anything may go wrong in a package that is not ours
        log.warning("tiktoken can't be used, tokens are estimated by bytes: %s", error)
        return None

    @lru_cache(maxsize=_TEXTS)
    def count(text: str) -> int:
        return len(encoding.encode_ordinary(text))  # pyright: ignore

    log.info("Tokens are counted by the vocabulary %s", _NAME)
    return count
