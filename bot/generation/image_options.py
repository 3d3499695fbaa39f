"""The options of an image request: as the tool `draw` or flags in a text give them, and what a model family can do."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from bot.domain.prompts import Image, Message, Parameters, Part, ToolCall, ToolResult
from bot.domain.words import Notice, marked, notice

NO_DESCRIPTION = marked("Describe the image that you want, for example: `/image a red bicycle`.")
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


# ------------------------------------------------------------------ what is asked for

Description = Annotated[
    str,
    msgspec.Meta(
        max_length=4000,
        description="What the picture shows, in the person's own words and language, with everything they said about "
        "subject, text, mood and colours. For a change: what to change, and what must stay as it is.",
    ),
]
"""Current image models accept at least 4000 characters."""
Size = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^\d{2,5}x\d{2,5}$", description="Width x height in pixels, only if asked for: 1536x1024."
    ),
]
AspectRatio = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(square|landscape|portrait|\d{1,2}(\.\d{1,3})?:\d{1,2}(\.\d{1,3})?)$",
        description="The shape, only if asked for: square, landscape, portrait, or a ratio such as 16:9.",
    ),
]
Number = Annotated[int, msgspec.Meta(ge=1, le=10, description="How many different pictures are asked for.")]
Quality = Annotated[
    Literal["low", "medium", "high", "standard", "hd", "auto"],
    msgspec.Meta(description="Only if asked for. A draft is low; best or print quality is high."),
]
Background = Annotated[
    Literal["transparent", "opaque", "auto"],
    msgspec.Meta(description="Only if asked for. Without a background, or cut out, is transparent."),
]
Style = Annotated[
    str,
    msgspec.Meta(
        max_length=200,
        description="Only if asked for: natural, vivid, or a style in words such as watercolour.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """A description with the options that were asked for; None: not mentioned. `change`: edit the last picture."""

    words: str
    size: str | None = None
    aspect_ratio: str | None = None
    number: int = 1
    quality: str | None = None
    background: str | None = None
    style: str | None = None
    change: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """The description and its options; `notes` name the options that are not supported."""

    words: str
    parameters: Parameters
    notes: tuple[Notice, ...] = ()


_QUALITIES = {"hd": "high", "standard": "medium"}
_PLAIN_QUALITIES = {"hd": "high", "medium": "standard"}
"""Other names of the same quality: gpt-image knows low, medium and high, DALL-E standard and hd."""


def resolve(asked: ImageRequest, usual: Parameters, family: str) -> ImageOptions:
    """The parameters for this family. What it can't do is left out, or replaced by the nearest, with a note."""
    can, notes, words = capabilities_of(family), list[Notice](), asked.words
    chosen, shape_notes = _sized(asked, usual, can)
    notes += shape_notes
    quality = None if asked.quality == "auto" else asked.quality
    if quality is not None:
        quality = (_PLAIN_QUALITIES if "standard" in can.qualities else _QUALITIES).get(quality, quality)
        if quality in can.qualities:
            chosen = replace(chosen, quality=quality)
        else:
            notes.append(notice(_NO_QUALITY, option=str(asked.quality)))
    if asked.style in ("natural", "vivid"):
        if asked.style in can.styles:
            chosen = replace(chosen, style=asked.style)
        else:
            notes.append(notice(_NO_STYLE, option=str(asked.style)))
    elif asked.style:
        words = f"{words}\n\nStyle: {asked.style}"
    if asked.background in ("transparent", "opaque") and can.transparent:
        chosen = replace(chosen, background=asked.background)
    elif asked.background == "transparent":
        notes.append(notice(_NOT_TRANSPARENT))
    if asked.number > 1 or chosen.images is not None:
        number = asked.number if asked.number > 1 else chosen.images or 1
        chosen = replace(chosen, images=min(number, can.most))
        if asked.number > can.most:
            notes.append(notice(_ONE if can.most == 1 else _AT_MOST, count=can.most))
    return ImageOptions(words=words, parameters=chosen, notes=tuple(notes))


_NO_QUALITY = marked("This model can't generate images in the quality {option}, so I ignored that option.")
_NO_STYLE = marked("This model can't generate images in the style {option}, so I ignored that option.")
_NOT_TRANSPARENT = marked(
    "This model can't generate images on a transparent background, so I ignored that option."
)
_ONE = marked("This model generates one image at a time.")
_AT_MOST = marked("This model generates at most {count} images at a time.")
_NO_FORMAT = marked("This model can't generate images in the format {option}, so I ignored that option.")
_NEAREST = marked(
    "This model can't generate images in the format {option}; {size} is the nearest that it can."
)


def done(parameters: Parameters, number: int, actual: str = "") -> str:
    """What was generated, for the model: "2 pictures, 1536x1024, transparent background". `actual` is the size."""
    size = parameters.size if parameters.size not in (None, "auto") else actual
    facts = [
        "1 picture" if number == 1 else f"{number} pictures",
        size or "",
        f"{parameters.quality} quality" if parameters.quality else "",
        f"{parameters.background} background" if parameters.background else "",
        f"{parameters.style} style" if parameters.style else "",
    ]
    return ", ".join(fact for fact in facts if fact)


