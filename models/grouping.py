"""From the maps of type 2 to cells: peaks of the centre map, points sent to them, outlines drawn around them.

Everything is decided by the map points around a cell: no threshold, count or order of the whole tile enters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cmlcore.errors import ModelError
from models.base import Instances
from models.calibration import Calibration
from models.outlines import simplified

Floats = NDArray[np.float32]
FINER = 4  # outlines are drawn on a grid this many times finer than the maps
CONVEX = 0.93  # share of its convex hull; two discs that touch fill 0.88 of theirs
WHOLE = 0.95  # share of a group's points; a peak that owns so many has its cell in one piece


@dataclass(frozen=True)
class GroupingSettings:
    """How maps become cells.

    Attributes:
        stride: tile pixels per map point; point (i, j) is the centre of tile pixel (stride·i, stride·j).
        unit: tile pixels per unit of the offset maps.
        presence: a point belongs to a cell where some class is at least this likely; one number, or one a
            class, for classes are not outlined equally tightly by those who label them.
        peak: a local maximum of the smoothed centre map counts as a cell from this height.
        near: two peaks nearer to each other than this share of the radius of what they own together are one
            cell's centre seen twice.
        reach: tile pixels; how far from a peak a point's offset may end, for the point to be the peak's.
        reach_share: added to it, as a share of the offset's length.
        min_area: tile pixels²; smaller groups are dust.
        tail: tile pixels; where a cell cut by the image's edge is thinner, the maps do not show it, and its
            outline is continued (``models.cut_cells``).
        wide: tile pixels; a group of points as large as a disc of this diameter is one cell where it stands
            alone, is convex, and no peak in it reaches ``doubt``.
        doubt: see ``wide``; a height of the centre map, which such a cell then gets.

    """

    stride: int = 2
    unit: float = 8.0
    presence: float | Sequence[float] = 0.5
    peak: float = 0.15
    near: float = 0.25
    reach: float = 5.0
    reach_share: float = 0.7
    min_area: float = 30.0
    tail: float = 4.0
    wide: float = 112.0
    doubt: float = 0.7

    @classmethod
    def of(cls, raw: Mapping[str, Any] | None, n_classes: int) -> GroupingSettings:
        """Read the card's ``grouping``.

        Raises:
            ModelError: it names what there is not, holds no numbers, or has no presence for each class.

        """
        given = {} if raw is None else raw
        if isinstance(given, Mapping) and given.keys() <= cls.__dataclass_fields__.keys():
            presence = given.get("presence", cls.presence)
            each = presence if isinstance(presence, list | tuple) else [presence] * n_classes
            numbers = [*each, *(v for k, v in given.items() if k != "presence")]
            if len(each) == n_classes and all(isinstance(v, int | float) and np.isfinite(v) for v in numbers):
                return cls(**given)
        raise ModelError(
            "The card's grouping must hold known thresholds as numbers, and one presence or one a class."
        )


def group(
    maps: Floats,
    settings: GroupingSettings,
    min_score: float = 0.0,
    calibration: Calibration | None = None,
) -> Instances:
    """Cells of one tile.

    Args:
        maps: float32 ``(C + 3, h, w)``: presence of each class and centre as probabilities, offset x, y.
        settings: the thresholds.
        min_score: cells below are left out.
        calibration: what the scores are turned into probabilities with; None: they stay as they are.

    """
    n_classes = len(maps) - 3
    peaks, heights = find_peaks(maps[n_classes], settings.peak)
    cover = maps[:n_classes].max(axis=0)
    inside = inside_of(maps[:n_classes], settings)
    owner = assign(inside, maps[n_classes + 1 :], peaks, settings)
    peaks, heights, owner = joined(peaks, heights, owner, settings)
    peaks, heights, owner = made_whole(inside, peaks, heights, owner, settings)
    probs, scores, area = _score(maps[:n_classes], owner, heights)
    if calibration is not None:
        scores = calibration.apply(scores, probs.argmax(axis=1))
    keep = (area * settings.stride**2 >= settings.min_area) & (scores >= min_score)
    found = [(i, _outline(cover, owner, i + 1, box, settings.stride)) for i, box in _boxes(owner, keep)]
    drawn = [(i, o) for i, o in found if o is not None]
    ids = np.array([i for i, _ in drawn], np.int64)
    return Instances(
        outlines=[o for _, o in drawn],
        classes=probs[ids].argmax(axis=1).astype(np.int64),
        scores=scores[ids].astype(np.float32),
        probs=probs[ids].astype(np.float32),
        anchors=(peaks[ids] * settings.stride + 0.5).astype(np.float32),
    )


def inside_of(presence: Floats, settings: GroupingSettings) -> NDArray[np.bool_]:
    """Where some cell is, ``(h, w)``: some class of ``(C, h, w)`` is as likely there as it must be."""
    least = np.broadcast_to(np.asarray(settings.presence, np.float32), len(presence))
    return np.asarray((presence >= least[:, None, None]).any(axis=0))


def find_peaks(centre: Floats, height: float) -> tuple[Floats, Floats]:
    """Local maxima of the centre map over 3 × 3 points, smoothed first; touching maxima count once.

    Returns:
        float32 ``(P, 2)`` as x, y in map points, in scan order, and the map's height there, ``(P,)``.

    """
    smooth = cv2.GaussianBlur(np.ascontiguousarray(centre), (3, 3), 0.7, borderType=cv2.BORDER_REPLICATE)
    top = cv2.dilate(smooth, np.ones((3, 3), np.uint8))
    is_peak = ((smooth >= top) & (smooth >= height)).astype(np.uint8)
    _, _, _, centroids = cv2.connectedComponentsWithStats(is_peak, connectivity=8)
    peaks = centroids[1:].astype(np.float32)
    column, row = np.rint(peaks).astype(np.int64).T
    return peaks, smooth[row, column]


def assign(
    inside: NDArray[np.bool_],
    offset: Floats,
    peaks: Floats,
    settings: GroupingSettings,
) -> NDArray[np.int32]:
    """Send every point to the peak nearest to where its offset ends.

    Args:
        inside: ``(h, w)``, where some cell is.
        offset: float32 ``(2, h, w)``, x and y in ``settings.unit``.
        peaks: float32 ``(P, 2)`` in map points.
        settings: the thresholds.

    Returns:
        int32 ``(h, w)``; 0 no cell, ``i + 1`` the cell of peak ``i``.

    """
    h, w = inside.shape
    owner = np.zeros((h, w), np.int32)
    if not len(peaks):
        return owner
    ys, xs = np.nonzero(inside)
    way = offset[:, ys, xs] * np.float32(settings.unit / settings.stride)
    ex, ey = xs + way[0], ys + way[1]
    column = np.clip(np.rint(ex), 0, w - 1).astype(np.int32)
    row = np.clip(np.rint(ey), 0, h - 1).astype(np.int32)
    nearest = _nearest_peak(peaks, h, w)[row, column]
    away = np.hypot(ex - peaks[nearest, 0], ey - peaks[nearest, 1]) * settings.stride
    allowed = settings.reach + settings.reach_share * settings.stride * np.hypot(way[0], way[1])
    owner[ys, xs] = np.where(away <= allowed, nearest + 1, 0)
    return owner


def joined(
    peaks: Floats, heights: Floats, owner: NDArray[np.int32], settings: GroupingSettings
) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """Peaks that are one cell's centre seen twice, joined at the highest of them.

    The centre of a large cell is known less sharply, so its map may hold two summits a few pixels apart. They
    are places that exclude each other: the chance that the centre is at one of them is the sum of both.

    Args:
        peaks: float32 ``(P, 2)``.
        heights: float32 ``(P,)``.
        owner: int32 ``(h, w)`` of ``assign``.
        settings: the thresholds.

    Returns:
        The same three, with fewer peaks, in their order.

    """
    if len(peaks) < 2:
        return peaks, heights, owner
    area = np.bincount(owner.ravel(), minlength=len(peaks) + 1)[1:]
    widest = settings.near * float(np.sqrt(2 * area.max(initial=0) / np.pi))
    pairs = cKDTree(peaks).query_pairs(widest, output_type="ndarray")
    apart = np.hypot(*(peaks[pairs[:, 0]] - peaks[pairs[:, 1]]).T)
    head = np.arange(len(peaks))
    for a, b in pairs[apart < settings.near * np.sqrt(area[pairs].sum(axis=1) / np.pi)]:
        first, second = sorted((head[a], head[b]))
        head[head == second] = first
    heads, cell = np.unique(head, return_inverse=True)
    if len(heads) == len(peaks):
        return peaks, heights, owner
    rising = np.argsort(heights, kind="stable")
    top = np.empty(len(heads), np.int64)
    top[cell[rising]] = rising  # what is written last stays
    total = np.minimum(np.bincount(cell, heights), 1.0).astype(np.float32)
    return peaks[top], total, np.append(0, cell + 1).astype(np.int32)[owner]


def made_whole(
    inside: NDArray[np.bool_],
    peaks: Floats,
    heights: Floats,
    owner: NDArray[np.int32],
    settings: GroupingSettings,
) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """Wide cells that stand alone, in one piece.

    From the rim of a cell about as wide as the network's window its centre is guessed, not seen: the centre
    map is a plateau of low summits, and offsets end far from all of them. Where such points touch no others,
    lie wholly within the tile and form a convex shape, there is no second cell among them: its shape says
    what its centre could not. Its centre is the mean of its points, with the height of one without doubt.

    Args:
        inside: bool ``(h, w)`` of ``inside_of``.
        peaks: float32 ``(P, 2)``.
        heights: float32 ``(P,)``.
        owner: int32 ``(h, w)`` of ``joined``.
        settings: the thresholds.

    Returns:
        Peaks, heights and owner, changed where there are such cells; a peak may be left without points.

    """
    n, group_of, boxes, centroids = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=4)
    h, w = inside.shape
    x, y, across, down, area = boxes.T
    least = np.pi / 4 * (settings.wide / settings.stride) ** 2
    within = (x > 0) & (y > 0) & (x + across < w) & (y + down < h)
    column, row = np.rint(peaks).astype(np.int64).T
    of_peak = group_of[row, column]
    surest = np.zeros(n, np.float32)
    np.maximum.at(surest, of_peak, heights)
    surest[0] = 0  # the ground
    candidates = np.flatnonzero((area >= least) & within & (surest > 0) & (surest < settings.doubt))
    if not len(candidates):
        return peaks, heights, owner
    peaks, heights, owner = peaks.copy(), heights.copy(), owner.copy()
    for k in candidates:
        there = np.s_[y[k] : y[k] + down[k], x[k] : x[k] + across[k]]
        mine = group_of[there] == k
        if not _is_convex(mine):
            continue
        own = np.flatnonzero(of_peak == k)
        head = own[np.argmax(heights[own])]
        if (owner[there][mine] == head + 1).mean() >= WHOLE:
            continue
        peaks[head] = centroids[k]
        heights[head] = settings.doubt
        owner[there][mine] = head + 1
    return peaks, heights, owner


def _is_convex(mask: NDArray[np.bool_]) -> bool:
    """Whether a shape fills its convex hull, but for the roughness of an outline."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    line = max(contours, key=cv2.contourArea)
    return bool(cv2.contourArea(line) >= CONVEX * cv2.contourArea(cv2.convexHull(line)))


