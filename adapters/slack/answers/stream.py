"""Shows one answer in a thread: by a native stream, by edits, or as one post."""

import asyncio
import logging
import time
from itertools import takewhile
from typing import NoReturn

from adapters.shared.edit_throttle import EditThrottle
from adapters.shared.markdown import aside
from adapters.slack.answers.sent_parts import SentParts
from adapters.slack.answers.thread import STOP_PATIENCE_S, NativeStreams, PostedPart, Thread
from adapters.slack.api.error_hints import (
    GONE,
    METADATA_ERRORS,
    SMALLEST_LIMIT,
    TOO_LARGE,
    about_content,
)
from adapters.slack.api.files import ImageUploads
from adapters.slack.api.web_api import SlackRateLimited, SlackRejected, SlackUnsure
from adapters.slack.formatting import blocks
from adapters.slack.formatting.blocks import Block, MessageForm, preview, reply_digest, shown_text
from adapters.slack.formatting.growing_text import GrowingMessages
from adapters.slack.payloads import part, string
from adapters.slack.workspaces.workspace import Later, Workspace
from bot.domain.adapter import VISIBLE_TO_ASKER
from bot.domain.errors import PlatformUnavailable
from bot.domain.events import PostedMessage
from bot.domain.turns import Reply
from bot.domain.words import marked, tr

log = logging.getLogger(__name__)

APPEND_INTERVAL_S = 1.0
EDIT_INTERVAL_S = 1.2  # chat.update is Tier 3: 50 a minute
FINISH_PATIENCE_S = 20.0  # then the worker, which has other answers to show, delivers it again
FIRST_PAUSE_S = 0.3
IMAGES_ELSEWHERE = marked("_The images are in your direct messages with me._")
REPLACE_AFTER_S = 3.0  # readers should not wait longer than this for the end of an answer


class _Simpler(Exception):
    """A part of the complete reply was refused: it is to be laid out again without that."""


