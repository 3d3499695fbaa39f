"""Messages in the language of the person who reads them; numbers in them are written as in that person's country.

As with gettext, a message is written in English in the code and is its own key; `locales` has a file for each other
language. `write_for` says for whom a task writes, and the tasks that it starts inherit that. What is written for
models, logs and operators stays English.
"""

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from gettext import c2py
from pathlib import Path
from typing import NamedTuple, cast
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.numbers import format_decimal

from bot.domain.local_time import zone_of

LANGUAGES = ("de", "es", "fr", "ja")
"""The languages that messages are translated to; everybody else reads English."""
LOCALES = Path(__file__).parent / "locales"

Value = str | int | float
"""What is put in place of `{name}`: a text as it is, a number as the reader's country writes it."""

_ENGLISH = Locale("en")
_REGIONS = {"LA": "419"}  # Slack's es-LA is Spanish of Latin America
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Reader(NamedTuple):
    """For whom a task writes; without a `zone`, times are in UTC and say so."""

    locale: Locale = _ENGLISH
    zone: ZoneInfo | None = None


_reader: ContextVar[Reader] = ContextVar("reader", default=Reader())  # noqa: B039 - it is immutable


def reader() -> Reader:
    """For whom the current task writes."""
    return _reader.get()


def write_for(locale: str, zone: str = "") -> None:
    """From now on this task writes for a person with this locale, such as de-DE, and time zone, such as Europe/Berlin.

    What is not known is written in English, and in UTC.
    """
    _reader.set(Reader(_locale(locale), zone_of(zone)))


# ------------------------------------------------------------------ messages


def marked(message: str) -> str:
    """The message itself; marks a text for translation that `tr` gets later, such as a constant."""
    return message


def tr(message: str, /, **values: Value) -> str:
    """A message in the reader's language, with its placeholders `{name}` filled."""
    locale = reader().locale
    found = _messages(locale.language).get(message, message)
    return _filled(found if isinstance(found, str) else found[0], values, locale)


def trn(one: str, many: str, count: int, /, **values: Value) -> str:
    """A message in the form that `count` takes in the reader's language; `{count}` is a placeholder of it."""
    locale = reader().locale
    found = _messages(locale.language).get(one)
    english = one if count == 1 else many
    message = found[_plural(locale.language)(count)] if isinstance(found, tuple) else english
    return _filled(message, {"count": count, **values}, locale)


def english(message: str, /, **values: Value) -> str:
    """A message in English with its placeholders filled, for models, logs and operators."""
    return _filled(message, values, _ENGLISH)


class Notice(NamedTuple):
    """A message that is told to a person in their language, and to a model in English."""

    message: str
    values: Mapping[str, Value]

    @property
    def worded(self) -> str:
        """The text in the reader's language."""
        return tr(self.message, **self.values)

    @property
    def english(self) -> str:
        """The text in English."""
        return english(self.message, **self.values)


def notice(message: str, /, **values: Value) -> Notice:
    """A message for a person and a model, with the values of its placeholders."""
    return Notice(message, values)


def in_every_language(message: str) -> tuple[str, ...]:
    """A message in English and every other language, to recognise it in a text that was written for somebody."""
    translated = (_messages(language).get(message, message) for language in LANGUAGES)
    return tuple(dict.fromkeys((message, *(text for text in translated if isinstance(text, str)))))


def _filled(message: str, values: Mapping[str, Value], locale: Locale) -> str:
    """Other braces stay as they are: a message may be a text of a person."""
    if not values:
        return message

    def value(found: re.Match[str]) -> str:
        given = values.get(found[1], found[0])
        return given if isinstance(given, str) else format_decimal(given, locale=locale)

    return _PLACEHOLDER.sub(value, message)


# ------------------------------------------------------------------ catalogs


@cache
def _messages(language: str) -> Mapping[str, str | tuple[str, ...]]:
    """The translations of a language by their message; those of a message with a plural in each form.

    A file is read once, at the first message in its language, in about 10 ms.
    """
    if language not in LANGUAGES:
        return {}
    from babel.messages.pofile import read_po

    with (LOCALES / f"{language}.po").open("rb") as file:
        catalog = read_po(file, language)
    found: dict[str, str | tuple[str, ...]] = {}
    for message in catalog:
        texts = cast("str | tuple[str, ...]", message.string)
        if message.id and all((texts,) if isinstance(texts, str) else texts):
            found[message.id if isinstance(message.id, str) else str(message.id[0])] = texts
    return found


@cache
def _plural(language: str) -> Callable[[int], int]:
    """The index of the form that a number takes."""
    return c2py({"fr": "n > 1", "ja": "0"}.get(language, "n != 1"))


# ------------------------------------------------------------------ locales


@lru_cache(maxsize=256)
def _locale(tag: str) -> Locale:
    """The locale of a BCP 47 tag, or of its language alone; English if it is not one of ours."""
    language, *rest = re.split("[-_]", tag.strip()[:40])
    language = language.lower()
    if language not in LANGUAGES:
        language, rest = ("en", rest) if language == "en" else ("en", [])
    regions = [part.upper() for part in rest if re.fullmatch(r"[A-Za-z]{2}|\d{3}", part)]
    for region in regions[:1]:
        try:
            return Locale.parse(f"{language}_{_REGIONS.get(region, region)}")
        except (UnknownLocaleError, ValueError):
            pass
    return Locale(language)
