"""Who is who: found cells against true ones, by COCO's rule and by best overlap.

COCO's rule goes through the found cells of a class by falling score; each takes the free true cell that it
overlaps most. What a cell takes does not depend on the cells of lower score, so one matching serves every
threshold of the score; and no image depends on another, so one matching serves every resample of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmlcore.evaluation.result import IOUS

LOWEST_SCORE = 0.01
"""Networks are asked for cells from here on: average precision wants the whole curve."""

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Matched:
    """Found cells of one class in one image, in the order given.

    Attributes:
        truth: ``(T, D)``, index of the true cell taken at each IoU threshold; -1 none.
        ignored: ``(T, D)``, took none but lies in a place that is not judged.

    """

    truth: Ints
    ignored: Flags


def match(iou: Numbers, covered: Numbers, scores: Numbers, ious: tuple[float, ...] = IOUS) -> Matched:
    """Match the cells of one class in one image as COCO does.

    Args:
        iou: ``(D, G)`` with the true cells.
        covered: ``(D,)``, largest share of the found cell that one place not judged covers.
        scores: ``(D,)``.
        ious: ``T`` thresholds.

    """
    least = np.minimum(np.array(ious), 1 - 1e-10)
    n_found, n_true = iou.shape
    truth = np.full((len(ious), n_found), -1, np.int64)
    if n_true:
        free = np.ones((len(ious), n_true), np.bool_)
        rows = np.arange(len(ious))
        for d in np.argsort(-scores, kind="stable"):
            if iou[d].max() < least[0]:
                continue
            open_iou = np.where(free, iou[d], -1.0)
            best = n_true - 1 - np.argmax(open_iou[:, ::-1], axis=1)  # of equals the last, as COCO has it
            hit = open_iou[rows, best] >= least
            truth[hit, d] = best[hit]
            free[rows[hit], best[hit]] = False
    return Matched(truth, (truth < 0) & (covered[None] >= least[:, None]))


def best_pairs(iou: Numbers, least: float, *, strict: bool = False) -> list[tuple[int, int]]:
    """Pairs (found, true) one to one, best overlap first.

    Args:
        iou: ``(D, G)``.
        least: IoU that a pair needs.
        strict: it must lie above ``least``.

    """
    found, true = np.nonzero(iou > least if strict else iou >= least)
    order = np.argsort(-iou[found, true], kind="stable")
    taken_found: set[int] = set()
    taken_true: set[int] = set()
    pairs = []
    for d, g in zip(found[order].tolist(), true[order].tolist(), strict=True):
        if d not in taken_found and g not in taken_true:
            taken_found.add(d)
            taken_true.add(g)
            pairs.append((d, g))
    return pairs


@dataclass(frozen=True, slots=True)
class Table:
    """Found cells of one class in all images by falling score: all that its figures need.

    Attributes:
        scores: ``(D,)``.
        image: ``(D,)``, which image.
        hit: ``(T, D)``, took a true cell at each of ``IOUS``.
        ignored: ``(T, D)``, not judged.
        iou: ``(D,)`` with the cell taken at IoU 0.5, else 0.
        truth: ``(D,)``, number of that cell over all images; -1 none.
        near: ``(D,)``, number of the true cell of any class that it overlaps most; -1 none.
        true: ``(I,)``, true cells in each image.

    """

    scores: Numbers
    image: Ints
    hit: Flags
    ignored: Flags
    iou: Numbers
    truth: Ints
    near: Ints
    true: Ints

    def judged(self, min_score: float) -> Flags:
        """``(D,)``: of at least this score, and judged at IoU 0.5."""
        return np.asarray((self.scores >= min_score) & ~self.ignored[0], np.bool_)
