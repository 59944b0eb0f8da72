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
    ids, sizes = np.unique(owner[owner > 0], return_counts=True)
    true_size = dict(zip(ids.tolist(), sizes.tolist(), strict=True))
    pairs: list[tuple[float, int, int]] = []
    judged = []
    for i, mask in enumerate(found):
        area = int(mask.sum())
        under, shared = np.unique(owner[mask], return_counts=True)
        for k, inter in zip(under.tolist(), shared.tolist(), strict=True):
            if k:
                iou = inter / (area + true_size[k] - inter)
                if iou > 0.5:
                    pairs.append((iou, i, k))
        if area and int((mask & ignore).sum()) * 2 <= area:
            judged.append(i)
    matched_found: set[int] = set()
    matched_true: set[int] = set()
    total = 0.0
    for iou, i, k in sorted(pairs, reverse=True):
        if i not in matched_found and k not in matched_true:
            matched_found.add(i)
            matched_true.add(k)
            total += iou
    tp = len(matched_true)
    fp = len([i for i in judged if i not in matched_found])
    return Panoptic(tp, fp, len(true_size) - tp, total)
