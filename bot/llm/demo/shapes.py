"""Shapes in a unit square, and named colours."""

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
    "gold": (212, 170, 60),
    "turquoise": (60, 180, 180),
}
INK: Colour = (50, 50, 60)
GLASS: Colour = (205, 228, 240)


class Pen:
    """Draws in a square: (0, 0) is its centre, 1 its edge, y grows downwards."""

    def __init__(self, draw: ImageDraw.ImageDraw, x: float, y: float, half: float) -> None:
        self._draw = draw
        self._x, self._y, self._half = x, y, half

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self._x + x * self._half, self._y + y * self._half

    def circle(
        self, x: float, y: float, r: float, fill: Colour | None, edge: Colour | None = None, w: float = 0.05
    ) -> None:
        """A disc, or a ring without `fill`."""
        self.oval(x - r, y - r, x + r, y + r, fill, edge, w)

    def oval(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Colour | None,
        edge: Colour | None = None,
        w: float = 0.05,
    ) -> None:
        """An ellipse in a box."""
        width = max(1, round(w * self._half)) if edge else 0
        self._draw.ellipse((self._at(x0, y0), self._at(x1, y1)), fill=fill, outline=edge, width=width)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, r: float = 0.0) -> None:
        """A rectangle, with round corners of radius `r`."""
        self._draw.rounded_rectangle((self._at(x0, y0), self._at(x1, y1)), radius=r * self._half, fill=fill)

    def shape(self, *points: tuple[float, float], fill: Colour) -> None:
        """A polygon."""
        self._draw.polygon([self._at(x, y) for x, y in points], fill=fill)

    def line(self, *points: tuple[float, float], fill: Colour, w: float = 0.06) -> None:
        """A line through the points, with round ends."""
        width = max(1, round(w * self._half))
        where = [self._at(x, y) for x, y in points]
        self._draw.line(where, fill=fill, width=width, joint="curve")
        for x, y in where:
            r = width / 2
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def arc(
        self, x: float, y: float, r: float, start: float, end: float, fill: Colour, w: float = 0.06
    ) -> None:
        """A part of a circle, from `start` to `end` in degrees, clockwise from the right."""
        box = (self._at(x - r, y - r), self._at(x + r, y + r))
        self._draw.arc(box, start, end, fill=fill, width=max(1, round(w * self._half)))


def dark(colour: Colour, by: float = 0.75) -> Colour:
    """A darker colour."""
    return (round(colour[0] * by), round(colour[1] * by), round(colour[2] * by))


def light(colour: Colour) -> Colour:
    """A lighter colour, half way to white."""
    return (
        round(colour[0] + (255 - colour[0]) * 0.5),
        round(colour[1] + (255 - colour[1]) * 0.5),
        round(colour[2] + (255 - colour[2]) * 0.5),
    )
