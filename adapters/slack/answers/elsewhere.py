"""Reaches the asker when an answer can't be shown where it was asked for."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from adapters.slack.answers.sent_parts import SentParts
from adapters.slack.api.error_hints import TOKEN_ERRORS, about_content, config_error, reason_for_asker
from adapters.slack.api.files import ImageUploads
from adapters.slack.api.web_api import SlackRateLimited, SlackRejected, WebApi
from adapters.slack.formatting import blocks
from adapters.slack.formatting.blocks import Block, MessageForm, reply_digest, shown_text
from adapters.slack.payloads import part, string
from bot.domain import formats
from bot.domain.errors import PlatformUnavailable
from bot.domain.turns import Reply
from bot.domain.words import tr

log = logging.getLogger(__name__)

PATIENCE_S = 20.0
ANNOUNCED_FROM_S = 60.0
"""A shorter wait needs no announcement."""


Send = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Sends the arguments of a message; returns Slack's answer."""


class Elsewhere:
    """Other routes to the asker of one answer, from the `data` of its post. `sent` are its parts that were sent."""

    def __init__(self, api: WebApi, data: Mapping[str, str], sent: SentParts) -> None:
        self._api, self._data, self._sent = api, data, sent
        self._asker = data.get("user", "")

    async def deliver(self, reply: Reply, refusal: SlackRejected) -> None:
        """Send a reply to the asker by direct message, with the reason and what to do.

        Raises ConfigError if that is refused, too, SlackRateLimited and SlackUnsure.
        """
        if refusal.code in TOKEN_ERRORS or not self._asker:
            raise config_error(refusal) from refusal
        why, what = reason_for_asker(refusal.code)
        note = tr("I couldn't show my answer as usual: {why}. {what}", why=why, what=what)
        if not self._is_direct:
            where = await self._where()
            note = tr("I couldn't post my answer in {where}: {why}. {what}", where=where, why=why, what=what)
        text = blocks.defused(shown_text(reply, MessageForm.TEXT))
        try:
            channel = ""
            parts = blocks.parts(f"_{note}_\n\n{text}")
            for _, text in self._sent.rest("direct", reply_digest(reply), parts):
                channel = await self._direct(text)
            if reply.images and not channel:  # the text arrived in an earlier attempt
                opened = await self._api.call("conversations.open", {"users": self._asker})
                channel = string(part(opened, "channel").get("id"))
        except SlackRejected as error:
            more = f" A direct message to the asker ({self._asker}) failed, too: {error.code}."
            raise config_error(refusal, more) from error
        log.warning("An answer was sent by direct message: %s", refusal)
        await self._images(reply, channel)

    async def announce(self, error: SlackRateLimited) -> bool:
        """Tell the asker that the answer is late, by an ephemeral or a direct message. False if that fails, too."""
        wait = formats.duration(max(error.wait_s, 120))
        if not self._asker:
            return False
        there = {"channel": self._data["channel"], "user": self._asker}
        if self._data.get("thread"):
            there["thread_ts"] = self._data["thread"]
        routes: list[tuple[str, dict[str, Any]]] = [
            ("chat.postEphemeral", there),
            ("chat.postMessage", {"channel": self._asker}),
        ]
        for method, place in routes:
            here = place is there or self._is_direct
            words = tr(
                "_Slack lets me post here again in about {wait}. Your answer is ready, and comes then._",
                wait=wait,
            )
            if not here:
                words = tr(
                    "_Slack lets me post in {where} again in about {wait}. Your answer is ready, and comes then._",
                    where=await self._where(),
                    wait=wait,
                )
            try:
                await self._api.call(method, place | blocks.message(words))
            except PlatformUnavailable as failure:
                log.info("A delay could not be announced: %s", failure)
            else:
                return True
        return False

    @property
    def _is_direct(self) -> bool:
        return self._data["channel"].startswith("D")

    async def _where(self) -> str:
        """The name of the channel of the question, if Slack tells it. (`text`, for notifications, takes no links.)"""
        try:
            info = await self._api.call("conversations.info", {"channel": self._data["channel"]})
        except PlatformUnavailable as error:
            log.info("The name of a channel is unknown: %s", error)
            return tr("the channel where you asked")
        channel = part(info, "channel")
        name = "" if channel.get("is_mpim") is True else string(channel.get("name"))
        return f"#{name}" if name else tr("the channel where you asked")

    async def _direct(self, text: str) -> str:
        """Post a direct message, in plain text if blocks are refused. Returns its channel."""
        answer = await in_forms(
            lambda body: self._api.call(
                "chat.postMessage", {"channel": self._asker} | body, patience_s=PATIENCE_S
            ),
            text,
        )
        return str(answer.get("channel", ""))

    async def _images(self, reply: Reply, channel: str) -> None:
        if not reply.images or not channel:
            return
        place = {name: value for name, value in self._data.items() if name not in ("thread", "files")}
        uploads = ImageUploads(self._api, place | {"channel": channel})
        if note := await uploads.show_or_explain(reply.images, reply_digest(reply)):
            try:
                await self._direct(note)
            except PlatformUnavailable as error:
                log.warning("The asker could not be told that an image is missing: %s", error)


async def in_forms(send: Send, text: str, trailer: Sequence[Block] = ()) -> dict[str, Any]:
    """Send a message as a whole or, where Slack refuses its content, in simpler forms. Raises SlackRejected."""
    for form in MessageForm:
        try:
            return await send(blocks.message(text, trailer, form))
        except SlackRejected as error:
            if form == MessageForm.PLAIN or not about_content(error.code):
                raise
            log.info("A message is sent in a simpler form: %s", error)
    raise AssertionError("unreachable")
