"""Pictures of conversations, made small: a page of them must stay light."""

import io

from PIL import GifImagePlugin, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError, WebPImagePlugin
from PIL import Image as Pictures

from adapters.studio.auth.guard import HttpError

PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_FORMATS = [
    str(one.format)
    for one in (
        PngImagePlugin.PngImageFile,
        JpegImagePlugin.JpegImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
    )
]
"""Loaded with this module: the first picture of another kind would make Pillow look through all it knows."""
MOST_PIXELS = 16_777_216
"""Twice what models draw, four times what people's pictures are scaled to: unpacked, 64 MB."""
SIDE = 320
"""Pixels of the longer side."""


def thumbnail(data: bytes) -> bytes:
    """A picture as a small WebP. Raises HttpError for what is none."""
    made = io.BytesIO()
    try:
        with Pictures.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise HttpError(404, "That picture is too large to be shown.")
            picture.thumbnail((SIDE, SIDE))
            picture.convert("RGBA").save(made, "WEBP", quality=80)
    except (UnidentifiedImageError, OSError, ValueError, Pictures.DecompressionBombError):
        raise HttpError(404, "That picture can't be shown.") from None
    return made.getvalue()
