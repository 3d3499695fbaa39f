"""Shows an answer while it is being written: a streamed message, or the typing indicator."""

import asyncio
import logging
from collections.abc import Mapping

from adapters.shared.edit_throttle import EditThrottle
from adapters.shared.markdown import aside
from adapters.teams.answers.formatting import TEXT_LIMIT, GrowingText, message, utf16
from adapters.teams.api.connector import GONE, Connector, Fields, TeamsRejected
from bot.domain.adapter import STREAMED, StreamRecord
from bot.domain.errors import LeaseLost, PlatformUnavailable
from bot.domain.events import PostedMessage
from bot.domain.words import marked

log = logging.getLogger(__name__)

TYPING_S = 3.0
"""The typing indicator disappears after a few seconds."""
MAX_TYPING_S = 600.0
MAX_PAUSE_S = 10.0
"""The final message waits no longer than this, however long Teams asks to wait."""
_EXTRAS = {"entities", "attachments", "suggestedActions", "channelData"}
"""What a message has besides its text."""
THINKING = marked("Thinking…")
DOING = {"file": marked("Reading your file…"), "picture": marked("Looking at your image…")}
"""The informative message before the first text, of at most 1,000 characters."""


class Typing:
    """Shows the typing indicator until it is ended."""

    stopped = False

    def __init__(self, connector: Connector, place: Mapping[str, str]) -> None:
        self._connector = connector
        self._place = place
        self._task = asyncio.create_task(self._run())

    def offer(self, text: str) -> None:
        """Do nothing: groups and channels see no partial answers."""

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def finish(self, activity: Fields) -> bool:
        """Return False: there is no message to complete."""
        return False

    async def _run(self) -> None:
        for _ in range(int(MAX_TYPING_S / TYPING_S)):
            try:
                await self._connector.send(self._place, {"type": "typing"}, attempts=1)
            except LeaseLost:
                return
            except PlatformUnavailable as error:
                log.debug("Could not show the typing indicator: %s", error)
            await asyncio.sleep(TYPING_S)