class SlackAnswer:
    """Shows a text in a thread, in as many messages as it needs. Every operation may be repeated.

    `data` of its post holds team, channel, thread, question (its ts), event, conversation, user and
    user_team; `messages` (timestamps), `open` (those that may still be streaming), `files`, `sent` (of what
    can't be found again), `shown` (the digest of the completely visible reply), and `anew` if an earlier reply
    was completely visible.

    A step that finds the thread in an unexpected state returns False; the layout is then computed again.
    """

    def __init__(
        self, workspace: Workspace, streams: NativeStreams, post: PostedMessage, later: Later
    ) -> None:
        self.stopped = False
        self._post, self._workspace, self._later = post, workspace, later
        self._offered = ""
        self._thread = Thread(workspace.api, streams, post.data)
        self._pictures = ImageUploads(workspace.api, post.data)
        still_open = post.data.get("open", "").split()
        recorded = post.data.get("messages", "").split()
        self._messages = [PostedPart(ts=ts, text=None, streaming=ts in still_open) for ts in recorded]
        self._may_stream = not recorded
        self._may_have_unknown = False  # an unanswered call may have posted a message
        self._replaced = False
        self._no_image = ""  # why the images are left out, for the person
        self._already_shown = 0  # characters of an earlier attempt; a growing answer shows no fewer
        self.sent = SentParts(post.data)
        self.finished = post.data.get("shown", "")
        self._growth = GrowingMessages()
        self._limit = blocks.MESSAGE_LIMIT
        self._throttle = EditThrottle(self._grow, APPEND_INTERVAL_S)

    @property
    def visible(self) -> bool:
        """Whether a part of it has been posted."""
        return bool(self._messages)

    @property
    def post(self) -> PostedMessage:
        """The post, with what another worker needs to continue."""
        data = self._post.data | {
            "messages": " ".join(message.ts for message in self._messages),
            "open": " ".join(message.ts for message in self._messages if message.streaming),
            "files": self._pictures.recorded,
            "shown": self.finished,
            "sent": self.sent.recorded,
        }
        post_id = self._post.id
        if self._messages:
            post_id = f"{data['team']}:{data['channel']}:{self._messages[0].ts}"
        return PostedMessage(id=post_id, data={name: value for name, value in data.items() if value})

    async def recover(self, patience_s: float) -> None:
        """Find messages that were posted but not recorded. Raises PlatformUnavailable."""
        known = {message.ts for message in self._messages}
        self._already_shown = 0
        for seen in await self._thread.since_the_question(await self._workspace.our_ids(), patience_s):
            if seen.get("files"):
                self._pictures.found(seen["files"])
            elif seen["ts"] in known or await self._thread.is_of_this_answer(seen):
                self._already_shown += len(seen.get("text") or "")
                if seen["ts"] not in known:
                    self._messages.append(
                        PostedPart(ts=seen["ts"], text=None, streaming=not seen.get("metadata"))
                    )
        self._messages.sort(key=lambda message: message.ts)
        self._may_stream = self._may_stream and not self._messages
        self._may_have_unknown = False

    # -------------------------------------------------------------- partial text

    def offer(self, text: str) -> None:
        """Show the whole text so far, throttled."""
        self._throttle.offer(text)

    async def settle(self) -> None:
        """Stop showing partial text; what is visible stays."""
        await self._throttle.settle()

    async def _grow(self, text: str) -> None:
        safe = await aside(len(text), self._prepare, text)
        if len(safe) < self._already_shown:
            return
        try:
            await self._lay_out(safe, None)
        except SlackRateLimited as error:
            log.debug("%s", error)
        except SlackRejected as error:
            log.info("No more partial text of this answer is shown: %s", error)
            self._throttle.end()
        except PlatformUnavailable as error:
            log.warning("Could not show a partial answer: %s", error)

    def _prepare(self, text: str) -> str:
        """What may be shown of the text so far. Its messages are cached for `_lay_out`."""
        self._offered = text
        safe = self._growth.safe(text)
        if self._may_stream:
            safe = self._growth.lasting(safe)
        self._parts(safe)
        return safe

    # -------------------------------------------------------------- complete reply

    async def finish(self, reply: Reply) -> PostedMessage:
        """Show the complete reply. Retries for 20 seconds, then raises PlatformUnavailable.

        Parts that Slack refuses are left out: metadata, buttons, at last all formatting. Raises SlackRejected if
        plain text is refused, too, or the place or the token.
        """
        await self._throttle.settle()
        digest = reply_digest(reply)
        if digest == self.finished:
            return self.post
        give_up_at = time.monotonic() + FINISH_PATIENCE_S
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._finish_once(reply, digest)
                break
            except _Simpler:
                continue
            except (SlackRateLimited, SlackUnsure) as error:
                wait_s = error.wait_s if isinstance(error, SlackRateLimited) else pause_s
                if time.monotonic() + wait_s > give_up_at:
                    raise
                log.warning("Could not complete an answer, retrying in %.1f s: %s", wait_s, error)
            await asyncio.sleep(wait_s)
            pause_s *= 2
        self.finished = digest
        return self.post

    async def _finish_once(self, reply: Reply, digest: str) -> None:
        text = shown_text(reply, self._thread.form)
        ephemeral = reply.private and not await self._is_visible_to_one()
        note = self._no_image or (tr(IMAGES_ELSEWHERE) if ephemeral and reply.images else "")
        text = f"{text}\n\n{note}" if note else text
        text = (await aside(len(text), blocks.defused, text)).strip("\n")
        await aside(len(text), self._parts, text)  # cached for the calls below
        if ephemeral:
            trailer = self._trailer(reply)
            for _, part in self.sent.rest("thread", digest, self._growth.parts(text, self._limit)):
                try:
                    await self._thread.post_ephemeral(part, trailer)
                except SlackRejected as error:
                    self._simplify(error)
        else:
            await self._show_in_thread(text, reply)
        images = () if self._no_image else reply.images
        if ephemeral and images:
            await self._upload_to_asker()
        if no_image := await self._pictures.show_or_explain(images, digest):
            self._no_image = no_image
            raise _Simpler

    async def _show_in_thread(self, text: str, reply: Reply) -> None:
        """Lay the text out in the messages of the thread, and delete those that it does not need."""
        await self._lay_out_or_replace(text, reply)
        for message in self._messages[len(self._parts(text)) :]:
            if message.streaming:
                await self._stop(message)
            await self._thread.delete(message)
            self._messages.remove(message)

    async def _is_visible_to_one(self) -> bool:
        """Whether the messages of the thread may show a private reply: in a direct message, if there are any.

        Elsewhere, what is visible already becomes a note, because others can read it.
        """
        if self._may_have_unknown:
            await self.recover(patience_s=0.0)
        if self._messages and not self._post.data["channel"].startswith("D"):
            note = tr(VISIBLE_TO_ASKER)
            await self._show_in_thread(note, Reply(text=note))
            return False
        return bool(self._messages)

    async def _upload_to_asker(self) -> None:
        """From now on upload the images to the asker's direct messages, because an ephemeral message takes no files."""
        opened = await self._workspace.api.call("conversations.open", {"users": self._post.data["user"]})
        place = {name: value for name, value in self.post.data.items() if name != "thread"}
        direct = string(part(opened, "channel").get("id"))
        self._pictures = ImageUploads(self._workspace.api, place | {"channel": direct})

    # -------------------------------------------------------------- layout

    def _parts(self, text: str) -> list[str]:
        parts: list[str] = []
        for message in self._messages:
            if not message.kept or message.text is None or not text.startswith(message.text):
                break
            parts.append(message.text)
            text = text[len(message.text) :].lstrip("\n")
        return parts + (self._growth.parts(text, self._limit) if text.strip() else [])

    async def _lay_out(self, text: str, reply: Reply | None) -> None:
        """Show `text`. With a reply, `text` is complete and the last message gets its buttons."""
        if self._may_have_unknown:
            await self.recover(patience_s=0.0)
        number = 0
        while number < len(parts := self._parts(text)):
            last = number == len(parts) - 1
            if number == len(self._messages):
                done = await self._begin(parts[number], reply, last)
            elif last and reply is not None:
                done = await self._complete(self._messages[number], parts[number], reply)
            else:
                done = await self._show_part(self._messages[number], parts[number], reply, ended=not last)
            number += done

    async def _lay_out_or_replace(self, text: str, reply: Reply) -> None:
        """Like `_lay_out`, but when edits are rate-limited for long, post new messages in place of outdated ones."""
        try:
            await self._lay_out(text, reply)
        except SlackRateLimited as error:
            replaceable = "anew" in self._post.data or any(message.growing for message in self._messages)
            if not replaceable or error.wait_s < REPLACE_AFTER_S or self._replaced:
                raise
            await self._replace(self._messages, text, reply)

    async def _replace(self, known: list[PostedPart], text: str, reply: Reply) -> None:
        shown = zip(known, self._parts(text)[:-1], strict=False)
        kept = len(list(takewhile(lambda pair: pair[0].text == pair[1], shown)))
        self._replaced, self._messages = True, known[:kept]
        try:
            await self._lay_out(text, reply)
        except PlatformUnavailable:
            self._messages = sorted([*self._messages, *known[kept:]], key=lambda message: message.ts)
            raise
        for message in known[kept:]:
            self._later(self._thread.delete(message, STOP_PATIENCE_S))

    async def _begin(self, part: str, reply: Reply | None, last: bool) -> bool:
        trailer = self._trailer(reply) if reply and last else []
        try:
            shown = await self._thread.start(part) if self._may_stream and reply is None else None
            if shown is None:
                self._may_stream = False
                self._throttle.interval_s = EDIT_INTERVAL_S
                shown = await self._post_message(part, trailer, growing=reply is None and last)
        except SlackUnsure:
            self._may_have_unknown = True
            raise
        except SlackRejected as error:
            return self._smaller(error, reply)
        self._messages.append(shown)
        return last or not shown.streaming

    async def _post_message(self, part: str, trailer: list[Block], *, growing: bool) -> PostedPart:
        """Start a growing message only if its final edit is reserved; else post the text at once."""
        begun = self._thread.begin(preview(part), self._stop_button) if growing else None
        shown = await (begun or self._thread.post(part, trailer))
        shown.text = part
        return shown

    async def _show_part(self, message: PostedPart, part: str, reply: Reply | None, *, ended: bool) -> bool:
        """Make a message show `part`, and end its stream if more messages follow."""
        if message.text is None or message.text.rstrip() != part.rstrip():
            if message.streaming and message.text is not None and part.startswith(message.text):
                return await self._append(message, part, reply, last=ended) and not ended
            if ended:
                return await self._edit(message, part, part, [], reply)
            return await self._edit(message, part, preview(part), self._stop_button, None, last=False)
        if ended and message.streaming:
            await self._stop(message)
        return True

    async def _complete(self, message: PostedPart, part: str, reply: Reply) -> bool:
        """Make the last message show `part` and its buttons. This marks the answer as complete."""
        trailer = self._trailer(reply)
        if not message.streaming or message.text is None or not part.startswith(message.text):
            if message.text == part and message.trailer == trailer:
                return True
            return await self._edit(message, part, part, trailer, reply)
        rest = part[len(message.text) :]
        try:
            await self._thread.stop(message, rest, trailer)
        except SlackUnsure:
            message.text = None
            raise
        except SlackRateLimited:
            # 20 stops a minute are allowed, but 100 appends: show the text now and stop later.
            if rest and not await self._append(message, part, reply, last=True):
                return False
            await self._thread.claim(message)
            self._later(self._thread.stop_later(message, trailer))
        except SlackRejected as error:
            return await self._stream_refused(message, error, reply)
        message.streaming, message.text, message.trailer = False, part, trailer
        return True

    async def _append(self, message: PostedPart, part: str, reply: Reply | None, *, last: bool) -> bool:
        try:
            await self._thread.append(message, part[len(message.text or "") :], last=last)
        except SlackUnsure:
            message.text = None
            raise
        except SlackRejected as error:
            return await self._stream_refused(message, error, reply)
        message.text = part
        return True

    async def _edit(
        self,
        message: PostedPart,
        part: str,
        now: str,
        trailer: list[Block],
        reply: Reply | None,
        *,
        last: bool = True,
    ) -> bool:
        """Replace the text of a message by `part`, shown as `now` while it is incomplete."""
        if message.streaming:
            await self._stop(message)
        self._throttle.interval_s = EDIT_INTERVAL_S
        try:
            await self._thread.edit(message, now, trailer, last=last)
        except SlackUnsure:
            message.text = None
            raise
        except SlackRejected as error:
            return self._forget(message) if error.code in GONE else self._smaller(error, reply)
        message.text, message.trailer, message.growing = part, trailer, message.growing and not last
        return True

    async def _stop(self, message: PostedPart) -> None:
        try:
            await self._thread.stop(message)
        except SlackRejected as error:
            log.debug("%s", error)
        message.streaming = False

    async def _stream_refused(self, message: PostedPart, error: SlackRejected, reply: Reply | None) -> bool:
        """Handle a stream that accepts no more text."""
        if error.code == "message_not_in_streaming_state":
            message.streaming = self._may_stream = False
            if message.text is not None:
                message.kept = True
                await self._thread.repair(message)
            return False
        if error.code == "stopped_by_user":
            self.stopped = True
            message.streaming = self._may_stream = False
            return False
        if error.code in GONE:
            return self._forget(message)
        await self._stop(message)
        return self._smaller(error, reply)

    def _forget(self, message: PostedPart) -> bool:
        self._messages.remove(message)
        return False

    def _smaller(self, error: SlackRejected, reply: Reply | None) -> bool:
        """After a refusal for size, halve the limit; after another one, simplify a complete reply.

        Re-raises what neither helps against.
        """
        half = self._limit // 2
        text = shown_text(reply) if reply else self._offered
        if error.code in TOO_LARGE and half >= SMALLEST_LIMIT and blocks.length(text) > half:
            self._limit = half
            return False
        if reply is None:
            raise error
        return self._simplify(error)

    def _simplify(self, error: SlackRejected) -> NoReturn:
        """Raise _Simpler, or the error if nothing can be left out, or if it is not about the content."""
        thread = self._thread
        if not about_content(error.code):
            raise error
        plain = thread.form == MessageForm.PLAIN
        if not ((plain or error.code in METADATA_ERRORS) and thread.omit_metadata()):
            if plain:
                raise error
            thread.form = MessageForm(thread.form + 1)
            if thread.form == MessageForm.PLAIN:
                self._limit = min(self._limit, blocks.PLAIN_LIMIT)
        log.warning("A part of an answer is left out: %s", error)
        raise _Simpler from error

    @property
    def _stop_button(self) -> list[Block]:
        return blocks.stop_button(self._post.data["conversation"], self._post.data["event"])

    def _trailer(self, reply: Reply) -> list[Block]:
        """The blocks below the answer. Without messages, the post is the one that will hold the buttons."""
        post = self.post.id if self._messages else ""
        return blocks.trailer(reply, post, self._post.data["conversation"])
