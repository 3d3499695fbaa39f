"""What a person sees while an answer is being written: a streamed message, or the sign of typing."""

import asyncio
import logging
from collections.abc import Mapping

from adapters.shared.edit_throttle import EditThrottle
from adapters.shared.markdown import aside
from adapters.teams.answers.formatting import TEXT_LIMIT, GrowingText, message, utf16
from adapters.teams.api.connector import GONE, Connector, Fields, TeamsRejected
from bot.domain.errors import LeaseLost, PlatformUnavailable

log = logging.getLogger(__name__)

TYPING_S = 3.0
"""Teams lets the sign of typing fade after a few seconds."""
TYPING_AT_MOST_S = 600.0
PAUSE_AT_MOST_S = 10.0
"""However long Teams asks to be left alone, the final message is tried after this."""
THINKING = "Thinking…"
DOING = {"file": "Reading your file…", "picture": "Looking at your picture…"}
"""The informative line before the first words; at most 1,000 characters."""


class Typing:
    """Shows the sign of typing, again and again, until it is ended."""

    stopped = False

    def __init__(self, connector: Connector, place: Mapping[str, str]) -> None:
        self._connector = connector
        self._place = place
        self._task = asyncio.create_task(self._run())

    def offer(self, text: str) -> None:
        """In groups and channels nothing is shown before the answer is whole."""

    async def end(self) -> None:
        """Stop typing."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def finish(self, activity: Fields) -> bool:
        """There is no message yet that could be finished."""
        return False

    async def _run(self) -> None:
        for _ in range(int(TYPING_AT_MOST_S / TYPING_S)):
            try:
                await self._connector.send(self._place, {"type": "typing"}, attempts=1)
            except LeaseLost:
                return
            except PlatformUnavailable as error:
                log.debug("no sign of typing: %s", error)
            await asyncio.sleep(TYPING_S)


class TeamsStream:
    """A message that grows, in one-to-one chats (Teams' "streaming UX").

    Each update holds all of the text so far and starts with what was sent before; they are at least
    `pace_s` apart, Teams allows one a second. After two minutes Teams ends the stream, and the same
    message is updated in place. `stopped` is true when the person pressed Stop, never for another reason.
    A stream that another process began (`id`) can only be finished: what it sent so far is not known.
    """

    def __init__(self, connector: Connector, place: Mapping[str, str], pace_s: float, id: str = "") -> None:
        self.stopped = False
        self.id = id
        self._resumed = bool(id)
        self._connector = connector
        self._place = place
        self._pace_s = pace_s
        self._throttle = EditThrottle(self._show, pace_s)
        self._ending = asyncio.Event()
        self._over = False
        self._sequence = 0
        self._growth = GrowingText()
        self._shown = ""
        self._next_at = 0.0

    async def begin(self, doing: str) -> bool:
        """Show the informative line. False where Teams (or the chat) has no streams.

        Raises PlatformUnavailable.
        """
        try:
            self.id = await self._send("informative", doing, attempts=3)
        except TeamsRejected as error:
            if error.status in (0, 401, 404) or error.status >= 429 or error.code in GONE:
                raise
            log.info("no stream here, one message instead: %s", error)
        return bool(self.id)

    def offer(self, text: str) -> None:
        """Let `text` be what is shown next; never waits."""
        if not self._resumed:
            self._throttle.offer(text)

    async def end(self) -> None:
        """Send no more updates."""
        self._ending.set()
        await self._throttle.settle()

    async def finish(self, activity: Fields) -> bool:
        """Turn the stream into its final message; False if that must be done by updating it.

        Raises TeamsRejected when the message is too large, PlatformUnavailable.
        """
        if self._over or self.stopped:
            return False
        await self._wait_for_turn(asyncio.Event())
        info = {"streamId": self.id, "streamType": "final"}
        entities = [*activity.get("entities", []), {"type": "streaminfo", **info}]
        data = {**activity.get("channelData", {}), **info}
        try:
            await self._connector.send(
                self._place, {**activity, "id": self.id, "entities": entities, "channelData": data}
            )
        except TeamsRejected as error:
            if error.too_large or error.status not in (400, 403, 404, 405):
                raise
            self._judge(error)
            return False
        return True

    async def _show(self, text: str) -> None:
        shown = await aside(len(text), self._growth.shown, text)
        grown = shown.startswith(self._shown) and shown.strip() and shown != self._shown
        if self.stopped or not grown or utf16(shown) > TEXT_LIMIT:
            return
        if not await self._wait_for_turn(self._ending):
            return
        was_over = self._over
        try:
            await self._update(shown)
        except TeamsRejected as error:
            self._judge(error)
            if was_over or not self._over:
                return
            await self._update(shown)
        self._shown = shown

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
        """Wait until Teams may be called again; False when `ending` comes first."""
        wait_s = self._next_at - asyncio.get_running_loop().time()
        if wait_s > 0:
            try:
                await asyncio.wait_for(ending.wait(), wait_s)
            except TimeoutError:
                return True
        return not ending.is_set()

    def _judge(self, error: TeamsRejected) -> None:
        """What a refused update means for the next ones."""
        words = error.words.lower()
        # Teams has spelt it with one l and with two.
        if error.status == 403 and "cancel" in words:
            self.stopped = True
        elif "previously streamed" in words or error.code == "ContentStreamSequenceOrderPreConditionFailed":
            pass  # the final message sets it right
        elif error.status in (400, 403, 404, 405, 413):
            self._over = True
        elif error.status == 429:
            pause_s = min(error.retry_after_s or 2 * self._pace_s, PAUSE_AT_MOST_S)
            self._next_at = asyncio.get_running_loop().time() + pause_s
        log.info("an update of a stream was refused: %s", error)
