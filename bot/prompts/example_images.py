"""Images in few-shot examples: Markdown links in the user's text, loaded and checked in advance."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from msgspec.structs import replace

from bot.domain.prompts import Example, Image, Part, Text, image_type

PICTURE = re.compile(r"(?<!`)!\[([^\[\]\n]*)\]\(([^()\n]+)\)")

MOST = 4
"""Images per template: all of them are sent, and charged, with every question."""
MOST_BYTES = 1024 * 1024
"""Per image."""

LoadImage = Callable[[str], bytes]
"""Returns the bytes of the image at an address. Raises ValueError with a text to be put after the address."""

_DATA = re.compile(r"data:image/[a-z]+;base64,(.*)")


def beside(folder: Path) -> LoadImage:
    """Loads files of this folder and its subfolders. Blocks."""

    def load(address: str) -> bytes:
        path = PurePosixPath(address)
        if "//" in address or ":" in address:
            raise ValueError("is not downloaded: put the file next to the template and use its file name")
        if path.is_absolute() or ".." in path.parts or "\\" in address:
            raise ValueError("is not allowed: the file must be in the template's folder or a subfolder")
        file = folder / path
        try:
            if not file.resolve().is_relative_to(folder.resolve()):
                raise ValueError("is not allowed: the file is outside the template's folder")
            _check_size(file.stat().st_size)
            return file.read_bytes()
        except OSError:
            problem = "was not found next to the template (put code in backticks)"
            raise ValueError(problem) from None

    return load


def from_examples(examples: Iterable[Example]) -> LoadImage:
    """Loads the images of these examples, by the addresses in their text."""
    images = {
        _address(match): image.data
        for example in examples
        for match, image in zip(PICTURE.finditer(example.user), example.images, strict=False)
    }

    def load(address: str) -> bytes:
        if address not in images:
            raise ValueError(
                "is unknown: use a data: address, or an image that a template file contained at startup "
                "(put code in backticks)"
            )
        return images[address]

    return load


data_only = from_examples(())
"""Loads no images, so that only data: addresses can be used."""


def no_images(address: str) -> bytes:
    """For templates whose examples must be text."""
    raise ValueError("can't be used: examples of image templates are text only")


def pictures(text: str, load_image: LoadImage) -> tuple[Image, ...]:
    """The images in a user's text, in order. Raises ValueError with the reason."""
    found: list[Image] = []
    for match in PICTURE.finditer(text):
        address = _address(match)
        try:
            data = _data(address, load_image)
            found.append(Image(mime=_mime_type(data), data=data, alt=match[1]))
        except ValueError as error:
            name = address if len(address) <= 60 else f"{address[:59]}…"
            raise ValueError(f"the image {name} {error}") from None
    if len(found) > MOST:
        raise ValueError(f"there are {len(found)} images; a template may have {MOST}")
    return tuple(found)


def without_images(examples: Iterable[Example]) -> list[Example]:
    """The examples without image bytes; the text keeps the addresses."""
    return [replace(example, images=()) for example in examples]


def parts(example: Example) -> tuple[Part, ...]:
    """The user's message of an example, with its images in place."""
    found: list[Part] = []
    end = 0
    for match, image in zip(PICTURE.finditer(example.user), example.images, strict=False):
        found += [Text(text=example.user[end : match.start()]), image]
        end = match.end()
    found.append(Text(text=example.user[end:]))
    return tuple(part for part in found if not isinstance(part, Text) or part.text.strip())


def _address(match: re.Match[str]) -> str:
    return match[2].strip()


def _data(address: str, load_image: LoadImage) -> bytes:
    inline = _DATA.fullmatch(address)
    if inline is None and address.startswith("data:"):
        raise ValueError("can't be read: the address must begin with data:image/png;base64, or similar")
    if inline is None:
        return load_image(address)
    try:
        return base64.b64decode(inline[1], validate=True)
    except binascii.Error:
        raise ValueError("can't be read: it is not valid base64") from None


def _mime_type(data: bytes) -> str:
    _check_size(len(data))
    if mime := image_type(data):
        return mime
    raise ValueError("has an unsupported format: use PNG, JPEG, GIF or WebP")


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise ValueError(f"has {size} bytes; the limit is {MOST_BYTES}")
