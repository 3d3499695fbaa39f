"""The studio as a platform: answers go to a feed that the page follows, whichever process wrote them."""

import asyncio
import logging
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aiohttp import web
from pydantic import SecretStr

from adapters.shared.edit_throttle import EditThrottle
from adapters.studio.auth.guard import Guard
from adapters.studio.chat.frames import (
    DoneFrame,
    Frame,
    OpenFrame,
    done_frame,
    encode,
    milliseconds,
    partial_image_frame,
    text_frame,
)
from adapters.studio.chat.growing_text import GrowingHtml
from adapters.studio.chat_routes import ChatRoutes
from adapters.studio.pages.sign_in import SignInPage
from adapters.studio.routes import Routes
from adapters.studio.services import StudioServices
from adapters.studio.web.rendering import Role
from bot.domain.adapter import Accept, require_lease
from bot.domain.errors import NotAllowed, PlatformUnavailable, StateUnavailable
from bot.domain.events import Address, Attachment, PostedMessage, QuotedMessage, now
from bot.domain.prompts import Image
from bot.domain.turns import CheckResult, Reply
from bot.storage.conversations.turns import Turns
from bot.storage.live.event_stream import EventStream

if TYPE_CHECKING:
    from adapters.studio.auth.entra import Entra

log = logging.getLogger(__name__)

FRAME_INTERVAL_S = 1 / 12
"""About as often as an eye can tell growing text from jumping text."""

WHOLE_EVERY = 60
"""Frames: one in so many carries everything, as the feed keeps only the newest frames of a long answer."""

MOST_AT_ONCE = 2048
"""Answers that one process writes at the same time: more than the setting for concurrency allows."""


class StudioAdapter:
    """The web console.

    A post's id follows from the event that it answers, so a second attempt writes into the place that
    the first one began, and a repeated `close` replaces the answer by itself.
    """

    name = "studio"

    def __init__(
        self,
        event_stream: EventStream,
        history: Turns,
        token: SecretStr | None = None,
        *,
        editor_token: SecretStr | None = None,
        viewer_token: SecretStr | None = None,
        services: StudioServices | None = None,
        entra: "Entra | None" = None,
        public_url: str = "",
    ) -> None:
        """`token` is the operator's; without a `services` there is the chat alone."""
        self._event_stream = event_stream
        self._tokens: dict[Role, SecretStr | None] = {
            "viewer": viewer_token,
            "editor": editor_token,
            "operator": token,
        }
        self._entra = entra
        guard = Guard(self._tokens, entra)
        self._sign_in = SignInPage(guard, public_url)
        self._pages = ChatRoutes(event_stream, history, guard, Routes(guard, services))
        self._writing: dict[str, _AnswerWriter] = {}

    async def __aenter__(self) -> Self:
        if self._entra is not None:
            await self._entra.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the event streams."""
        await self._pages.hang_up()
        if self._entra is not None:
            await self._entra.close()

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        """The page at `/` and what it asks for under `/studio/`."""
        return [*self._sign_in.routes(), *self._pages.routes(accept)]

    async def listen(self, accept: Accept) -> None:
        """Until cancelled: the streams to the pages end here, as they would keep the server from stopping."""
        try:
            await asyncio.Event().wait()
        finally:
            await self._pages.hang_up()

    async def open(self, address: Address, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        """Show that an answer is coming, in the same place at every attempt."""
        post = begun or PostedMessage(
            id=address.event.removeprefix("studio:").replace(":", "."),
            data={"conversation": address.conversation, "message": address.data.get("message", "")},
        )
        opened = OpenFrame(event=post.data["message"], post=post.id, at=milliseconds(now()))
        await self._begin(post).show(opened)
        return post

    async def update(self, post: PostedMessage, text: str) -> bool:
        """Show the text so far. A wish to stop comes as an event of its own, so this is always True."""
        (self._writing.get(post.id) or self._begin(post)).throttle.offer(text)
        return True

    async def show_partial_image(self, post: PostedMessage, picture: Image) -> None:
        """Show a picture as far as it is drawn, below the words."""
        made = await asyncio.to_thread(
            partial_image_frame, post.data["message"], post.id, milliseconds(now()), picture
        )
        if made is None:
            return
        try:
            await (self._writing.get(post.id) or self._begin(post)).show(made)
        except PlatformUnavailable as error:
            log.warning("a sketch could not be shown: %s", error)

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        """Replace what was written by the whole reply."""
        writing = self._writing.pop(post.id, None) or _AnswerWriter(self._event_stream, post)
        await writing.throttle.settle()
        await writing.show(await self._whole(post, reply))
        return post

    async def context(self, address: Address, include_channel: bool = False) -> tuple[QuotedMessage, ...]:
        """Nothing: here nobody speaks before the bot is called."""
        return ()

    async def fetch(self, attachment: Attachment) -> bytes:
        """The page sends text only."""
        raise NotAllowed("The studio can't take files yet. Paste the text of the file instead.")

    async def check(self) -> list[CheckResult]:
        """Whether strangers can come in."""
        findings = [await self._entra.check()] if self._entra is not None else []
        given = {role: token.get_secret_value() for role, token in self._tokens.items() if token}
        if not given and not findings:
            words = "open to this machine only; set PARLEY_STUDIO_TOKEN to open it to others"
            return [CheckResult(level="ok", subject="Studio", words=words)]
        if any(len(token) < 16 for token in given.values()):
            words = "PARLEY_STUDIO_TOKEN is short; use at least 16 random characters"
            findings.append(CheckResult(level="warning", subject="Studio", words=words))
        elif given:
            words = "open to whoever holds a token: " + ", ".join(given)
            findings.append(CheckResult(level="ok", subject="Studio", words=words))
        return findings

    def _begin(self, post: PostedMessage) -> "_AnswerWriter":
        """An answer that another worker took over is never closed here: the oldest are let go."""
        while len(self._writing) >= MOST_AT_ONCE:
            self._writing.pop(next(iter(self._writing)))
        writing = self._writing[post.id] = _AnswerWriter(self._event_stream, post)
        return writing

    async def _whole(self, post: PostedMessage, reply: Reply) -> DoneFrame:
        return await done_frame(
            post.data["conversation"], post.data["message"], post.id, milliseconds(now()), reply
        )


class _AnswerWriter:
    """An answer that is being written by this process; `throttle` shows the newest text now and then."""

    def __init__(self, event_stream: EventStream, post: PostedMessage) -> None:
        self._event_stream = event_stream
        self._post = post
        self._shown = ""
        self._frames = 0
        self._growth = GrowingHtml()
        self.throttle = EditThrottle(self._write, FRAME_INTERVAL_S)

    async def show(self, frame: Frame) -> None:
        """Raises PlatformUnavailable, and LeaseLost."""
        require_lease()
        try:
            await self._event_stream.publish(self._post.data["conversation"], encode(frame))
        except StateUnavailable as away:
            raise PlatformUnavailable("The studio's feed is away.", away.retry_after_s) from away

    async def _write(self, text: str) -> None:
        html, same = await self._growth.html(text)
        if html == self._shown:
            return
        before = self._shown if self._frames % WHOLE_EVERY else ""
        self._frames += 1
        self._shown = ""  # after a failure the next frame carries everything, too
        event, at = self._post.data["message"], milliseconds(now())
        await self.show(text_frame(event, self._post.id, at, before, html, same if before else 0))
        self._shown = html
