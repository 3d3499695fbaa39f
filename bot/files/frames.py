"""The frames between the bot and a reader process: one letter, a length and so many bytes."""

import struct
from typing import NamedTuple

HEADER = struct.Struct("!cI")
"""The letter of a frame, and the number of bytes that follow."""

ASKED = b"q"
"""To the reader: `ASKING` and the MIME type that the sender named. A frame `DATA` follows."""
DATA = b"d"
"""To the reader: the bytes of the file."""
ASKING = struct.Struct("!I")
"""The bytes of UTF-8 that a text may have."""

TEXT = b"t"
"""From the reader: `MEASURED`, then text in UTF-8."""
PICTURE = b"p"
"""From the reader: `MEASURED`, the length of the MIME type in one byte, the MIME type, the picture."""
UNCHANGED = b"u"
"""From the reader: `MEASURED`, then the MIME type: models take the picture as it was sent."""
REFUSED = b"r"
"""From the reader: `MEASURED`, then words for the person."""
BROKEN = b"b"
"""From the reader: `MEASURED`, then the name of the exception that reading the file ended with."""
MEASURED = struct.Struct("!QQ")
"""The most memory that the process has had resident, in bytes; the characters of the whole text."""


class ScaledImage(NamedTuple):
    """A picture that models take."""

    mime: str
    data: bytes


class ExtractedText(NamedTuple):
    """The beginning of a document's text, and how many characters were found: a lower bound of the whole."""

    text: str
    characters: int


def frame(kind: bytes, *parts: bytes) -> bytes:
    """A frame of these parts."""
    return HEADER.pack(kind, sum(map(len, parts))) + b"".join(parts)


def cut(text: str, most_bytes: int) -> str:
    """The beginning of a text within so many bytes of UTF-8; no character is split."""
    most = max(most_bytes, 0)
    start = text[:most]  # a character takes a byte at least
    data = start.encode("utf-8", "replace")
    if len(start) == len(text) and len(data) <= most:
        return text
    return data[:most].decode("utf-8", "ignore")