# ------------------------------------------------------------------ sizes


def _sized(
    asked: ImageRequest, usual: Parameters, can: ImageCapabilities
) -> tuple[Parameters, Sequence[Notice]]:
    """The parameters with the nearest size that the family supports, and a note if that differs from the request."""
    if asked.size is not None:
        width, height = map(int, asked.size.split("x"))
        size = asked.size if _supports(can, asked.size) else _nearest(width, height, can)
        exact = size == asked.size
        what = asked.size
    elif asked.aspect_ratio in ("square", "landscape", "portrait"):
        what = asked.aspect_ratio
        size = can.shapes.get(asked.aspect_ratio)
        if size is None:
            return usual, [notice(_NO_FORMAT, option=what)]
        exact = True
    elif asked.aspect_ratio is not None:
        what, ratio = asked.aspect_ratio, _ratio(asked.aspect_ratio)
        if ratio is None:
            return usual, [notice(_NO_FORMAT, option=what)]
        size = _of_ratio(ratio, can)
        exact = abs(math.log(_shape(size) / float(ratio))) < _SAME_SHAPE
    else:
        return usual, []
    return replace(usual, size=size), [] if exact else [notice(_NEAREST, option=what, size=size)]


_SAME_SHAPE = 0.02
"""A difference of two percent between width and height is not worth a note."""
_PIXELS = 1024 * 1536
_MOST_PIXELS, _LEAST_PIXELS, _LONGEST_EDGE, _MOST_RATIO, _STEP = 8_294_400, 655_360, 3840, 3, 16
"""OpenAI's bounds for gpt-image-2 and later: https://platform.openai.com/docs/guides/image-generation"""


def _supports(can: ImageCapabilities, size: str) -> bool:
    return size in can.sizes or size in can.shapes.values() or (can.free and _fits(size))


def _fits(size: str) -> bool:
    width, height = map(int, size.split("x"))
    if width % _STEP or height % _STEP or max(width, height) > _LONGEST_EDGE:
        return False
    if max(width, height) > _MOST_RATIO * min(width, height):
        return False
    return _LEAST_PIXELS <= width * height <= _MOST_PIXELS


def _nearest(width: int, height: int, can: ImageCapabilities) -> str:
    """The supported size that is most like this one: first in its shape, then in its pixels."""
    width, height = max(width, 1), max(height, 1)
    if can.free:
        return _free(width / height, width * height)
    sizes = (*can.shapes.values(), *can.sizes)

    def difference(size: str) -> tuple[float, float]:
        shape = abs(math.log(_shape(size) * height / width))
        return round(shape, 3), abs(math.log(_area(size) / (width * height)))

    return min(sizes, key=difference)


def _of_ratio(ratio: Fraction, can: ImageCapabilities) -> str:
    """A size of this aspect ratio: exact in families with free sizes, else the nearest shape."""
    usual = shape_of(ratio.numerator, ratio.denominator, can)
    if not can.free or _shape(usual) == float(ratio):
        return usual
    unit = _STEP * _STEP * ratio.numerator * ratio.denominator
    times = round(math.sqrt(_PIXELS / unit))
    exact = f"{_STEP * ratio.numerator * times}x{_STEP * ratio.denominator * times}"
    return exact if times and _fits(exact) else _free(float(ratio), _PIXELS)


