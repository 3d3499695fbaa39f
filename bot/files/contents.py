"""Converts the bytes of a file into an image that models accept, or into text. Runs in a reader process."""

import io
import time
from typing import TYPE_CHECKING, Any, cast

from bot.domain.errors import NotAllowed
from bot.domain.words import marked
from bot.files import documents
from bot.files.frames import ScaledImage
from bot.files.image_metadata import is_heif, only_pixels

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
"""Formats that models accept."""
_PASSED_MODES = ("1", "L", "P", "RGB", "RGBA")
_PHOTOS = ("JPEG", "MPO")
"""Formats of photos, which are several times larger as PNG and look no better."""
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_PROFILE_BYTES = 64 * 1024
"""Larger colour profiles are not applied; those of cameras and phones have less than 4 KB."""
_EASY_S = 1.0
"""CPU time. An image that takes longer to decode is encoded again, so that later readers don't pay for it."""
_DAMAGED = marked("is a damaged or incomplete image. Save it again, or send it as PNG or JPEG.")
_HEIF = marked(
    "is a HEIC photo, a format that can't be read here. Send it as JPEG: export or share a JPEG copy, or take a "
    "screenshot of it. (On an iPhone, “Most Compatible” under Settings > Camera > Formats takes JPEG photos.)"
)


def extract(data: bytes, mime: str, text_bytes: int, time_s: float) -> ScaledImage | str:
    """An image, or text of slightly more than `text_bytes` characters at most.

    The type is detected from the bytes. Text is cut off after `time_s` seconds. Raises NotAllowed for other
    types, and whatever the library for the format raises for a damaged file.
    """
    if not data:
        raise NotAllowed("is empty.")
    if is_heif(data):
        raise NotAllowed(_HEIF)
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
    if not (width and height):
        raise NotAllowed("is an image of no size. Save it again, or send it as PNG or JPEG.")
    if width * height > _PIXELS:
        raise NotAllowed(
            "is too large at {width} x {height} pixels. Send a smaller image.", width=width, height=height
        )
    fits = max(width, height) <= SIDE and len(data) <= PICTURE_BYTES
    try:
        opened.draft("RGB", (SIDE, SIDE))
        return _scaled(opened, data, fits)
    except (OSError, ValueError, SyntaxError):
        raise NotAllowed(_DAMAGED) from None


def _scaled(opened: "ImageFile", data: bytes, fits: bool) -> ScaledImage:
    """The first frame, upright. Bytes with nothing but pixels are passed on unchanged if they can be."""
    format = opened.format or ""
    began = time.process_time()
    opened.load()
    easy = time.process_time() - began < _EASY_S
    plain = (
        format in _PASSED_ON and opened.mode in _PASSED_MODES and not getattr(opened, "is_animated", False)
    )
    if fits and easy and plain and only_pixels(data, format):
        return ScaledImage(_PASSED_ON[format], data)
    upright = _upright(opened)
    upright.thumbnail((SIDE, SIDE))
    return _encoded(upright, photo=format in _PHOTOS)


def _upright(opened: "ImageFile") -> "Image":
    """Turned and mirrored as its EXIF or XMP data say; as it is if they are damaged."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(opened)
    except MemoryError:
        raise
    except Exception:  # metadata is parsed by many parts of Pillow, each with errors of its own
        return opened


def _encoded(picture: "Image", *, photo: bool) -> ScaledImage:
    """Without metadata; as PNG, which keeps text sharp, if that is small enough and it is no photo, else as JPEG."""
    clear = picture.has_transparency_data
    flat = _in_srgb(_shallow(picture)).convert("RGBA" if clear else "RGB")
    flat.info.clear()  # Pillow would write comments and profiles again
    out = io.BytesIO()
    if clear or not photo:
        flat.save(out, "PNG")
        if out.tell() <= PICTURE_BYTES:
            return ScaledImage("image/png", out.getvalue())
        out = io.BytesIO()
    flat.convert("RGB").save(out, "JPEG", quality=90 if photo else 85)
    return ScaledImage("image/jpeg", out.getvalue())


def _shallow(picture: "Image") -> "Image":
    """An image with 16 bits or more per pixel in 8; Pillow's own conversion would turn most of it white."""
    if picture.mode not in _DEEP_MODES:
        return picture

    def scaled(value: Any) -> Any:
        return value * (1 / 256)

    return cast("Image", cast(Any, picture).point(scaled)).convert("L")


def _in_srgb(picture: "Image") -> "Image":
    """With the colours that its profile means, because models take all images for sRGB."""
    profile = picture.info.get("icc_profile") or b""
    if not 0 < len(profile) <= _PROFILE_BYTES or picture.mode not in ("RGB", "RGBA", "CMYK"):
        return picture
    from PIL import ImageCms

    cms: Any = ImageCms  # its types are incomplete
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    try:
        source, target = cms.ImageCmsProfile(io.BytesIO(profile)), cms.createProfile("sRGB")
        return cast("Image", cms.profileToProfile(picture, source, target, outputMode=mode))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
