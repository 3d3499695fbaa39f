"""Rule-based images of the demo model: a few nouns and colours, or an abstract image, with the prompt as a caption."""

import io
import random
import re
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image as Pillow
from PIL import ImageColor, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps, UnidentifiedImageError

from bot.domain.errors import NotAllowed
from bot.llm.demo.figures import COLOURS, INK, SYNONYMS, THINGS, Colour, Pen, Thing, dark
from bot.llm.openai import edit_mask

# Shortest and longest edge in pixels, for readable captions and short waits.
EDGES = (256, 1024)
USUAL = (768, 768)

# The maximum pixels of an image to edit; people's images are scaled to a quarter of it.
MAX_PIXELS = 16_777_216

# Partial images.
STEPS = 2

# Drawn larger and scaled down for smooth edges.
_SCALE = 2

_GROUND = (150, 196, 120)
_WATER = (70, 140, 190)
_BACKGROUND = (250, 248, 242)

# Above, and at the horizon.
_NIGHT = ((24, 30, 70), (80, 80, 130))
_SKIES = (
    ((150, 200, 240), (232, 244, 252)),
    ((246, 170, 120), (254, 226, 178)),
    ((190, 170, 224), (250, 222, 226)),
    ((168, 208, 205), (240, 240, 214)),
)


class Figure(NamedTuple):
    """A thing to draw and its colour."""

    name: str
    thing: Thing
    colour: Colour


def draw(request: str, size: str | None = None, variant: int = 0) -> bytes:
    """A PNG of the request. The same request, size and variant give the same bytes."""
    width, height = _edges(size)
    canvas = Pillow.new("RGB", (width * _SCALE, height * _SCALE), _BACKGROUND)
    strip = max(28, height // 14) * _SCALE
    area = (canvas.width, canvas.height - strip)
    if figures := understood(request):
        canvas.paste(_landscape(area, figures, _words(request), variant))
    else:
        canvas.paste(_abstract(area, random.Random(f"{request.strip().lower()}|{variant}")))
    _caption(canvas, strip, request)
    canvas.thumbnail((width, height), Pillow.Resampling.LANCZOS)
    return _png(canvas)


def understood(request: str) -> list[Figure]:
    """The known things in a request, at most four, each in the colour named before it."""
    words = _words(request)
    found: list[Figure] = []
    since = 0  # a colour applies to the next thing only
    for at, word in enumerate(words):
        singular = word if word in THINGS else word.removesuffix("s")
        name = SYNONYMS.get(singular, singular)
        if thing := THINGS.get(name):
            named = [one for one in words[max(since, at - 3) : at] if one in COLOURS] or [thing.colour]
            figure = Figure(name, thing, COLOURS[named[-1]])
            since = at
            if figure not in found:
                found.append(figure)
    return found[:4]


def edited(data: bytes, request: str, mask: bytes = b"") -> bytes:
    """The image, edited as far as the request is understood: brightness, colours, blur, rotation, mirroring.

    With a mask, only its open area changes; things named in the request are drawn there. Raises NotAllowed if
    the bytes are not an image.
    """
    try:
        with Pillow.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise NotAllowed("That image is too large to edit. Send a smaller one.")
            opened.draft("RGB", (EDGES[1], EDGES[1]))
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Pillow.DecompressionBombError):
        raise NotAllowed("I can't open that image. Send a PNG, JPEG, GIF or WebP.") from None
    picture.thumbnail((EDGES[1], EDGES[1]))
    if not mask:
        return _png(_changed(picture, _words(request)))
    opening = edit_mask.opening(mask, picture.size)
    figures = understood(request)
    changed = _with_figures(picture, opening, figures) if figures else _changed(picture, _words(request))
    return _png(Pillow.composite(ImageOps.fit(changed, picture.size), picture, opening))


def unfinished(data: bytes, step: int) -> bytes:
    """A partial image at one of `STEPS`: blurred, then less so."""
    with Pillow.open(io.BytesIO(data)) as opened:
        return _png(opened.filter(ImageFilter.GaussianBlur(opened.width / (20, 60)[step])))


def _with_figures(picture: Pillow.Image, opening: Pillow.Image, figures: list[Figure]) -> Pillow.Image:
    """The figures side by side in the open area, over the blurred image."""
    left, top, right, bottom = (edge * _SCALE for edge in opening.getbbox() or (0, 0, *picture.size))
    blurred = picture.filter(ImageFilter.GaussianBlur(picture.width / 30))
    sheet = ImageOps.scale(blurred, _SCALE)
    half = min((right - left) / len(figures), bottom - top) / 2
    for at, figure in enumerate(figures):
        x = left + (right - left) * (2 * at + 1) / (2 * len(figures))
        figure.thing.draw(Pen(ImageDraw.Draw(sheet), x, (top + bottom) / 2, half), figure.colour)
    return sheet


_CHANGES: tuple[tuple[str, Callable[[Pillow.Image], Pillow.Image]], ...] = (
    ("brighter lighter bright light", lambda picture: ImageEnhance.Brightness(picture).enhance(1.4)),
    ("darker dark night", lambda picture: ImageEnhance.Brightness(picture).enhance(0.6)),
    ("colourful colorful vivid", lambda picture: ImageEnhance.Color(picture).enhance(1.8)),
    ("blur blurred softer", lambda picture: picture.filter(ImageFilter.GaussianBlur(picture.width / 120))),
    ("mirror mirrored flip flipped", ImageOps.mirror),
    ("rotate rotated turn", lambda picture: picture.transpose(Pillow.Transpose.ROTATE_270)),
)


