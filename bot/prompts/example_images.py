"""Pictures in few-shot examples: Markdown in what a person says, read and checked before anybody asks."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from msgspec.structs import replace

from bot.domain.prompts import Example, Image, Part, Text

PICTURE = re.compile(r"(?<!`)!\[([^\[\]\n]*)\]\(([^()\n]+)\)")

MOST = 4
"""Pictures in one template: all of them are sent, and paid for, with every question."""
MOST_BYTES = 1024 * 1024
"""Of one picture."""

LoadImage = Callable[[str], bytes]
"""The bytes of the picture at an address. Raises ValueError, in words."""

_DATA = re.compile(r"data:image/[a-z]+;base64,(.*)")
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


def beside(folder: Path) -> LoadImage:
    """Files of this folder and of those in it. Blocks."""

    def look(address: str) -> bytes:
        path = PurePosixPath(address)
        if "//" in address or ":" in address:
            raise ValueError("is not fetched: put the file beside the template, and write its name")
        if path.is_absolute() or ".." in path.parts or "\\" in address:
            raise ValueError(
                "is out of reach: a picture is a file in the folder of the template, or below it"
            )
        file = folder / path
        try:
            if not file.resolve().is_relative_to(folder.resolve()):
                raise ValueError("is out of reach: the file lies outside the folder of the template")
            _demand_small(file.stat().st_size)
            return file.read_bytes()
        except OSError:
            problem = "can't be read: there is no such file beside the template (code goes in backticks)"
            raise ValueError(problem) from None

    return look


def held(examples: Iterable[Example]) -> LoadImage:
    """The pictures that these examples hold, by the addresses in their words."""
    found = {
        _address(received): image.data
        for one in examples
        for received, image in zip(PICTURE.finditer(one.user), one.images, strict=False)
    }

    def look(address: str) -> bytes:
        if address not in found:
            raise ValueError(
                "is not known here: only pictures that a template's file showed at the start, and data: "
                "addresses, can be used (code goes in backticks)"
            )
        return found[address]

    return look


nowhere = held(())
"""Knows no picture but those that stand in their address."""


def never(address: str) -> bytes:
    """For templates whose examples are words alone."""
    raise ValueError("can't be used: the examples of a template that draws hold words only")


def pictures(text: str, look: LoadImage) -> tuple[Image, ...]:
    """The pictures in what a person says, in order. Raises ValueError, in words."""
    found: list[Image] = []
    for received in PICTURE.finditer(text):
        address = _address(received)
        try:
            data = _data(address, look)
            found.append(Image(mime=_kind(data), data=data, alt=received[1]))
        except ValueError as error:
            name = address if len(address) <= 60 else f"{address[:59]}…"
            raise ValueError(f"the picture {name} {error}") from None
    if len(found) > MOST:
        raise ValueError(f"there are {len(found)} pictures; at most {MOST} in a template")
    return tuple(found)


def words(examples: Iterable[Example]) -> list[Example]:
    """The examples without their pictures, whose addresses stay in the words."""
    return [replace(one, images=()) for one in examples]


def parts(example: Example) -> tuple[Part, ...]:
    """What the person says in an example, with its pictures in their places."""
    found: list[Part] = []
    end = 0
    for received, image in zip(PICTURE.finditer(example.user), example.images, strict=False):
        found += [Text(text=example.user[end : received.start()]), image]
        end = received.end()
    found.append(Text(text=example.user[end:]))
    return tuple(part for part in found if not isinstance(part, Text) or part.text.strip())


def _address(received: re.Match[str]) -> str:
    return received[2].strip()


def _data(address: str, look: LoadImage) -> bytes:
    inline = _DATA.fullmatch(address)
    if inline is None and address.startswith("data:"):
        raise ValueError("can't be read: such an address begins with data:image/png;base64,")
    if inline is None:
        return look(address)
    try:
        return base64.b64decode(inline[1], validate=True)
    except binascii.Error:
        raise ValueError("can't be read: it is not base64") from None


def _kind(data: bytes) -> str:
    """The MIME type, by the first bytes."""
    _demand_small(len(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    for magic, mime in _MAGIC:
        if data.startswith(magic):
            return mime
    raise ValueError("is no picture that models take: PNG, JPEG, GIF or WebP")


def _demand_small(size: int) -> None:
    if size > MOST_BYTES:
        raise ValueError(f"has {size} bytes; at most {MOST_BYTES}")
