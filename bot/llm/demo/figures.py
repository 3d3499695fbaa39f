"""Things that the demo model can draw, each in a square of its own."""

import math
from collections.abc import Callable
from typing import NamedTuple

from bot.llm.demo.shapes import COLOURS, GLASS, INK, Colour, Pen, dark, light


def bicycle(pen: Pen, colour: Colour) -> None:
    """Two wheels, a frame, a saddle, a handlebar."""
    back, front = (-0.55, 0.45), (0.55, 0.45)
    for x, y in (back, front):
        pen.circle(x, y, 0.42, None, INK, 0.07)
        for turn in range(0, 180, 30):
            dx, dy = 0.38 * math.cos(math.radians(turn)), 0.38 * math.sin(math.radians(turn))
            pen.line((x - dx, y - dy), (x + dx, y + dy), fill=(160, 165, 170), w=0.012)
        pen.circle(x, y, 0.05, INK)
    pedals, seat, head = (-0.08, 0.45), (-0.24, -0.2), (0.38, -0.22)
    pen.line(back, seat, pedals, back, fill=colour, w=0.08)
    pen.line(pedals, head, fill=colour, w=0.08)
    pen.line(seat, head, fill=colour, w=0.08)
    pen.line(front, head, (0.33, -0.42), fill=colour, w=0.08)
    pen.line((0.33, -0.42), (0.5, -0.48), (0.58, -0.38), fill=INK, w=0.06)
    pen.line(seat, (-0.28, -0.33), fill=INK, w=0.05)
    pen.line((-0.42, -0.35), (-0.14, -0.35), fill=INK, w=0.1)
    pen.circle(*pedals, 0.11, dark(colour), INK, 0.03)
    pen.line((-0.16, 0.58), (0.0, 0.32), fill=INK, w=0.04)


def car(pen: Pen, colour: Colour) -> None:
    """A body, a roof with windows, two wheels."""
    pen.shape((-0.55, 0.15), (-0.35, -0.25), (0.3, -0.25), (0.58, 0.15), fill=colour)
    pen.shape((-0.42, 0.1), (-0.29, -0.17), (-0.04, -0.17), (-0.04, 0.1), fill=GLASS)
    pen.shape((0.04, 0.1), (0.04, -0.17), (0.26, -0.17), (0.44, 0.1), fill=GLASS)
    pen.box(-0.95, 0.1, 0.95, 0.58, colour, 0.14)
    pen.box(-0.95, 0.44, 0.95, 0.58, dark(colour), 0.07)
    pen.circle(0.88, 0.27, 0.07, COLOURS["yellow"])
    for x in (-0.55, 0.55):
        pen.circle(x, 0.6, 0.23, INK)
        pen.circle(x, 0.6, 0.11, (190, 195, 200))


def house(pen: Pen, colour: Colour) -> None:
    """Walls, a roof, a chimney, a door, two windows."""
    pen.box(0.35, -0.85, 0.55, -0.3, dark(COLOURS["brown"]))
    pen.shape((-0.95, -0.1), (0.0, -0.9), (0.95, -0.1), fill=COLOURS["brown"])
    pen.box(-0.75, -0.1, 0.75, 0.85, colour)
    pen.box(-0.15, 0.3, 0.15, 0.85, dark(colour, 0.5), 0.03)
    pen.circle(0.09, 0.6, 0.025, COLOURS["gold"])
    for x in (-0.48, 0.48):
        pen.box(x - 0.16, 0.1, x + 0.16, 0.42, GLASS)
        pen.line((x, 0.1), (x, 0.42), fill=INK, w=0.02)
        pen.line((x - 0.16, 0.26), (x + 0.16, 0.26), fill=INK, w=0.02)


