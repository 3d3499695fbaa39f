"""A reader with a language and a time zone, for a part of a test."""

from collections.abc import Generator
from contextlib import contextmanager

from bot.domain.words import write_for


@contextmanager
def written_for(locale: str, zone: str = "") -> Generator[None]:
    """Words are for such a reader in this block; behind it they are in English again."""
    write_for(locale, zone)
    try:
        yield
    finally:
        write_for("")
