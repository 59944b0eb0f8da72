"""Regions of interest: one rule for the run that keeps cells and for the page that filters them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from cmlcore.errors import InputError
from cmlcore.geometry import Size

Polygon = Sequence[Sequence[float]]
"""Vertices ``[[x, y], …]``; the first need not be repeated."""


def roi_shape(rois_l0: Sequence[Polygon]) -> shapely.Geometry:
    """The union of the polygons; one that crosses itself counts as the areas it encloses.

    Raises:
        InputError: a polygon has fewer than three vertices, a vertex that is no number, or no area.

    """
    shapes = []
    for n, vertices in enumerate(rois_l0, 1):
        xy = [tuple(map(float, v)) for v in vertices]
        if len(xy) < 3 or any(len(v) != 2 or not all(map(math.isfinite, v)) for v in xy):
            raise InputError(f"Region {n} is not a polygon of at least three points; draw it again.")
        shape = shapely.make_valid(shapely.Polygon(xy))
        if shape.area <= 0:
            raise InputError(f"Region {n} has no area; draw it again.")
        shapes.append(shape)
    return shapely.union_all(shapes)


def in_rois(
    x_l0: ArrayLike, y_l0: ArrayLike, rois_l0: Sequence[Polygon] | shapely.Geometry
) -> NDArray[np.bool_]:
    """Whether each point lies in, or on the edge of, any of the polygons. Shape ``(N,)``."""
    shape = rois_l0 if isinstance(rois_l0, shapely.Geometry) else roi_shape(rois_l0)
    shapely.prepare(shape)
    return np.asarray(
        shapely.intersects_xy(shape, np.asarray(x_l0, float), np.asarray(y_l0, float)), dtype=bool
    )


def analysed_area_px(size_l0: Size, rois_l0: Sequence[Polygon] | None) -> float:
    """Area of the scene, or of the part of the polygons that lies in it, in level-0 pixels²."""
    scene = shapely.box(0, 0, size_l0.w, size_l0.h)
    return float(scene.area if rois_l0 is None else shapely.intersection(scene, roi_shape(rois_l0)).area)
