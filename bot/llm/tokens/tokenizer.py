"""Loads OpenAI's tokenizer, if tiktoken and a vocabulary are installed."""

import gzip
import hashlib
import logging
from base64 import b64decode
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from bot.llm.tokens.estimator import Vocabulary

log = logging.getLogger(__name__)

Count = Callable[[str], int]
"""Tokens of a text. Blocks: about 0.3 ms per 1,000 characters."""

_PACKAGES = (("bpe_openai", "data"), ("litellm", "litellm_core_utils/tokenizers"), ("tiktoken_ext", "data"))
"""Packages that contain vocabularies, and the folder. They are not imported."""
SHA256: dict[Vocabulary, str] = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
"""Of the vocabulary files, as tiktoken pins them (tiktoken_ext/openai_public.py)."""
_LETTERS = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_PATTERNS: dict[Vocabulary, str] = {
    "o200k_base": (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_LETTERS[0]}*{_LETTERS[1]}+{_ENDINGS}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?{_LETTERS[0]}+{_LETTERS[1]}*{_ENDINGS}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$"
        r"|\s*[\r\n]|\s+(?!\S)|\s"
    ),
}
"""How texts are split before they become tokens (tiktoken_ext/openai_public.py)."""
_SLICE = 20_000
"""Characters that are counted at once; tiktoken refuses much longer texts."""


def load(vocabulary: Vocabulary, folder: Path | None) -> Count | None:
    """A function that counts tokens; None if tiktoken is not installed, or the vocabulary in no package nor `folder`.

    Never downloads. Blocks for about a second, and takes about 85 MB of memory.
    """
    try:
        import tiktoken  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    data = _vocabulary(vocabulary, folder)
    if data is None:
        return None
    try:
        ranks = {b64decode(token): int(rank) for token, rank in map(bytes.split, data.splitlines())}
        encoding = tiktoken.Encoding(  # pyright: ignore
            vocabulary, pat_str=_PATTERNS[vocabulary], mergeable_ranks=ranks, special_tokens={}
        )
        encode = cast("Callable[[str], list[int]]", encoding.encode_ordinary)  # pyright: ignore
        encode("x")
    except Exception as error:  # third-party code
        log.warning("tiktoken failed to load, tokens are estimated: %s", error)
        return None
    log.info("Tokens are counted with %s", vocabulary)
    return lambda text: sum(len(encode(text[at : at + _SLICE])) for at in range(0, len(text), _SLICE))


def _vocabulary(vocabulary: Vocabulary, folder: Path | None) -> bytes | None:
    """The content of the first file that is this vocabulary."""
    for path in _files(vocabulary, folder):
        try:
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
        except (OSError, EOFError, gzip.BadGzipFile) as error:
            log.warning("%s cannot be read: %s", path, error)
            continue
        if hashlib.sha256(data).hexdigest() == SHA256[vocabulary]:
            return data
        log.warning("%s is not %s", path, vocabulary)
    return None


def _files(vocabulary: Vocabulary, folder: Path | None) -> Iterator[Path]:
    """Where the vocabulary may be: in the folder or a package, under its own name or tiktoken's: a hash."""
    url = f"https://openaipublic.blob.core.windows.net/encodings/{vocabulary}.tiktoken"
    cached = hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    folders = [folder] if folder is not None else []
    for package, inside in _PACKAGES:
        spec = find_spec(package)
        folders += [Path(place) / inside for place in (spec and spec.submodule_search_locations) or ()]
    for each in folders:
        for name in (cached, f"{vocabulary}.tiktoken", f"{vocabulary}.tiktoken.gz"):
            if (each / name).is_file():
                yield each / name
