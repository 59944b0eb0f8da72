"""Outlines inside boxes, by colour: cells are darker and more saturated than the ground they lie on.

A box set says where each cell is and, being complete, which pixels are ground: those in no box. Every pixel
gets its distance in Lab from the ground's colour nearby; each box gets its own threshold; a pixel that
several boxes claim goes to the cell whose ellipse it lies deepest in. Where the colour gives no sound
outline, the box's ellipse stands in and the cell is said to have no mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

GROUND_SIGMA = 1.5  # blur of the ground estimate, in units of the median box side
ELLIPSE_LIMIT = 1.2  # a cell may bulge beyond its box's ellipse by this factor of the radius
OPEN_FRACTION = 0.12  # opening radius as a fraction of the shorter box side
MIN_FILL, MAX_FILL = 0.5, 1.25  # sound outlines have this share of the ellipse's area
MIN_BOX_IOU = 0.7  # and a bounding box that agrees so far with the box given
CUT_BOX_IOU = 0.85  # of a cell cut by the image's edge: so little is seen of it that its box must help


@dataclass(frozen=True, slots=True)
class PseudoMasks:
    """What was found.

    Attributes:
        owner: uint16 ``(H, W)``; 0 ground, ``i + 1`` the cell of box ``i``.
        sound: bool ``(N,)``; False where the ellipse stands in.
        stray: bool ``(H, W)``; dark things in no box that touch the image's edge, likely cells nobody boxed.

    """

    owner: NDArray[np.uint16]
    sound: NDArray[np.bool_]
    stray: NDArray[np.bool_]


def masks_from_boxes(rgb: NDArray[np.uint8], boxes: Floats) -> PseudoMasks:
    """Outline the cell in each box.

    Args:
        rgb: uint8 ``(H, W, 3)``.
        boxes: float32 ``(N, 4)`` as x0, y0, x1, y1 in pixels.

    """
    h, w = rgb.shape[:2]
    distance = ground_distance(rgb, boxes)
    level = _typical_contrast(distance, boxes)
    depth = np.full((h, w), np.inf, np.float32)  # squared elliptic radius in the owner's ellipse
    owner = np.zeros((h, w), np.uint16)
    for i, box in enumerate(boxes):  # who owns what, by geometry alone
        ys, xs = _window(box, h, w)
        r2 = _radius2(box, ys, xs, h, w)
        near = (r2 < depth[ys, xs]) & (r2 <= ELLIPSE_LIMIT**2)
        depth[ys, xs][near] = r2[near]
        owner[ys, xs][near] = i + 1
    claimed, sound = owner.copy(), np.zeros(len(boxes), np.bool_)
    owner[:] = 0
    for i in np.argsort(-_area(boxes), kind="stable"):  # small cells last, so that they lie on top
        ys, xs = _window(boxes[i], h, w)
        mine = claimed[ys, xs] == i + 1
        ellipse = mine & (depth[ys, xs] <= 1)
        mask = _outline(distance[ys, xs], mine, boxes[i], level)
        if any(_cut_sides(boxes[i], h, w)):
            mask = _hull(mask) & mine  # the pale centre of a cut cell is open to the edge
            if _iou(_bounds(mask, ys, xs), boxes[i]) < CUT_BOX_IOU:
                mask |= ellipse
        sound[i] = _is_sound(mask, ellipse, boxes[i], ys, xs)
        if not sound[i]:
            mask = ellipse
        owner[ys, xs][mask] = i + 1
    return PseudoMasks(owner, sound, _stray(distance, boxes, level))


def ground_distance(rgb: NDArray[np.uint8], boxes: Floats) -> Floats:
    """Lab distance, float32 ``(H, W)``, of every pixel from the colour of the ground around it."""
    h, w = rgb.shape[:2]
    lab = cv2.cvtColor(cv2.GaussianBlur(rgb, (0, 0), 1.0), cv2.COLOR_RGB2LAB).astype(np.float32)
    free = np.ones((h, w), np.uint8)
    for x0, y0, x1, y1 in boxes:
        free[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 0
    if free.mean() < 0.02:  # hardly any ground: trust the brightest pixels
        free = (lab[..., 0] >= np.percentile(lab[..., 0], 90)).astype(np.uint8)
    centre = np.median(lab[free > 0], axis=0)
    off = np.abs(lab - centre).sum(axis=2)
    free &= off <= np.percentile(off[free > 0], 80) + 1  # unboxed cells and dirt are no ground
    side = float(np.median(np.sqrt(_area(boxes)))) if len(boxes) else 0.2 * max(h, w)
    step = max(1, int(side / 8))  # the ground is smooth: estimate it on a coarse grid
    small = (max(1, w // step), max(1, h // step))
    weight = cv2.resize(free.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    value = cv2.resize(lab * free[..., None], small, interpolation=cv2.INTER_AREA)
    sigma = GROUND_SIGMA * side / step
    prior = 0.02  # pulls towards the median where no ground is near
    weight = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)[..., None]
    value = cv2.GaussianBlur(value, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    ground = cv2.resize((value + prior * centre) / (weight + prior), (w, h), interpolation=cv2.INTER_LINEAR)
    away: Floats = np.sqrt(((lab - ground) ** 2).sum(axis=2)).astype(np.float32)
    return away


def _area(boxes: Floats) -> Floats:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _window(box: Floats, h: int, w: int) -> tuple[slice, slice]:
    x0, y0 = max(0, int(box[0]) - 1), max(0, int(box[1]) - 1)
    return slice(y0, min(h, int(np.ceil(box[3])) + 1)), slice(x0, min(w, int(np.ceil(box[2])) + 1))


def _cut_sides(box: Floats, h: int, w: int) -> tuple[bool, bool, bool, bool]:
    """Whether the cell goes on beyond the image's left, top, right and lower edge."""
    return bool(box[0] <= 1), bool(box[1] <= 1), bool(box[2] >= w - 1), bool(box[3] >= h - 1)


