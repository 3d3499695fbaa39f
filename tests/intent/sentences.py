"""The sentences, as labelled in the YAML files beside this module."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

FOLDER = Path(__file__).parent
ANSWER = "answer"
TOOLS = ("usage", "reset", "forget", "stop", "summarise", "choose_prompt", "choose_model", "draw")
"""What Parley does when the model calls a tool of this name; `summarise` and so on are also meanings."""

Options = dict[str, Any]


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """What a person writes, and what is to happen: `meant`, or `also` where a careful colleague would be in doubt.

    `arguments` are those with which a good model calls the tool that is named like the meaning. `exact`: a command
    of Parley, typed as documented, which needs no model.
    """

    text: str
    language: str
    meant: str = ANSWER
    also: tuple[str, ...] = ()
    arguments: Options = {}
    exact: bool = False

    @property
    def acceptable(self) -> tuple[str, ...]:
        """The outcomes that are as meant."""
        return (self.meant, *self.also)


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sentence in a file that needs more than its text."""

    text: str
    also: tuple[str, ...] = ()
    arguments: Options = {}


class PictureRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for a picture; `options` are those that a good model passes to `draw` beside `prompt`."""

    text: str
    prompt: str
    options: Options = {}
    language: str = ""


class AfterPicture(msgspec.Struct, frozen=True, kw_only=True):
    """What is said after a picture: a change of it, or a request for another one."""

    text: str
    language: str
    kind: Literal["change", "new"]


Listed = str | Entry
_Kind = TypeVar("_Kind")


def _read(name: str, kind: type[_Kind]) -> _Kind:
    return msgspec.yaml.decode((FOLDER / name).read_text(encoding="utf-8"), type=kind)


def _entry(listed: Listed) -> Entry:
    return Entry(text=listed) if isinstance(listed, str) else listed


def _sentence(listed: Listed, language: str, meant: str, *, exact: bool = False) -> Sentence:
    entry = _entry(listed)
    return Sentence(
        text=entry.text,
        language=language,
        meant=meant,
        also=entry.also,
        arguments=entry.arguments,
        exact=exact,
    )


def sentences() -> list[Sentence]:
    """All of them: ordinary ones, those that mean something that Parley does, and commands as typed."""
    return [*_ordinary(), *_meant(), *_exact()]


def _ordinary() -> Iterator[Sentence]:
    for language, listed in _read("ordinary.yaml", dict[str, list[Listed]]).items():
        yield from (_sentence(each, language, ANSWER) for each in listed)


def _meant() -> Iterator[Sentence]:
    for language, meanings in _read("meant.yaml", dict[str, dict[str, list[Listed]]]).items():
        for meant, listed in meanings.items():
            yield from (_sentence(each, language, meant) for each in listed)


def _exact() -> Iterator[Sentence]:
    for meant, listed in _read("commands.yaml", dict[str, list[Listed]]).items():
        yield from (_sentence(each, "", meant, exact=True) for each in listed)


def picture_requests() -> list[PictureRequest]:
    """Requests for pictures with options."""
    return [
        msgspec.structs.replace(each, language=language)
        for language, listed in _read("pictures.yaml", dict[str, list[PictureRequest]]).items()
        for each in listed
    ]


def after_pictures() -> list[AfterPicture]:
    """Changes and new requests after a picture."""
    kinds: dict[Literal["change", "new"], dict[str, list[str]]]
    kinds = _read("after_pictures.yaml", dict[Literal["change", "new"], dict[str, list[str]]])
    return [
        AfterPicture(text=text, language=language, kind=kind)
        for kind, languages in kinds.items()
        for language, texts in languages.items()
        for text in texts
    ]
