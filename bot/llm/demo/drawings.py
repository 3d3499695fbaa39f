"""Rule-based images of the demo model: a few nouns and colours, or an abstract image, with the prompt as a caption."""

import io
import math
import random
import re
from typing import NamedTuple

from PIL import Image as Pillow
from PIL import ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps, UnidentifiedImageError

from bot.domain.errors import NotAllowed
from bot.llm.demo.figures import ALSO, THINGS, Thing
from bot.llm.demo.shapes import COLOURS, INK, Colour, Pen, dark
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
_SKIES = (
    ((150, 200, 240), (232, 244, 252)),
    ((246, 170, 120), (254, 226, 178)),
    ((190, 170, 224), (250, 222, 226)),
    ((168, 208, 205), (240, 240, 214)),
)
"""By day, in the evening, in the morning, in autumn: above, and at the horizon."""


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
    figures = understood(request)
    seed = random.Random(f"{request.strip().lower()}|{variant}")
    if figures:
        _landscape(canvas, area, figures, request, seed, variant)
    else:
        _abstract(canvas, area, seed)
    _caption(canvas, strip, request)
    canvas.thumbnail((width, height), Pillow.Resampling.LANCZOS)
    return _png(canvas)


def understood(request: str) -> list[Figure]:
    """The known things in a request, at most four, each in the colour named before it."""
    words = re.findall(r"[a-z]+", request.lower())
    found: list[Figure] = []
    since = 0  # a colour applies to the next thing only
    for at, word in enumerate(words):
        name = next((n for n in _singulars(word) if n in THINGS or n in ALSO), None)
        if name is None:
            continue
        name = ALSO.get(name, name)
        thing = THINGS[name]
        received = next((w for w in reversed(words[max(since, at - 3) : at]) if w in COLOURS), thing.colour)
        figure = Figure(name, thing, COLOURS[received])
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
    if mask:
        return _png(_changed_within(picture, request, edit_mask.opening(mask, picture.size)))
    return _png(_changed(picture, request.lower()))


def _changed_within(picture: Pillow.Image, request: str, opening: Pillow.Image) -> Pillow.Image:
    """The image with the open area of the mask changed."""
    figures = understood(request)
    if not figures:
        changed = ImageOps.fit(_changed(picture, request.lower()), picture.size)
        return Pillow.composite(changed, picture, opening)
    left, top, right, bottom = (edge * _SCALE for edge in opening.getbbox() or (0, 0, *picture.size))
    faded = picture.filter(ImageFilter.GaussianBlur(picture.width / 30))
    sheet = ImageOps.fit(faded, (picture.width * _SCALE, picture.height * _SCALE))
    half = min((right - left) / len(figures), bottom - top) / 2
    for at, figure in enumerate(figures):
        x = left + (right - left) * (2 * at + 1) / (2 * len(figures))
        figure.thing.draw(Pen(ImageDraw.Draw(sheet), x, (top + bottom) / 2, half), figure.colour)
    return Pillow.composite(ImageOps.fit(sheet, picture.size), picture, opening)


def unfinished(data: bytes, step: int) -> bytes:
    """A partial image at one of `STEPS`: outlines, then with a wash of colour."""
    with Pillow.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    lines = ImageOps.invert(
        ImageOps.autocontrast(picture.convert("L").filter(ImageFilter.FIND_EDGES), (0, 2))
    )
    pencilled = ImageOps.colorize(lines, INK, _BACKGROUND)
    if step == 0:
        return _png(pencilled)
    washed = ImageEnhance.Color(picture.filter(ImageFilter.GaussianBlur(picture.width / 60))).enhance(0.7)
    return _png(
        ImageChops.multiply(
            Pillow.blend(washed, Pillow.new("RGB", washed.size, _BACKGROUND), 0.35), pencilled
        )
    )


