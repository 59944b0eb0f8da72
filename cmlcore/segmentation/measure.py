"""From outlines in a tile to rows of the cell table: all cells of a block at once, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from cmlcore.cells import CELL_SCHEMA, CELLS_PER_BLOCK, OUTLINE_STEP, in_rois, with_run_facts
from cmlcore.classes import UNIDENTIFIED
from cmlcore.errors import RunError
from cmlcore.geometry import Mpp, Region
from cmlcore.segmentation.plan import Plan
from models.base import Instances

Ragged = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Vertices ``(V, 2)`` of all polygons in turn; the first vertex of each and, last, V: ``(N + 1,)``."""


def ragged(outlines: Sequence[NDArray[np.floating]]) -> Ragged:
    """Put polygons of any lengths one after the other."""
    first = np.zeros(len(outlines) + 1, dtype=np.int64)
    np.cumsum([len(o) for o in outlines], out=first[1:])
    if not outlines:
        return np.zeros((0, 2)), first
    return np.concatenate(outlines).astype(np.float64), first


def cell_rows(
    found: Instances, keep: NDArray[np.int64], rgb: NDArray[np.uint8], tile_m: Region, plan: Plan, block: int,
    classes: Sequence[str], unnamed_below: float | None = None,
) -> pa.Table:  # fmt: skip
    """The rows of the cells that a block owns.

    Args:
        found: what the network found in the tile, in tile pixels.
        keep: indices of the cells that the block owns.
        rgb: the tile, uint8 ``(h, w, 3)``.
        tile_m: where the tile lies in the m frame.
        plan: the run's cut.
        block: index of the block.
        classes: the network's classes, in the order of ``probs``.
        unnamed_below: cells of a lower score are unidentified; None: every cell keeps its class.

    Returns:
        A table in CELL_SCHEMA, with the run's facts in its metadata. Ids are given before cells outside
        the regions are dropped, so a region's run and the whole slide's give a cell the same id.

    Raises:
        RunError: one block owns more cells than ids can tell apart.

    """
    if len(keep) >= CELLS_PER_BLOCK:
        raise RunError("A block holds too many cells to number; use a smaller tile.")
    order = keep[np.lexsort((found.anchors[keep, 0], found.anchors[keep, 1]))]
    xy_t, first = ragged([found.outlines[i] for i in order])
    l0_from_m, m_from_l0 = np.array(plan.frame.l0_from_m), np.array(plan.frame.m_from_l0)
    origin_m = np.array((tile_m.x, tile_m.y))
    xy_l0, first = clean((xy_t + origin_m) * l0_from_m, first)
    colors = mean_colors(rgb, xy_l0 * m_from_l0 - origin_m, first)

    mpp = Mpp(*plan.mpp)
    area_px, centre = areas_and_centroids(xy_l0, first)
    area = area_px * mpp.um2_per_px
    perimeter = perimeters(xy_l0 * (mpp.x, mpp.y), first)
    sizes = np.diff(first)
    ok = area > 0  # a cell thinner than the outline's step has none
    if plan.rois_l0 is not None:
        ok &= in_rois(centre[:, 0].astype(np.float32), centre[:, 1].astype(np.float32), plan.rois_l0)
    ids = block * CELLS_PER_BLOCK + np.arange(len(order), dtype=np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        circularity = np.minimum(1.0, 4 * np.pi * area / perimeter**2)
    low, high = _bounds(xy_l0, first)

    o, vertex = order[ok], np.repeat(ok, sizes)
    names = np.array(classes, dtype=object)[found.classes[o]]
    if unnamed_below is not None:
        names[found.scores[o] < np.float32(unnamed_below)] = UNIDENTIFIED
    columns = [
        pa.array(ids[ok]),
        pa.array(np.full(len(o), block, dtype=np.int32)),
        pa.array(names, type=pa.string()),
        pa.array(found.scores[o].astype(np.float32)),
        _lists(found.probs[o].astype(np.float32).ravel(), np.full(len(o), found.probs.shape[1])),
        *(pa.array(c[ok].astype(np.float32)) for c in (*centre.T, *low.T, *high.T)),
        *(pa.array(c[ok].astype(np.float32)) for c in (area, perimeter, circularity, *colors.T)),
        _lists(xy_l0[vertex].astype(np.float32).ravel(), sizes[ok] * 2),
    ]
    schema = with_run_facts(CELL_SCHEMA, classes, mpp, unidentified=unnamed_below is not None)
    return pa.Table.from_arrays(columns, schema=schema)


def clean(xy: NDArray[np.float64], first: NDArray[np.int64]) -> Ragged:
    """Round vertices to OUTLINE_STEP and mend the polygons that cross themselves; as many as before."""
    xy = np.round(xy / OUTLINE_STEP) * OUTLINE_STEP
    sizes = np.diff(first)
    if not len(sizes):
        return xy, first
    # A vertex equal to the one before it says nothing; rounding makes some.
    previous = np.arange(len(xy)) - 1
    previous[first[:-1]] = first[1:] - 1
    fresh = (xy != xy[previous]).any(axis=1)
    kept = np.add.reduceat(fresh.astype(np.int64), first[:-1])
    fresh |= np.repeat(kept < 3, sizes)  # a speck stays as it is
    xy, sizes = xy[fresh], np.add.reduceat(fresh.astype(np.int64), first[:-1])
    first = np.concatenate(([0], np.cumsum(sizes)))
    shapes = _polygons(xy, first)
    bad = np.flatnonzero(~shapely.is_valid(shapes))
    if not len(bad):
        return xy, first
    parts = [xy[a:b] for a, b in pairwise(first)]
    for i in bad:
        parts[i] = _mended(shapes[i])
    return ragged(parts)


def _mended(shape: shapely.Geometry) -> NDArray[np.float64]:
    """Outer ring of the largest part of a polygon that crosses itself, on the outline grid.

    Where nothing with an area is left, its first vertex thrice.
    """
    on_grid = shapely.set_precision(shapely.make_valid(shape), OUTLINE_STEP)
    parts = [p for p in shapely.get_parts(on_grid) if p.geom_type == "Polygon" and p.area > 0]
    if not parts:
        return np.repeat(shapely.get_coordinates(shape)[:1], 3, axis=0)
    return np.asarray(max(parts, key=lambda p: p.area).exterior.coords, dtype=np.float64)[:-1]


def _polygons(xy: NDArray[np.float64], first: NDArray[np.int64]) -> NDArray[np.object_]:
    rings = shapely.linearrings(xy, indices=np.repeat(np.arange(len(first) - 1), np.diff(first)))
    return np.asarray(shapely.polygons(rings), dtype=object)


def _next(first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the vertex after each, around its polygon."""
    following = np.arange(1, first[-1] + 1)
    following[first[1:] - 1] = first[:-1]
    return following


def areas_and_centroids(
    xy: NDArray[np.float64], first: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Area ``(N,)`` and centroid ``(N, 2)`` of each polygon (shoelace formula); no area: mean vertex."""
    n = len(first) - 1
    if n == 0:
        return np.zeros(0), np.zeros((0, 2))
    starts, sizes = first[:-1], np.diff(first)
    middle = np.add.reduceat(xy, starts) / sizes[:, None]
    p = xy - np.repeat(middle, sizes, axis=0)  # near the origin, where products lose nothing
    q = p[_next(first)]
    cross = p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1]
    twice = np.add.reduceat(cross, starts)
    moment = np.add.reduceat((p + q) * cross[:, None], starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(twice[:, None] != 0, moment / (3 * twice[:, None]), 0.0)
    return np.abs(twice) / 2, middle + shift


def perimeters(xy: NDArray[np.float64], first: NDArray[np.int64]) -> NDArray[np.float64]:
    """Length of each polygon's edge, ``(N,)``."""
    if len(first) == 1:
        return np.zeros(0)
    step = xy[_next(first)] - xy
    return np.asarray(np.add.reduceat(np.hypot(step[:, 0], step[:, 1]), first[:-1]), dtype=np.float64)


def mean_colors(
    rgb: NDArray[np.uint8], xy: NDArray[np.float64], first: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean colour of the pixels whose centre lies inside each polygon, ``(N, 3)``.

    Each polygon edge crosses the rows of pixel centres; the sum inside is the signed sum, over the
    crossings, of the row's running total up to there (Green's theorem on the pixel grid). A polygon that
    holds no pixel centre takes the pixel below its first vertex.
    """
    n = len(first) - 1
    if n == 0:
        return np.zeros((0, 3))
    h, w = rgb.shape[:2]
    p, q = xy, xy[_next(first)]
    top, bottom = np.minimum(p[:, 1], q[:, 1]), np.maximum(p[:, 1], q[:, 1])
    row0 = np.clip(np.ceil(top - 0.5), 0, h).astype(np.int64)
    row1 = np.clip(np.ceil(bottom - 0.5), 0, h).astype(np.int64)
    hits = row1 - row0
    edge = np.repeat(np.arange(len(p)), hits)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(hits) - hits, hits) + row0[edge]
    rise = q[edge, 1] - p[edge, 1]
    x = p[edge, 0] + (row + 0.5 - p[edge, 1]) * (q[edge, 0] - p[edge, 0]) / rise
    column = np.clip(np.ceil(x - 0.5), 0, w).astype(np.int64)
    sign = np.sign(rise)

    running = np.zeros((h, w + 1, 3), dtype=np.int32)
    np.cumsum(rgb, axis=1, dtype=np.int32, out=running[:, 1:])
    cell = np.repeat(np.arange(n), np.diff(first))[edge]
    pixels = np.bincount(cell, sign * column, n)
    sums = np.stack([np.bincount(cell, sign * running[row, column, c], n) for c in range(3)], axis=1)
    corner = np.clip(np.floor(xy[first[:-1]]), 0, (w - 1, h - 1)).astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums / pixels[:, None]
    return np.where(pixels[:, None] != 0, mean, rgb[corner[:, 1], corner[:, 0]]).clip(0, 255)


def _bounds(
    xy: NDArray[np.float64], first: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(first) == 1:
        return np.zeros((0, 2)), np.zeros((0, 2))
    return np.minimum.reduceat(xy, first[:-1]), np.maximum.reduceat(xy, first[:-1])


def _lists(values: NDArray[np.float32], sizes: NDArray[np.int64]) -> pa.Array:
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
