"""What the bytes of a file hold: a picture that models take, or text. Runs in a reader process."""

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
"""Pixels: models scale larger pictures down themselves, after their price was counted."""
PICTURE_BYTES = 4 * 1024 * 1024
_PIXELS = 100_000_000
"""A picture that says it is larger is not unpacked."""
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_SEEN = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""What goes to a model as it is."""
_PROFILE_BYTES = 64 * 1024
"""A larger colour profile is not kept."""
_EASY_S = 1.0
"""Of the processor: a picture that takes longer to unpack is encoded again, to spare others that."""
_DAMAGED = "can't be seen: the picture is damaged. Try saving it again, or send it as PNG or JPEG."


def extract(data: bytes, mime: str, text_bytes: int, time_s: float) -> ScaledImage | str:
    """A picture, or a text a little over `text_bytes` characters at most, by what the bytes are.

    A text ends early when `time_s` are over. Raises NotAllowed, in words, for anything else; and whatever the
    package for its format raises for a damaged file.
    """
    if not data:
        raise NotAllowed("is empty.")
    found = _picture(data)
    if found is not None:
        return found
    if mime.startswith("image/"):
        raise NotAllowed("is no picture that I can see: send it as PNG or JPEG, please.")
    return documents.text_of(documents.kind_of(data), data, text_bytes, time_s)


def _picture(data: bytes) -> ScaledImage | None:
    """The picture in a kind and a size that models take; None when the bytes are no picture."""
    from PIL import Image as Pictures
    from PIL import UnidentifiedImageError

    Pictures.MAX_IMAGE_PIXELS = None  # opening reads the header alone; what it says is looked at below
    try:
        opened = Pictures.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        return None
    except (OSError, ValueError, SyntaxError):
        raise NotAllowed(_DAMAGED) from None
    width, height = opened.size
    if width * height > _PIXELS:
        raise NotAllowed(
            f"has {width} x {height} pixels, more than I can take in. Send a smaller one, please."
        )
    fits = max(width, height) <= SIDE and len(data) <= PICTURE_BYTES
    try:
        opened.draft("RGB", (SIDE, SIDE))
        return _scaled(opened, data, fits)
    except (OSError, ValueError, SyntaxError):
        raise NotAllowed(_DAMAGED) from None


def _scaled(opened: "ImageFile", data: bytes, fits: bool) -> ScaledImage:
    from PIL import ImageOps

    kind = opened.format or ""
    began = time.process_time()
    opened.load()
    easy = time.process_time() - began < _EASY_S
    if fits and easy and kind in _SEEN and not getattr(opened, "is_animated", False):
        return ScaledImage(_SEEN[kind], data)
    opened.thumbnail((SIDE, SIDE))
    return _encoded(ImageOps.exif_transpose(opened))


def _encoded(picture: "Image") -> ScaledImage:
    """As PNG where that is small enough, which keeps text sharp, else as JPEG."""
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
