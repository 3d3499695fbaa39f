"""Downloads people's files and uploads the images of answers."""

import asyncio
import hashlib
import io
import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from adapters.shared.http_responses import ReplyTooLarge, read_body
from adapters.slack.api.web_api import FIRST_RETRY_S, SlackRateLimited, SlackRejected, SlackUnsure, WebApi
from adapters.slack.formatting import blocks
from adapters.slack.messages.file_content import (
    CANVAS_MIME,
    missing_transcript,
    name_of,
    transcript_of,
    unread_part,
)
from adapters.slack.payloads import Payload, part, string
from bot.domain import formats
from bot.domain.errors import NotAllowed, PlatformUnavailable, Refused, TooLong
from bot.domain.events import Attachment
from bot.domain.prompts import Image
from bot.domain.words import marked, tr

log = logging.getLogger(__name__)

FILE_LIMIT_BYTES = 20 * 1024 * 1024
FILE_PATIENCE_S = 20.0
IMAGES_PATIENCE_S = 300.0
"""How long an image of an answer, which was paid for, is tried. Later questions of its thread wait as long."""
SLACK_DOMAIN = "slack.com"
NOT_A_MEMBER = frozenset({"not_in_channel", "channel_not_found"})

RETRY_PAUSES_S = (0.3, 1.0)
_HTML = (b"<!doctype", b"<html")
_SIGN_IN = re.compile(
    rb"<(?:title|h1)[^>]{0,200}>(?=[^<]{0,200}slack)[^<]{0,200}\b(?:sign|log)[ -]?in\b|\bid=.signin_form\b"
)
_TEXT_MIMES = frozenset(
    {
        CANVAS_MIME,
        "message/rfc822",
        "application/xhtml+xml",
        "application/xml",
        "application/octet-stream",
        "application/json",
    }
)

NO_IMAGE = marked("_I couldn't upload the image: Slack refused it ({code}). Tell your administrator._")
NO_UPLOAD = marked(
    "_I couldn't upload the image, because Slack doesn't accept uploads at the moment. Ask for it again later._"
)

DELETED = marked("“{name}” was deleted in Slack.")
DENIED = marked("Slack denied access to {name}. Please upload it in this conversation.")
NO_SCOPE = marked(
    "I can't open {name}, because the app has no permission to read files. Ask an administrator to add the scope "
    "files:read and reinstall the app."
)
NO_ACCESS = marked(
    "Slack returned a sign-in page instead of {name}: it isn't shared with me. Please upload it in this conversation, "
    "or copy its text into a message."
)
SIGN_IN_PAGE = marked(
    "Slack returned a sign-in page instead of {name}, because the app has no permission to read files. "
    "Ask an administrator to add the scope files:read and reinstall the app."
)


async def fetch(api: WebApi, attachment: Attachment) -> bytes:
    """The bytes of a person's file; of a recording, its transcript. Raises Refused, PlatformUnavailable.

    The token is sent to Slack's hosts only and never follows a redirect.
    """
    name, url = attachment.name or tr("that file"), attachment.data.get("url", "")
    if attachment.data.get("kind") == "clip" or not url:
        file = await _info(api, attachment, name)
        name = attachment.name or name_of(file)
        if text := _delivered_text(file):
            return text.encode()
        if attachment.data.get("kind") == "clip":
            raise NotAllowed(missing_transcript(file), name=name)
        url = string(file.get("url_private_download")) or string(file.get("url_private"))
    if not _trusted(url, api.api_url):
        raise NotAllowed(
            "I can't open {name} because it is stored outside Slack. Please upload the file.", name=name
        )
    if (attachment.size_bytes or 0) > FILE_LIMIT_BYTES:
        raise _too_large(name)
    content, mime = await _patiently(api, url, name)
    if content is None or _is_sign_in_page(content, mime, attachment):
        raise await _sign_in_refusal(api, name)
    is_fragment = attachment.data.get("kind") == "canvas" and not content.lstrip()[:9].lower().startswith(
        _HTML
    )
    return b"<!DOCTYPE html>" + content if is_fragment else content


async def _patiently(api: WebApi, url: str, name: str) -> tuple[bytes | None, str]:
    """Download a file, again after a failure that may pass. Raises Refused, PlatformUnavailable."""
    for pause_s in RETRY_PAUSES_S:
        try:
            return await _download(api, url, name)
        except PlatformUnavailable as error:
            log.info("A download from Slack is tried again: %s", error)
            await asyncio.sleep(pause_s)
    return await _download(api, url, name)


