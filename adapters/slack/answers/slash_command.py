"""The answer to a slash command: ephemeral, by its response_url or, failing that, as a message."""

import logging
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from adapters.shared.http_responses import SMALL_BYTES, read_object
from adapters.slack.answers.elsewhere import in_forms
from adapters.slack.answers.sent_parts import SentParts
from adapters.slack.api.error_hints import TOKEN_ERRORS
from adapters.slack.api.files import ImageUploads
from adapters.slack.api.web_api import SlackRejected, SlackUnsure, WebApi
from adapters.slack.formatting import blocks
from adapters.slack.formatting.blocks import Block, reply_digest, shown_text
from bot.domain.adapter import require_lease
from bot.domain.events import PostedMessage
from bot.domain.turns import Reply

log = logging.getLogger(__name__)

# A response_url takes five responses within thirty minutes (docs.slack.dev/interactivity).
RESPONSES = 5
PATIENCE_S = 20.0


class CommandAnswer:
    """Shows nothing until it is complete, because an ephemeral message can't be edited."""

    stopped = False

    def __init__(self, api: WebApi, post: PostedMessage, sent: SentParts | None = None) -> None:
        self._api, self._post, self._data = api, post, post.data
        self._pictures = ImageUploads(api, post.data)
        self.sent = sent or SentParts(post.data)
        self.finished = post.data.get("shown", "")

    @property
    def post(self) -> PostedMessage:
        """The post, with what another worker needs to continue."""
        data = self._data | {
            "shown": self.finished,
            "files": self._pictures.recorded,
            "sent": self.sent.recorded,
        }
        return PostedMessage(id=self._post.id, data={name: value for name, value in data.items() if value})

    def offer(self, text: str) -> None:
        """Do nothing: the asker already sees a note that the answer takes a moment."""

    async def settle(self) -> None:
        """Do nothing: no call is in progress before `finish`."""

    async def finish(self, reply: Reply) -> PostedMessage:
        """Show the complete reply. Raises PlatformUnavailable."""
        digest = reply_digest(reply)
        if digest == self.finished:
            return self.post
        parts = blocks.parts(blocks.defused(shown_text(reply)))
        for number, part in self.sent.rest("command", digest, parts):
            last = number == len(parts) - 1
            trailer = blocks.trailer(reply, self._post.id, self._data["conversation"]) if last else []
            await self._say(number, part, trailer)
        if reply.images and (note := await self._pictures.show_or_explain(reply.images, digest)):
            try:
                await self._say(len(parts), note, [])
            except SlackRejected as error:
                log.warning("The asker could not be told that an image is missing: %s", error)
        self.finished = digest
        return self.post

    async def _say(self, number: int, text: str, trailer: Sequence[Block]) -> None:
        body = blocks.message(text, trailer)
        if number < RESPONSES and await self._respond({"response_type": "ephemeral", **body}):
            return
        try:
            await in_forms(self._ephemeral, text, trailer)
        except SlackRejected as error:
            if error.code in TOKEN_ERRORS:
                raise
            log.info("Answering a command by direct message: %s", error)
            await in_forms(self._direct, text, trailer)

    async def _ephemeral(self, body: dict[str, Any]) -> dict[str, Any]:
        place = {"channel": self._data["channel"], "user": self._data["user"]}
        return await self._api.call("chat.postEphemeral", place | body, patience_s=PATIENCE_S)

    async def _direct(self, body: dict[str, Any]) -> dict[str, Any]:
        place = {"channel": self._data["user"]}
        return await self._api.call("chat.postMessage", place | body, patience_s=PATIENCE_S)

    async def _respond(self, body: dict[str, object]) -> bool:
        """Send by the response_url; False if it accepts no more. Raises SlackUnsure."""
        url = self._data.get("response_url", "")
        if not url:
            return False
        require_lease()
        try:
            async with self._api.session.post(
                url, data=msgspec.json.encode(body), headers={"Content-Type": "application/json"}
            ) as response:
                if response.status >= 500 or response.status == 429:
                    raise SlackUnsure(f"Slack's response_url returned status {response.status}")
                return response.status == 200 and await _accepted(response)
        except aiohttp.InvalidURL:
            return False
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SlackUnsure(f"Slack's response_url failed: {type(error).__name__}") from error


async def _accepted(response: aiohttp.ClientResponse) -> bool:
    """Whether the body agrees: some refusals, such as of an expired URL, have the status 200 and `"ok": false`."""
    try:
        return (await read_object(response, SMALL_BYTES)).get("ok") is not False
    except ValueError:
        return True  # plain text
