"""Files in both directions: what a person sent is fetched with care, pictures of an answer are uploaded."""

import hashlib
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from adapters.slack.api.web_api import SlackRejected, SlackUnsure, WebApi
from adapters.slack.formatting import blocks
from bot.domain.errors import NotAllowed, PlatformUnavailable, Refused, TooLong
from bot.domain.events import Attachment
from bot.domain.prompts import Image

log = logging.getLogger(__name__)

FILE_LIMIT_BYTES = 20 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
FILE_PATIENCE_S = 20.0
SLACK_DOMAIN = "slack.com"
NOT_A_MEMBER = frozenset({"not_in_channel", "channel_not_found"})

SIGN_IN_PAGE = (
    "Slack gave me a sign-in page in place of {name}. The app lacks the permission to read files: "
    "an administrator can add the scope files:read and install the app again."
)


async def fetch(api: WebApi, attachment: Attachment) -> bytes:
    """The bytes of a person's file. Raises Refused in words, PlatformUnavailable.

    The token goes to hosts of Slack only and never follows a redirect.
    """
    name = attachment.name or "that file"
    url = attachment.data.get("url") or await _address(api, attachment, name)
    if not _trusted(url, api.api_url):
        raise NotAllowed(f"I can't open {name}: it is kept outside Slack. Please upload the file itself.")
    if (attachment.size_bytes or 0) > FILE_LIMIT_BYTES:
        raise _too_large(name)
    try:
        async with api.session.get(url, headers=api.bearer, allow_redirects=False) as response:
            if 300 <= response.status < 400:
                raise NotAllowed(SIGN_IN_PAGE.format(name=name))
            if response.status >= 500 or response.status == 429:
                raise PlatformUnavailable(f"Slack answered a download with status {response.status}")
            if response.status != 200:
                raise Refused(f"Slack did not give me {name}. Please upload it again.")
            content = await _capped(response, name)
            mime = response.content_type
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise PlatformUnavailable(f"a download from Slack broke off: {type(error).__name__}") from error
    if _is_sign_in_page(content, mime, attachment):
        raise NotAllowed(SIGN_IN_PAGE.format(name=name))
    return content


async def _address(api: WebApi, attachment: Attachment, name: str) -> str:
    """Files of Slack Connect channels come without an address (`file_access: check_file_info`)."""
    try:
        info = await api.call("files.info", {"file": attachment.id}, patience_s=FILE_PATIENCE_S)
    except SlackRejected as error:
        raise NotAllowed(f"Slack does not let me open {name} ({error.code}).") from error
    file = info.get("file", {})
    return str(file.get("url_private_download") or file.get("url_private") or "")


async def _capped(response: aiohttp.ClientResponse, name: str) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        content += chunk
        if len(content) > FILE_LIMIT_BYTES:
            raise _too_large(name)
    return bytes(content)


def _too_large(name: str) -> TooLong:
    return TooLong(f"{name} is larger than {FILE_LIMIT_BYTES // 1024**2} MB, which is more than I can read.")


def _trusted(url: str, api_url: str) -> bool:
    there, api = urlsplit(url), urlsplit(api_url)
    if (there.scheme, there.netloc) == (api.scheme, api.netloc):
        return True
    host = there.hostname or ""
    return there.scheme == "https" and (host == SLACK_DOMAIN or host.endswith("." + SLACK_DOMAIN))


def _is_sign_in_page(content: bytes, mime: str, attachment: Attachment) -> bool:
    """Without files:read Slack answers 200 with a page; a page that was asked for has the announced size."""
    start = content[:256].lstrip().lower()
    page = mime == "text/html" or start.startswith((b"<!doctype html", b"<html"))
    asked_for_a_page = attachment.mime == "text/html" and attachment.size_bytes in (None, len(content))
    return page and not asked_for_a_page


