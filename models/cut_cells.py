"""Cells cut by the image's edge: their outlines continued to it.

What is seen of a cut cell is a circle's segment: the edge is its chord, and beside the chord it ends in two
tails, thinner and thinner. Where they are thinner than ``tail`` pixels, maps of half the resolution show
nothing, and the outline stops short of where the cell meets the edge.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon, box

from cmlcore.geometry import Region, Size
from models.base import Instances
from models.outlines import simplified

Floats = NDArray[np.float32]
TOUCH = 1.5  # pixels; an outline that comes nearer to the edge ends there
ARC = 5  # vertices of a tail


def continued(found: Instances, tile: Region, image: Size, tail: float) -> Instances:
    """The same cells; to those cut by one side of the image the ends of their arcs are added.

    Args:
        found: cells in tile pixels.
        tile: where the tile lies in the image, or beyond it.
        image: the size of the image, or scene.
        tail: pixels; the parts of a cut cell that are thinner are missing from its outline. 0: none are.

    """
    within = min(tile.x, tile.y, image.w - tile.x1, image.h - tile.y1) > 0
    if within or not tail or not len(found):
        return found
    start = np.array([-tile.x, -tile.y], np.float64)
    end = start + np.array([image.w, image.h])
    low = np.maximum([o.min(axis=0) for o in found.outlines], start)
    high = np.minimum([o.max(axis=0) for o in found.outlines], end)
    at_start, at_end = low <= start + TOUCH, high >= end - TOUCH  # (N, 2): by edges across x, across y
    cut = at_start.astype(np.int64) + at_end
    there = (high > low).all(axis=1)  # what lies beyond the image alone is no cell of it
    outlines = list(found.outlines)
    for i in np.flatnonzero(there & (cut.sum(axis=1) == 1)):  # in a corner there is no chord
        across = int(cut[i].argmax())
        along = 1 - across
        strip = base(high[i, across] - low[i, across], high[i, along] - low[i, along], tail)
        if strip is None:
            continue
        points = np.empty_like(strip)
        points[:, along] = strip[:, 0] + (low[i, along] + high[i, along]) / 2
        edge, inward = (start[across], 1) if at_start[i, across] else (end[across], -1)
        points[:, across] = edge + inward * strip[:, 1]
        outlines[i] = _joined(outlines[i], points, box(*start, *end))
    return replace(found, outlines=outlines)


def base(depth: float, length: float, tail: float) -> NDArray[np.float64] | None:
    """The part of a circle's segment that lies nearest to its chord.

    Of a segment thinner than twice the tail, half the depth counts in its place: a length known at the very
    top of an arc says nothing about its circle.

    Args:
        depth: height of the segment, above 0.
        length: its width, ``tail`` above the chord.
        tail: in the same unit.

    Returns:
        float64 ``(2 ARC, 2)``, a polygon: along the chord, from its middle, and above it. None where the
        circle is no wider at the chord, for more than half of it is seen.

    """
    above = max(depth - tail, depth / 2)
    # chords that cross: above * (diameter - above) is the square of half the length
    diameter = above + (length / 2) ** 2 / above
    height = np.linspace(0.0, depth - above, ARC)
    half = np.sqrt(np.maximum((depth - height) * (diameter - depth + height), 0.0))
    if 2 * half[0] <= length:
        return None
    right = np.stack([half, height], axis=1)
    return np.concatenate([right * (-1, 1), right[::-1]])


def _joined(outline: Floats, strip: NDArray[np.float64], image: Polygon) -> Floats:
    """Both areas in one outline, within the image; the outline itself where that is no polygon."""
    whole = Polygon(outline).union(Polygon(strip)).intersection(image)
    if whole.geom_type != "Polygon":
        return outline
    drawn = simplified(np.array(whole.exterior.coords, np.float32)[:-1])
    return outline if drawn is None else drawn
