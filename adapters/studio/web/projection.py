"""The similarities of texts, and their positions on a plane: arithmetic on embeddings."""

from collections.abc import Sequence
from math import cos, hypot, pi, sin
from operator import mul

_ROUNDS = 200
"""Of the power iteration: enough for a chart."""
_EDGE = 1.1
"""How far from the middle a dot may be moved: the plane reaches to 1, the chart a little further."""
_TOUCH = 0.99
"""Distance of two dots that touch, in widths of a dot, less rounding errors."""


def similarities(vectors: Sequence[Sequence[float]]) -> list[list[float]]:
    """The cosine similarity of each pair of vectors, which have length 1."""
    return [[sum(map(mul, one, other)) for other in vectors] for one in vectors]


def plane(matrix: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """The first two principal components of the texts with these similarities, each from -1 to 1.

    The similarities are scalar products, so the eigenvectors of their centred matrix are the components, without
    looking at the vectors again.
    """
    size = len(matrix)
    means = [sum(row) / size for row in matrix]
    mean = sum(means) / size
    centred = [[matrix[i][j] - means[i] - means[j] + mean for j in range(size)] for i in range(size)]
    axes: list[list[float]] = []
    for _ in range(2):
        value, axis = _strongest(centred)
        axes.append([one * max(value, 0.0) ** 0.5 for one in axis])
        for i in range(size):
            for j in range(size):
                centred[i][j] -= value * axis[i] * axis[j]
    reach = max((abs(one) for axis in axes for one in axis), default=0.0) or 1.0
    return [(axes[0][n] / reach, axes[1][n] / reach) for n in range(size)]


def apart(places: Sequence[tuple[float, float]], wide: float, high: float) -> list[tuple[float, float]]:
    """The same positions, except that a dot that would hide another moves beside it; `wide` and `high` are its size."""
    found: list[tuple[float, float]] = []
    for x, y in places:
        near = (
            (x + turn * wide * cos(step * pi / 3), y + turn * high * sin(step * pi / 3))
            for turn in range(len(places))
            for step in range(6)
        )
        free = (
            (left, up)
            for left, up in near
            if max(abs(left), abs(up)) <= _EDGE
            and all(hypot((left - a) / wide, (up - b) / high) >= _TOUCH for a, b in found)
        )
        found.append(next(free, (x, y)))
    return found


def _strongest(matrix: Sequence[Sequence[float]]) -> tuple[float, list[float]]:
    """The largest eigenvalue of a symmetric matrix, with its eigenvector; zeros for a matrix of zeros."""
    axis = [1.0 + n for n in range(len(matrix))]
    value = 0.0
    for _ in range(_ROUNDS):
        product = [sum(map(mul, row, axis)) for row in matrix]
        value = sum(one * one for one in product) ** 0.5
        if value < 1e-9:
            return 0.0, [0.0] * len(matrix)
        axis = [one / value for one in product]
    return value, axis
