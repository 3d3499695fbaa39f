"""The protocol between the bot and a reader process: frames of a type, a length and a payload."""

import struct
from typing import NamedTuple

HEADER = struct.Struct("!cI")
"""Type (one letter) and payload length in bytes."""

ASKED = b"q"
"""To the reader: `ASKING`, then the MIME type given by the sender. A frame `DATA` follows."""
DATA = b"d"
"""To the reader: the bytes of the file."""
ASKING = struct.Struct("!I")
"""The limit for a text, in bytes of UTF-8."""

TEXT = b"t"
"""From the reader: `MEASURED`, then text in UTF-8."""
PICTURE = b"p"
"""From the reader: `MEASURED`, the length of the MIME type in one byte, the MIME type, the image."""
UNCHANGED = b"u"
"""From the reader: `MEASURED`, then the MIME type. The image needs no conversion."""
REFUSED = b"r"
"""From the reader: `MEASURED`, then a message for the person and the values of its placeholders, as JSON."""
BROKEN = b"b"
"""From the reader: `MEASURED`, then the name of the exception that was raised."""
MEASURED = struct.Struct("!QQ")
"""Peak resident memory of the process, in bytes; characters of the whole text."""


class ScaledImage(NamedTuple):
    """An image in a format and size that models accept."""

    mime: str
    data: bytes


class ExtractedText(NamedTuple):
    """The beginning of a document's text. `characters` is a lower bound for the length of the whole text."""

    text: str
    characters: int


def frame(kind: bytes, *parts: bytes) -> bytes:
    """Encode a frame."""
    return HEADER.pack(kind, sum(map(len, parts))) + b"".join(parts)


def cut(text: str, most_bytes: int) -> str:
    """The beginning of a text, at most `most_bytes` of UTF-8, without splitting a character."""
    most = max(most_bytes, 0)
    start = text[:most]  # a character takes at least one byte
    data = start.encode("utf-8", "replace")
    if len(start) == len(text) and len(data) <= most:
        return text
    return data[:most].decode("utf-8", "ignore")
