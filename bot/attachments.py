"""Files that come with a message: pictures for models that see, the text of documents, or a clear word."""

import asyncio
import io
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot import documents
from bot.errors import NotAllowed
from bot.types import Attachment, Image, LeftOut, Value

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow
    from PIL.ImageFile import ImageFile

log = logging.getLogger(__name__)

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
SIDE = 2048
"""Pixels: models scale larger pictures down themselves, after their price was counted."""
PICTURE_BYTES = 4 * 1024 * 1024
_PIXELS = 100_000_000
"""A picture that says it is larger is not unpacked."""
_MANY_PIXELS = 16_000_000
_unpacking = threading.Lock()
"""Held while a picture of many pixels is unpacked: it takes up to 400 MB, and only one at a time."""
_SEEN = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""What goes to a model as it is."""
_READ_S = 15.0
_WHOLE_S = 30.0


class Document(Value):
    """The text of a file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What the files of a message hold; `notes` are words for the person about what is not in here."""

    pictures: tuple[Image, ...] = ()
    documents: tuple[Document, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


NOTHING = Contents()


class Budget:
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


class Files:
    """Fetches and reads files, a bounded number of bytes at a time; what is held of them is bounded too."""

    def __init__(self, in_flight_bytes: int = IN_FLIGHT_BYTES, held_bytes: int = HELD_BYTES) -> None:
        self._in_flight = Budget(in_flight_bytes)
        self._held = Budget(held_bytes)

    @asynccontextmanager
    async def read(
        self, attachments: Sequence[Attachment], fetch: Fetch, *, ref: Callable[[int], str], text_bytes: int
    ) -> AsyncGenerator[Contents]:
        """What the files hold, for as long as the block lasts: its pictures are counted until then.

        `ref` names a picture; `text_bytes` is what all documents may have. Raises NotAllowed, in words, when
        none of them can be read.
        """
        if not attachments:
            yield NOTHING
            return
        most = min(PICTURES_BYTES, PICTURE_BYTES * len(attachments))
        async with self._held.reserved(most) as need:
            found = await self._all(attachments, fetch, ref, text_bytes)
            await need(sum(len(picture.data) for picture in found.pictures))
            yield found

    async def _all(
        self, attachments: Sequence[Attachment], fetch: Fetch, ref: Callable[[int], str], text_bytes: int
    ) -> Contents:
        pictures: list[Image] = []
        pictures_room = PICTURES_BYTES
        read: list[Document] = []
        left_out: list[LeftOut] = []
        notes: list[str] = []
        room = min(2 * TEXT_BYTES, text_bytes)
        for number, attachment in enumerate(attachments):
            try:
                if number >= MOST:
                    raise NotAllowed(f"was not looked at: I read {MOST} files of a message.")
                found = await self._one(attachment, fetch, min(room, TEXT_BYTES))
                if isinstance(found, Image) and len(found.data) > pictures_room:
                    raise NotAllowed("was not looked at: the pictures of one message are too large together.")
            except NotAllowed as refusal:
                notes.append(f"“{attachment.name}” {refusal}")
                continue
            if isinstance(found, Image):
                pictures_room -= len(found.data)
                pictures.append(
                    Image(mime=found.mime, data=found.data, alt=attachment.name, ref=ref(len(pictures)))
                )
                continue
            text = cut(found, min(room, TEXT_BYTES))
            room -= len(text.encode())
            read.append(Document(name=attachment.name, text=text))
            if len(text) < len(found):
                left_out.append(_left_out(attachment.name, len(found) - len(text)))
                notes.append(f"Of “{attachment.name}” I read the first {len(text):,} characters.")
        if notes and not pictures and not read:
            raise NotAllowed("\n".join(notes))
        return Contents(
            pictures=tuple(pictures), documents=tuple(read), left_out=tuple(left_out), notes=tuple(notes)
        )

    async def _one(self, attachment: Attachment, fetch: Fetch, text_bytes: int) -> Image | str:
        """A picture, or a text that may be a little longer than asked. Raises NotAllowed."""
        if (attachment.size_bytes or 0) > FILE_BYTES:
            raise NotAllowed("is larger than 20 MB. Send a smaller file, please.")
        async with self._in_flight.reserved(attachment.size_bytes or FILE_BYTES):
            data = await fetch(attachment)
            if len(data) > FILE_BYTES:
                raise NotAllowed("is larger than 20 MB. Send a smaller file, please.")
            try:
                async with asyncio.timeout(_WHOLE_S):
                    return await asyncio.to_thread(look, data, attachment.mime, text_bytes)
            except TimeoutError:
                raise NotAllowed("takes too long to read.") from None


def _left_out(name: str, characters: int) -> LeftOut:
    why = "a file may not take more of the prompt"
    return LeftOut(what=f"characters or more of “{name}”", count=characters, why=why)


def look(data: bytes, mime: str, text_bytes: int) -> Image | str:
    """A picture or a text by what the bytes are. Blocks; raises NotAllowed for anything else."""
    if not data:
        raise NotAllowed("is empty.")
    image = _picture(data)
    if image is not None:
        return image
    if mime.startswith("image/"):
        raise NotAllowed("is no picture that I can see: send it as PNG or JPEG, please.")
    kind = documents.kind_of(data)
    try:
        return documents.text_of(kind, data, text_bytes, _READ_S)
    except NotAllowed:
        raise
    except Exception as error:  # each library has its own way to say that a file is damaged
        log.warning("A document (%s) could not be read: %s", kind, type(error).__name__)
        raise NotAllowed("can't be read: it seems to be damaged.") from error


def _picture(data: bytes) -> Image | None:
    """The picture in a kind and a size that models take; None when the bytes are no picture."""
    from PIL import Image as Pictures
    from PIL import UnidentifiedImageError

    Pictures.MAX_IMAGE_PIXELS = None  # opening reads the header alone; what it says is looked at below
    try:
        opened = Pictures.open(io.BytesIO(data), formats=["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
    except UnidentifiedImageError:
        return None
    except (OSError, ValueError, SyntaxError):
        raise NotAllowed("can't be seen: the picture is damaged.") from None
    width, height = opened.size
    if width * height > _PIXELS:
        raise NotAllowed(f"has {width} x {height} pixels, more than I can take in.")
    fits = max(width, height) <= SIDE and len(data) <= PICTURE_BYTES
    try:
        opened.draft("RGB", (SIDE, SIDE))
        with _unpacking if opened.width * opened.height > _MANY_PIXELS else nullcontext():
            return _scaled(opened, data, fits)
    except (OSError, ValueError, SyntaxError):
        raise NotAllowed("can't be seen: the picture is damaged.") from None


def _scaled(opened: "ImageFile", data: bytes, fits: bool) -> Image:
    from PIL import ImageOps

    kind = opened.format or ""
    opened.load()
    if fits and kind in _SEEN and not getattr(opened, "is_animated", False):
        return Image(mime=_SEEN[kind], data=data)
    upright = ImageOps.exif_transpose(opened)
    upright.thumbnail((SIDE, SIDE))
    return _encoded(upright)


def _encoded(picture: "Pillow") -> Image:
    """As PNG where that is small enough, which keeps text sharp, else as JPEG."""
    flat = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    out = io.BytesIO()
    flat.save(out, "PNG")
    if out.tell() <= PICTURE_BYTES:
        return Image(mime="image/png", data=out.getvalue())
    out = io.BytesIO()
    flat.convert("RGB").save(out, "JPEG", quality=85)
    return Image(mime="image/jpeg", data=out.getvalue())


def cut(text: str, most_bytes: int) -> str:
    """The beginning of a text within so many bytes of UTF-8; no character is split."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= most_bytes else data[: max(most_bytes, 0)].decode("utf-8", "ignore")
