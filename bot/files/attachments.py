"""Files that come with a message: pictures for models that see, the text of documents, or a clear word."""

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
"""Files of one message that are read."""
IN_FLIGHT_BYTES = 64 * 1024 * 1024
"""Bytes of files that one worker fetches and reads at the same time; more wait."""
HELD_BYTES = 64 * 1024 * 1024
"""Bytes of pictures that all answers of one worker hold, from fetching to the whole answer; more wait. While
they are sent, their base64 takes as much again, and a third."""
PICTURES_BYTES = 16 * 1024 * 1024
"""Of all pictures of one message, after they were scaled."""
TEXT_BYTES = 60_000
"""Of one document; all of a message together may have twice as much."""


class Document(Frozen):
    """The text of a file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedFiles:
    """What the files of a message hold; `notes` are words for the person about what is not in here."""

    pictures: tuple[Image, ...] = ()
    documents: tuple[Document, ...] = ()
    left_out: tuple[Omission, ...] = ()
    notes: tuple[str, ...] = ()


NOTHING = ExtractedFiles()


class MemoryBudget:
    """A number of bytes that many share."""

    def __init__(self, limit: int) -> None:
        self._limit = self._free = limit
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def reserved(self, size: int) -> AsyncGenerator[Callable[[int], Awaitable[None]]]:
        """Wait until so many bytes are free. What is yielded gives back all but those that are needed."""
        held = min(size, self._limit)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= held)
            self._free -= held

        async def need(less: int) -> None:
            nonlocal held
            over, held = max(held - less, 0), min(held, less)
            self._free += over
            async with self._changed:
                self._changed.notify_all()

        try:
            yield need
        finally:
            await need(0)


class AttachmentReader:
    """Fetches and reads files, a bounded number of bytes at a time; what is held of them is bounded too.

    The files of one person are read one after another: files that take long delay nobody else's.
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
        """What the files hold, for as long as the block lasts: its pictures are counted until then.

        `user` sent them; `ref` names a picture; `text_bytes` is what all documents may have. Raises
        NotAllowed, in words, when none of them can be read.
        """
        if not attachments:
            yield NOTHING
            return
        self.pool.warm()
        most = min(PICTURES_BYTES, PICTURE_BYTES * len(attachments))
        async with AsyncExitStack() as stack:
            async with self._turn_of(user):
                need = await stack.enter_async_context(self._held.reserved(most))
                found = await self._all(attachments, fetch, ref, text_bytes)
                await need(sum(len(picture.data) for picture in found.pictures))
            yield found

    async def picture(self, data: bytes, user: User) -> Image:
        """A picture of this person's in a kind and a size that models take. Raises NotAllowed, in words."""
        async with self._turn_of(user), self._in_flight.reserved(len(data)):
            found = await self.pool.read(data, "image/*", 0)
        if isinstance(found, ExtractedText):
            raise NotAllowed("is no picture that I can see: send it as PNG or JPEG, please.")
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
        room = min(2 * TEXT_BYTES, text_bytes)
        for number, attachment in enumerate(attachments):
            try:
                if number >= MOST:
                    raise NotAllowed(f"was not looked at: I read {MOST} files of a message.")
                found = await self._one(attachment, fetch, min(room, TEXT_BYTES))
                if isinstance(found, Image) and len(found.data) > pictures_left:
                    raise NotAllowed("was not looked at: the pictures of one message are too large together.")
            except NotAllowed as refusal:
                notes.append(f"“{attachment.name}” {refusal}")
                continue
            if isinstance(found, Image):
                pictures_left -= len(found.data)
                pictures.append(
                    Image(mime=found.mime, data=found.data, alt=attachment.name, ref=ref(len(pictures)))
                )
                continue
            room -= len(found.text.encode())
            read.append(Document(name=attachment.name, text=found.text))
            if (more := found.characters - len(found.text)) > 0:
                left_out.append(_left_out(attachment.name, more))
                notes.append(f"Of “{attachment.name}” I read the first {len(found.text):,} characters.")
        if notes and not pictures and not read:
            raise NotAllowed("\n".join(notes))
        return ExtractedFiles(
            pictures=tuple(pictures), documents=tuple(read), left_out=tuple(left_out), notes=tuple(notes)
        )

    async def _one(self, attachment: Attachment, fetch: Fetch, text_bytes: int) -> Image | ExtractedText:
        """A picture, or the beginning of a text. Raises NotAllowed."""
        if (attachment.size_bytes or 0) > FILE_BYTES:
            raise NotAllowed("is larger than 20 MB. Send a smaller file, please.")
        async with self._in_flight.reserved(attachment.size_bytes or FILE_BYTES):
            data = await fetch(attachment)
            if len(data) > FILE_BYTES:
                raise NotAllowed("is larger than 20 MB. Send a smaller file, please.")
            found = await self.pool.read(data, attachment.mime, text_bytes)
            return found if isinstance(found, ExtractedText) else Image(mime=found.mime, data=found.data)


def _left_out(name: str, characters: int) -> Omission:
    why = "a file may not take more of the prompt"
    return Omission(what=f"characters or more of “{name}”", count=characters, why=why)


@asynccontextmanager
async def reading(readers: tuple[int, Mapping[str, str]]) -> AsyncGenerator[AttachmentReader]:
    """Files that are read in processes of so many MB and this environment, which end with the block."""
    memory_mb, environment = readers
    pool = ProcessPool(memory_mb=memory_mb, environment=environment)
    try:
        yield AttachmentReader(pool)
    finally:
        await pool.close()
