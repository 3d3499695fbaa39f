"""Masks: pictures that are transparent where another picture may be changed."""

import io

from PIL import Image as Pillow
from PIL import ImageOps

from bot.domain.errors import NotAllowed

MOST_PIXELS = 16_777_216
"""Four times what people's pictures are scaled to."""


def fitted(mask: bytes, picture: bytes) -> bytes:
    """The mask in the size of its picture, as the service wants it: a PNG with nothing half transparent.

    Blocks. Raises NotAllowed, in words, for what is no mask.
    """
    with Pillow.open(io.BytesIO(picture)) as opened:
        size = opened.size
    sheet = Pillow.new("RGBA", size, (0, 0, 0, 255))
    sheet.putalpha(Pillow.eval(opening(mask, size), lambda open: 255 - open))
    held = io.BytesIO()
    sheet.save(held, "PNG")
    return held.getvalue()


def opening(mask: bytes, size: tuple[int, int]) -> Pillow.Image:
    """Where the picture may be changed, as white on black. Raises NotAllowed."""
    try:
        with Pillow.open(io.BytesIO(mask), formats=["PNG"]) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise NotAllowed("The mask has too many pixels. Make it as large as its picture.")
            alpha = opened.convert("RGBA").getchannel("A")
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        raise NotAllowed("The mask is no picture that I can read. It has to be a PNG.") from None
    marked = Pillow.eval(
        ImageOps.fit(alpha, size, Pillow.Resampling.NEAREST), lambda shade: 255 * (shade < 128)
    )
    if marked.getbbox() is None:
        raise NotAllowed("Nothing is marked in the picture. Mark the part that shall change.")
    return marked
