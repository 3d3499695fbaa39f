"""Reads the attachments of a message: images for models with vision, text of documents."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from bot.domain.errors import NotAllowed
from bot.domain.events import Attachment, Frozen, User
from bot.domain.prompts import Image, Omission
from bot.files.contents import PICTURE_BYTES
from bot.files.frames import ExtractedText
from bot.files.process_pool import ProcessPool

Fetch = Callable[[Attachment], Awaitable[bytes]]

FILE_BYTES = 20 * 1024 * 1024
MOST = 10
"""Files read per message."""
IN_FLIGHT_BYTES = 64 * 1024 * 1024
"""Bytes of files that one worker downloads and reads at the same time; further files wait."""
HELD_BYTES = 64 * 1024 * 1024
"""Bytes of images that all answers of one worker hold until they are complete; further ones wait. Sending
them as base64 takes 4/3 of that in addition."""
PICTURES_BYTES = 16 * 1024 * 1024
"""Of all images of one message, after scaling."""
TEXT_BYTES = 60_000
"""Of one document; all documents of a message may have twice as much."""


class Document(Frozen):
    """The text of a file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedFiles:
    """The contents of the files of a message; `notes` tell the person what was not read, and why."""

    pictures: tuple[Image, ...] = ()
    documents: tuple[Document, ...] = ()
    left_out: tuple[Omission, ...] = ()
    notes: tuple[str, ...] = ()


NOTHING = ExtractedFiles()


class MemoryBudget:
    """A shared number of bytes, to be reserved."""

    def __init__(self, limit: int) -> None:
        self._limit = self._free = limit
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def reserved(self, size: int) -> AsyncGenerator[Callable[[int], Awaitable[None]]]:
        """Reserve `size` bytes, waiting until they are free. Yields a function that shrinks the reservation."""
        held = min(size, self._limit)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= held)
            self._free -= held

        async def shrink(needed: int) -> None:
            nonlocal held
            released, held = max(held - needed, 0), min(held, needed)
            self._free += released
            async with self._changed:
                self._changed.notify_all()

        try:
            yield shrink
        finally:
            await shrink(0)


class AttachmentReader:
    """Downloads and reads files within memory budgets.

    The files of one person are read one at a time, so that slow files don't delay other people's.
    """

    def __init__(
        self,
        pool: ProcessPool | None = None,
        *,
        in_flight_bytes: int = IN_FLIGHT_BYTES,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        self.pool = pool or ProcessPool()
        self._in_flight = MemoryBudget(in_flight_bytes)
        self._held = MemoryBudget(held_bytes)
        self._reading: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def read(
        self,
        attachments: Sequence[Attachment],
        fetch: Fetch,
        *,
        user: User,
        ref: Callable[[int], str],
        text_bytes: int,
    ) -> AsyncGenerator[ExtractedFiles]:
        """The contents of the files. The memory of their images stays reserved until the block ends.

        `user` is the sender; `ref` returns the ref of an image by its number; `text_bytes` is the limit for
        all documents together. Raises NotAllowed, with reasons, if no file can be read.
        """
        if not attachments:
            yield NOTHING
            return
        self.pool.warm()
        most = min(PICTURES_BYTES, PICTURE_BYTES * len(attachments))
        async with AsyncExitStack() as stack:
            async with self._turn_of(user):
                shrink = await stack.enter_async_context(self._held.reserved(most))
                found = await self._all(attachments, fetch, ref, text_bytes)
                await shrink(sum(len(picture.data) for picture in found.pictures))
            yield found

    async def picture(self, data: bytes, user: User) -> Image:
        """An image of this person, converted to a format and size that models accept. Raises NotAllowed."""
        async with self._turn_of(user), self._in_flight.reserved(len(data)):
            found = await self.pool.read(data, "image/*", 0)
        if isinstance(found, ExtractedText):
            raise NotAllowed("is not a supported image. Send it as PNG or JPEG.")
        return Image(mime=found.mime, data=found.data)

    def _turn_of(self, user: User) -> asyncio.Lock:
        """Held while files of this person are read."""
        return self._reading.setdefault((user.tenant, user.id), asyncio.Lock())

    async def _all(
        self, attachments: Sequence[Attachment], fetch: Fetch, ref: Callable[[int], str], text_bytes: int
    ) -> ExtractedFiles:
        pictures: list[Image] = []
        pictures_left = PICTURES_BYTES
        read: list[Document] = []
        left_out: list[Omission] = []
        notes: list[str] = []
        text_left = min(2 * TEXT_BYTES, text_bytes)
        for number, attachment in enumerate(attachments):
            try:
                if number >= MOST:
                    raise NotAllowed(f"was not read: the limit is {MOST} files per message.")
                found = await self._one(attachment, fetch, min(text_left, TEXT_BYTES))
                if isinstance(found, Image) and len(found.data) > pictures_left:
                    raise NotAllowed("was not read: the images in this message are too large together.")
            except NotAllowed as refusal:
                notes.append(f"“{attachment.name}” {refusal}")
                continue
            if isinstance(found, Image):
                pictures_left -= len(found.data)
                pictures.append(
                    Image(mime=found.mime, data=found.data, alt=attachment.name, ref=ref(len(pictures)))
                )
                continue
            text_left -= len(found.text.encode())
            read.append(Document(name=attachment.name, text=found.text))
            if (more := found.characters - len(found.text)) > 0:
                what = f"or more characters of “{attachment.name}”"
                why = "the file exceeds its share of the prompt"
                left_out.append(Omission(what=what, count=more, why=why))
                notes.append(
                    f"Only the first {len(found.text):,} characters of “{attachment.name}” were read."
                )
        if notes and not pictures and not read:
            raise NotAllowed("\n".join(notes))
        return ExtractedFiles(
            pictures=tuple(pictures), documents=tuple(read), left_out=tuple(left_out), notes=tuple(notes)
        )

    async def _one(self, attachment: Attachment, fetch: Fetch, text_bytes: int) -> Image | ExtractedText:
        """The image, or the beginning of the text. Raises NotAllowed."""
        if (attachment.size_bytes or 0) > FILE_BYTES:
            raise NotAllowed("is larger than 20 MB. Send a smaller file.")
        async with self._in_flight.reserved(attachment.size_bytes or FILE_BYTES):
            data = await fetch(attachment)
            if len(data) > FILE_BYTES:
                raise NotAllowed("is larger than 20 MB. Send a smaller file.")
            found = await self.pool.read(data, attachment.mime, text_bytes)
            return found if isinstance(found, ExtractedText) else Image(mime=found.mime, data=found.data)


@asynccontextmanager
async def reading(readers: tuple[int, Mapping[str, str]]) -> AsyncGenerator[AttachmentReader]:
    """A reader whose processes have this memory limit, in MB, and environment; they end with the block."""
    memory_mb, environment = readers
    pool = ProcessPool(memory_mb=memory_mb, environment=environment)
    try:
        yield AttachmentReader(pool)
    finally:
        await pool.close()
