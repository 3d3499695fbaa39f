"""Reads response bodies with a size limit, to protect the memory of this process."""

import math
from typing import Any

import aiohttp
import msgspec

MAX_BYTES = 16 * 2**20
"""The largest pages of Slack and Microsoft Graph have some megabytes."""
SMALL_BYTES = 2**20
"""For tokens, keys, and responses to posted messages."""
_CHUNK_BYTES = 64 * 1024


class ReplyTooLarge(aiohttp.ClientError):
    """A response exceeds the limit."""


async def read_body(response: aiohttp.ClientResponse, max_bytes: int = MAX_BYTES) -> bytes:
    """The whole body. Raises ReplyTooLarge, and errors of aiohttp."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            response.close()
            raise ReplyTooLarge(f"a response is larger than {max_bytes} bytes")
    return bytes(body)


async def read_object(response: aiohttp.ClientResponse, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The body as a JSON object. Raises ReplyTooLarge, ValueError, and errors of aiohttp."""
    return decode_object(await read_body(response, max_bytes))


def decode_object(body: bytes) -> dict[str, Any]:
    """Bytes as a JSON object. Raises ValueError for any other content."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"the response is not a JSON object: {type(error).__name__}") from error


def seconds(value: object, most: float = 86_400.0) -> float | None:
    """A number of seconds from a service, capped at `most` (a day); None if it is not a finite number."""
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, number), most) if math.isfinite(number) else None
