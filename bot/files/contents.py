"""Converts the bytes of a file into an image that models accept, or into text. Runs in a reader process."""

import io
import time
from typing import TYPE_CHECKING

from bot.domain.errors import NotAllowed
from bot.files import documents
from bot.files.frames import ScaledImage

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

SIDE = 2048
"""Pixels. Models scale larger images down, but charge for the full size."""
PICTURE_BYTES = 4 * 1024 * 1024
_PIXELS = 100_000_000
"""Images that declare more are not decoded."""
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_PASSED_ON = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""Formats that models accept unchanged."""
_PROFILE_BYTES = 64 * 1024
"""Larger colour profiles are dropped."""
_EASY_S = 1.0
"""CPU time. An image that takes longer to decode is encoded again, so that later readers don't pay for it."""
_DAMAGED = "is a damaged image. Save it again, or send it as PNG or JPEG."


def extract(data: bytes, mime: str, text_bytes: int, time_s: float) -> ScaledImage | str:
    """An image, or text of slightly more than `text_bytes` characters at most.

    The type is detected from the bytes. Text is cut off after `time_s` seconds. Raises NotAllowed for other
    types, and whatever the library for the format raises for a damaged file.
    """
    if not data:
        raise NotAllowed("is empty.")
    found = _picture(data)
    if found is not None:
        return found
    if mime.startswith("image/"):
        raise NotAllowed("is not a supported image. Send it as PNG or JPEG.")
    return documents.text_of(documents.kind_of(data), data, text_bytes, time_s)


def _picture(data: bytes) -> ScaledImage | None:
    """The image in a format and size that models accept; None if the bytes are not an image."""
    from PIL import Image as Pictures
    from PIL import UnidentifiedImageError

    Pictures.MAX_IMAGE_PIXELS = None  # opening reads only the header; its size is checked below
    try:
        opened = Pictures.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        return None
    except (OSError, ValueError, SyntaxError):
        raise NotAllowed(_DAMAGED) from None
    width, height = opened.size
    if width * height > _PIXELS:
        raise NotAllowed(f"is too large at {width} x {height} pixels. Send a smaller image.")
    fits = max(width, height) <= SIDE and len(data) <= PICTURE_BYTES
    try:
        opened.draft("RGB", (SIDE, SIDE))
        return _scaled(opened, data, fits)
    except (OSError, ValueError, SyntaxError):
        raise NotAllowed(_DAMAGED) from None


def _scaled(opened: "ImageFile", data: bytes, fits: bool) -> ScaledImage:
    from PIL import ImageOps

    format = opened.format or ""
    began = time.process_time()
    opened.load()
    easy = time.process_time() - began < _EASY_S
    if fits and easy and format in _PASSED_ON and not getattr(opened, "is_animated", False):
        return ScaledImage(_PASSED_ON[format], data)
    opened.thumbnail((SIDE, SIDE))
    return _encoded(ImageOps.exif_transpose(opened))


def _encoded(picture: "Image") -> ScaledImage:
    """As PNG, which keeps text sharp, if that is small enough, else as JPEG."""
    flat = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if len(flat.info.get("icc_profile") or b"") > _PROFILE_BYTES:
        del flat.info["icc_profile"]
    out = io.BytesIO()
    flat.save(out, "PNG")
    if out.tell() <= PICTURE_BYTES:
        return ScaledImage("image/png", out.getvalue())
    out = io.BytesIO()
    flat.convert("RGB").save(out, "JPEG", quality=85)
    return ScaledImage("image/jpeg", out.getvalue())
