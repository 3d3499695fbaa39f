"""Masks: images that are transparent where another image may be changed."""

import io

from PIL import Image as Pillow
from PIL import ImageOps

from bot.domain.errors import NotAllowed

MOST_PIXELS = 16_777_216
"""Four times the size to which people's images are scaled."""


def fitted(mask: bytes, picture: bytes) -> bytes:
    """The mask as a PNG in the size of its image, without partial transparency, as the service requires.

    Blocks. Raises NotAllowed if it is not a mask.
    """
    with Pillow.open(io.BytesIO(picture)) as opened:
        size = opened.size
    sheet = Pillow.new("RGBA", size, (0, 0, 0, 255))
    sheet.putalpha(Pillow.eval(opening(mask, size), lambda open: 255 - open))
    held = io.BytesIO()
    sheet.save(held, "PNG")
    return held.getvalue()


def opening(mask: bytes, size: tuple[int, int]) -> Pillow.Image:
    """The area that may be changed, as white on black. Raises NotAllowed."""
    try:
        with Pillow.open(io.BytesIO(mask), formats=["PNG"]) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise NotAllowed("The mask has too many pixels. Use the size of the image.")
            alpha = opened.convert("RGBA").getchannel("A")
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        raise NotAllowed("The mask can't be read. Use a PNG.") from None
    marked = Pillow.eval(
        ImageOps.fit(alpha, size, Pillow.Resampling.NEAREST), lambda shade: 255 * (shade < 128)
    )
    if marked.getbbox() is None:
        raise NotAllowed("No area is selected. Select the area to change.")
    return marked
