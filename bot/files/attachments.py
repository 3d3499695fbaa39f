"""Reads the attachments of a message: images for models with vision, text of documents."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakValueDictionary

from bot.domain.errors import NotAllowed, PlatformUnavailable, Refused
from bot.domain.events import Attachment, Frozen, UnreadPart, User
from bot.domain.prompts import Image, Omission
from bot.domain.words import english, marked, tr
from bot.files.contents import PICTURE_BYTES
from bot.files.excerpts import Similar, excerpt
from bot.files.frames import ExtractedText
from bot.files.process_pool import ProcessPool

log = logging.getLogger(__name__)

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
"""Of one document in a prompt; all documents of a message may have twice as much."""
READ_BYTES = 2_000_000
"""Of one document, from which the parts for the prompt are chosen."""


class Document(Frozen):
    """The text of a file. `note` says for the model what of it is missing."""

    name: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedFiles:
    """The contents of the files of a message; `unread` are those that could not be read, `notes` what was cut.

    `unavailable` is the error of a file that may be available later.
    """

    pictures: tuple[Image, ...] = ()
    documents: tuple[Document, ...] = ()
    left_out: tuple[Omission, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[UnreadPart, ...] = ()
    unavailable: PlatformUnavailable | None = None


NOTHING = ExtractedFiles()

_AMOUNT = marked("{kept} of {total} characters")
_MORE_THAN = marked("{kept} of more than {total} characters")
_OF_THE_FIRST = marked("{what} of its first {count} characters")


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
        earlier: Sequence[Attachment] = (),
        similar: Similar | None = None,
    ) -> AsyncGenerator[ExtractedFiles]:
        """The contents of the files. The memory of their images stays reserved until the block ends.

        `user` is the sender; `ref` returns the ref of an image by its number; `text_bytes` is the limit for
        all documents together. `earlier` are files of quoted messages, which get at most a third of that. Of a
        longer document the beginning, what is most `similar` to the question, and the end are kept.
        """
        if not (attachments or earlier):
            yield NOTHING
            return
        self.pool.warm()
        most = min(PICTURES_BYTES, PICTURE_BYTES * (len(attachments) + len(earlier)))
        async with AsyncExitStack() as stack:
            async with self._turn_of(user):
                shrink = await stack.enter_async_context(self._held.reserved(most))
                reading = await self._all((*attachments, *earlier), len(attachments), fetch, ref, text_bytes)
                await shrink(reading.picture_bytes)
            yield await reading.result(similar)

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
        self,
        attachments: Sequence[Attachment],
        own: int,
        fetch: Fetch,
        ref: Callable[[int], str],
        text_bytes: int,
    ) -> "_FilesReading":
        """The contents of all files, of which the first `own` came with the message itself."""
        reading = _FilesReading(ref, min(2 * TEXT_BYTES, text_bytes))
        for number, attachment in enumerate(attachments):
            if number == own:
                reading.text_left = min(reading.text_left, text_bytes // 3)
            try:
                if number >= MOST:
                    raise NotAllowed("was not read: the limit is {limit} files per message.", limit=MOST)
                reading.add(attachment, await self._one(attachment, fetch))
            except Refused as refusal:
                reading.refuse(attachment, refusal)
            except PlatformUnavailable as error:
                log.warning("A file could not be fetched: %s", error)
                reading.unavailable = error
                later = NotAllowed("could not be downloaded at the moment. Send it again in a minute.")
                reading.refuse(attachment, later)
        return reading

    async def _one(self, attachment: Attachment, fetch: Fetch) -> Image | ExtractedText:
        """The image, or the beginning of the text. Raises NotAllowed."""
        if (attachment.size_bytes or 0) > FILE_BYTES:
            raise NotAllowed("is larger than 20 MB. Send a smaller file.")
        async with self._in_flight.reserved(attachment.size_bytes or FILE_BYTES):
            data = await fetch(attachment)
            if len(data) > FILE_BYTES:
                raise NotAllowed("is larger than 20 MB. Send a smaller file.")
            found = await self.pool.read(data, attachment.mime, READ_BYTES)
            return found if isinstance(found, ExtractedText) else Image(mime=found.mime, data=found.data)


class _FoundText(NamedTuple):
    """The text of a file, and how many characters of it the prompt may have."""

    name: str
    found: ExtractedText
    limit: int


class _FilesReading:
    """The files of one message while they are read."""

    def __init__(self, ref: Callable[[int], str], text_left: int) -> None:
        self._ref, self.text_left = ref, text_left
        self._pictures_left = PICTURES_BYTES
        self._pictures: list[Image] = []
        self._texts: list[_FoundText] = []
        self._left_out: list[Omission] = []
        self._notes: list[str] = []
        self._unread: list[UnreadPart] = []
        self.unavailable: PlatformUnavailable | None = None

    def add(self, attachment: Attachment, found: Image | ExtractedText) -> None:
        """Keep the content of a file. Raises NotAllowed for an image if there is no space for it."""
        if isinstance(found, ExtractedText):
            self._add_text(attachment.name, found)
            return
        if len(found.data) > self._pictures_left:
            raise NotAllowed("was not read: the images in this message are too large together.")
        self._pictures_left -= len(found.data)
        ref = self._ref(len(self._pictures))
        self._pictures.append(Image(mime=found.mime, data=found.data, alt=attachment.name, ref=ref))

    @property
    def picture_bytes(self) -> int:
        return sum(len(picture.data) for picture in self._pictures)

    def _add_text(self, name: str, found: ExtractedText) -> None:
        size, most = len(found.text.encode()), max(min(self.text_left, TEXT_BYTES), 0)
        self.text_left -= min(size, most)
        limit = len(found.text) if size <= most else len(found.text) * most // size
        self._texts.append(_FoundText(name, found, limit))

    async def _document(
        self, name: str, found: ExtractedText, limit: int, similar: Similar | None
    ) -> Document:
        """A text, or what of it fits, with a note for the model and one for the person."""
        total = max(found.characters, len(found.text))
        if limit >= total:
            return Document(name=name, text=found.text)
        part = await excerpt(found.text, limit, similar) if limit < len(found.text) else None
        text, kept = (part.text, part.kept) if part is not None else (found.text, limit)
        how = part.how if part is not None else marked("the beginning")
        how = how if limit else marked("there was no space left for it")
        stopped = len(found.text) < total  # by the reader itself
        amount = _MORE_THAN if stopped else _AMOUNT
        what = _OF_THE_FIRST if stopped and part is not None else "{what}"
        first = len(found.text)
        self._left_out.append(_left_out(name, total - kept))
        self._notes.append(
            tr(
                "Only {amount} of “{name}” were read: {how}.",
                amount=tr(amount, kept=kept, total=total),
                name=name,
                how=tr(what, what=tr(how), count=first),
            )
        )
        told = f"only {english(amount, kept=kept, total=total)}: {english(what, what=how, count=first)}"
        return Document(name=name, text=text, note=told)

    def refuse(self, attachment: Attachment, why: Refused) -> None:
        """Record that a file was not read."""
        name = attachment.name or str(why.values.get("name", "")) or marked("The file")
        values = tuple(why.values.items())
        self._unread.append(UnreadPart(name=name, reason=why.message, values=values))

    async def result(self, similar: Similar | None) -> ExtractedFiles:
        """What was read, and what was not."""
        documents = [await self._document(*text, similar) for text in self._texts]
        return ExtractedFiles(
            pictures=tuple(self._pictures),
            documents=tuple(documents),
            left_out=tuple(self._left_out),
            notes=tuple(self._notes),
            unread=tuple(self._unread),
            unavailable=self.unavailable,
        )


def _left_out(name: str, characters: int) -> Omission:
    why = "the file exceeds its share of the prompt"
    return Omission(what=f"or more characters of “{name}”", count=characters, why=why)


@asynccontextmanager
async def reading(readers: tuple[int, Mapping[str, str]]) -> AsyncGenerator[AttachmentReader]:
    """A reader whose processes have this memory limit, in MB, and environment; they end with the block."""
    memory_mb, environment = readers
    pool = ProcessPool(memory_mb=memory_mb, environment=environment)
    try:
        yield AttachmentReader(pool)
    finally:
        await pool.close()
