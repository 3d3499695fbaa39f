"""Tells whether the bytes of an image hold anything besides pixels: metadata, previews, trailing data."""

import re
import struct

HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)
"""Major brands of ISO 23008-12, which iPhones and some Android phones write."""
_PNG_CHUNKS = frozenset(
    (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs")
)
"""Chunks without text, time or profile. (The specification of PNG, section 11.)"""
_WEBP_CHUNKS = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH"))
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The next marker after compressed JPEG data, which escapes 0xff as 0xff 0x00."""
_TABLES = frozenset((0xC4, 0xDB, 0xDD, 0xCC))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JFIF_BYTES, _ADOBE_BYTES = 16, 14
"""Lengths of the segments JFIF without a preview, and Adobe, which says how colours are stored."""
_MOST_PARTS = 10_000


def is_heif(data: bytes) -> bool:
    """Whether these are the bytes of a HEIC or HEIF photo, whatever its name says."""
    return data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS


def only_pixels(data: bytes, format: str) -> bool:
    """Whether a PNG, JPEG or WebP has no metadata of any kind; False for other formats and when in doubt."""
    known = {"PNG": _is_bare_png, "JPEG": _is_bare_jpeg, "WEBP": _is_bare_webp}
    try:
        return format in known and known[format](data)
    except (struct.error, IndexError):
        return False


def _is_bare_png(data: bytes) -> bool:
    at = 8
    for _ in range(_MOST_PARTS):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind not in _PNG_CHUNKS:
            return False
        at += 12 + size
        if kind == b"IEND":
            return at == len(data)
    return False


def _is_bare_webp(data: bytes) -> bool:
    if struct.unpack_from("<I", data, 4)[0] + 8 != len(data):
        return False
    at = 12
    for _ in range(_MOST_PARTS):
        if at >= len(data):
            return at == len(data)
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind not in _WEBP_CHUNKS:
            return False
        at += 8 + size + size % 2
    return False


def _is_bare_jpeg(data: bytes) -> bool:
    at = 2
    for _ in range(_MOST_PARTS):
        marker = data[at + 1]
        if data[at] != 0xFF:
            return False
        if marker == 0xD9:
            return at + 2 == len(data)
        (size,) = struct.unpack_from(">H", data, at + 2)
        if not _is_needed(marker, size, data[at + 4 : at + 9]):
            return False
        at += 2 + size
        if marker == 0xDA:
            found = _MARKER.search(data, at)
            if found is None:
                return False
            at = found.start()
    return False


def _is_needed(marker: int, size: int, begins: bytes) -> bool:
    """Whether a segment of a JPEG is needed to decode it."""
    if marker == 0xE0:
        return begins == b"JFIF\0" and size == _JFIF_BYTES
    if marker == 0xEE:
        return begins == b"Adobe" and size == _ADOBE_BYTES
    return marker == 0xDA or marker in _TABLES or marker in _FRAMES
