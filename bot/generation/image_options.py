"""Reads the options of an image request: shape, size, quality, style, number, background."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from bot.domain.prompts import Parameters

NO_DESCRIPTION = "Describe the image that you want, for example: `/image a red bicycle`."
"""The reply to an image request without a description."""

Shapes = Mapping[str, str]
_WIDE: Shapes = {"square": "1024x1024", "landscape": "1792x1024", "portrait": "1024x1792"}
_USUAL: Shapes = {"square": "1024x1024", "landscape": "1536x1024", "portrait": "1024x1536"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCapabilities:
    """What a model family supports. `free`: any size within the bounds of `_fits`; `most`: images per call.

    `edits`: edits a whole image; `masks`: edits only the area that a mask leaves open.
    """

    shapes: Shapes
    sizes: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    transparent: bool = False
    most: int = 4
    free: bool = False
    edits: bool = True
    masks: bool = True


_CAPABILITIES: Mapping[str, ImageCapabilities] = {
    "dall-e-2": ImageCapabilities(shapes={"square": "1024x1024"}, sizes=("256x256", "512x512"), edits=False),
    "dall-e-3": ImageCapabilities(
        shapes=_WIDE,
        qualities=("high", "standard"),
        styles=("natural", "vivid"),
        most=1,
        edits=False,
        masks=False,
    ),
    "gpt-image": ImageCapabilities(shapes=_USUAL, qualities=("low", "medium", "high"), transparent=True),
    "gpt-image-2": ImageCapabilities(
        shapes=_USUAL, qualities=("low", "medium", "high"), transparent=True, free=True
    ),
    "demo": ImageCapabilities(shapes=_USUAL),
}


def capabilities_of(family: str) -> ImageCapabilities:
    """What this family supports; an unknown family is treated as gpt-image."""
    names = [name for name in _CAPABILITIES if family.startswith(name)]
    return _CAPABILITIES[max(names, key=len)] if names else _CAPABILITIES["gpt-image"]


def shape_of(width: int, height: int, can: ImageCapabilities) -> str:
    """The supported size with the nearest aspect ratio, so that an edited image keeps its shape."""

    def difference(size: str) -> float:
        size_width, size_height = map(int, size.split("x"))
        return abs(math.log(size_width * height / (size_height * width)))

    return min(can.shapes.values(), key=difference)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """The description and its options; `notes` name the options that are not supported."""

    words: str
    parameters: Parameters
    notes: tuple[str, ...] = ()


_ALIASES = {"wide": "landscape", "tall": "portrait", "hd": "high", "best": "high"}
_NUMBERS = {"two": 2, "three": 3, "four": 4}
_FLAG = re.compile(r"(?:^|\s)--(\w+)(?:[ =]([\w.]+))?(?=[\s,;.!?]|$)")
_BARE = {
    **dict.fromkeys(("square", "landscape", "portrait", "wide", "tall"), "shape"),
    "transparent": "background",
    "hd": "quality",
}
_VALUED = ("size", "shape", "quality", "style", "n", "number", "background")
# In running text only what can't be the subject: "in landscape format" is an option, "a landscape" is not.
_SHAPE = re.compile(
    r",?\s*\b(?:in |as )?(?:an? )?(square|landscape|portrait|wide|tall) (?:format|orientation)\b", re.I
)
_QUALITY = re.compile(r",?\s*\bin (low|medium|high|hd|best) quality\b", re.I)
_STYLE = re.compile(r",?\s*\bin (?:a )?(natural|vivid) style\b", re.I)
_CLEAR = re.compile(r",?\s*\b(?:with|on|against) (?:a )?transparent background\b", re.I)
_SPACES = re.compile(r"(\s\s)\s+")
"""Long runs of spaces are collapsed first: the patterns above take quadratic time on them."""
_COUNT = re.compile(r"^(\d{1,2}|two|three|four) (?:pictures|images|versions|variations|drawings) of\s+", re.I)


def read(text: str, usual: Parameters, family: str) -> ImageOptions:
    """Separate the options from the description. Options that the family does not support become notes."""
    asked, words = _options(_SPACES.sub(r"\1", text))
    can, notes = capabilities_of(family), list[str]()
    chosen = usual

    def unable(what: str) -> None:
        notes.append(f"This model can't generate images {what}, so I ignored that option.")

    shape = asked.get("shape")
    if shape is not None and shape in can.shapes:
        chosen = replace(chosen, size=can.shapes[shape])
    elif shape is not None:
        unable(f"in {shape} format")
    if (size := asked.get("size")) is not None:
        if size in can.sizes or size in can.shapes.values() or (can.free and _fits(size)):
            chosen = replace(chosen, size=size)
        else:
            unable(f"at {size} pixels")
    for name, values, words_for in (
        ("quality", can.qualities, "in {} quality"),
        ("style", can.styles, "in {} style"),
    ):
        value = asked.get(name)
        if value in values:
            chosen = replace(chosen, **{name: value})
        elif value is not None:
            unable(words_for.format(value))
    if asked.get("background") == "transparent":
        if can.transparent:
            chosen = replace(chosen, background="transparent")
        else:
            unable("on a transparent background")
    if "n" in asked:
        number = int(asked["n"][:4]) if asked["n"].isdecimal() else 1
        chosen = replace(chosen, images=max(1, min(number, can.most)))
        if number > can.most:
            limit = "1 image" if can.most == 1 else f"{can.most} images"
            notes.append(f"This model generates at most {limit} at a time.")
    return ImageOptions(words=words, parameters=chosen, notes=tuple(notes))


def _options(text: str) -> tuple[dict[str, str], str]:
    """The options by name, and the description without them."""
    asked: dict[str, str] = {}

    def flag(found: re.Match[str]) -> str:
        name, value = found[1].lower(), (found[2] or "").lower()
        if name in _BARE:
            asked[_BARE[name]] = _ALIASES.get(name, name)
            return f" {found[2]}" if found[2] else ""
        if name in _VALUED and value:
            asked["n" if name == "number" else name] = _ALIASES.get(value, value)
            return ""
        return found[0]

    words = _FLAG.sub(flag, text)
    for name, pattern in (("shape", _SHAPE), ("quality", _QUALITY), ("style", _STYLE)):
        if found := pattern.search(words):
            asked[name] = _ALIASES.get(found[1].lower(), found[1].lower())
            words = pattern.sub("", words, count=1)
    if _CLEAR.search(words):
        asked["background"] = "transparent"
        words = _CLEAR.sub("", words, count=1)
    if found := _COUNT.match(words.strip()):
        asked["n"] = str(_NUMBERS.get(found[1].lower(), found[1]))
        words = words.strip()[found.end() :]
    return asked, words.strip()


def _fits(size: str) -> bool:
    """OpenAI's bounds for gpt-image-2 and later: edges, ratio, pixels."""
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", size)
    if found is None:
        return False
    width, height = int(found[1]), int(found[2])
    if width % 16 or height % 16 or max(width, height) > 3840 or max(width, height) > 3 * min(width, height):
        return False
    return 655_360 <= width * height <= 8_294_400


_CHANGE = re.compile(
    r"(?:the )?(?:same|again|add|remove|now|but|without|with|more|less|brighter|darker)\b"
    r"|.*\b(?:it|the (?:last )?(?:picture|image|drawing))\b",
    re.IGNORECASE | re.DOTALL,
)


def is_change(request: str) -> bool:
    """Whether a request is about the last image: "make it brighter", "same at night"."""
    return _CHANGE.match(request.strip()) is not None
