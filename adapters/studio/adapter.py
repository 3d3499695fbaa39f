"""The studio as a platform: answers go to an event stream that the page follows, whichever process writes them."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Self

from aiohttp import web

from adapters.shared.bounded_cache import BoundedCache
from adapters.shared.edit_throttle import EditThrottle
from adapters.studio.auth.guard import Guard
from adapters.studio.chat import frames
from adapters.studio.chat.event_streams import Streams
from adapters.studio.chat.frames import milliseconds
from adapters.studio.chat.growing_text import GrowingHtml
from adapters.studio.page import Page, PageRegistry
from adapters.studio.pages.chat import ChatPage
from adapters.studio.pages.shared import SharedPage
from adapters.studio.pages.sign_in import SignInPage
from bot.domain.adapter import Accept, require_lease
from bot.domain.errors import NotAllowed, PlatformUnavailable, StateUnavailable
from bot.domain.events import Address, Attachment, PostedMessage, QuotedMessage, now
from bot.domain.prompts import Image
from bot.domain.turns import CheckResult, Reply
from bot.storage.conversations.turns import Turns
from bot.storage.live.event_stream import EventStream
from bot.storage.studio.shared_links import SharedLinks

log = logging.getLogger(__name__)

FRAME_INTERVAL_S = 1 / 12
"""About as often as text seems to grow instead of jumping."""

WHOLE_EVERY = 60
"""One frame in so many carries the whole text: the stream keeps only the newest frames of a long answer."""

MOST_AT_ONCE = 2048
"""Answers that one process writes at the same time: more than PARLEY_CONCURRENCY allows. One that another worker
took over is never closed here, so the oldest are dropped."""
SURFACE = (
    "Your answers are shown in Parley's studio, a web page: full Markdown with tables and code blocks, but no LaTeX, "
    "HTML or footnotes."
)


class StudioAdapter:
    """The web console.

    The id of a post follows from the event that it answers: a second attempt continues the post of the first,
    and a repeated `close` replaces the answer with itself.
    """

    name = "studio"
    surface = SURFACE

    def __init__(
        self,
        event_stream: EventStream,
        turns: Turns,
        guard: Guard,
        pages: Sequence[Page] = (),
        *,
        links: SharedLinks | None = None,
        streams: Streams | None = None,
        public_url: str = "",
    ) -> None:
        """`pages` are those beside the chat, in the order of the menu; `streams` is what they share with it.

        Without `links` conversations can't be shared.
        """
        self._event_stream = event_stream
        self._turns = turns
        self._guard = guard
        self._pages = pages
        self._links = links
        self._streams = streams or Streams()
        self._public_url = public_url
        self._writing = BoundedCache[str, _AnswerWriter](MOST_AT_ONCE)

    async def __aenter__(self) -> Self:
        if self._guard.entra is not None:
            await self._guard.entra.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Ends the event streams."""
        await self._streams.hang_up()
        await self._guard.close()
        if self._guard.entra is not None:
            await self._guard.entra.close()

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        """The chat at `/`, and everything else under `/studio/`."""
        sign_in = SignInPage(self._guard, self._public_url)
        chat = ChatPage(self._event_stream, self._turns, self._streams, accept, self._links)
        shared = [SharedPage(self._turns, self._links)] if self._links is not None else []
        return PageRegistry(self._guard, (sign_in, chat, *shared, *self._pages)).routes()

    async def listen(self, accept: Accept) -> None:
        """Until cancelled; ends the streams to the pages, which would keep the server from stopping."""
        try:
            await asyncio.Event().wait()
        finally:
            await self._streams.hang_up()

    async def open(self, address: Address, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        """Show that an answer is coming, in the same place at every attempt."""
        post = begun or PostedMessage(
            id=address.event.removeprefix("studio:").replace(":", "."),
            data={"conversation": address.conversation, "message": address.data.get("message", "")},
        )
        opened = frames.OpenFrame(event=post.data["message"], post=post.id, at=milliseconds(now()))
        await self._begin(post).show(opened)
        return post

    async def update(self, post: PostedMessage, text: str) -> bool:
        """Show the text so far. A stop request arrives as an event, so this is always True."""
        self._writer(post).throttle.offer(text)
        return True

    async def show_partial_image(self, post: PostedMessage, picture: Image) -> None:
        """Show a partial image below the text."""
        place = post.data["message"], post.id, milliseconds(now())
        made = await asyncio.to_thread(frames.partial_image_frame, *place, picture)
        try:
            if made is not None:
                await self._writer(post).show(made)
        except PlatformUnavailable as error:
            log.warning("a partial image could not be shown: %s", error)

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        """Replace the text so far with the whole reply."""
        writing = self._writing.pop(post.id, None) or _AnswerWriter(self._event_stream, post)
        await writing.throttle.settle()
        place = post.data["conversation"], post.data["message"], post.id, milliseconds(now())
        await writing.show(await frames.done_frame(*place, reply))
        return post

    async def context(self, address: Address, include_channel: bool = False) -> tuple[QuotedMessage, ...]:
        """Nothing: here every message is for the bot."""
        return ()

    async def linked(self, address: Address, link: str) -> tuple[QuotedMessage, ...]:
        """The studio has no links to messages."""
        return ()

    async def fetch(self, attachment: Attachment) -> bytes:
        """Raises NotAllowed: the page sends text only."""
        raise NotAllowed("The studio doesn't accept files yet. Paste the text of the file instead.")

    async def check(self) -> list[CheckResult]:
        """How people sign in."""
        return await self._guard.check()

    def _begin(self, post: PostedMessage) -> "_AnswerWriter":
        writing = self._writing[post.id] = _AnswerWriter(self._event_stream, post)
        return writing

    def _writer(self, post: PostedMessage) -> "_AnswerWriter":
        return self._writing.get(post.id) or self._begin(post)


class _AnswerWriter:
    """An answer that this process writes; `throttle` shows the newest text now and then."""

    def __init__(self, event_stream: EventStream, post: PostedMessage) -> None:
        self._event_stream = event_stream
        self._post = post
        self._failed = False
        self._frames = 0
        self._growth = GrowingHtml()
        self.throttle = EditThrottle(self._write, FRAME_INTERVAL_S)

    async def show(self, frame: frames.Frame) -> None:
        """Raises PlatformUnavailable, and LeaseLost."""
        require_lease()
        try:
            await self._event_stream.publish(self._post.data["conversation"], frames.encode(frame))
        except StateUnavailable as away:
            words = "The studio's event stream is unavailable."
            raise PlatformUnavailable(words, away.retry_after_s) from away

    async def _write(self, text: str) -> None:
        whole = self._failed or (self._frames > 0 and self._frames % WHOLE_EVERY == 0)
        self._failed = True  # after a failure the next frame carries the whole text, too
        if step := await self._growth.html(text, whole=whole):
            self._frames += 1
            event, at = self._post.data["message"], milliseconds(now())
            frame = frames.TextFrame(event=event, post=self._post.id, at=at, keep=step[0], html=step[1])
            await self.show(frame)
        self._failed = False