def tree(pen: Pen, colour: Colour) -> None:
    """A trunk and a crown."""
    pen.shape((-0.1, 0.85), (-0.06, 0.0), (0.06, 0.0), (0.1, 0.85), fill=COLOURS["brown"])
    for x, y, r in (
        (-0.32, 0.0, 0.34),
        (0.32, 0.0, 0.34),
        (0.0, -0.1, 0.4),
        (-0.18, -0.42, 0.34),
        (0.2, -0.42, 0.34),
    ):
        pen.circle(x, y, r, dark(colour, 0.85))
    for x, y, r in ((-0.1, -0.1, 0.3), (0.12, -0.45, 0.26), (-0.3, -0.1, 0.18)):
        pen.circle(x, y, r, colour)


def cat(pen: Pen, colour: Colour) -> None:
    """A sitting cat, from the front."""
    pen.arc(0.5, 0.5, 0.34, 270, 90, dark(colour), 0.13)
    pen.oval(-0.45, -0.05, 0.45, 0.88, colour)
    pen.oval(-0.2, 0.2, 0.2, 0.85, light(colour))
    for side in (-1, 1):
        pen.shape((side * 0.4, -0.35), (side * 0.36, -0.9), (side * 0.06, -0.6), fill=colour)
        pen.shape((side * 0.33, -0.5), (side * 0.31, -0.76), (side * 0.14, -0.6), fill=COLOURS["pink"])
        pen.oval(side * 0.2 - 0.14, 0.72, side * 0.2 + 0.14, 0.9, light(colour))
    pen.circle(0, -0.32, 0.43, colour)
    _face(pen, -0.36)
    for side in (-1, 1):
        for y in (-0.24, -0.17):
            pen.line((side * 0.12, -0.2), (side * 0.6, y - 0.05), fill=INK, w=0.015)


def dog(pen: Pen, colour: Colour) -> None:
    """A sitting dog, from the front, with hanging ears."""
    pen.line((0.4, 0.55), (0.68, 0.2), fill=dark(colour), w=0.13)
    pen.oval(-0.45, -0.05, 0.45, 0.88, colour)
    pen.oval(-0.2, 0.2, 0.2, 0.85, light(colour))
    pen.circle(0, -0.35, 0.42, colour)
    for side in (-1, 1):
        pen.oval(side * 0.42 - 0.16, -0.68, side * 0.42 + 0.16, 0.02, dark(colour, 0.6))
        pen.oval(side * 0.2 - 0.15, 0.72, side * 0.2 + 0.15, 0.9, light(colour))
    pen.oval(-0.2, -0.36, 0.2, -0.04, light(colour))
    _face(pen, -0.42)
    pen.oval(-0.07, -0.12, 0.07, 0.06, COLOURS["pink"])


def _face(pen: Pen, y: float) -> None:
    for x in (-0.17, 0.17):
        pen.circle(x, y, 0.075, COLOURS["white"])
        pen.circle(x, y, 0.05, INK)
    pen.shape((-0.05, y + 0.13), (0.05, y + 0.13), (0.0, y + 0.19), fill=INK)
    for x in (-0.06, 0.06):
        pen.arc(x, y + 0.2, 0.06, 0, 180, INK, 0.02)


def flower(pen: Pen, colour: Colour) -> None:
    """A stem with two leaves and seven petals."""
    pen.line((0, -0.3), (0.02, 0.88), fill=COLOURS["green"], w=0.06)
    pen.oval(-0.4, 0.3, 0.0, 0.48, COLOURS["green"])
    pen.oval(0.02, 0.45, 0.42, 0.63, COLOURS["green"])
    for petal in range(7):
        turn = math.radians(petal * 360 / 7)
        pen.circle(0.3 * math.cos(turn), -0.4 + 0.3 * math.sin(turn), 0.2, colour)
    pen.circle(0, -0.4, 0.17, COLOURS["yellow"] if colour != COLOURS["yellow"] else COLOURS["brown"])


def boat(pen: Pen, colour: Colour) -> None:
    """A hull, a mast, two sails."""
    pen.line((0, -0.85), (0, 0.4), fill=COLOURS["brown"], w=0.05)
    pen.shape((0.06, -0.8), (0.06, 0.22), (0.7, 0.22), fill=COLOURS["white"])
    pen.shape((-0.06, -0.65), (-0.06, 0.22), (-0.5, 0.22), fill=light(colour))
    pen.shape((-0.85, 0.35), (0.9, 0.35), (0.6, 0.75), (-0.6, 0.75), fill=colour)
    pen.line((-0.85, 0.36), (0.9, 0.36), fill=dark(colour), w=0.05)


