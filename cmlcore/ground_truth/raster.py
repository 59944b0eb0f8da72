"""Between outlines and pixels, each the exact inverse of the other for a cell without holes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.ground_truth.records import Floats, Record


def filled(outline: Floats, h: int, w: int) -> NDArray[np.bool_]:
    """The pixels ``(h, w)`` whose centre lies inside an outline (even-odd rule), in image coordinates."""
    out = np.zeros((h, w), np.bool_)
    (ys, xs), inside = window(outline, h, w)
    out[ys, xs] = inside
    return out


def window(outline: Floats, h: int, w: int) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """The rows and columns of an ``(h, w)`` image that an outline spans, and the pixels inside it there."""
    x0, y0 = np.maximum(np.floor(outline.min(0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(outline.max(0)), (w, h)).astype(int)
    if x1 <= x0 or y1 <= y0:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), np.bool_)
    a = outline.astype(np.float64) - (x0, y0)
    b = np.roll(a, -1, axis=0)
    # edge k meets the centre lines of rows first[k] .. last[k] - 1
    low, high = np.minimum(a[:, 1], b[:, 1]), np.maximum(a[:, 1], b[:, 1])
    rows, columns = y1 - y0, x1 - x0
    first = np.clip(np.ceil(low - 0.5), 0, rows).astype(int)
    last = np.clip(np.ceil(high - 0.5), 0, rows).astype(int)
    count = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(a)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    share = (row + 0.5 - a[edge, 1]) / (b[edge, 1] - a[edge, 1])
    x = a[edge, 0] + share * (b[edge, 0] - a[edge, 0])
    column = np.clip(np.ceil(x - 0.5), 0, columns).astype(int)
    toggles = np.zeros((rows, columns + 1), np.int32)
    np.add.at(toggles, (row, column), 1)
    inside = np.cumsum(toggles, axis=1)[:, :-1] % 2 == 1
    return (slice(y0, y1), slice(x0, x1)), inside


def traced(mask: NDArray[np.bool_], x0: int = 0, y0: int = 0) -> Floats:
    """The outer outline of the pixels of one cell, along pixel edges; corners only.

    Pixels that touch at a corner belong together; the outline touches itself there. Of several pieces the
    largest is taken, and holes are filled.

    Args:
        mask: bool ``(h, w)`` with at least one true pixel.
        x0: column of the mask's left in the image.
        y0: row of its top.

    Returns:
        float32 ``(V, 2)`` as x, y.

    """
    # Every pixel becomes four: each of them on the contour sits at one corner of its pixel.
    fine = np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    at = (max(contours, key=cv2.contourArea)[:, 0] + 1) // 2
    at = at[(at != np.roll(at, 1, axis=0)).any(axis=1)]
    turns = ((at - np.roll(at, 1, axis=0)) != (np.roll(at, -1, axis=0) - at)).any(axis=1)
    return np.asarray(at[turns] + (x0, y0), np.float32)


def painted(record: Record, h: int, w: int) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """The pixels of each outlined cell of a record: owner uint16 ``(h, w)``, and ``(N,)`` which have any.

    ``owner`` is 0 on the ground and ``i + 1`` on cell ``i``. Where outlines overlap, the smaller cell lies on
    top, as in ``pseudo_masks``. Cells of which only the box is known are not painted.
    """
    owner = np.zeros((h, w), np.uint16)
    has = np.zeros(len(record.names), np.bool_)
    sides = record.boxes[:, 2:] - record.boxes[:, :2]
    for i in np.argsort(-sides.prod(axis=1), kind="stable").tolist() if record.outlines else []:
        outline = record.outlines[i]
        if outline is None:
            continue
        there, inside = window(outline, h, w)
        owner[there][inside] = i + 1
    has[np.unique(owner[owner > 0]).astype(int) - 1] = True
    return owner, has


def unlabelled(record: Record, h: int, w: int) -> NDArray[np.bool_]:
    """The pixels ``(h, w)`` where nothing is to be taught or judged: clusters, and all outside the ROIs."""
    out = np.zeros((h, w), np.bool_)
    if record.rois:
        out[:] = True
        for roi in record.rois:
            there, inside = window(roi, h, w)
            out[there] &= ~inside
    for x0, y0, x1, y1 in record.clusters:
        out[max(0, int(y0)) : int(np.ceil(y1)), max(0, int(x0)) : int(np.ceil(x1))] = True
    return out
