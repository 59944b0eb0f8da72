"""Regions of interest as a user draws them, made fit for planning."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shapely import Polygon as Shape
from shapely import box
from shapely.geometry.base import BaseGeometry

from cmlcore.errors import InputError
from cmlcore.geometry import Size
from cmlcore.store import Polygon

MAX_ROIS = 1000
MAX_VERTICES = 10_000


def checked_rois(rois_l0: Sequence[Sequence[Sequence[float]]] | None, scene: Size) -> list[Polygon] | None:
    """Polygons cut to the scene; None (the whole scene) stays None.

    Args:
        rois_l0: polygons ``[[x, y], …]`` in level-0 pixels, the first vertex repeated at the end or not.
        scene: size of the scene at level 0.

    Raises:
        InputError: a polygon is not one, crosses itself, or lies outside the scene.

    """
    if rois_l0 is None:
        return None
    if not 0 < len(rois_l0) <= MAX_ROIS:
        raise InputError(f"Draw between 1 and {MAX_ROIS} regions, or choose the whole slide.")
    frame = box(0, 0, scene.w, scene.h)
    return [p for number, roi in enumerate(rois_l0, 1) for p in _cut(number, roi, frame)]


def _cut(number: int, roi: Sequence[Sequence[float]], frame: BaseGeometry) -> list[Polygon]:
    points = [(float(x), float(y)) for x, y in roi]
    if not 3 <= len(points) <= MAX_VERTICES or not all(math.isfinite(v) for p in points for v in p):
        raise InputError(f"Region {number} needs 3 to {MAX_VERTICES} corners; draw it again.")
    shape = Shape(points)
    if not shape.is_valid or not shape.area:
        raise InputError(f"The outline of region {number} crosses itself or is empty; draw it again.")
    if frame.contains(shape):
        return [[list(p) for p in (points[:-1] if points[0] == points[-1] else points)]]
    inside = frame.intersection(shape)
    parts = [g for g in getattr(inside, "geoms", [inside]) if isinstance(g, Shape) and g.area]
    if not parts:
        raise InputError(f"Region {number} lies outside the slide; draw it on the image.")
    return [[list(p) for p in part.exterior.coords[:-1]] for part in parts]