def fish(pen: Pen, colour: Colour) -> None:
    """A body, a tail, a fin, an eye."""
    pen.shape((0.4, 0.05), (0.9, -0.3), (0.9, 0.4), fill=dark(colour))
    pen.shape((-0.1, -0.25), (0.25, -0.6), (0.35, -0.2), fill=dark(colour))
    pen.oval(-0.8, -0.36, 0.55, 0.46, colour)
    pen.circle(-0.5, -0.05, 0.09, COLOURS["white"])
    pen.circle(-0.52, -0.05, 0.045, INK)
    for x in (-0.15, 0.1, 0.3):
        pen.arc(x, 0.05, 0.18, 110, 250, dark(colour), 0.03)
    pen.arc(-0.72, 0.12, 0.12, 10, 80, INK, 0.03)


def robot(pen: Pen, colour: Colour) -> None:
    """A box with a face on a box with buttons."""
    pen.line((0, -0.95), (0, -0.7), fill=INK, w=0.04)
    pen.circle(0, -0.93, 0.07, COLOURS["red"])
    for side in (-1, 1):
        pen.line((side * 0.4, -0.02), (side * 0.72, 0.22), (side * 0.66, 0.48), fill=dark(colour), w=0.1)
        pen.box(side * 0.22 - 0.1, 0.55, side * 0.22 + 0.1, 0.88, dark(colour), 0.04)
    pen.box(-0.42, -0.72, 0.42, -0.16, colour, 0.1)
    pen.box(-0.45, -0.1, 0.45, 0.6, colour, 0.08)
    for x in (-0.18, 0.18):
        pen.circle(x, -0.5, 0.1, COLOURS["white"])
        pen.circle(x, -0.5, 0.05, COLOURS["blue"])
    pen.line((-0.2, -0.28), (0.2, -0.28), fill=INK, w=0.04)
    for x, name in ((-0.2, "red"), (0.0, "yellow"), (0.2, "green")):
        pen.circle(x, 0.12, 0.07, COLOURS[name])


def heart(pen: Pen, colour: Colour) -> None:
    """Two discs and a point."""
    pen.circle(-0.3, -0.2, 0.35, colour)
    pen.circle(0.3, -0.2, 0.35, colour)
    pen.shape((-0.625, -0.07), (0.625, -0.07), (0.0, 0.72), fill=colour)


def mountain(pen: Pen, colour: Colour) -> None:
    """Two peaks with snow."""
    for x, top, half in ((0.4, -0.35, 0.75), (-0.25, -0.8, 0.95)):
        pen.shape((x - half, 0.88), (x, top), (x + half, 0.88), fill=colour)
        pen.shape((x, top), (x + half, 0.88), (x + 0.1 * half, 0.88), fill=dark(colour, 0.85))
        rise = 0.25 * (0.88 - top)
        snow = (
            (x, top),
            (x + 0.25 * half, top + rise),
            (x + 0.05, top + 0.7 * rise),
            (x - 0.08, top + 1.1 * rise),
        )
        pen.shape(*snow, (x - 0.25 * half, top + rise), fill=COLOURS["white"])


def sun(pen: Pen, colour: Colour) -> None:
    """A disc with rays."""
    for ray in range(12):
        turn = math.radians(ray * 30)
        dx, dy = math.cos(turn), math.sin(turn)
        pen.line((0.62 * dx, 0.62 * dy), (0.92 * dx, 0.92 * dy), fill=colour, w=0.09)
    pen.circle(0, 0, 0.5, colour)


def moon(pen: Pen, colour: Colour) -> None:
    """A full moon with craters."""
    pen.circle(0, 0, 0.6, colour)
    for x, y, r in ((-0.2, -0.15, 0.13), (0.2, 0.1, 0.09), (-0.1, 0.28, 0.07)):
        pen.circle(x, y, r, dark(colour, 0.88))


