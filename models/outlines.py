"""From a soft mask inside a box to a polygon."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

MAX_VERTICES = 40
# Tolerances tried, in pixels of the target frame; small steps, so that one vertex more or less moves little.
_COARSEST_FIRST = 0.25
_FIRST_SHARE = 0.01  # of the square root of the area: in a small cell a quarter of a pixel is much
_STEPS = tuple(1.2**k for k in range(30))


def box_mask_outline(
    mask: NDArray[np.float32], box: NDArray[np.float32], finer: int = 4
) -> NDArray[np.float32] | None:
    """The outline of a mask predicted on a grid that spans a box.

    It depends on the mask and the box alone, not on where the box lies on the pixel grid, so a cell has
    the same outline in every tile that sees it.

    Args:
        mask: float32 ``(M, M)``, probability in each cell of the grid.
        box: float32 ``(4,)`` as x0, y0, x1, y1.
        finer: how many times finer than the grid the contour is drawn.

    Returns:
        float32 ``(V, 2)`` as x, y in the box's frame, a valid polygon of at most ``MAX_VERTICES``
        vertices, or None where nothing of the mask reaches one half.

    """
    side = mask.shape[0] * finer
    # A border of zeros closes cells that fill their box.
    fine = cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR) >= 0.5
    # Corners of the fine grid that touch the mask: their contour runs along pixel edges.
    corners = cv2.dilate(np.pad(fine.astype(np.uint8), ((0, 1), (0, 1))), np.ones((2, 2), np.uint8))
    found, _ = cv2.findContours(corners, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return None
    largest = max(found, key=cv2.contourArea)[:, 0]
    scale = (box[2:] - box[:2]) / side
    return simplified(largest.astype(np.float32) * scale + box[:2])


def simplified(points: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Fewest vertices that stay close (Douglas and Peucker 1973), always a valid polygon.

    Args:
        points: float32 ``(V, 2)``, a closed contour.

    Returns:
        float32 ``(V', 2)`` with 3 to ``MAX_VERTICES`` vertices; None where the contour has no area.

    """
    contour = np.ascontiguousarray(points, np.float32).reshape(-1, 1, 2)
    first = min(_COARSEST_FIRST, _FIRST_SHARE * float(np.sqrt(cv2.contourArea(contour))) + 1e-3)
    for step in _STEPS:
        fewer = np.asarray(cv2.approxPolyDP(contour, first * step, closed=True)[:, 0], np.float32)
        if 3 <= len(fewer) <= MAX_VERTICES and Polygon(fewer).is_valid:
            return fewer
    hull = np.asarray(cv2.convexHull(contour)[:, 0], np.float32)
    if len(hull) > MAX_VERTICES:
        hull = hull[np.linspace(0, len(hull), MAX_VERTICES, endpoint=False).astype(int)]
    return hull if len(hull) >= 3 and cv2.contourArea(hull) > 0 else None
