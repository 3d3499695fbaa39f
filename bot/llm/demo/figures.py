"""Things that the demo model can draw, each in a square of its own, and named colours."""

import math
from collections.abc import Callable
from typing import NamedTuple

from PIL import ImageDraw

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (214, 48, 49),
    "orange": (240, 140, 40),
    "yellow": (250, 200, 50),
    "green": (60, 150, 80),
    "blue": (52, 110, 200),
    "purple": (125, 80, 180),
    "pink": (235, 120, 165),
    "brown": (135, 90, 60),
    "black": (45, 45, 50),
    "white": (248, 248, 245),
    "grey": (140, 145, 150),
    "gray": (140, 145, 150),
}
INK: Colour = (50, 50, 60)
_GLASS: Colour = (205, 228, 240)


class Pen:
    """Draws in a square: (0, 0) is its centre, 1 its edge, y grows downwards."""

    def __init__(self, draw: ImageDraw.ImageDraw, x: float, y: float, half: float) -> None:
        self._draw = draw
        self._x, self._y, self._half = x, y, half

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self._x + x * self._half, self._y + y * self._half

    def circle(self, x: float, y: float, r: float, fill: Colour) -> None:
        """A disc."""
        self.oval(x - r, y - r, x + r, y + r, fill)

    def oval(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        """An ellipse in a box."""
        self._draw.ellipse((self._at(x0, y0), self._at(x1, y1)), fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, r: float = 0.0) -> None:
        """A rectangle, with round corners of radius `r`."""
        self._draw.rounded_rectangle((self._at(x0, y0), self._at(x1, y1)), radius=r * self._half, fill=fill)

    def shape(self, *points: tuple[float, float], fill: Colour) -> None:
        """A polygon."""
        self._draw.polygon([self._at(x, y) for x, y in points], fill=fill)

    def line(self, *points: tuple[float, float], fill: Colour, w: float) -> None:
        """A line of width `w` through the points, with round ends."""
        width = max(1, round(w * self._half))
        self._draw.line([self._at(x, y) for x, y in points], fill=fill, width=width, joint="curve")
        for x, y in points:
            self.circle(x, y, w / 2, fill)

    def arc(self, x: float, y: float, r: float, angles: tuple[int, int], fill: Colour, w: float) -> None:
        """A part of a circle between two angles, in degrees clockwise from the right."""
        box = (self._at(x - r, y - r), self._at(x + r, y + r))
        self._draw.arc(box, *angles, fill=fill, width=max(1, round(w * self._half)))


def dark(colour: Colour, by: float = 0.75) -> Colour:
    """A darker colour."""
    return round(colour[0] * by), round(colour[1] * by), round(colour[2] * by)


def _light(colour: Colour) -> Colour:
    return (colour[0] + 255) // 2, (colour[1] + 255) // 2, (colour[2] + 255) // 2


def _around(turn: float, r: float, y: float = 0.0) -> tuple[float, float]:
    """The point at an angle, in degrees, of a circle around (0, `y`)."""
    return r * math.cos(math.radians(turn)), y + r * math.sin(math.radians(turn))


def _bicycle(pen: Pen, colour: Colour) -> None:
    back, front = (-0.55, 0.45), (0.55, 0.45)
    for x, y in (back, front):
        for turn in range(0, 360, 30):
            dx, dy = _around(turn, 0.38)
            pen.line((x, y), (x + dx, y + dy), fill=COLOURS["grey"], w=0.012)
        pen.arc(x, y, 0.42, (0, 360), INK, 0.07)
        pen.circle(x, y, 0.05, INK)
    pedals, seat, head = (-0.08, 0.45), (-0.24, -0.2), (0.38, -0.22)
    pen.line(back, seat, pedals, back, fill=colour, w=0.08)
    pen.line(pedals, head, seat, fill=colour, w=0.08)
    pen.line(front, head, (0.33, -0.42), fill=colour, w=0.08)
    pen.line((0.33, -0.42), (0.5, -0.48), (0.58, -0.38), fill=INK, w=0.06)
    pen.line(seat, (-0.28, -0.33), fill=INK, w=0.05)
    pen.line((-0.42, -0.35), (-0.14, -0.35), fill=INK, w=0.1)
    pen.circle(*pedals, 0.11, dark(colour))
    pen.line((-0.16, 0.58), (0.0, 0.32), fill=INK, w=0.04)


def _car(pen: Pen, colour: Colour) -> None:
    pen.shape((-0.55, 0.15), (-0.35, -0.25), (0.3, -0.25), (0.58, 0.15), fill=colour)
    pen.shape((-0.42, 0.1), (-0.29, -0.17), (-0.04, -0.17), (-0.04, 0.1), fill=_GLASS)
    pen.shape((0.04, 0.1), (0.04, -0.17), (0.26, -0.17), (0.44, 0.1), fill=_GLASS)
    pen.box(-0.95, 0.1, 0.95, 0.58, colour, 0.14)
    pen.circle(0.88, 0.27, 0.07, COLOURS["yellow"])
    for x in (-0.55, 0.55):
        pen.circle(x, 0.6, 0.23, INK)
        pen.circle(x, 0.6, 0.11, COLOURS["grey"])


def _house(pen: Pen, colour: Colour) -> None:
    pen.box(0.35, -0.85, 0.55, -0.3, dark(COLOURS["brown"]))
    pen.shape((-0.95, -0.1), (0.0, -0.9), (0.95, -0.1), fill=COLOURS["brown"])
    pen.box(-0.75, -0.1, 0.75, 0.85, colour)
    pen.box(-0.15, 0.3, 0.15, 0.85, dark(colour, 0.5), 0.03)
    for x in (-0.48, 0.48):
        pen.box(x - 0.16, 0.1, x + 0.16, 0.42, _GLASS)
        pen.line((x, 0.1), (x, 0.42), fill=INK, w=0.02)


def _tree(pen: Pen, colour: Colour) -> None:
    pen.shape((-0.1, 0.85), (-0.06, 0.0), (0.06, 0.0), (0.1, 0.85), fill=COLOURS["brown"])
    for x, y in ((-0.32, 0.0), (0.32, 0.0), (0.0, -0.1), (-0.18, -0.42), (0.2, -0.42)):
        pen.circle(x, y, 0.36, dark(colour, 0.85))
    for x, y in ((-0.2, -0.1), (0.12, -0.4)):
        pen.circle(x, y, 0.27, colour)


def _cat(pen: Pen, colour: Colour) -> None:
    pen.arc(0.5, 0.5, 0.34, (270, 450), dark(colour), 0.13)
    for side in (-1, 1):
        pen.shape((side * 0.4, -0.35), (side * 0.36, -0.9), (side * 0.06, -0.6), fill=colour)
    _sitting(pen, colour)
    for side in (-1, 1):
        for y in (-0.29, -0.22):
            pen.line((side * 0.12, -0.2), (side * 0.6, y), fill=INK, w=0.015)


def _dog(pen: Pen, colour: Colour) -> None:
    pen.line((0.4, 0.55), (0.68, 0.2), fill=dark(colour), w=0.13)
    _sitting(pen, colour)
    for x in (-0.42, 0.42):
        pen.oval(x - 0.16, -0.68, x + 0.16, 0.02, dark(colour, 0.6))
    pen.oval(-0.07, -0.12, 0.07, 0.06, COLOURS["pink"])


def _sitting(pen: Pen, colour: Colour) -> None:
    """A body, a head and a face, from the front."""
    pen.oval(-0.45, -0.05, 0.45, 0.88, colour)
    pen.oval(-0.2, 0.2, 0.2, 0.85, _light(colour))
    pen.circle(0, -0.34, 0.43, colour)
    for x in (-0.17, 0.17):
        pen.oval(x - 0.17, 0.72, x + 0.11, 0.9, _light(colour))
        pen.circle(x, -0.4, 0.075, COLOURS["white"])
        pen.circle(x, -0.4, 0.05, INK)
        pen.arc(x * 0.35, -0.2, 0.06, (0, 180), INK, 0.02)
    pen.shape((-0.05, -0.27), (0.05, -0.27), (0.0, -0.21), fill=INK)


def _flower(pen: Pen, colour: Colour) -> None:
    pen.line((0, -0.3), (0.02, 0.88), fill=COLOURS["green"], w=0.06)
    pen.oval(-0.4, 0.3, 0.0, 0.48, COLOURS["green"])
    pen.oval(0.02, 0.45, 0.42, 0.63, COLOURS["green"])
    for petal in range(7):
        pen.circle(*_around(petal * 360 / 7, 0.3, -0.4), 0.2, colour)
    pen.circle(0, -0.4, 0.17, COLOURS["brown" if colour == COLOURS["yellow"] else "yellow"])


def _boat(pen: Pen, colour: Colour) -> None:
    pen.line((0, -0.85), (0, 0.4), fill=COLOURS["brown"], w=0.05)
    pen.shape((0.06, -0.8), (0.06, 0.22), (0.7, 0.22), fill=COLOURS["white"])
    pen.shape((-0.06, -0.65), (-0.06, 0.22), (-0.5, 0.22), fill=_light(colour))
    pen.shape((-0.85, 0.35), (0.9, 0.35), (0.6, 0.75), (-0.6, 0.75), fill=colour)


def _mountain(pen: Pen, colour: Colour) -> None:
    for x, top, half in ((0.4, -0.35, 0.75), (-0.25, -0.8, 0.95)):
        pen.shape((x - half, 0.88), (x, top), (x + half, 0.88), fill=colour)
        rise, wide = top + 0.25 * (0.88 - top), 0.25 * half
        pen.shape((x, top), (x + wide, rise), (x, rise - 0.1), (x - wide, rise), fill=COLOURS["white"])


def _sun(pen: Pen, colour: Colour) -> None:
    for turn in range(0, 360, 30):
        pen.line(_around(turn, 0.62), _around(turn, 0.92), fill=colour, w=0.09)
    pen.circle(0, 0, 0.5, colour)


def _bird(pen: Pen, colour: Colour) -> None:
    pen.shape((0.25, 0.05), (0.8, -0.12), (0.75, 0.22), fill=dark(colour))
    pen.oval(-0.5, -0.22, 0.45, 0.35, colour)
    pen.circle(-0.48, -0.18, 0.25, colour)
    pen.shape((-0.7, -0.25), (-0.98, -0.14), (-0.7, -0.08), fill=COLOURS["orange"])
    pen.circle(-0.53, -0.23, 0.05, INK)
    pen.shape((-0.15, 0.0), (0.35, -0.55), (0.3, 0.1), fill=dark(colour))


class Thing(NamedTuple):
    """How a thing is drawn, its default colour, and where it belongs."""

    draw: Callable[[Pen, Colour], None]
    colour: str
    place: str  # ground, sky or water


THINGS: dict[str, Thing] = {
    "bicycle": Thing(_bicycle, "blue", "ground"),
    "car": Thing(_car, "red", "ground"),
    "house": Thing(_house, "orange", "ground"),
    "tree": Thing(_tree, "green", "ground"),
    "cat": Thing(_cat, "orange", "ground"),
    "dog": Thing(_dog, "brown", "ground"),
    "flower": Thing(_flower, "pink", "ground"),
    "mountain": Thing(_mountain, "grey", "ground"),
    "boat": Thing(_boat, "red", "water"),
    "sun": Thing(_sun, "yellow", "sky"),
    "bird": Thing(_bird, "blue", "sky"),
}

# Plurals are recognized without being listed.
SYNONYMS = {"bike": "bicycle", "kitten": "cat", "puppy": "dog", "ship": "boat", "rose": "flower"}