def star(pen: Pen, colour: Colour) -> None:
    """Five points."""
    points = [
        (r * math.sin(math.radians(step * 36)), -r * math.cos(math.radians(step * 36)))
        for step, r in enumerate((0.8, 0.34) * 5)
    ]
    pen.shape(*points, fill=colour)


def cloud(pen: Pen, colour: Colour) -> None:
    """Four discs on a flat ground."""
    for x, y, r in ((-0.45, 0.1, 0.28), (-0.1, -0.12, 0.36), (0.3, 0.0, 0.32), (0.6, 0.14, 0.22)):
        pen.circle(x, y, r, colour)
    pen.box(-0.6, 0.1, 0.7, 0.37, colour, 0.13)


def balloon(pen: Pen, colour: Colour) -> None:
    """A balloon on a string."""
    pen.line((0, 0.4), (0.06, 0.65), (-0.04, 0.95), fill=INK, w=0.02)
    pen.shape((-0.08, 0.44), (0.08, 0.44), (0.0, 0.3), fill=dark(colour))
    pen.oval(-0.42, -0.75, 0.42, 0.36, colour)
    pen.oval(-0.26, -0.58, -0.06, -0.26, light(colour))


def bird(pen: Pen, colour: Colour) -> None:
    """A body, a wing, a beak."""
    pen.shape((0.25, 0.05), (0.8, -0.12), (0.75, 0.22), fill=dark(colour))
    pen.oval(-0.5, -0.22, 0.45, 0.35, colour)
    pen.circle(-0.48, -0.18, 0.25, colour)
    pen.shape((-0.7, -0.25), (-0.98, -0.14), (-0.7, -0.08), fill=COLOURS["orange"])
    pen.circle(-0.53, -0.23, 0.05, INK)
    pen.shape((-0.15, 0.0), (0.35, -0.55), (0.3, 0.1), fill=dark(colour, 0.85))


def rainbow(pen: Pen, colour: Colour) -> None:
    """Seven bands; the outermost has the requested colour."""
    bands = (colour, *(COLOURS[name] for name in ("red", "orange", "yellow", "green", "blue", "purple")))
    for band, shade in enumerate(bands):
        pen.arc(0, 0.6, 1.0 - band * 0.08, 180, 360, shade, 0.085)


class Thing(NamedTuple):
    """How a thing is drawn, its default colour, and where it belongs."""

    draw: Callable[[Pen, Colour], None]
    colour: str
    place: str  # ground, sky or water


THINGS: dict[str, Thing] = {
    "bicycle": Thing(bicycle, "blue", "ground"),
    "car": Thing(car, "red", "ground"),
    "house": Thing(house, "orange", "ground"),
    "tree": Thing(tree, "green", "ground"),
    "cat": Thing(cat, "orange", "ground"),
    "dog": Thing(dog, "brown", "ground"),
    "flower": Thing(flower, "pink", "ground"),
    "robot": Thing(robot, "grey", "ground"),
    "heart": Thing(heart, "red", "ground"),
    "mountain": Thing(mountain, "grey", "ground"),
    "boat": Thing(boat, "red", "water"),
    "fish": Thing(fish, "orange", "water"),
    "sun": Thing(sun, "yellow", "sky"),
    "moon": Thing(moon, "white", "sky"),
    "star": Thing(star, "gold", "sky"),
    "cloud": Thing(cloud, "white", "sky"),
    "balloon": Thing(balloon, "red", "sky"),
    "bird": Thing(bird, "blue", "sky"),
    "rainbow": Thing(rainbow, "pink", "sky"),
}

# Synonyms; plurals are recognized without being listed.
ALSO: dict[str, str] = {
    "bike": "bicycle",
    "cycle": "bicycle",
    "home": "house",
    "hut": "house",
    "kitten": "cat",
    "puppy": "dog",
    "rose": "flower",
    "tulip": "flower",
    "ship": "boat",
    "sailboat": "boat",
    "mountains": "mountain",
    "hill": "mountain",
    "taxi": "car",
    "forest": "tree",
    "goldfish": "fish",
}