class ImageUploads:
    """The pictures of one answer in its thread. A file's name tells its answer, so that none comes twice."""

    def __init__(self, api: WebApi, data: Mapping[str, str]) -> None:
        self._api, self._data = api, data
        self._mark = hashlib.blake2b(data["event"].encode(), digest_size=6).hexdigest()
        recorded = (entry.partition("=") for entry in data.get("files", "").split())
        self._files = {name: file_id for name, _, file_id in recorded}

    @property
    def recorded(self) -> str:
        """For `PostedMessage.data`: what was uploaded."""
        return " ".join(f"{name}={file_id}" for name, file_id in self._files.items())

    def found(self, files: Iterable[Mapping[str, Any]]) -> None:
        """Take up what an earlier attempt uploaded."""
        for file in files:
            if str(file.get("name", "")).startswith(self._mark):
                self._files[str(file["name"])] = str(file["id"])

    async def show(self, images: Sequence[Image], digest: str) -> None:
        """Upload what is missing, and delete what an earlier answer to the same question left."""
        wanted = {
            f"{self._mark}-{digest}-{number}.{_suffix(image)}": image for number, image in enumerate(images)
        }
        for name, image in wanted.items():
            if name not in self._files:
                self._files[name] = await self._upload(name, image)
        for name in [name for name in self._files if name not in wanted]:
            try:
                await self._api.call("files.delete", {"file": self._files.pop(name)})
            except PlatformUnavailable as error:
                log.info("a picture that is no longer needed stays: %s", error)

    async def _upload(self, name: str, image: Image) -> str:
        alt = image.alt[: blocks.ALT_LIMIT]
        asked = {"filename": name, "length": len(image.data), **({"alt_txt": alt} if alt else {})}
        place = await self._api.call("files.getUploadURLExternal", asked, patience_s=FILE_PATIENCE_S)
        try:
            async with self._api.session.post(place["upload_url"], data=io.BytesIO(image.data)) as response:
                if response.status >= 500 or response.status == 429:
                    raise SlackUnsure(f"Slack answered an upload with status {response.status}")
                if response.status != 200:
                    raise SlackRejected("an upload", f"status {response.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SlackUnsure(f"an upload to Slack broke off: {type(error).__name__}") from error
        done = {"files": [{"id": place["file_id"], "title": alt or "Picture"}]}
        if not self._data.get("thread"):
            await self._share(done, FILE_PATIENCE_S)
        else:
            try:
                await self._share(done, patience_s=0.0)
            except SlackUnsure:
                if not await self._is_there(name):
                    raise
        return str(place["file_id"])

    async def _is_there(self, name: str) -> bool:
        """Whether a picture is in the thread, whose sharing Slack did not answer: a second one would stay."""
        args = {
            "channel": self._data["channel"],
            "ts": self._data["thread"],
            "oldest": self._data["question"],
            "limit": 200,
        }
        found = await self._api.call("conversations.replies", args, patience_s=FILE_PATIENCE_S)
        messages: list[dict[str, Any]] = found.get("messages", [])
        return any(file.get("name") == name for message in messages for file in message.get("files") or ())

    async def _share(self, done: dict[str, Any], patience_s: float) -> None:
        """Into the thread; where the bot is not a member, into the asker's own channel with it."""
        place = {"channel_id": self._data["channel"]}
        if self._data.get("thread"):
            place["thread_ts"] = self._data["thread"]
        try:
            await self._api.call("files.completeUploadExternal", done | place, patience_s=patience_s)
        except SlackRejected as error:
            if error.code not in NOT_A_MEMBER or not self._data.get("user"):
                raise
            opened = await self._api.call("conversations.open", {"users": self._data["user"]})
            place = {"channel_id": str(opened["channel"]["id"])}
            await self._api.call("files.completeUploadExternal", done | place, patience_s=FILE_PATIENCE_S)


def _suffix(image: Image) -> str:
    return {"image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}.get(image.mime, "png")
