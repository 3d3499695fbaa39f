"""Tokens of an image in a prompt, by the rules of model families."""

import struct
from math import ceil, sqrt
from typing import Literal

import msgspec

from bot.domain.prompts import Image

Detail = Literal["low", "high", "auto"]
"""How closely a model looks. Parley sends none, which is `auto`: up to the cost of `high`."""

_TILE, _SQUARE, _SHORT_SIDE = 512, 2048, 768
_PATCH = 32
_MOST_SEGMENTS = 1000


class ImageRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an image costs a family in tokens.

    Either `base` and `tile` for each square of 512 pixels, or `patch` for each square of 32 pixels, of which there are
    at most `most`. Rules and numbers are from "Images and vision" in OpenAI's documentation, and from "Image tokens" in
    that of Azure OpenAI.
    """

    base: int = 0
    tile: int = 0
    patch: float = 0.0
    most: int = 1536


UNKNOWN = ImageRule(patch=1.2, most=2500)
"""The rule of the newest families, for those whose rule is not documented."""


def image_tokens(rule: ImageRule, width: int, height: int, detail: Detail = "auto") -> int:
    """The tokens of an image of this size in pixels.

    Families with patches ignore `detail`.
    """
    width, height = max(width, 1), max(height, 1)
    if rule.patch:
        return ceil(_patches(width, height, rule.most) * rule.patch)
    if detail == "low":
        return rule.base
    shrink = min(1.0, _SQUARE / max(width, height))
    shrink *= min(1.0, _SHORT_SIDE / (min(width, height) * shrink))
    tiles = ceil(round(width * shrink, 3) / _TILE) * ceil(round(height * shrink, 3) / _TILE)
    return rule.base + tiles * rule.tile


def _patches(width: int, height: int, most: int) -> int:
    """The patches that cover an image, which is scaled down to `most` of them if it has more."""
    patches = ceil(width / _PATCH) * ceil(height / _PATCH)
    if patches <= most:
        return patches
    shrink = sqrt(most * _PATCH**2 / (width * height))
    wide, high = width * shrink / _PATCH, height * shrink / _PATCH
    shrink *= min(max(int(wide), 1) / wide, max(int(high), 1) / high)
    return min(ceil(width * shrink / _PATCH) * ceil(height * shrink / _PATCH), most)


def tokens_of(image: Image, rule: ImageRule) -> int:
    """The tokens of an image in a prompt; the most that one can cost if its size cannot be read."""
    if (size := image_size(image.data)) is not None:
        return image_tokens(rule, *size)
    if rule.patch:
        return ceil(rule.most * rule.patch)
    return image_tokens(rule, _SQUARE, _SHORT_SIDE)


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, from the first bytes of a PNG, GIF, JPEG or WebP; None if they cannot be read."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith((b"GIF87a", b"GIF89a")):
            width, height = struct.unpack_from("<HH", data, 6)
        elif data.startswith(b"\xff\xd8"):
            width, height = _jpeg_size(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            width, height = _webp_size(data)
        else:
            return None
    except (struct.error, IndexError):
        return None
    return (width, height) if width and height else None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """From the header of the frame (ITU T.81, B.2.2), which follows segments with other content."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        marker = data[at + 1]
        if data[at] != 0xFF:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", data, at + 2)[0]
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    """From the first chunk (RFC 9649)."""
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(_bytes(data, 24, 3), "little"),
            1 + int.from_bytes(_bytes(data, 27, 3), "little"),
        )
    if kind == b"VP8L":
        bits = int.from_bytes(_bytes(data, 21, 4), "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _bytes(data: bytes, at: int, count: int) -> bytes:
    if len(data) < at + count:
        raise IndexError("the header is cut off")
    return data[at : at + count]
