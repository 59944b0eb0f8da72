"""Sizes, points and regions whose frame stands in the name.

Frames: ``l0`` level 0 pixels of one scene (origin at the scene's top left, x right, y down);
``t`` pixels of one tile; ``m`` pixels at the model's resolution; ``um`` micrometres.
Converters are called target-from-source: ``l0_from_m`` multiplies by level-0 pixels per model pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cmlcore.errors import InputError

MPP_LEAST, MPP_MOST = 0.005, 50.0
"""Bounds of what a microscope's camera may have, in µm per pixel."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    w: int
    h: int

    def halved(self, times: int) -> Size:
        """Size of pyramid level ``times``: each side is ``ceil(side / 2**times)``, at least 1."""
        d = 1 << times
        return Size(-(-self.w // d), -(-self.h // d))


@dataclass(frozen=True, slots=True)
class Point:
    """A point; the frame is in the name of the variable that holds it."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Region:
    """A half-open rectangle ``[x, x + w) × [y, y + h)`` in whole pixels."""

    x: int
    y: int
    w: int
    h: int

    @property
    def x1(self) -> int:
        """First column to the right of the region."""
        return self.x + self.w

    @property
    def y1(self) -> int:
        """First row below the region."""
        return self.y + self.h

    def contains(self, x: float, y: float) -> bool:
        """Whether the point lies inside, the left and top edges included."""
        return self.x <= x < self.x1 and self.y <= y < self.y1

    def clipped(self, other: Region) -> Region:
        """The part inside ``other``; width or height is 0 where they do not meet."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Region(x, y, max(0, min(self.x1, other.x1) - x), max(0, min(self.y1, other.y1) - y))

    def grown(self, margin: int) -> Region:
        """The region with ``margin`` pixels added on every side."""
        return Region(self.x - margin, self.y - margin, self.w + 2 * margin, self.h + 2 * margin)


@dataclass(frozen=True, slots=True)
class Mpp:
    """Micrometres per pixel along x and y."""

    x: float
    y: float

    def __post_init__(self) -> None:
        for v in (self.x, self.y):
            if not (math.isfinite(v) and MPP_LEAST <= v <= MPP_MOST):
                bounds = f"{MPP_LEAST:g} to {MPP_MOST:g} µm"
                raise InputError(f"A pixel size of {v:g} µm is outside {bounds}; give the true one.")

    @property
    def mean(self) -> float:
        """Geometric mean of both axes, in µm per pixel."""
        return math.sqrt(self.x * self.y)

    @property
    def um2_per_px(self) -> float:
        """Area of one pixel in µm²."""
        return self.x * self.y