def _ellipse(box: Floats, h: int, w: int) -> tuple[float, float, float, float]:
    """Centre and radii of the whole cell; a box cut on its long side by the image's edge is continued.

    What is seen of a cell of which the edge left less than half is a circle's segment: the edge is its chord,
    and the box's short side its height.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    bw, bh = x1 - x0, y1 - y0
    left, top, right, low = _cut_sides(box, h, w)
    if bw < bh and (left or right):
        r = _whole_radius(bh, bw)
        return (x1 - r if left else x0 + r), (y0 + y1) / 2, r, r
    if bh <= bw and (top or low):
        r = _whole_radius(bw, bh)
        return (x0 + x1) / 2, (y1 - r if top else y0 + r), r, r
    return (x0 + x1) / 2, (y0 + y1) / 2, max(bw, 1.0) / 2, max(bh, 1.0) / 2


def _whole_radius(length: float, depth: float) -> float:
    """Radius of the circle of which ``depth`` is seen, ``length`` wide."""
    if depth >= length / 2:
        return max(length, 1.0) / 2
    return (length * length / 4 + depth * depth) / (2 * max(depth, 1.0))


def _radius2(box: Floats, ys: slice, xs: slice, h: int, w: int) -> Floats:
    cx, cy, rx, ry = _ellipse(box, h, w)
    dx = (np.arange(xs.start, xs.stop, dtype=np.float32) + 0.5 - cx) / rx
    dy = (np.arange(ys.start, ys.stop, dtype=np.float32) + 0.5 - cy) / ry
    return np.asarray((dx**2)[None, :] + (dy**2)[:, None], np.float32)


def _typical_contrast(distance: Floats, boxes: Floats) -> float:
    """Median over the boxes of the upper quartile of distance within: how far cells stand out here."""
    tops = [float(np.percentile(distance[_window(b, *distance.shape)], 75)) for b in boxes]
    return float(np.median(tops)) if tops else 30.0


def _threshold(values: Floats, level: float) -> float:
    """Otsu's threshold, held between a fifth and a half of the cell's own contrast.

    A leukocyte's nucleus stands out far more than its cytoplasm: contrast beyond ``level`` is cut off.
    """
    top = float(np.clip(np.percentile(values, 85), max(0.3 * level, 4.0), 0.9 * level + 4.0))
    scaled = np.clip(values * (255 / (top * 1.5)), 0, 255).astype(np.uint8).reshape(-1, 1)
    otsu, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return float(np.clip(otsu * (top * 1.5) / 255, 0.2 * top, 0.5 * top))


def _outline(distance: Floats, mine: NDArray[np.bool_], box: Floats, level: float) -> NDArray[np.bool_]:
    if not mine.any():
        return mine
    mask = ((distance > _threshold(distance, level)) & mine).astype(np.uint8)
    mask = _filled(mask)  # the pale centre
    radius = int(OPEN_FRACTION * min(box[2] - box[0], box[3] - box[1]))
    if radius >= 1:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        framed = cv2.copyMakeBorder(mask, radius, radius, radius, radius, cv2.BORDER_REPLICATE)
        opened = cv2.morphologyEx(framed, cv2.MORPH_OPEN, kernel)
        mask = opened[radius:-radius, radius:-radius].astype(np.uint8)
    n, comp, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask), connectivity=4)
    if n < 2:
        return np.zeros_like(mine)
    best: NDArray[np.bool_] = comp == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return best


def _filled(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    out = np.zeros_like(mask)
    cv2.drawContours(out, contours, -1, 1, cv2.FILLED)
    return out


def _hull(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    points = cv2.findNonZero(mask.astype(np.uint8))
    out = np.zeros(mask.shape, np.uint8)
    if points is not None:
        cv2.fillConvexPoly(out, cv2.convexHull(points), 1)
    return out > 0


def _is_sound(mask: NDArray[np.bool_], ellipse: NDArray[np.bool_], box: Floats, ys: slice, xs: slice) -> bool:
    if not mask.any():
        return False
    if not MIN_FILL * ellipse.sum() <= mask.sum() <= MAX_FILL * ellipse.sum():
        return False
    # against the box of what the cell could own at most, so that an overlapped cell is not blamed
    limit = _bounds(ellipse, ys, xs)
    return _iou(_bounds(mask, ys, xs), limit if _iou(limit, box) < MIN_BOX_IOU else box) >= MIN_BOX_IOU


def _bounds(mask: NDArray[np.bool_], ys: slice, xs: slice) -> Floats:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros(4, np.float32)
    x0, y0, x1, y1 = xs.start + cols[0], ys.start + rows[0], xs.start + cols[-1] + 1, ys.start + rows[-1] + 1
    return np.array([x0, y0, x1, y1], np.float32)


def _iou(a: Floats, b: Floats) -> float:
    inter = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inter
    return float(inter / union) if union > 0 else 0.0


def _stray(distance: Floats, boxes: Floats, level: float) -> NDArray[np.bool_]:
    h, w = distance.shape
    dark = (distance > 0.45 * level).astype(np.uint8)
    for b in boxes:
        ys, xs = _window(b, h, w)
        dark[ys, xs] = 0
    n, comp, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    x, y, cw, ch, area = (stats[:, k] for k in range(5))
    side = float(np.median(np.sqrt(_area(boxes)))) if len(boxes) else 0.0
    at_edge = (x == 0) | (y == 0) | (x + cw == w) | (y + ch == h)
    keep = at_edge & (area > 0.02 * side * side)
    keep[0] = False
    return keep[comp] if n > 1 else np.zeros((h, w), np.bool_)