def _free(shape: float, pixels: float) -> str:
    """The size of about this shape and number of pixels, within the bounds."""
    shape = min(max(shape, 1 / _MOST_RATIO), _MOST_RATIO)
    pixels = min(max(pixels, _LEAST_PIXELS), _MOST_PIXELS, _LONGEST_EDGE**2 * min(shape, 1 / shape))
    width, height = math.sqrt(pixels * shape), math.sqrt(pixels / shape)

    def steps(edge: float) -> tuple[int, int]:
        return _STEP * int(edge // _STEP), _STEP * -int(-edge // _STEP)

    sizes = [f"{w}x{h}" for w in steps(width) for h in steps(height)]
    wanted = [size for size in sizes if _fits(size)] or list(_USUAL.values())
    return min(wanted, key=lambda size: abs(math.log(_shape(size) / shape)))


def shape_of(width: int, height: int, can: ImageCapabilities) -> str:
    """The supported size with the nearest aspect ratio, so that an edited image keeps its shape."""
    return min(can.shapes.values(), key=lambda size: abs(math.log(_shape(size) * height / width)))


def _shape(size: str) -> float:
    width, height = map(int, size.split("x"))
    return width / height


def _area(size: str) -> int:
    width, height = map(int, size.split("x"))
    return width * height


def _ratio(text: str) -> Fraction | None:
    width, height = map(Fraction, text.split(":"))
    return width / height if width and height else None


# ------------------------------------------------------------------ flags in a text

_FLAG = re.compile(r"(?:^|\s)--(\w+)(?:[ =]([\w.:]+))?(?=[\s,;.!?]|$)")
_SHAPES = {
    "wide": "landscape",
    "tall": "portrait",
    **{shape: shape for shape in ("square", "landscape", "portrait")},
}
_SIZE = re.compile(r",?\s*(?<![\w:.])(\d{3,4})\s?[x×]\s?(\d{3,4})(?![\w:])", re.I | re.A)
_RATIO = re.compile(r",?\s*(?<![\w:.])(1:1|[32]:[23]|[43]:[34]|16:9|9:16|21:9|[54]:[45])(?![\w:])", re.A)
"""Ratios that are no times of day, as 16:10 would be."""
_SPACES = re.compile(r"(\s\s)\s+")
"""Long runs of spaces are collapsed first: the patterns above take quadratic time on them."""


def read(text: str) -> ImageRequest:
    """A request without a chat model that understands it: flags such as `--n 2`, sizes and ratios are its options."""
    found: dict[str, str] = {}

    def flag(match: re.Match[str]) -> str:
        name, value = match[1].lower(), (match[2] or "").lower()
        if bare := _bare(name):
            found.update(bare)
            return f" {match[2]}" if match[2] else ""
        if value and name in _VALUED:
            found[_VALUED[name]] = value
            return ""
        return match[0]

    words = _FLAG.sub(flag, _SPACES.sub(r"\1", text))
    for name, pattern in (("size", _SIZE), ("aspect_ratio", _RATIO)):
        if name not in found and (match := pattern.search(words)):
            found[name] = "x".join(match.groups())
            words = words[: match.start()] + words[match.end() :]
    return _request(words.strip(), found)


_VALUED = {
    "n": "number",
    "shape": "aspect_ratio",
    "ratio": "aspect_ratio",
    **{name: name for name in ("size", "number", "quality", "background", "style")},
}


def _bare(name: str) -> dict[str, str]:
    """The option that a flag without a value stands for."""
    if name in _SHAPES:
        return {"aspect_ratio": _SHAPES[name]}
    return {"transparent": {"background": name}, "hd": {"quality": name}, "change": {"change": name}}.get(
        name, {}
    )


def _request(words: str, found: Mapping[str, str]) -> ImageRequest:
    """The request; a value that is none of its option's is left out."""
    shape = found.get("aspect_ratio", "")
    shape = _SHAPES.get(shape, shape)
    number = found.get("number", "")
    return ImageRequest(
        words=words,
        size=found["size"] if re.fullmatch(r"\d{2,5}x\d{2,5}", found.get("size", "")) else None,
        aspect_ratio=shape if shape in _SHAPES or re.fullmatch(r"\d{1,2}:\d{1,2}", shape) else None,
        number=max(1, int(number[:4])) if number.isdecimal() else 1,
        quality=found.get("quality"),
        background=found.get("background"),
        style=found.get("style"),
        change="change" in found,
    )


# ------------------------------------------------------------------ in the history


_SHOWN = 1000
"""Characters of a description by the image model, which can be four times as long."""


def as_call(
    words: str, parameters: Parameters, images: Sequence[Image], *, changed: bool
) -> tuple[Message, Message]:
    """A generated image in the history: a call of the tool `draw` with its result.

    As text, models would imitate it instead of calling the tool.
    """
    id = f"call_{images[0].ref}" if images and images[0].ref else "call_draw"
    arguments: dict[str, object] = {"prompt": words}
    arguments |= {"change_last_picture": True} if changed else {}
    call = ToolCall(id=id, name="draw", arguments=msgspec.json.encode(arguments).decode())
    text = f"Done: {done(parameters, len(images))}."
    if images and images[0].alt not in ("", words):  # for models that don't see it
        text += f" It shows: {images[0].alt[:_SHOWN]}"
    result = ToolResult(id=id, text=text)
    return Message(role="assistant", parts=(call,)), Message(role="tool", parts=(result,))


def called(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Messages of an earlier turn with the images of the model as calls of the tool `draw`.

    Turns stored by older versions hold the images themselves, and calls with another name of `prompt`.
    """
    found: list[Message] = []
    words = ""
    for message in messages:
        images = [part for part in message.parts if isinstance(part, Image)]
        if message.role == "user":
            words = message.text.strip()
            found.append(message)
        elif images:
            alt = images[0].alt
            found += as_call(words or alt, Parameters(), images, changed=False)
        else:
            found.append(replace(message, parts=tuple(map(_renamed, message.parts))))
    return tuple(found)


def _renamed(part: Part) -> Part:
    """A call of `draw` with today's name of its description."""
    if not (isinstance(part, ToolCall) and part.name == "draw" and '"description"' in part.arguments):
        return part
    try:
        arguments = msgspec.json.decode(part.arguments, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return part
    if "prompt" in arguments or "description" not in arguments:
        return part
    arguments = {"prompt": arguments.pop("description"), **arguments}
    return replace(part, arguments=msgspec.json.encode(arguments).decode())