async def _download(api: WebApi, url: str, name: str) -> tuple[bytes | None, str]:
    """The content and its type; None in place of a redirect, which leads to Slack's sign-in page."""
    try:
        async with api.session.get(url, headers=api.bearer, allow_redirects=False) as response:
            if 300 <= response.status < 400:
                return None, ""
            if response.status >= 500 or response.status == 429:
                raise PlatformUnavailable(f"A download from Slack returned status {response.status}")
            if response.status in (401, 403):
                raise NotAllowed(DENIED, name=name)
            if response.status != 200:
                raise Refused("I couldn't download {name} from Slack. Please upload it again.", name=name)
            return await read_body(response, FILE_LIMIT_BYTES), response.content_type
    except ReplyTooLarge:
        raise _too_large(name) from None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise PlatformUnavailable(f"A download from Slack failed: {type(error).__name__}") from error


async def _sign_in_refusal(api: WebApi, name: str) -> NotAllowed:
    """Say what to do about a sign-in page: add the scope, unless the app has it already."""
    try:
        _, headers = await api.call_with_headers("auth.test", {})
        granted = headers.get("x-oauth-scopes", "").replace(" ", "").split(",")
    except PlatformUnavailable as error:
        log.info("The scopes of the app are unknown: %s", error)
        granted = []
    return NotAllowed(NO_ACCESS if "files:read" in granted else SIGN_IN_PAGE, name=name)


async def _info(api: WebApi, attachment: Attachment, name: str) -> Payload:
    """What Slack knows of a file that came without an address, as in Slack Connect (`file_access: check_file_info`)."""
    try:
        info = await api.call("files.info", {"file": attachment.id}, patience_s=FILE_PATIENCE_S)
    except SlackRejected as error:
        log.info("Slack refused to describe a file: %s", error)
        refusals = {"missing_scope": NO_SCOPE, "file_not_found": DELETED, "file_deleted": DELETED}
        raise NotAllowed(refusals.get(error.code, DENIED), name=name) from error
    file = part(info, "file")
    if why := unread_part({"id": attachment.id, "name": attachment.name, **file}):
        raise NotAllowed(why.reason, **dict(why.values), name=why.name)
    return file


def _delivered_text(file: Payload) -> str:
    """The text of a recording or an e-mail, if Slack's description of the file has it."""
    emails = (string(file.get(name)) for name in ("plain_text", "preview_plain_text"))
    return transcript_of(file) or next((text for text in emails if text.strip()), "")


def _too_large(name: str) -> TooLong:
    message = marked("{name} is larger than the limit of {limit}. Please upload a smaller file.")
    return TooLong(message, name=name, limit=formats.size(FILE_LIMIT_BYTES // 1024**2))


def _trusted(url: str, api_url: str) -> bool:
    try:
        there, api = urlsplit(url), urlsplit(api_url)
    except ValueError:
        return False
    if (there.scheme, there.netloc) == (api.scheme, api.netloc):
        return True
    host = there.hostname or ""
    return there.scheme == "https" and (host == SLACK_DOMAIN or host.endswith("." + SLACK_DOMAIN))


def _is_sign_in_page(content: bytes, mime: str, attachment: Attachment) -> bool:
    """Whether the content is Slack's sign-in page (status 200 without files:read) in place of the file.

    Canvases and e-mails are web pages, too, and so is the content of many text files.
    """
    start = content[:4096].lstrip().lower()
    if not (mime == "text/html" or start.startswith(_HTML)):
        return False
    if attachment.mime == "text/html" and attachment.size_bytes == len(content):
        return False
    may_be_text = attachment.mime.startswith("text/") or attachment.mime in _TEXT_MIMES
    return _SIGN_IN.search(start) is not None or not may_be_text


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

    async def show_or_explain(self, images: Sequence[Image], digest: str) -> str:
        """Upload images, for about IMAGES_PATIENCE_S at most. Returns what to tell the person if that fails, or ""."""
        give_up_at, pause_s = time.monotonic() + IMAGES_PATIENCE_S, FIRST_RETRY_S
        while True:
            try:
                await self.show(images, digest)
            except SlackRejected as error:
                log.warning("The images of an answer are left out: %s", error)
                return tr(NO_IMAGE, code=error.code)
            except (SlackRateLimited, SlackUnsure) as error:
                log.warning("The images of an answer could not be uploaded: %s", error)
                wait_s = error.wait_s if isinstance(error, SlackRateLimited) else pause_s
                if time.monotonic() + wait_s > give_up_at:
                    return tr(NO_UPLOAD)
            else:
                return ""
            await asyncio.sleep(wait_s)
            pause_s *= 2

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
        done = {"files": [{"id": place["file_id"], "title": alt or tr("Image")}]}
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