def _changed(picture: Pillow.Image, request: str) -> Pillow.Image:
    words = set(re.findall(r"[a-z]+", request))
    before = picture
    if words & {"brighter", "lighter", "bright", "light"}:
        picture = ImageEnhance.Brightness(picture).enhance(1.4)
    if words & {"darker", "dark", "night"}:
        picture = ImageEnhance.Brightness(picture).enhance(0.6)
    if words & {"contrast", "crisper"}:
        picture = ImageEnhance.Contrast(picture).enhance(1.5)
    if words & {"colourful", "colorful", "vivid"}:
        picture = ImageEnhance.Color(picture).enhance(1.8)
    if words & {"blur", "blurred", "blurry", "softer"}:
        picture = picture.filter(ImageFilter.GaussianBlur(picture.width / 120))
    if words & {"mirror", "flip", "mirrored", "flipped"}:
        picture = ImageOps.mirror(picture)
    if words & {"rotate", "turn", "rotated"}:
        picture = picture.transpose(Pillow.Transpose.ROTATE_270)
    if words & {"grey", "gray", "greyscale", "grayscale", "monochrome"} or {"black", "white"} <= words:
        return ImageOps.grayscale(picture).convert("RGB")
    tint = next((word for word in re.findall(r"[a-z]+", request) if word in COLOURS), None)
    if tint:
        return ImageOps.colorize(ImageOps.grayscale(picture), INK, _BACKGROUND, mid=COLOURS[tint])
    return (
        ImageOps.expand(picture, border=picture.width // 24, fill=_BACKGROUND)
        if picture is before
        else picture
    )


# ------------------------------------------------------------------ scenes


def _landscape(
    canvas: Pillow.Image,
    area: tuple[int, int],
    figures: list[Figure],
    request: str,
    seed: random.Random,
    variant: int,
) -> None:
    """A landscape by day; variants have another time of day and perspective."""
    width, height = area
    pen = ImageDraw.Draw(canvas)
    words = set(re.findall(r"[a-z]+", request.lower()))
    night = bool(words & {"night", "dark", "moon", "midnight"})
    wet = any(figure.thing.place == "water" for figure in figures) or bool(words & {"sea", "lake", "ocean"})
    horizon = round(height * ((0.62 if wet else 0.74) - 0.06 * (variant % 3)))
    top, low = ((24, 30, 70), (80, 80, 130)) if night else _SKIES[variant % len(_SKIES)]
    _gradient(pen, width, horizon, top, low)
    ground = dark(_WATER if wet else _GROUND, 0.6 if night else 1.0)
    pen.rectangle((0, horizon, width, height), fill=ground)
    if night:
        for _ in range(60):
            x, y = seed.randrange(width), seed.randrange(horizon)
            pen.ellipse((x, y, x + 4, y + 4), fill=COLOURS["white"])
    above = [figure for figure in figures if figure.thing.place == "sky"]
    below = [figure for figure in figures if figure.thing.place != "sky"]
    for at, figure in enumerate(above):
        half = min(width, height) * (0.17 if below else 0.32 / max(1, len(above) - 1) ** 0.5)
        x = width * (at + 1) / (len(above) + 1) if not below else width * (0.82 - 0.27 * at)
        y = height * (0.2 if below else 0.4)
        if figure.name == "rainbow":
            half, x, y = half * 2.2, width * 0.5, height * 0.42
        figure.thing.draw(Pen(pen, x, y, half), figure.colour)
    _figures_row(pen, area, horizon, below, dark(ground, 0.8))
    if variant % 2:
        canvas.paste(ImageOps.mirror(canvas))


def _figures_row(
    pen: ImageDraw.ImageDraw, area: tuple[int, int], horizon: int, figures: list[Figure], shadow: Colour
) -> None:
    """Things side by side; those on the ground have light from above and a shadow."""
    width, height = area
    for at, figure in enumerate(figures):
        half = min(height * 0.36, width * 0.46 / len(figures))
        x = width * (2 * at + 1) / (2 * len(figures))
        foot = horizon + (height - horizon) * 0.45
        y = foot - 0.86 * half
        if figure.name == "fish":
            y = horizon + (height - horizon) * 0.5
        elif figure.name == "boat":
            y = horizon - 0.35 * half
        elif figure.thing.place == "ground":
            pen.ellipse((x - 0.8 * half, foot - 0.07 * half, x + 0.8 * half, foot + 0.09 * half), shadow)
        figure.thing.draw(Pen(pen, x, y, half), figure.colour)


def _gradient(pen: ImageDraw.ImageDraw, width: int, height: int, top: Colour, low: Colour) -> None:
    step = 4
    for y in range(0, height, step):
        share = y / height
        red, green, blue = (round(a + (b - a) * share) for a, b in zip(top, low, strict=True))
        pen.rectangle((0, y, width, y + step), fill=(red, green, blue))


def _abstract(canvas: Pillow.Image, area: tuple[int, int], seed: random.Random) -> None:
    """Overlapping discs and arches in neighbouring hues; the text decides which."""
    width, height = area
    hue = seed.random()
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, 0, width, height), fill=_hsv(hue, 0.1, 0.97))
    for layer in range(7):
        sheet = Pillow.new("RGBA", canvas.size, (0, 0, 0, 0))
        over = ImageDraw.Draw(sheet)
        shade = _hsv(
            (hue + seed.choice((0.0, 0.06, 0.12, 0.5))) % 1, seed.uniform(0.45, 0.75), seed.uniform(0.7, 0.95)
        )
        r = height * seed.uniform(0.1, 0.34)
        turn = layer * 2.39996 + seed.random()  # the golden angle spreads them evenly
        x = width / 2 + width * 0.3 * math.cos(turn) * (layer / 7) ** 0.5
        y = height / 2 + height * 0.3 * math.sin(turn) * (layer / 7) ** 0.5
        box = (x - r, y - r, x + r, y + r)
        if layer % 3 == 2:
            over.arc(
                box, seed.randrange(360), seed.randrange(360) + 200, fill=(*shade, 230), width=round(r / 5)
            )
        else:
            over.ellipse(box, fill=(*shade, 175))
        canvas.paste(Pillow.alpha_composite(canvas.convert("RGBA"), sheet).convert("RGB"))
    pen.line((width * 0.08, height * 0.86, width * 0.92, height * 0.86), fill=INK, width=4)


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    sector = hue * 6
    part = saturation * value
    middle = part * (1 - abs(sector % 2 - 1))
    rest = value - part
    table = ((part, middle, 0.0), (middle, part, 0.0), (0.0, part, middle))
    mirrored = ((0.0, middle, part), (middle, 0.0, part), (part, 0.0, middle))
    red, green, blue = (*table, *mirrored)[int(sector) % 6]
    return round((red + rest) * 255), round((green + rest) * 255), round((blue + rest) * 255)


