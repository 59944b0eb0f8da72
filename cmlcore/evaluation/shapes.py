"""Run-length masks of small cells in large images, and how much cells overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco
from numpy.typing import NDArray

from cmlcore.ground_truth.raster import window
from cmlcore.ground_truth.records import Floats

Rle = dict[str, Any]
"""COCO's compressed run-length mask: {"size": [H, W], "counts": bytes}."""


def rle_of_crop(crop: NDArray[np.bool_], x0: int, y0: int, h: int, w: int) -> Rle:
    """The mask of an ``(h, w)`` image that holds ``crop`` at column ``x0``, row ``y0``, else nothing.

    The image itself is never made: a region of a slide may be too large for that.
    """
    padded = np.zeros((crop.shape[0] + 2, crop.shape[1]), np.int8)
    padded[1:-1] = crop
    column, row = np.nonzero(np.diff(padded, axis=0).T)  # starts and ends of the runs take turns
    at = (column + x0) * h + row + y0
    joined = at[1:] == at[:-1]  # a run that ends at the image's foot goes on at the head of the next column
    keep = np.ones(len(at), np.bool_)
    keep[1:] &= ~joined
    keep[:-1] &= ~joined
    counts = np.diff(np.concatenate([[0], at[keep], [h * w]]))
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    made: Rle = coco.frPyObjects({"size": [h, w], "counts": counts.tolist()}, h, w)
    return made


def rle_of_outline(outline: Floats, h: int, w: int) -> Rle:
    """The mask of the pixels whose centre lies inside an outline."""
    (ys, xs), inside = window(outline, h, w)
    return rle_of_crop(inside, xs.start, ys.start, h, w)


def rle_of_box(box: NDArray[np.floating], h: int, w: int) -> Rle:
    """The mask of the whole pixels that a box x0 y0 x1 y1 reaches."""
    x0, y0 = np.maximum(np.floor(box[:2]), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(box[2:]), (w, h)).astype(int)
    return rle_of_crop(np.ones((max(0, y1 - y0), max(0, x1 - x0)), np.bool_), x0, y0, h, w)


def overlaps(found: Sequence[Any], other: Sequence[Any], *, of_found: bool = False) -> NDArray[np.float64]:
    """IoU of each found cell with each other one, ``(D, G)``, by the routine that COCO's figures rest on.

    Args:
        found: boxes x0 y0 x1 y1, or masks.
        other: the same kind.
        of_found: the share of the found cell's area that is common, instead of the IoU.

    """
    if not len(found) or not len(other):
        return np.zeros((len(found), len(other)))
    crowd = [int(of_found)] * len(other)
    if isinstance(found[0], dict):
        return np.asarray(coco.iou(list(found), list(other), crowd), np.float64)
    return np.asarray(coco.iou(corner_and_sides(found), corner_and_sides(other), crowd), np.float64)


def corner_and_sides(boxes: Sequence[Any] | NDArray[np.floating]) -> NDArray[np.float64]:
    """COCO's x, y, w, h of boxes x0, y0, x1, y1."""
    made = np.array(boxes, np.float64).reshape(-1, 4)
    made[:, 2:] -= made[:, :2]
    return made
