"""The labels of one image as boxes, shapes and masks, and how its cells lie to each other and to the edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from cmlcore.evaluation.matching import Flags, Numbers
from cmlcore.evaluation.shapes import Rle, rle_of_box, rle_of_crop, rle_of_outline
from cmlcore.ground_truth.raster import traced
from cmlcore.ground_truth.records import Floats, Record
from cmlcore.ground_truth.sets import instances_in_mask

EDGE_PX = 2.0
"""A cell whose box comes this near to the edge of the image or of its region counts as cut by it."""
TOUCH_PX = 2.0
"""Cells with no more ground than this between them touch."""
_TURN = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_ELLIPSE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1) / 2 + 0.5


@dataclass(frozen=True, slots=True)
class Labels:
    """What is labelled in one image.

    Attributes:
        names: class key of each cell.
        boxes: ``(N, 4)``.
        shapes: a polygon a cell; the ellipse in its box where only that is known.
        masks: one a cell, of its outline or else of its box; None where no cell has an outline.
        outlined: ``(N,)``, whether the outline is known.
        clusters: masks of the places to be ignored, box by box; None as ``masks``.

    """

    names: tuple[str, ...]
    boxes: Numbers
    shapes: NDArray[np.object_]
    masks: tuple[Rle, ...] | None
    outlined: Flags
    clusters: tuple[Rle, ...] | None


def read_labels(record: Record, h: int, w: int) -> Labels:
    """The labels of an ``(h, w)`` image.

    Raises:
        InputError: the record's mask file cannot be read.

    """
    if record.mask is not None:
        return _from_mask(record, h, w)
    outlines = record.outlines or (None,) * len(record.names)
    outlined = np.array([o is not None for o in outlines], np.bool_)
    shapes = [
        polygon(o) if o is not None else _ellipse(b) for o, b in zip(outlines, record.boxes, strict=True)
    ]
    masks = clusters = None
    if outlined.any():
        masks = tuple(
            rle_of_outline(o, h, w) if o is not None else rle_of_box(b, h, w)
            for o, b in zip(outlines, record.boxes, strict=True)
        )
        clusters = tuple(rle_of_box(b, h, w) for b in record.clusters)
    boxes = record.boxes.astype(np.float64).reshape(-1, 4)
    return Labels(record.names, boxes, _array(shapes), masks, outlined, clusters)


def _from_mask(record: Record, h: int, w: int) -> Labels:
    owner, names, ignore = instances_in_mask(record)
    boxes, shapes, masks = [], [], []
    for k, at in enumerate(ndimage.find_objects(owner, len(names)), 1):
        ys, xs = at
        crop = owner[at] == k
        boxes.append([xs.start, ys.start, xs.stop, ys.stop])
        shapes.append(polygon(traced(crop, xs.start, ys.start)))
        masks.append(rle_of_crop(crop, xs.start, ys.start, h, w))
    clusters = []
    for box in record.clusters:
        x0, y0, x1, y1 = np.clip(np.round(box), 0, (w, h, w, h)).astype(int)
        clusters.append(rle_of_crop(ignore[y0:y1, x0:x1], int(x0), int(y0), h, w))
    made = np.array(boxes, np.float64).reshape(-1, 4)
    return Labels(names, made, _array(shapes), tuple(masks), np.ones(len(names), np.bool_), tuple(clusters))


def polygon(outline: Floats) -> shapely.Geometry:
    """A valid polygon; an outline that crosses itself keeps what it encloses."""
    return shapely.make_valid(shapely.Polygon(outline))


def _ellipse(box: NDArray[np.floating]) -> shapely.Geometry:
    return shapely.Polygon(box[:2] + _ELLIPSE * (box[2:] - box[:2]))


def _array(shapes: list[shapely.Geometry]) -> NDArray[np.object_]:
    made = np.empty(len(shapes), object)
    made[:] = shapes
    return made


def touching(shapes: NDArray[np.object_]) -> Flags:
    """``(N,)``: whether a cell touches or overlaps another."""
    out = np.zeros(len(shapes), np.bool_)
    a, b = shapely.STRtree(shapes).query(shapes, predicate="dwithin", distance=TOUCH_PX)
    out[a[a != b]] = True
    return out


def cut_by_edge(
    boxes: Numbers, shapes: NDArray[np.object_], size: tuple[int, int], roi: shapely.Geometry | None
) -> Flags:
    """``(N,)``: whether the edge of the image, or of the region within it, comes within ``EDGE_PX``."""
    h, w = size
    out = (boxes[:, :2].min(1, initial=np.inf) < EDGE_PX) | (
        (np.array([w, h]) - boxes[:, 2:]).min(1, initial=np.inf) < EDGE_PX
    )
    if roi is not None:
        out |= ~np.asarray(shapely.contains(roi.buffer(-EDGE_PX), shapes), np.bool_)
    return np.asarray(out, np.bool_)
