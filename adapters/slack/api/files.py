"""Downloads people's files and uploads the images of answers."""

import hashlib
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from adapters.shared.http_responses import ReplyTooLarge, read_body
from adapters.slack.api.web_api import SlackRejected, SlackUnsure, WebApi
from adapters.slack.formatting import blocks
from bot.domain.errors import NotAllowed, PlatformUnavailable, Refused, TooLong
from bot.domain.events import Attachment
from bot.domain.prompts import Image

log = logging.getLogger(__name__)

FILE_LIMIT_BYTES = 20 * 1024 * 1024
FILE_PATIENCE_S = 20.0
SLACK_DOMAIN = "slack.com"
NOT_A_MEMBER = frozenset({"not_in_channel", "channel_not_found"})

SIGN_IN_PAGE = (
    "Slack returned a sign-in page instead of {name}, because the app has no permission to read files. "
    "Ask an administrator to add the scope files:read and reinstall the app."
)


async def fetch(api: WebApi, attachment: Attachment) -> bytes:
    """The bytes of a person's file. Raises Refused, PlatformUnavailable.

    The token is sent to Slack's hosts only and never follows a redirect.
    """
    name = attachment.name or "that file"
    url = attachment.data.get("url") or await _address(api, attachment, name)
    if not _trusted(url, api.api_url):
        raise NotAllowed(f"I can't open {name} because it is stored outside Slack. Please upload the file.")
    if (attachment.size_bytes or 0) > FILE_LIMIT_BYTES:
        raise _too_large(name)
    try:
        async with api.session.get(url, headers=api.bearer, allow_redirects=False) as response:
            if 300 <= response.status < 400:
                raise NotAllowed(SIGN_IN_PAGE.format(name=name))
            if response.status >= 500 or response.status == 429:
                raise PlatformUnavailable(f"A download from Slack returned status {response.status}")
            if response.status != 200:
                raise Refused(f"I couldn't download {name} from Slack. Please upload it again.")
            content = await read_body(response, FILE_LIMIT_BYTES)
            mime = response.content_type
    except ReplyTooLarge:
        raise _too_large(name) from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise PlatformUnavailable(f"A download from Slack failed: {type(error).__name__}") from error
    if _is_sign_in_page(content, mime, attachment):
        raise NotAllowed(SIGN_IN_PAGE.format(name=name))
    return content


async def _address(api: WebApi, attachment: Attachment, name: str) -> str:
    """The URL of a file that came without one, as in Slack Connect (`file_access: check_file_info`)."""
    try:
        info = await api.call("files.info", {"file": attachment.id}, patience_s=FILE_PATIENCE_S)
    except SlackRejected as error:
        raise NotAllowed(
            f"Slack denied access to {name} ({error.code}). Please upload it in this conversation."
        ) from error
    file = info.get("file", {})
    return str(file.get("url_private_download") or file.get("url_private") or "")


def _too_large(name: str) -> TooLong:
    limit_mb = FILE_LIMIT_BYTES // 1024**2
    return TooLong(f"{name} is larger than the limit of {limit_mb} MB. Please upload a smaller file.")


def _trusted(url: str, api_url: str) -> bool:
    there, api = urlsplit(url), urlsplit(api_url)
    if (there.scheme, there.netloc) == (api.scheme, api.netloc):
        return True
    host = there.hostname or ""
    return there.scheme == "https" and (host == SLACK_DOMAIN or host.endswith("." + SLACK_DOMAIN))


def _is_sign_in_page(content: bytes, mime: str, attachment: Attachment) -> bool:
    """Whether the content is Slack's sign-in page (status 200 without files:read) and not an HTML file."""
    start = content[:256].lstrip().lower()
    page = mime == "text/html" or start.startswith((b"<!doctype html", b"<html"))
    is_html_file = attachment.mime == "text/html" and attachment.size_bytes in (None, len(content))
    return page and not is_html_file


class ImageUploads:
    """The images of one answer. File names identify the answer, so that no image is uploaded twice."""

    def __init__(self, api: WebApi, data: Mapping[str, str]) -> None:
        self._api, self._data = api, data
        self._mark = hashlib.blake2b(data["event"].encode(), digest_size=6).hexdigest()
        recorded = (entry.partition("=") for entry in data.get("files", "").split())
        self._files = {name: file_id for name, _, file_id in recorded}

    @property
    def recorded(self) -> str:
        """The uploaded files, for `PostedMessage.data`."""
        return " ".join(f"{name}={file_id}" for name, file_id in self._files.items())

    def found(self, files: Iterable[Mapping[str, Any]]) -> None:
        """Adopt the files that an earlier attempt uploaded."""
        for file in files:
            if str(file.get("name", "")).startswith(self._mark):
                self._files[str(file["name"])] = str(file["id"])

    async def show(self, images: Sequence[Image], digest: str) -> None:
        """Upload missing images, and delete those of an earlier answer to the same question."""
        wanted = {f"{self._mark}-{digest}-{n}.{_suffix(image)}": image for n, image in enumerate(images)}
        for name, image in wanted.items():
            if name not in self._files:
                self._files[name] = await self._upload(name, image)
        for name in [name for name in self._files if name not in wanted]:
            try:
                await self._api.call("files.delete", {"file": self._files.pop(name)})
            except PlatformUnavailable as error:
                log.info("Could not delete an image that is no longer needed: %s", error)

    async def _upload(self, name: str, image: Image) -> str:
        alt = image.alt[: blocks.ALT_LIMIT]
        asked = {"filename": name, "length": len(image.data), **({"alt_txt": alt} if alt else {})}
        place = await self._api.call("files.getUploadURLExternal", asked, patience_s=FILE_PATIENCE_S)
        try:
            async with self._api.session.post(place["upload_url"], data=io.BytesIO(image.data)) as response:
                if response.status >= 500 or response.status == 429:
                    raise SlackUnsure(f"An upload to Slack returned status {response.status}")
                if response.status != 200:
                    raise SlackRejected("an upload", f"status {response.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SlackUnsure(f"An upload to Slack failed: {type(error).__name__}") from error
        done = {"files": [{"id": place["file_id"], "title": alt or "Image"}]}
        if not self._data.get("thread"):
            await self._share(done, FILE_PATIENCE_S)
        else:
            try:
                await self._share(done, patience_s=0.0)
            except SlackUnsure:
                if not await self._is_shared(name):
                    raise
        return str(place["file_id"])

    async def _is_shared(self, name: str) -> bool:
        """Whether an image is in the thread after all, although the call to share it was not answered."""
        thread = {
            "channel": self._data["channel"],
            "ts": self._data["thread"],
            "oldest": self._data["question"],
        }
        args = thread | {"limit": 200}
        found = await self._api.call("conversations.replies", args, patience_s=FILE_PATIENCE_S)
        messages: list[dict[str, Any]] = found.get("messages", [])
        return any(file.get("name") == name for message in messages for file in message.get("files") or ())

    async def _share(self, done: dict[str, Any], patience_s: float) -> None:
        """Share in the thread or, where the bot is not a member, by direct message to the asker."""
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
