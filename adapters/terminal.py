"""The adapter for the terminal, used by `parley chat`; the smallest complete adapter."""

import asyncio
import getpass
import os
import re
import signal
import sys
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TextIO

from aiohttp import web

from bot.domain.adapter import Accept
from bot.domain.errors import NotAllowed, StateUnavailable
from bot.domain.events import (
    Address,
    Attachment,
    MessageReceived,
    PostedMessage,
    QuotedMessage,
    StopRequested,
    User,
    now,
)
from bot.domain.local_time import zone_with
from bot.domain.turns import CheckResult, Reply

PROMPT = "> "
MAX_LINE_BYTES = 64 * 1024
# Model output must not control the terminal (ECMA-48 control characters; newline and tab stay).
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SURFACE = (
    "Your answers are shown as plain text in a terminal: no Markdown, LaTeX or HTML, short lines, lists with dashes, "
    "code indented."
)
_SUFFIX = {"image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}


class TerminalAdapter:
    """Reads one question per line, and prints the answers as they grow.

    `listen` reads a line, waits until its answer is closed, and reads the next, until the input ends. Ctrl-C
    stops the current answer; pressed again, or without one, it ends the run. An answer that changes is
    printed again below. `reader` needs a file descriptor; images are saved in the folder `images`.
    """

    name = "terminal"
    surface = SURFACE

    def __init__(
        self, conversation: str, images: Path, reader: TextIO | None = None, writer: TextIO | None = None
    ) -> None:
        self._conversation = f"{self.name}:{conversation}"
        self._images = images
        self._reader = reader or sys.stdin
        self._writer = writer or sys.stdout
        zone = zone_with(now().astimezone().utcoffset())
        self._user = User(id=_login(), tenant="local", name=_login(), zone=zone)
        self._unread = b""
        self._shown: dict[str, str] = {}
        self._written: dict[str, tuple[str, str]] = {}  # the current answer: raw, and cleaned
        self._closed: set[str] = set()
        self._stopped: set[str] = set()
        self._asked = ""
        self._ended = False
        self._wake = asyncio.Event()  # set by input, by an answer, and by the end of the run
        self._stopping: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._end()

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        return ()

    # -------------------------------------------------------------- input

    async def listen(self, accept: Accept) -> None:
        """Ask each line; returns at the end of the input or of the run."""
        loop = asyncio.get_running_loop()
        with suppress(ValueError, RuntimeError, NotImplementedError):  # only the main thread has signals
            loop.add_signal_handler(signal.SIGINT, self._interrupt, accept)
        try:
            while (line := await self._line()) is not None:
                if line.strip():
                    await self._ask(line.strip(), accept)
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            if self._stopping is not None:
                await self._stopping

    async def _line(self) -> str | None:
        """The next line; None at the end of the input."""
        if self._reader.isatty():
            self._print(PROMPT)
        while b"\n" not in self._unread and len(self._unread) < MAX_LINE_BYTES:
            chunk = await self._chunk()
            if not chunk:
                break
            self._unread += chunk
        if self._ended or not self._unread:
            return None
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode("utf-8", "replace")

    async def _chunk(self) -> bytes:
        """The next bytes; empty at the end of the input or of the run."""
        loop, descriptor = asyncio.get_running_loop(), self._reader.fileno()
        readable = asyncio.Event()

        def ready() -> None:
            readable.set()
            self._wake.set()

        try:
            loop.add_reader(descriptor, ready)
        except PermissionError:  # a regular file is always ready and can't be polled (epoll_ctl(2), EPERM)
            readable.set()
        try:
            while not readable.is_set() and not self._ended:
                await self._sleep()
        finally:
            loop.remove_reader(descriptor)
        return b"" if self._ended else os.read(descriptor, MAX_LINE_BYTES)

    async def _ask(self, text: str, accept: Accept) -> None:
        event = f"{self.name}:{uuid.uuid4().hex}"
        try:
            receipt = await accept(MessageReceived(**self._fields(event, event), text=text, direct=True))
        except StateUnavailable as error:
            self._print(f"{error}\n")
            return
        if receipt == "busy":
            self._print("Several messages are still waiting for an answer. Please try again in a moment.\n")
        if receipt != "accepted":
            return
        self._asked = event
        while event not in self._closed and not self._ended:
            await self._sleep()
        self._asked = ""

    def _interrupt(self, accept: Accept) -> None:
        event = self._asked
        if not event or event in self._stopped:
            self._end()
            return
        self._stopped.add(event)
        stopped = StopRequested(**self._fields(event, f"{event}:stop"))
        self._stopping = asyncio.ensure_future(_request_stop(accept, stopped))

    def _fields(self, event: str, id: str) -> dict[str, Any]:
        """The fields that every event carries; `event` is the question that it is about."""
        address = Address(conversation=self._conversation, event=event)
        return {"id": id, "address": address, "user": self._user, "at": now()}

    async def _sleep(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    def _end(self) -> None:
        self._ended = True
        self._wake.set()

    # -------------------------------------------------------------- output

    async def open(self, address: Address, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        """One post per event, so that a later attempt continues where the earlier one stopped."""
        return begun or PostedMessage(id=address.event)

    async def update(self, post: PostedMessage, text: str) -> bool:
        """Print the new part of the text."""
        before, clean = self._written.get(post.id, ("", ""))
        clean = clean + _clean(text[len(before) :]) if text.startswith(before) else _clean(text)
        self._written[post.id] = text, clean
        self._show(post, clean)
        return post.id not in self._stopped

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        """Print the rest of the text, the paths of images, and the sources."""
        lines = [_clean(reply.text)] if reply.text else []
        for number, image in enumerate(reply.images, 1):
            if image.data:
                name = f"{post.id.rpartition(':')[2]}-{number}{_SUFFIX.get(image.mime, '.png')}"
                path = self._images / name
                await asyncio.to_thread(_save, path, image.data)
                lines.append(f"[{_clean(image.alt) or 'image'}: {path}]")
        lines += [f"[prompt: {_clean(reply.prompt)}]"] if reply.prompt else []
        lines += [f"[source: {_clean(source.title)} {source.url}".rstrip() + "]" for source in reply.sources]
        self._show(post, "\n".join(lines) + "\n")
        self._written.pop(post.id, None)
        self._closed.add(post.id)
        self._wake.set()
        return post

    async def context(self, address: Address, include_channel: bool = False) -> tuple[QuotedMessage, ...]:
        """Empty: a terminal has no earlier messages of others."""
        return ()

    async def linked(self, address: Address, link: str) -> tuple[QuotedMessage, ...]:
        """A terminal has no links to messages."""
        return ()

    async def fetch(self, attachment: Attachment) -> bytes:
        """Always raises NotAllowed."""
        raise NotAllowed("Files can't be attached in the terminal. Paste the text instead.")

    async def check(self) -> list[CheckResult]:
        """No checks: a terminal has no settings."""
        return []

    def _show(self, post: PostedMessage, text: str) -> None:
        shown = self._shown.get(post.id, "")
        self._print(text[len(shown) :] if text.startswith(shown) else f"\n{text}")
        self._shown[post.id] = text

    def _print(self, text: str) -> None:
        if not text:
            return
        try:
            self._writer.write(text)
            self._writer.flush()
        except OSError:  # the output was closed
            self._end()


async def _request_stop(accept: Accept, stopped: StopRequested) -> None:
    with suppress(StateUnavailable):  # without storage, the next `update` stops the answer
        await accept(stopped)


def _clean(text: str) -> str:
    return _CONTROL.sub("", text)


def _save(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the user id of a container may have no name
        return "you"
