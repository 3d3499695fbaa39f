"""Downloads people's attachments."""

import re

import aiohttp
import msgspec
from msgspec.structs import replace

from adapters.shared.http_responses import ReplyTooLarge, read_body
from adapters.teams.api.connector import Connector
from adapters.teams.cloud import Cloud
from bot.domain import formats
from bot.domain.errors import NotAllowed, PlatformUnavailable
from bot.domain.events import Attachment
from bot.domain.words import marked

FILE_LIMIT_BYTES = 20 * 1024 * 1024
_METADATA_BYTES = 64 * 1024
_SHARED = re.compile(r"/:[a-z]:/")
"""In the path of a link for people, in place of a link to the content."""
_ID = re.compile(r"[\w-]{1,64}")
_SIGN_IN = marked("I can't open {name} because Teams returned a sign-in page. Please attach it again.")
_EXPIRED = marked("I can't open {name} because its link has expired. Please attach it again.")
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)


class _View(msgspec.Struct):
    id: str = msgspec.field(name="viewId")


class _AttachmentInfo(msgspec.Struct):
    views: list[_View]


async def fetch(
    session: aiohttp.ClientSession, connector: Connector, cloud: Cloud, attachment: Attachment
) -> bytes:
    """The bytes of a file or an inline image. Raises NotAllowed, PlatformUnavailable.

    A file's link is already authorized, so it never receives the bot's token. An inline image is at the
    service that delivered the message, which requires the token.
    """
    data = await _download(session, connector, cloud, attachment)
    if attachment.data.get("kind") == "inline" and (view := _view(attachment.data.get("url", ""), data)):
        content = replace(attachment, data={**attachment.data, "url": view})
        data = await _download(session, connector, cloud, content)
    is_page = data[:64].lstrip().lower().startswith((b"<!doctype html", b"<html"))
    if is_page and not attachment.mime.startswith("text/"):
        raise _closed(
            attachment,
            marked("I can't open {name} because Teams returned a sign-in page. Please attach it again."),
        )
    return data


def _closed(attachment: Attachment, message: str) -> NotAllowed:
    """The error for a link that can't be opened. Teams on phones gives links that need a sign-in; attaching the file
    there again makes another one (OfficeDev/Microsoft-Teams-Samples#1314).
    """
    if _SHARED.search(attachment.data.get("url", "")):
        message = marked(
            "I can't open {name} because its link needs a sign-in. Please attach it from Teams on a computer."
        )
    return NotAllowed(message, name=attachment.name)


def _view(url: str, data: bytes) -> str:
    """The address of the content if `data` is the metadata of a stored file (Bot Connector, AttachmentInfo)."""
    if "/views/" in url or len(data) > _METADATA_BYTES or not data.lstrip().startswith(b"{"):
        return ""
    try:
        views = msgspec.json.decode(data, type=_AttachmentInfo).views
    except msgspec.MsgspecError:
        return ""
    named = [view.id for view in views if _ID.fullmatch(view.id)]
    chosen = "original" if "original" in named else next(iter(named), "")
    return f"{url.partition('?')[0].rstrip('/')}/views/{chosen}" if chosen else ""


async def _download(
    session: aiohttp.ClientSession, connector: Connector, cloud: Cloud, attachment: Attachment
) -> bytes:
    url, inline = attachment.data.get("url", ""), attachment.data.get("kind") == "inline"
    if not (cloud.serves(url) if inline else cloud.holds_files(url)):
        raise NotAllowed(
            "I can't open {name} because it is stored outside Microsoft 365. Please attach the file.",
            name=attachment.name,
        )
    headers = await connector.headers() if inline else {}
    try:
        async with session.get(url, headers=headers, timeout=_TIMEOUT, allow_redirects=False) as response:
            if response.status == 429 or response.status >= 500:
                raise PlatformUnavailable(f"A download from Teams returned status {response.status}")
            if response.status != 200:
                raise _closed(
                    attachment,
                    marked("I can't open {name} because its link has expired. Please attach it again."),
                )
            data = await read_body(response, FILE_LIMIT_BYTES)
    except ReplyTooLarge:
        raise NotAllowed(
            "{name} is larger than the limit of {limit}. Please attach a smaller file.",
            name=attachment.name,
            limit=formats.size(FILE_LIMIT_BYTES >> 20),
        ) from None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise PlatformUnavailable(f"A download from Teams failed: {type(error).__name__}") from error
    return data
