"""The calls that write into one thread, and the state of the messages there."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.shared.bounded_cache import BoundedCache
from adapters.slack.api.web_api import SlackRateLimited, SlackRejected, WebApi
from adapters.slack.formatting import blocks
from adapters.slack.formatting.blocks import Block
from bot.domain.adapter import Secrets
from bot.domain.errors import ConfigError, PlatformUnavailable, SecretUnreadable, StateUnavailable

log = logging.getLogger(__name__)

METADATA_TYPE = "parley_answer"
STOP_PATIENCE_S = 180.0
MINUTE_S = 60.0
REFUSAL_HOLDS_S = 600.0
REFUSALS_KEPT = 1_000
CLAIM_LIFE_S = 3_600  # Slack itself ends a stream within minutes
WORKSPACE_REFUSALS = frozenset(
    {
        *(
            "unknown_method",
            "missing_scope",
            "not_allowed_token_type",
            "deprecated_endpoint",
            "method_deprecated",
        ),
        *(
            "feature_not_enabled",
            "team_access_not_granted",
            "access_denied",
            "accesslimited",
            "no_permission",
        ),
    }
)
CHANNEL_REFUSALS = frozenset(
    {
        *("channel_type_not_supported", "method_not_supported_for_channel_type", "messages_tab_disabled"),
        *(
            "not_in_channel",
            "channel_not_found",
            "is_archived",
            "ekm_access_denied",
            "external_channel_migrating",
        ),
        *(
            "restricted_action",
            "restricted_action_read_only_channel",
            "restricted_action_thread_only_channel",
        ),
        *("restricted_action_non_threadable_channel", "message_limit_exceeded"),
    }
)
"""Errors of chat.startStream that the next answer in the workspace or the channel would meet, too. All others are
about one request, such as `missing_recipient_user_id`."""


class NativeStreams:
    """Where native streams are available, learnt from Slack's refusals, and who owns streams without metadata.

    What a workspace (`team`) refuses says nothing of others.
    """

    def __init__(self, secrets: Secrets | None = None) -> None:
        self._unstoppable = BoundedCache[str, None](REFUSALS_KEPT)
        self._refused_until = BoundedCache[tuple[str, str], float](REFUSALS_KEPT)
        self._secrets = secrets
        self._unmarked = BoundedCache[str, str](REFUSALS_KEPT)

    async def claim(self, channel: str, ts: str, event: str) -> None:
        """Record the owner of a stream that stays open, so without metadata, after its answer is complete."""
        self._unmarked[f"{channel}:{ts}"] = event
        if self._secrets is not None:
            try:
                await self._secrets.put(f"slack:stream:{channel}:{ts}", event.encode(), CLAIM_LIFE_S)
            except (ConfigError, StateUnavailable) as error:
                log.warning("The owner of an open stream is known to this process only: %s", error)

    async def owner(self, channel: str, ts: str) -> str | None:
        """The event that a stream without metadata answers, if recorded. Raises StateUnavailable."""
        if (event := self._unmarked.get(f"{channel}:{ts}")) is not None or self._secrets is None:
            return event
        try:
            kept = await self._secrets.get(f"slack:stream:{channel}:{ts}")
        except SecretUnreadable:  # of the last hour, so that a key was removed while it was used
            return None
        return None if kept is None else kept.decode()

    def stoppable(self, team: str) -> bool:
        """Whether readers can stop a stream: it needs the event message_stream_stopped, which old manifests lack."""
        return team not in self._unstoppable

    def allowed(self, team: str, channel: str) -> bool:
        """Whether to try a native stream in a channel."""
        now = time.monotonic()
        return all(self._refused_until.get((team, where), 0.0) <= now for where in ("*", channel))

    def refused(self, team: str, channel: str, code: str) -> None:
        """Remember that Slack refused to start a stream, if that is about the channel or the workspace."""
        if code == "not_subscribed_to_message_stream_stopped":
            self._unstoppable[team] = None
            return
        if code not in WORKSPACE_REFUSALS | CHANNEL_REFUSALS:
            log.info(
                "Slack refused a native stream in %s (%s); this answer is posted and edited", channel, code
            )
            return
        where = "*" if code in WORKSPACE_REFUSALS else channel
        log.info(
            "Native streams are not available in %s of %s (%s); answers are posted and edited",
            where,
            team,
            code,
        )
        self._refused_until[team, where] = time.monotonic() + REFUSAL_HOLDS_S


@dataclass
class PostedPart:
    """A message of an answer. `text` is what Slack acknowledged, None if that isn't known.

    `kept` is true once Slack has ended its stream by itself: it stays, and the rest follows it. `growing` is
    true for a message that was started here and is incomplete; the call for its last edit is reserved until
    `reserved_until`, in seconds of the monotonic clock.
    """

    ts: str
    text: str | None
    streaming: bool
    kept: bool = False
    growing: bool = False
    reserved_until: float = 0.0
    trailer: Sequence[Block] = field(default_factory=tuple[Block, ...])


class Thread:
    """One thread, from the `data` of a post. Calls raise SlackRateLimited, SlackUnsure or SlackRejected."""

    def __init__(self, api: WebApi, streams: NativeStreams, data: Mapping[str, str]) -> None:
        self._api, self._streams, self._data = api, streams, data
        self._place = {"channel": data["channel"]}
        metadata = {"event_type": METADATA_TYPE, "event_payload": {"event": data["event"]}}
        self._metadata: dict[str, Any] = {"metadata": metadata}
        self.form = blocks.MessageForm.WHOLE

    def omit_metadata(self) -> bool:
        """Post without metadata, which Slack refused; False if that is done already."""
        had, self._metadata = self._metadata, {}
        return bool(had)

    async def start(self, text: str) -> PostedPart | None:
        """Start a native stream with its first text; None if not available."""
        team, channel = self._data["team"], self._data["channel"]
        # In channels a stream needs a recipient, and a workflow that mentions the bot has none.
        if not self._streams.allowed(team, channel) or not (
            self._data.get("user") or channel.startswith("D")
        ):
            return None
        args: dict[str, Any] = {**self._place, "thread_ts": self._data["thread"], "markdown_text": text}
        args |= blocks.WITHOUT_PREVIEWS
        if self._data.get("user"):
            args |= {"recipient_user_id": self._data["user"], "recipient_team_id": self._data["user_team"]}
        stoppable = self._streams.stoppable(team)
        args |= {"is_stoppable": True} if stoppable else {}
        try:
            answer = await self._api.call("chat.startStream", args)
        except SlackRateLimited:
            return None
        except SlackRejected as error:
            self._streams.refused(team, channel, error.code)
            return await self.start(text) if stoppable and not self._streams.stoppable(team) else None
        return PostedPart(ts=answer["ts"], text=text, streaming=True)

    async def post(self, text: str, trailer: Sequence[Block] = ()) -> PostedPart:
        args = {
            **self._place,
            "thread_ts": self._data["thread"],
            **blocks.message(text, trailer, self.form),
            **self._metadata,
        }
        answer = await self._api.call("chat.postMessage", args)
        posted = PostedPart(ts=answer["ts"], text=text, streaming=False, trailer=trailer)
        if not self._metadata:
            await self.claim(posted)
        return posted

    async def append(self, message: PostedPart, rest: str, *, last: bool) -> None:
        args = {**self._place, "ts": message.ts, "markdown_text": rest}
        await self._api.call("chat.appendStream", args, growing=not last)

    async def stop(
        self, message: PostedPart, rest: str = "", trailer: Sequence[Block] = (), patience_s: float = 0.0
    ) -> None:
        """End a stream. Only now does it get its metadata."""
        args: dict[str, Any] = {**self._place, "ts": message.ts, **self._metadata}
        args |= {"blocks": list(trailer)} if trailer and self.form == blocks.MessageForm.WHOLE else {}
        args |= {"markdown_text": rest} if rest else {}
        await self._api.call("chat.stopStream", args, patience_s=patience_s)
        if not self._metadata:
            await self.claim(message)

    async def stop_later(self, message: PostedPart, trailer: Sequence[Block]) -> None:
        """End a stream whose text is complete, as soon as Slack allows."""
        try:
            await self.stop(message, trailer=trailer, patience_s=STOP_PATIENCE_S)
        except PlatformUnavailable as error:
            log.warning("An answer is complete, but its stream could not be stopped: %s", error)

    async def begin(self, text: str, trailer: Sequence[Block]) -> PostedPart:
        """Post a message that will grow by edits, after reserving the call for its last edit."""
        await self._api.reserve("chat.update", growing=True)
        reserved_until = time.monotonic() + MINUTE_S
        shown = await self.post(text, trailer)
        shown.growing, shown.reserved_until = True, reserved_until
        return shown

    async def edit(
        self, message: PostedPart, text: str, trailer: Sequence[Block] = (), *, last: bool = True
    ) -> None:
        """Replace the text of a message. A stream that turns out to be open is ended first.

        The last edit uses the reserved call.
        """
        body = blocks.message(text, trailer, self.form)
        args = {**self._place, "ts": message.ts, **body, **self._metadata}
        reserved = last and time.monotonic() < message.reserved_until
        message.reserved_until = 0.0 if last else message.reserved_until
        try:
            await self._api.call("chat.update", args, reserved=reserved, growing=not last)
        except SlackRejected as error:
            if error.code != "streaming_state_conflict":
                raise
            await self.stop(message)
            await self._api.call("chat.update", args)

    async def repair(self, message: PostedPart) -> None:
        """Edit a stream that Slack ended; it looks broken until then (slackapi/python-slack-sdk#1859)."""
        try:
            await self.edit(message, message.text or "")
        except PlatformUnavailable as error:
            log.info("Could not repair a stream that Slack ended: %s", error)

    async def delete(self, message: PostedPart, patience_s: float = 0.0) -> None:
        """Delete a message that is no longer needed; one that can't be deleted stays."""
        try:
            await self._api.call("chat.delete", {**self._place, "ts": message.ts}, patience_s=patience_s)
        except SlackRejected as error:
            log.info("Could not delete a message that is no longer needed: %s", error)

    async def post_ephemeral(self, text: str, trailer: Sequence[Block]) -> None:
        """Post a message that only the asker sees; it can't be edited or found again."""
        body = blocks.message(text, trailer, self.form)
        args = {**self._place, "user": self._data["user"], "thread_ts": self._data["thread"], **body}
        await self._api.call("chat.postEphemeral", args)

    async def since_the_question(self, ours: frozenset[str], patience_s: float) -> list[dict[str, Any]]:
        """The bot's own messages after the question, oldest first; `ours` are the bot's ids."""
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
        """Record the owner of a message without metadata: others must not continue it."""
        await self._streams.claim(self._data["channel"], message.ts, self._data["event"])

    async def is_of_this_answer(self, message: Mapping[str, Any]) -> bool:
        """Whether a message has our event in its metadata, or none yet, like a stream that is not stopped.

        A thread has one answer in progress, so a stream without metadata is ours unless `claim` recorded
        another owner. Raises StateUnavailable.
        """
        metadata: Mapping[str, Any] = message.get("metadata") or {}
        if metadata:
            payload: Mapping[str, Any] = metadata.get("event_payload") or {}
            return metadata.get("event_type") == METADATA_TYPE and payload.get("event") == self._data["event"]
        owner = await self._streams.owner(self._data["channel"], message["ts"])
        return owner in (None, self._data["event"])
