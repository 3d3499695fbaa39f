"""Bodies of replies, read within a bound: no service may fill this process' memory."""

import math
from typing import Any

import aiohttp
import msgspec

MOST_BYTES = 16 * 2**20
"""The largest pages of Slack and Graph have some megabytes."""
SMALL_BYTES = 2**20
"""Of tokens, keys, and what a posted message is answered with."""
_CHUNK_BYTES = 64 * 1024


class ReplyTooLarge(aiohttp.ClientError):
    """A reply has more bytes than it may."""


async def read_body(response: aiohttp.ClientResponse, most_bytes: int = MOST_BYTES) -> bytes:
    """The whole body. Raises ReplyTooLarge, and what aiohttp raises."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > most_bytes:
            response.close()
            raise ReplyTooLarge(f"a reply is larger than {most_bytes} bytes")
    return bytes(body)


async def read_object(response: aiohttp.ClientResponse, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The body as a JSON object. Raises ReplyTooLarge, ValueError, and what aiohttp raises."""
    return decode_object(await read_body(response, most_bytes))


def decode_object(body: bytes) -> dict[str, Any]:
    """Bytes as a JSON object. Raises ValueError, whatever they hold."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"the reply is no JSON object: {type(error).__name__}") from error


def seconds(value: object, most: float = 86_400.0) -> float | None:
    """A number of seconds that a service names; None for anything else, and at most a day."""
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, number), most) if math.isfinite(number) else None
