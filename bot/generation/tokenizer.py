"""Loads OpenAI's tokenizer, if tiktoken and its vocabulary file are installed."""

import hashlib
import logging
from functools import lru_cache
from pathlib import Path

from bot.generation.context_window import Count

log = logging.getLogger(__name__)

_NAME = "o200k_base"
"""The vocabulary since GPT-4o; older models count slightly more, for which the router calibrates."""
_FILE = hashlib.sha1(
    f"https://openaipublic.blob.core.windows.net/encodings/{_NAME}.tiktoken".encode(), usedforsecurity=False
).hexdigest()
"""Its name in tiktoken's cache: the hash of its download URL."""
SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
"""Checked before tiktoken does, which would delete a different file and download it again."""
_TEXTS = 8192


def load(folder: Path | None) -> Count | None:
    """A function that counts tokens, cached for recent texts; None if `folder` (tiktoken's cache) lacks the file.

    Never downloads. Blocks for about a second.
    """
    path = folder / _FILE if folder is not None else None
    if path is None or not path.is_file():
        return None
    try:
        import tiktoken  # pyright: ignore[reportMissingImports]

        if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
            log.warning("%s is not %s: tokens are estimated from bytes", path, _NAME)
            return None
        encoding = tiktoken.get_encoding(_NAME)  # pyright: ignore
    except Exception as error:  # third-party code
        log.warning("tiktoken failed to load, tokens are estimated from bytes: %s", error)
        return None

    @lru_cache(maxsize=_TEXTS)
    def count(text: str) -> int:
        return len(encoding.encode_ordinary(text))  # pyright: ignore

    log.info("Tokens are counted with %s", _NAME)
    return count