class TeamsStream:
    """A growing message in one-on-one chats (Teams' "streaming UX").

    Each update holds all of the text so far and must begin with the previous one, and so must the final message;
    they are at least `pace_s` seconds apart (Teams allows one per second). After two minutes Teams ends the
    stream, and the same message is edited. `stopped` is true only if the person pressed Stop. Of a stream that
    another process started (`id`) the text so far is not known, unless it is given as `shown`.
    """

    def __init__(
        self,
        connector: Connector,
        place: Mapping[str, str],
        pace_s: float,
        id: str = "",
        shown: str | None = "",
    ) -> None:
        self.stopped = False
        self.id = id
        self._connector = connector
        self._place = place
        self._pace_s = pace_s
        self._throttle = EditThrottle(self._show, pace_s)
        self._ending = asyncio.Event()
        self._over = False
        self._refused = False  # an update; the final message ends the stream all the same
        self._sequence = 0
        self._growth = GrowingText()
        self._shown = shown
        self._next_at = 0.0
        self._record: tuple[PostedMessage, StreamRecord] | None = None

    def record_in(self, post: PostedMessage, record: StreamRecord) -> None:
        """Record each text before it is shown in the message of `post`: another process has to continue it."""
        self._record = post, record

    def resumed(self) -> "TeamsStream":
        """The same stream for another attempt in this process; it knows what was shown."""
        again = TeamsStream(self._connector, self._place, self._pace_s, self.id, self._shown)
        again.stopped = self.stopped
        again._over, again._sequence, again._next_at = self._over, self._sequence, self._next_at
        return again

    @property
    def is_open(self) -> bool:
        """Whether Teams still takes the message for one that is being streamed, as far as is known."""
        return bool(self.id) and not self._over and not self.stopped

    async def begin(self, doing: str) -> bool:
        """Show the informative message. False if streams are not available. Raises PlatformUnavailable."""
        try:
            self.id = await self._send("informative", doing, attempts=3)
        except TeamsRejected as error:
            if error.status in (0, 401, 404) or error.status >= 429 or error.code in GONE:
                raise
            log.info("Streaming is not available here; the answer is sent as one message: %s", error)
        return bool(self.id)

    @property
    def shown(self) -> str:
        """The text that Teams has acknowledged."""
        return self._shown or ""

    def offer(self, text: str) -> None:
        """Show `text` with the next update; never waits."""
        # Of a stream that another process began, the number of the next update is not known.
        if self._sequence:
            self._throttle.offer(text)

    async def end(self) -> None:
        self._ending.set()
        await self._throttle.settle()

    async def finish(self, activity: Fields) -> bool:
        """Send the final message of the stream; False if the message has to be edited instead.

        If the text does not continue what was streamed (the content filter stopped the answer, or another attempt
        has other words), the stream is closed with what was streamed, and the message is to be edited.
        Raises TeamsRejected if the message is too large, or may be accepted in a simpler form; PlatformUnavailable.
        """
        if self._over or self.stopped:
            return False
        if self._shown and not str(activity["text"]).startswith(self._shown):
            await self._close(message(self._shown))
            return False
        return await self._close(activity)

    async def _close(self, activity: Fields) -> bool:
        """Send a final message; False if Teams rejects it. In either case the message is edited from now on.

        Raises TeamsRejected if a smaller or simpler message may be accepted.
        """
        await self._wait_for_turn(asyncio.Event())
        info = {"streamId": self.id, "streamType": "final"}
        entities = [*activity.get("entities", []), {"type": "streaminfo", **info}]
        data = {**activity.get("channelData", {}), **info}
        try:
            await self._connector.send(
                self._place, {**activity, "id": self.id, "entities": entities, "channelData": data}
            )
        except TeamsRejected as error:
            simpler = error.about_content and not _EXTRAS.isdisjoint(activity)
            if error.too_large or simpler or error.status not in (400, 403, 404, 405):
                raise
            self._handle_rejection(error)
            self._over = self._over or error.status == 400
            return False
        self._over = True
        return True

    async def _show(self, text: str) -> None:
        before = self._shown or ""
        shown = await aside(len(text), self._growth.shown, text)
        grown = shown.startswith(before) and shown != before
        if self.stopped or self._refused or not grown or utf16(shown) > TEXT_LIMIT:
            return
        if not await self._wait_for_turn(self._ending):
            return
        if not await self._recorded(shown) or self._ending.is_set():
            return
        was_over = self._over
        try:
            await self._update(shown)
        except TeamsRejected as error:
            self._handle_rejection(error)
            if error.status == 0 or error.status >= 500:
                self._shown = shown  # people may see it, so the final message has to continue it
            if was_over or not self._over:
                return
            await self._update(shown)
        self._shown = shown

    async def _recorded(self, text: str) -> bool:
        """Record a text of the stream; False if it must not be shown. A message that is edited need not continue."""
        if self._record is None or self._over:
            return True
        post, record = self._record
        return await record.record(PostedMessage(id=post.id, data={**post.data, STREAMED: text}))

    async def _update(self, text: str) -> None:
        if self._over:
            await self._connector.change(self._place, self.id, message(text), attempts=1)
        else:
            await self._send("streaming", text, attempts=1)

    async def _send(self, kind: str, text: str, attempts: int) -> str:
        info: Fields = {"streamType": kind, "streamSequence": self._sequence + 1}
        if self.id:
            info["streamId"] = self.id
        entity = {"type": "streaminfo", **info}
        activity = {"type": "typing", "text": text, "entities": [entity], "channelData": info}
        try:
            return await self._connector.send(self._place, activity, attempts)
        finally:
            self._sequence += 1
            self._next_at = asyncio.get_running_loop().time() + self._pace_s

    async def _wait_for_turn(self, ending: asyncio.Event) -> bool:
        """Wait until Teams may be called again; False if `ending` is set first."""
        wait_s = self._next_at - asyncio.get_running_loop().time()
        if wait_s > 0:
            try:
                await asyncio.wait_for(ending.wait(), wait_s)
            except TimeoutError:
                return True
        return not ending.is_set()

    def _handle_rejection(self, error: TeamsRejected) -> None:
        """Decide from a rejected update how to go on."""
        words = error.words.lower()
        # Teams has used both spellings, "canceled" and "cancelled".
        if error.status == 403 and "cancel" in words:
            self.stopped = True
        elif "previously streamed" in words or error.code == "ContentStreamSequenceOrderPreConditionFailed":
            pass  # the final message corrects it
        elif error.too_large or error.status == 400:
            self._refused = True
        elif error.status in (403, 404, 405):
            self._over = True
        elif error.status == 429:
            pause_s = min(error.retry_after_s or 2 * self._pace_s, MAX_PAUSE_S)
            self._next_at = asyncio.get_running_loop().time() + pause_s
        log.info("Teams rejected an update of a stream: %s", error)
