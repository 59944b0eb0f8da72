"""What COCO tools lack: panoptic quality with ignored places, and the best-match Dice of one cell."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


def filled(outline: NDArray[np.float32], h: int, w: int) -> NDArray[np.bool_]:
    """Pixels inside an outline, bool ``(h, w)``; outline in continuous pixel coordinates."""
    out = np.zeros((h, w), np.uint8)
    # Pixel centres lie at +0.5; cv2 counts them at 0. Four fractional bits keep sub-pixel corners.
    at = np.round((outline - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(out, [at], 1, lineType=cv2.LINE_8, shift=4)
    return out > 0


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """2 |a ∩ b| / (|a| + |b|); 0 where both are empty (nothing was found of nothing)."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Panoptic:
    """Counts behind panoptic quality; they add up over images.

    Panoptic quality (Kirillov et al. 2019, eq. 1) is ``iou_sum / (tp + fp / 2 + fn / 2)``.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    iou_sum: float = 0.0

    def __add__(self, other: Panoptic) -> Panoptic:
        return Panoptic(
            self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.iou_sum + other.iou_sum
        )

    @property
    def quality(self) -> float:
        """PQ in 0..1; 0 where there is nothing to judge."""
        weight = self.tp + self.fp / 2 + self.fn / 2
        return self.iou_sum / weight if weight else 0.0

    @property
    def segmentation(self) -> float:
        """Mean IoU of matched cells (SQ)."""
        return self.iou_sum / self.tp if self.tp else 0.0

    @property
    def recognition(self) -> float:
        """F1 of cells matched above IoU 0.5 (RQ)."""
        weight = self.tp + self.fp / 2 + self.fn / 2
        return self.tp / weight if weight else 0.0


def panoptic(
    owner: NDArray[np.integer], found: list[NDArray[np.bool_]], ignore: NDArray[np.bool_]
) -> Panoptic:
    """Match cells of one image; above IoU 0.5 a match is unique where masks do not overlap.

    Found masks may overlap each other: then the better IoU takes the true cell, the other is false.

    Args:
        owner: ``(H, W)``; 0 ground, ``k`` the true cell ``k``.
        found: one bool ``(H, W)`` a cell.
        ignore: bool ``(H, W)``; found cells with more than half their area here are not judged.

    """
    sizes = np.bincount(owner.ravel())
    pairs: list[tuple[float, int, int]] = []
    judged = []
    for i, mask in enumerate(found):
        area = int(mask.sum())
        iou = ious(mask, owner, sizes)
        pairs += [(float(iou[k]), i, int(k)) for k in np.flatnonzero(iou > 0.5)]
        if area and int((mask & ignore).sum()) * 2 <= area:
            judged.append(i)
    matched_found: set[int] = set()
    matched_true: set[int] = set()
    total = 0.0
    for value, i, k in sorted(pairs, reverse=True):
        if i not in matched_found and k not in matched_true:
            matched_found.add(i)
            matched_true.add(k)
            total += value
    tp = len(matched_true)
    fp = len([i for i in judged if i not in matched_found])
    return Panoptic(tp, fp, int((sizes[1:] > 0).sum()) - tp, total)


def ious(
    mask: NDArray[np.bool_], owner: NDArray[np.integer], sizes: NDArray[np.integer]
) -> NDArray[np.float64]:
    """IoU of one mask with every true cell, float64 ``(K + 1,)``; 0 for the ground.

    Args:
        mask: bool ``(H, W)``.
        owner: ``(H, W)``; 0 ground, ``k`` the true cell ``k``.
        sizes: ``(K + 1,)``, pixels of each number in ``owner``.

    """
    shared = np.bincount(owner[mask], minlength=len(sizes))
    out = shared / np.maximum(int(mask.sum()) + sizes - shared, 1)
    out[0] = 0.0
    return np.asarray(out, np.float64)
