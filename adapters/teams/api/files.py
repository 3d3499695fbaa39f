"""The bytes of what a person attached."""

import aiohttp

from adapters.teams.api.connector import Connector
from adapters.teams.cloud import Cloud
from bot.domain.errors import NotAllowed, PlatformUnavailable
from bot.domain.events import Attachment

FILE_LIMIT_BYTES = 20 * 1024 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)


async def fetch(
    session: aiohttp.ClientSession, connector: Connector, cloud: Cloud, attachment: Attachment
) -> bytes:
    """The bytes of a file or an inline picture. Raises NotAllowed (in words), PlatformUnavailable.

    A file's link is already authorised, so it never sees the bot's token; a picture in a message lies at
    the service that delivered it, the only place where the token is shown.
    """
    url, inline = attachment.data.get("url", ""), attachment.data.get("kind") == "inline"
    if not (cloud.serves(url) if inline else cloud.holds_files(url)):
        raise NotAllowed(f"I can't open {attachment.name}: it lies at a place that I don't fetch files from.")
    headers = await connector.headers() if inline else {}
    try:
        async with session.get(url, headers=headers, timeout=_TIMEOUT, allow_redirects=False) as response:
            if response.status == 429 or response.status >= 500:
                raise PlatformUnavailable(f"Teams answered {response.status} for a file")
            if response.status != 200:
                raise NotAllowed(
                    f"I can't open {attachment.name}: Teams doesn't give it to me any more. "
                    "Please attach it again."
                )
            data = await response.content.read(FILE_LIMIT_BYTES + 1)
            while len(data) <= FILE_LIMIT_BYTES and (more := await response.content.read(FILE_LIMIT_BYTES)):
                data += more
    except (aiohttp.ClientError, TimeoutError) as error:
        raise PlatformUnavailable(f"a file could not be fetched: {type(error).__name__}") from error
    if len(data) > FILE_LIMIT_BYTES:
        raise NotAllowed(
            f"{attachment.name} is larger than {FILE_LIMIT_BYTES >> 20} MB; that is too much for me."
        )
    if not attachment.mime.startswith("text/") and data[:64].lstrip().lower().startswith(
        (b"<!doctype html", b"<html")
    ):
        raise NotAllowed(f"I can't open {attachment.name}: in its place Teams sent me a sign-in page.")
    return data
