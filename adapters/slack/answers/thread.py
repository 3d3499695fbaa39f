"""The calls that write into one thread, and what is known of the messages there."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.slack.api.web_api import SlackRateLimited, SlackRejected, WebApi
from adapters.slack.formatting import blocks
from adapters.slack.formatting.blocks import Block
from bot.domain.adapter import Secrets
from bot.domain.errors import ConfigError, PlatformUnavailable, StateUnavailable

log = logging.getLogger(__name__)

METADATA_TYPE = "parley_answer"
STOP_PATIENCE_S = 180.0
MINUTE_S = 60.0
REFUSAL_HOLDS_S = 600.0
REFUSALS_KEPT = 1_000
CLAIM_LIFE_S = 3_600  # Slack itself ends a stream within minutes
WORKSPACE_REFUSALS = frozenset({"unknown_method", "missing_scope", "not_allowed_token_type"})


class NativeStreams:
    """Where native streams are to be had, learnt from Slack's refusals; and whose the unmarked ones are."""

    def __init__(self, secrets: Secrets | None = None) -> None:
        self.stoppable = True  # needs the event message_stream_stopped, which older manifests lack
        self._refused_until: dict[str, float] = {}
        self._secrets = secrets
        self._unmarked: dict[str, str] = {}

    async def claim(self, channel: str, ts: str, event: str) -> None:
        """A stream stays open, and so unmarked, though its answer is whole: no other may take it."""
        if len(self._unmarked) > REFUSALS_KEPT:
            self._unmarked.clear()
        self._unmarked[f"{channel}:{ts}"] = event
        if self._secrets is not None:
            try:
                await self._secrets.put(f"slack:stream:{channel}:{ts}", event.encode(), CLAIM_LIFE_S)
            except (ConfigError, StateUnavailable) as error:
                log.warning("an open stream is known to this process only: %s", error)

    async def owner(self, channel: str, ts: str) -> str | None:
        """The event that an unmarked stream answers, where that was noted. Raises StateUnavailable."""
        if (event := self._unmarked.get(f"{channel}:{ts}")) is not None or self._secrets is None:
            return event
        kept = await self._secrets.get(f"slack:stream:{channel}:{ts}")
        return None if kept is None else kept.decode()

    def allowed(self, channel: str) -> bool:
        """Whether to try a native stream in `channel`."""
        if not self._refused_until:
            return True
        now = time.monotonic()
        return all(self._refused_until.get(where, 0.0) <= now for where in ("*", channel))

    def refused(self, channel: str, code: str) -> None:
        """Remember that Slack refused to start a stream."""
        if code == "not_subscribed_to_message_stream_stopped":
            self.stoppable = False
            return
        where = "*" if code in WORKSPACE_REFUSALS else channel
        log.info("Slack streams no answer in %s (%s): answers there are posted and edited", where, code)
        if len(self._refused_until) > REFUSALS_KEPT:
            self._refused_until.clear()
        self._refused_until[where] = time.monotonic() + REFUSAL_HOLDS_S


@dataclass
class PostedPart:
    """A message of an answer. `text` is what Slack acknowledged, None when that isn't known.

    `kept` is true once Slack has ended its stream by itself: it stays, and the rest follows it. `growing` is
    true for one that is begun here and not whole; the place of its last edit is reserved until
    `placed_until`, in seconds of the monotonic clock.
    """

    ts: str
    text: str | None
    streaming: bool
    kept: bool = False
    growing: bool = False
    placed_until: float = 0.0
    trailer: Sequence[Block] = field(default_factory=tuple[Block, ...])


def in_line(messages: Sequence[PostedPart], parts: Sequence[str]) -> int:
    """How many messages, from the first on, show these parts already."""
    for number, part in enumerate(parts):
        if number == len(messages) or messages[number].text != part:
            return number
    return len(parts)


