"""Images as phones, cameras and editors send them: upright, without metadata, in colours that models know."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, cast

import pytest
from PIL import Image as Pictures
from PIL import ImageCms, PngImagePlugin

from bot.domain.errors import NotAllowed
from bot.files.contents import extract
from bot.files.frames import ScaledImage
from bot.files.image_metadata import HEIF_BRANDS, only_pixels
from tests.support.documents import picture

SECRET = b"48.137154-11.576124"
"""Stands for a position; no output may contain it."""
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + SECRET + b"</x:xmpmeta>"
_Save = Callable[[Pictures.Image], bytes]


def read(data: bytes, mime: str = "") -> Pictures.Image:
    found = extract(data, mime, 60_000, 10)
    assert isinstance(found, ScaledImage)
    assert SECRET not in found.data
    opened = Pictures.open(io.BytesIO(found.data))
    opened.load()
    assert found.mime == Pictures.MIME[opened.format or ""]
    assert not opened.getexif()
    assert not {"exif", "xmp", "comment", "photoshop", "icc_profile"} & opened.info.keys()
    return opened


def saved(made: Pictures.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    made.save(out, format, **options)
    return out.getvalue()


def exif(orientation: int = 1) -> bytes:
    tags = Pictures.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = SECRET.decode()
    tags.get_ifd(0x8825)[29] = SECRET.decode()
    return tags.tobytes()


def quarters() -> Pictures.Image:
    """40 x 20, red at the top left."""
    made = Pictures.new("RGB", (40, 20), "blue")
    made.paste("red", (0, 0, 20, 10))
    return made


def is_red(made: Pictures.Image, at: tuple[int, int]) -> bool:
    red, _, blue = cast("tuple[int, int, int]", made.convert("RGB").getpixel(at))
    return red > 200 and blue < 60


UPRIGHT = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "tl", 6: "tr", 7: "br", 8: "bl"}
"""Where the red quarter is after an image was turned by this EXIF orientation."""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_small_images_are_turned_upright(format: str, orientation: int) -> None:
    """Field fault 70: an orientation is applied below the scaling size, too."""
    found = read(saved(quarters(), format, exif=exif(orientation), quality=95))
    assert found.size == ((40, 20) if orientation < 5 else (20, 40))
    width, height = found.size
    corners = {"tl": (4, 3), "tr": (width - 4, 3), "bl": (4, height - 4), "br": (width - 4, height - 4)}
    assert [name for name, at in corners.items() if is_red(found, at)] == [UPRIGHT[orientation]]


def test_large_photos_are_turned_and_scaled() -> None:
    """Field fault 70: a large photo stays upright and becomes a JPEG without metadata."""
    found = read(saved(cast(Any, quarters()).resize((4000, 2000)), "JPEG", exif=exif(6)))
    assert (found.size, found.format) == ((1024, 2048), "JPEG")
    assert is_red(found, (900, 100))


def _text_png(made: Pictures.Image) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Comment", SECRET.decode())
    chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return saved(made, "PNG", pnginfo=chunks)


def _unknown_chunk(made: Pictures.Image) -> bytes:
    data = saved(made, "PNG")
    chunk = struct.pack(">I", len(SECRET)) + b"prVt" + SECRET
    return data[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + data[33:]


def _segment(marker: int, body: bytes) -> _Save:
    def save(made: Pictures.Image) -> bytes:
        data = saved(made, "JPEG")
        return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + data[2:]

    return save


def _profile() -> bytes:
    cms: Any = ImageCms  # its types are incomplete
    return cms.ImageCmsProfile(cms.createProfile("sRGB")).tobytes()


METADATA: dict[str, _Save] = {
    "JPEG, EXIF": lambda made: saved(made, "JPEG", exif=exif()),
    "JPEG, XMP": lambda made: saved(made, "JPEG", xmp=XMP),
    "JPEG, comment": lambda made: saved(made, "JPEG", comment=SECRET),
    "JPEG, IPTC": _segment(0xED, b"Photoshop 3.0\0" + SECRET),
    "JPEG, APP15": _segment(0xEF, SECRET),
    "JPEG, a second APP0": _segment(0xE0, b"JFXX\0" + SECRET),
    "JPEG, profile": lambda made: saved(made, "JPEG", icc_profile=_profile()),
    "JPEG, after the end": lambda made: saved(made, "JPEG") + SECRET,
    "JPEG, progressive, EXIF": lambda made: saved(made, "JPEG", progressive=True, exif=exif()),
    "MPO": lambda made: saved(
        made, "MPO", save_all=True, append_images=[made], exif=exif(), comment=SECRET.decode()
    ),
    "PNG, EXIF": lambda made: saved(made, "PNG", exif=exif()),
    "PNG, text and XMP": _text_png,
    "PNG, unknown chunk": _unknown_chunk,
    "PNG, profile": lambda made: saved(made, "PNG", icc_profile=_profile()),
    "PNG, after the end": lambda made: saved(made, "PNG") + SECRET,
    "WebP, EXIF and XMP": lambda made: saved(made, "WEBP", exif=exif(), xmp=XMP),
    "WebP, lossless, profile": lambda made: saved(made, "WEBP", lossless=True, icc_profile=_profile()),
    "WebP, after the end": lambda made: saved(made, "WEBP") + SECRET,
    "GIF, comment": lambda made: saved(made, "GIF", comment=SECRET),
    "TIFF, tags": lambda made: saved(made, "TIFF", exif=exif()),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_never_reaches_the_model(name: str) -> None:
    """Field fault 70: position, comments, profiles and hidden data are removed from every format."""
    data = METADATA[name](quarters())
    assert SECRET in data or "profile" in name
    found = read(data)
    assert found.size == (40, 20)
    assert is_red(found, (4, 3))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_bare_images_are_passed_on(format: str) -> None:
    """Field fault 70: what has nothing but pixels loses no quality."""
    data = saved(quarters(), format)
    assert only_pixels(data, format)
    found = extract(data, "", 60_000, 10)
    assert isinstance(found, ScaledImage)
    assert found.data is data
    assert not only_pixels(data[:-3], format)
    assert not only_pixels(data, "GIF")


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(format: str) -> None:
    """Field fault 70: print colours below the scaling size are converted."""
    found = read(saved(quarters().convert("CMYK"), format))
    assert found.mode == "RGB"
    assert is_red(found, (4, 3))


@pytest.mark.parametrize(
    ("data", "mode", "pixel"),
    [
        (saved(Pictures.new("I;16", (8, 8), 0x8000), "PNG"), "RGB", (128, 128, 128)),
        (saved(Pictures.new("I;16", (8, 8), 0x8000), "TIFF"), "RGB", (128, 128, 128)),
        (saved(Pictures.new("LA", (8, 8), (200, 100)), "PNG"), "RGBA", (200, 200, 200, 100)),
        (saved(quarters().quantize(4), "PNG", transparency=0), "RGBA", None),
    ],
    ids=["16-bit PNG", "16-bit TIFF", "LA", "palette"],
)
def test_unusual_pixels_are_converted(data: bytes, mode: str, pixel: tuple[int, ...] | None) -> None:
    """Field fault 70: deep, grey and palette images keep their brightness and transparency."""
    found = read(data + b"\0")  # not bare, so that it is encoded again
    assert found.mode == mode
    assert pixel is None or found.getpixel((2, 2)) == pixel


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_is_its_first_frame(format: str) -> None:
    """Field fault 70: models refuse animations."""
    other = Pictures.new("RGB", (40, 20), "green")
    found = read(saved(quarters(), format, save_all=True, append_images=[other] * 3))
    assert getattr(found, "n_frames", 1) == 1
    assert is_red(found, (4, 3))


@pytest.mark.parametrize("mime", ["image/heic", "image/jpeg", ""])
@pytest.mark.parametrize("brand", sorted(HEIF_BRANDS))
def test_heic_says_how_to_send_it(brand: bytes, mime: str) -> None:
    """Field fault 70: a format that phones send is named, whatever the file is called."""
    data = struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1heic" + bytes(200)
    with pytest.raises(NotAllowed, match=r"HEIC photo.*Send it as JPEG"):
        extract(data, mime, 60_000, 10)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved(Pictures.effect_noise((300, 300), 90), "JPEG")[:-2000], "incomplete"),
        (saved(Pictures.effect_noise((300, 300), 90), "PNG")[:-2000], "incomplete"),
        (saved(Pictures.effect_noise((300, 300), 90).convert("RGB"), "WEBP")[:-2000], "incomplete"),
        (b"\xff\xd8\xff\xe0", "incomplete|not a supported image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a supported image"),
        (b"", "is empty"),
    ],
    ids=["JPEG", "PNG", "WebP", "header", "SVG", "empty"],
)
def test_broken_images_are_explained(data: bytes, words: str) -> None:
    """Field fault 70: a person learns what is wrong with an image."""
    with pytest.raises(NotAllowed, match=words):
        extract(data, "image/jpeg", 60_000, 10)


def test_a_wrong_extension_does_not_matter() -> None:
    """Field fault 70: the bytes decide, not the name."""
    assert read(picture("PNG"), "image/jpeg").format == "PNG"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "body", [b"", b"\xff" * 40, b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff" * 3]
)
def test_damaged_exif_does_not_hide_a_photo(body: bytes) -> None:
    """Field fault 70: an image whose metadata can't be parsed is used as it is."""
    assert is_red(read(_segment(0xE1, b"Exif\0\0" + body)(quarters())), (4, 3))