# ------------------------------------------------------------------ text and bytes


def _caption(canvas: Pillow.Image, strip: int, request: str) -> None:
    pen = ImageDraw.Draw(canvas)
    top = canvas.height - strip
    pen.rectangle((0, top, canvas.width, canvas.height), fill=_BACKGROUND)
    font = _font(strip * 0.5)
    text = " ".join(request.split())
    while text and pen.textlength(text, font) > canvas.width * 0.94:
        text = text[:-2].rstrip("… ") + "…" if len(text) > 2 else ""
    pen.text((canvas.width / 2, top + strip / 2), text, INK, font, anchor="mm")


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)  # covers more scripts than Pillow's own
    except OSError:
        return ImageFont.load_default(size)


def _edges(size: str | None) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,5})x(\d{2,5})", size or "")
    if not found:
        return USUAL
    width, height = int(found[1]), int(found[2])
    share = min(1.0, EDGES[1] / max(width, height))
    return max(EDGES[0], round(width * share)), max(EDGES[0], round(height * share))


def _singulars(word: str) -> tuple[str, ...]:
    return word, word.removesuffix("s"), word.removesuffix("es")


def _png(picture: Pillow.Image) -> bytes:
    held = io.BytesIO()
    picture.save(held, "PNG", compress_level=4)
    return held.getvalue()