class Thread:
    """One thread, by the `data` of a post. Every call raises Limited, Unsure or Rejected."""

    def __init__(self, api: WebApi, streams: NativeStreams, data: Mapping[str, str]) -> None:
        self._api, self._streams, self._data = api, streams, data
        self._place = {"channel": data["channel"]}
        self._metadata = {"event_type": METADATA_TYPE, "event_payload": {"event": data["event"]}}

    async def start(self, text: str) -> PostedPart | None:
        """Begin a native stream with its first words; None where there is none to be had."""
        channel = self._data["channel"]
        if not self._streams.allowed(channel):
            return None
        args: dict[str, Any] = {**self._place, "thread_ts": self._data["thread"], "markdown_text": text}
        if self._data.get("user"):
            args |= {"recipient_user_id": self._data["user"], "recipient_team_id": self._data["user_team"]}
        stoppable = self._streams.stoppable
        try:
            args |= {"is_stoppable": True} if stoppable else {}
            answer = await self._api.call("chat.startStream", args)
        except SlackRateLimited:
            return None
        except SlackRejected as error:
            self._streams.refused(channel, error.code)
            return await self.start(text) if stoppable and not self._streams.stoppable else None
        return PostedPart(ts=answer["ts"], text=text, streaming=True)

    async def post(self, text: str, trailer: Sequence[Block] = ()) -> PostedPart:
        """Add an ordinary message."""
        args = {
            **self._place,
            "thread_ts": self._data["thread"],
            **blocks.message(text, trailer),
            "metadata": self._metadata,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        answer = await self._api.call("chat.postMessage", args)
        return PostedPart(ts=answer["ts"], text=text, streaming=False, trailer=trailer)

    async def append(self, message: PostedPart, rest: str, *, last: bool) -> None:
        """Let a stream grow."""
        args = {**self._place, "ts": message.ts, "markdown_text": rest}
        await self._api.call("chat.appendStream", args, growing=not last)

    def _stopping(self, message: PostedPart, trailer: Sequence[Block]) -> dict[str, Any]:
        args: dict[str, Any] = {**self._place, "ts": message.ts, "metadata": self._metadata}
        return args | {"blocks": list(trailer)} if trailer else args

    async def stop(self, message: PostedPart, rest: str = "", trailer: Sequence[Block] = ()) -> None:
        """End a stream; only now does it carry the mark that it is whole."""
        args = self._stopping(message, trailer)
        await self._api.call("chat.stopStream", args | {"markdown_text": rest} if rest else args)

    async def stop_later(self, message: PostedPart, trailer: Sequence[Block]) -> None:
        """End a stream whose text is whole already, as soon as Slack allows."""
        try:
            args = self._stopping(message, trailer)
            await self._api.call("chat.stopStream", args, patience_s=STOP_PATIENCE_S)
        except PlatformUnavailable as error:
            log.warning("an answer is whole, but its stream stayed open: %s", error)

    async def begin(self, text: str, trailer: Sequence[Block]) -> PostedPart:
        """Add a message that will grow by edits, if it is sure that it can also be ended."""
        await self._api.reserve("chat.update", growing=True)
        placed_until = time.monotonic() + MINUTE_S
        shown = await self.post(text, trailer)
        shown.growing, shown.placed_until = True, placed_until
        return shown

    async def edit(
        self, message: PostedPart, text: str, trailer: Sequence[Block] = (), *, last: bool = True
    ) -> None:
        """Replace what a message shows; a stream that turns out to be open is ended first.

        The last edit takes the place that was reserved for it.
        """
        body = blocks.message(text, trailer)
        args = {**self._place, "ts": message.ts, **body, "metadata": self._metadata}
        placed = last and time.monotonic() < message.placed_until
        message.placed_until = 0.0 if last else message.placed_until
        try:
            await self._api.call("chat.update", args, placed=placed, growing=not last)
        except SlackRejected as error:
            if error.code != "streaming_state_conflict":
                raise
            await self.stop(message)
            await self._api.call("chat.update", args)

    async def repair(self, message: PostedPart) -> None:
        """A stream that Slack ended looks broken until it is edited (slackapi/python-slack-sdk#1859)."""
        try:
            await self.edit(message, message.text or "")
        except PlatformUnavailable as error:
            log.info("a stream that Slack ended could not be mended: %s", error)

    async def delete(self, message: PostedPart, patience_s: float = 0.0) -> None:
        """Take a message away that is no longer needed; one that can't be deleted stays."""
        try:
            await self._api.call("chat.delete", {**self._place, "ts": message.ts}, patience_s=patience_s)
        except SlackRejected as error:
            log.info("a message that is no longer needed stays: %s", error)

    async def post_ephemeral(self, text: str, trailer: Sequence[Block]) -> None:
        """Only the asker sees it; such a message can't be edited or found again."""
        body = blocks.message(text, trailer)
        args = {**self._place, "user": self._data["user"], "thread_ts": self._data["thread"], **body}
        await self._api.call("chat.postEphemeral", args)

    async def since_the_question(self, ours: frozenset[str], patience_s: float) -> list[dict[str, Any]]:
        """Our own messages after the question, oldest first; `ours` are the ids under which we write."""
        args = {
            **self._place,
            "ts": self._data["thread"],
            "oldest": self._data["question"],
            "limit": 200,
            "include_all_metadata": True,
        }
        found = await self._api.call("conversations.replies", args, patience_s=patience_s)
        messages: list[dict[str, Any]] = found.get("messages", [])
        after = [message for message in messages if message["ts"] > self._data["question"]]
        mine = [message for message in after if ours & {message.get("user"), message.get("bot_id")}]
        return sorted(mine, key=lambda message: str(message["ts"]))

    async def claim(self, message: PostedPart) -> None:
        """Note whose a stream is that can't be stopped yet."""
        await self._streams.claim(self._data["channel"], message.ts, self._data["event"])

    async def is_of_this_answer(self, message: Mapping[str, Any]) -> bool:
        """Marked with our event; or not marked at all, as a stream is until it is stopped.

        Only one answer is in progress in a thread, so an unmarked stream is no other's, unless one was
        whole before Slack let it be stopped. Raises StateUnavailable.
        """
        metadata: Mapping[str, Any] = message.get("metadata") or {}
        if metadata:
            payload: Mapping[str, Any] = metadata.get("event_payload") or {}
            return metadata.get("event_type") == METADATA_TYPE and payload.get("event") == self._data["event"]
        owner = await self._streams.owner(self._data["channel"], message["ts"])
        return owner in (None, self._data["event"])
