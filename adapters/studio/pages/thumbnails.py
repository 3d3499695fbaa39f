"""Thumbnails of the images in conversations, so that a page of them stays small."""

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
"""Loaded with this module: an image of another format would make Pillow load all its formats."""
MOST_PIXELS = 16_777_216
"""Twice what models generate, four times what people's images are scaled to; 64 MB decoded."""
SIDE = 320
"""Pixels of the longer side."""


def thumbnail(data: bytes) -> bytes:
    """An image as a small WebP. Raises HttpError if it can't be decoded."""
    made = io.BytesIO()
    try:
        with Pictures.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise HttpError(404, "This image is too large to be shown.")
            picture.thumbnail((SIDE, SIDE))
            picture.convert("RGBA").save(made, "WEBP", quality=80)
    except (UnidentifiedImageError, OSError, ValueError, Pictures.DecompressionBombError):
        raise HttpError(404, "This image can't be shown.") from None
    return made.getvalue()