def _changed(picture: Pillow.Image, words: list[str]) -> Pillow.Image:
    """The image with the changes that the words name; with a frame if they name none."""
    before = picture
    for names, change in _CHANGES:
        if not {*names.split()}.isdisjoint(words):
            picture = change(picture)
    if {"grey", "gray", "greyscale", "grayscale"} & {*words} or {"black", "white"} <= {*words}:
        return ImageOps.grayscale(picture).convert("RGB")
    if tint := next((COLOURS[word] for word in words if word in COLOURS), None):
        return ImageOps.colorize(ImageOps.grayscale(picture), INK, _BACKGROUND, mid=tint)
    return ImageOps.expand(picture, picture.width // 24, _BACKGROUND) if picture is before else picture


# ------------------------------------------------------------------ scenes


def _landscape(area: tuple[int, int], figures: list[Figure], words: list[str], variant: int) -> Pillow.Image:
    """A landscape by day or by night; variants have another sky and horizon."""
    width, height = area
    night = not {"night", "dark", "moon", "midnight"}.isdisjoint(words)
    wet = any(figure.thing.place == "water" for figure in figures)
    wet = wet or not {"sea", "lake", "ocean"}.isdisjoint(words)
    horizon = round(height * ((0.62 if wet else 0.74) - 0.06 * (variant % 3)))
    top, low = _NIGHT if night else _SKIES[variant % len(_SKIES)]
    ground = dark(_WATER if wet else _GROUND, 0.6 if night else 1.0)
    canvas = Pillow.new("RGB", area, ground)
    sky = ImageOps.colorize(Pillow.linear_gradient("L"), top, low)
    canvas.paste(sky.transform((width, horizon), Pillow.Transform.EXTENT, (0, 0, *sky.size)))
    pen = ImageDraw.Draw(canvas)
    for n in range(60 if night else 0):
        x, y = n * 0.618 % 1 * width, n * 0.271 % 1 * horizon  # multiples of such numbers are spread evenly
        pen.ellipse((x, y, x + 4, y + 4), COLOURS["white"])
    above = [figure for figure in figures if figure.thing.place == "sky"]
    below = [figure for figure in figures if figure.thing.place != "sky"]
    for at, figure in enumerate(above):
        x = width * (0.82 - 0.27 * at if below else (at + 1) / (len(above) + 1))
        half = min(width, height) * (0.17 if below else 0.32 / len(above) ** 0.5)
        figure.thing.draw(Pen(pen, x, height * (0.2 if below else 0.4), half), figure.colour)
    _row(pen, area, horizon, below, dark(ground, 0.8))
    return ImageOps.mirror(canvas) if variant % 2 else canvas


def _row(
    pen: ImageDraw.ImageDraw, area: tuple[int, int], horizon: int, figures: list[Figure], shadow: Colour
) -> None:
    """Things side by side; those on the ground have a shadow."""
    width, height = area
    for at, figure in enumerate(figures):
        half = min(height * 0.36, width * 0.46 / len(figures))
        x = width * (2 * at + 1) / (2 * len(figures))
        foot = horizon + (height - horizon) * 0.45
        y = foot - 0.86 * half
        if figure.thing.place == "water":
            y = horizon - 0.35 * half
        else:
            pen.ellipse((x - 0.8 * half, foot - 0.07 * half, x + 0.8 * half, foot + 0.09 * half), shadow)
        figure.thing.draw(Pen(pen, x, y, half), figure.colour)


def _abstract(area: tuple[int, int], seed: random.Random) -> Pillow.Image:
    """Overlapping discs in neighbouring hues; the text decides which."""
    width, height = area
    hue = seed.randrange(360)
    canvas = Pillow.new("RGB", area, f"hsv({hue}, 10%, 97%)")
    pen = ImageDraw.Draw(canvas, "RGBA")
    for _ in range(9):
        near = hue + seed.choice((0, 20, 40, 180))
        shade = ImageColor.getrgb(f"hsv({near}, {seed.randrange(45, 75)}%, 85%)")
        x, y = width * seed.uniform(0.2, 0.8), height * seed.uniform(0.2, 0.8)
        r = height * seed.uniform(0.1, 0.3)
        pen.ellipse((x - r, y - r, x + r, y + r), (*shade, 175))
    return canvas


# ------------------------------------------------------------------ text and bytes


def _words(request: str) -> list[str]:
    return re.findall(r"[a-z]+", request.lower())


def _caption(canvas: Pillow.Image, strip: int, request: str) -> None:
    pen = ImageDraw.Draw(canvas)
    try:
        font = ImageFont.truetype("DejaVuSans.ttf", strip * 0.5)  # covers more scripts than Pillow's own
    except OSError:
        font = ImageFont.load_default(strip * 0.5)
    text = " ".join(request.split())
    while text and pen.textlength(text, font) > canvas.width * 0.94:
        text = text[:-2].rstrip("… ") + "…" if len(text) > 2 else ""
    pen.text((canvas.width / 2, canvas.height - strip / 2), text, INK, font, anchor="mm")


def _edges(size: str | None) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,5})x(\d{2,5})", size or "")
    if not found:
        return USUAL
    width, height = int(found[1]), int(found[2])
    share = min(1.0, EDGES[1] / max(width, height))
    return max(EDGES[0], round(width * share)), max(EDGES[0], round(height * share))


def _png(picture: Pillow.Image) -> bytes:
    held = io.BytesIO()
    picture.save(held, "PNG", compress_level=4)
    return held.getvalue()