def _nearest_peak(peaks: Floats, h: int, w: int) -> NDArray[np.int64]:
    """Index of the nearest peak for every map point, int64 ``(h, w)``."""
    empty = np.ones((h, w), np.uint8)
    cells = np.rint(peaks).astype(np.int64)
    empty[cells[:, 1], cells[:, 0]] = 0
    _, zone = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_zone = np.zeros(int(zone.max()) + 1, np.int64)
    of_zone[zone[cells[:, 1], cells[:, 0]]] = np.arange(len(peaks))
    nearest: NDArray[np.int64] = of_zone[zone]
    return nearest


def _score(
    presence: Floats,
    owner: NDArray[np.int32],
    heights: Floats,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Class probabilities ``(n, C)``, score ``(n,)`` and map points ``(n,)`` of each cell."""
    n = len(heights)
    ids = owner.ravel()
    area = np.bincount(ids, minlength=n + 1)[1:]
    sums = np.stack([np.bincount(ids, p.ravel(), minlength=n + 1)[1:] for p in presence], axis=1)
    mean = sums / np.maximum(area, 1)[:, None]
    probs = mean / np.maximum(mean.sum(axis=1, keepdims=True), 1e-9)
    # mean cell probability × class probability, held down where the cell's centre is in doubt (two cells
    # taken for one, half a cell, a speck): that ranks found cells far better than the mean alone
    scores = np.minimum(mean.sum(axis=1), 1.0) * probs.max(axis=1, initial=0.0) * np.sqrt(heights)
    return probs, scores, area


def _boxes(owner: NDArray[np.int32], keep: NDArray[np.bool_]) -> list[tuple[int, tuple[int, int, int, int]]]:
    """(cell index, x0, y0, x1, y1 in map points, half open) of the cells kept."""
    n = len(keep)
    ys, xs = np.nonzero(owner)
    ids = owner[ys, xs] - 1
    order = np.argsort(ids, kind="stable")
    ids, ys, xs = ids[order], ys[order], xs[order]
    start = np.searchsorted(ids, np.arange(n))
    out = []
    for i in np.flatnonzero(keep):
        own = slice(start[i], start[i + 1] if i + 1 < n else len(ids))
        x, y = xs[own], ys[own]
        out.append((int(i), (int(x.min()), int(y[0]), int(x.max()) + 1, int(y[-1]) + 1)))
    return out


def _outline(
    cover: Floats,
    owner: NDArray[np.int32],
    cell: int,
    box: tuple[int, int, int, int],
    stride: int,
) -> Floats | None:
    """The half line of the cell's own probability, in tile pixels; None where nothing is left of it."""
    h, w = owner.shape
    x0, y0, x1, y1 = box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1
    there = np.s_[max(y0, 0) : min(y1, h), max(x0, 0) : min(x1, w)]
    own = owner[there]
    soft = np.where(
        own == cell, np.maximum(cover[there], 0.5), np.where(own > 0, 0, np.minimum(cover[there], 0.49))
    )
    pad = ((max(-y0, 0), max(y1 - h, 0)), (max(-x0, 0), max(x1 - w, 0)))
    if any(map(any, pad)):  # a cell cut by the tile's edge goes on to the edge itself
        soft = np.pad(soft, pad, mode="edge")
    size = (soft.shape[1] * FINER, soft.shape[0] * FINER)
    fine = (cv2.resize(soft.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5).astype(np.uint8)
    # corners of the fine grid that touch the cell, so that the contour runs along pixel edges
    corners = cv2.dilate(np.pad(fine, ((0, 1), (0, 1))), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(corners, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    line = max(contours, key=cv2.contourArea)[:, 0].astype(np.float32)
    step = stride / FINER
    points = line * step + np.array([x0, y0], np.float32) * stride + (1 - stride) / 2
    return simplified(np.clip(points, 0, np.array([w, h], np.float32) * stride))
