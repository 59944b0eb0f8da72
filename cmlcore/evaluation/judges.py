"""One judge a labelled set: what is asked of a model there, image by image, and the figures that come out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cmlcore.evaluation.labels import EDGE_PX
from cmlcore.evaluation.overlap import Panoptic, dice, filled, ious, panoptic
from cmlcore.evaluation.precision import Collected, average_precision, mean
from cmlcore.ground_truth.records import Record
from cmlcore.ground_truth.sets import CLASSES, instances_in_mask
from cmlcore.predict import outline_box
from models.base import Instances

ERYTHROCYTE, LEUKOCYTE = CLASSES.index("erythrocyte"), CLASSES.index("leukocyte")


class Judge(Protocol):
    """Sees the images of one set, then gives its figures."""

    def see(self, record: Record, cells: Instances, size: tuple[int, int]) -> None:
        """Take one image: ``cells`` in image pixels, classes as in ``CLASSES``; ``size`` is (H, W)."""
        ...

    def figures(self) -> dict[str, float]:
        """Figures over all images seen."""
        ...


class BoxJudge:
    """Box AP at IoU 0.5 of every class, over all images and by source; boxes are boxes of the outlines."""

    def __init__(self) -> None:
        self._by_source: dict[str, Collected] = {}
        self._all = Collected()

    def see(self, record: Record, cells: Instances, size: tuple[int, int]) -> None:
        """See ``Judge``."""
        for collected in (self._all, self._by_source.setdefault(record.source, Collected())):
            image = collected.image(*size)
            for box, name in zip(record.boxes, record.names, strict=True):
                collected.truth(image, CLASSES.index(name), box)
            for outline, cls, score in zip(cells.outlines, cells.classes, cells.scores, strict=True):
                collected.found(image, int(cls), float(score), np.array(outline_box(outline)))

    def figures(self) -> dict[str, float]:
        """See ``Judge``."""
        by_class = average_precision(self._all, CLASSES, "bbox")
        out = {"box mAP50": mean(by_class)} | {f"box AP50 {k}": v for k, v in by_class.items()}
        for source, collected in sorted(self._by_source.items()):
            here = average_precision(collected, CLASSES, "bbox")
            out[f"box mAP50 {source}"] = mean(here)
            out |= {f"box AP50 {source} {k}": v for k, v in here.items()}
        return out


class LeukocyteJudge:
    """The one labelled leukocyte of an image: Dice of the best match among the leukocytes found.

    Other leukocytes found, which overlap it by less than half their area, count as false; a few of them
    are real cells the set does not label.
    """

    def __init__(self, min_score: float) -> None:
        self._min_score = min_score
        self._dice: list[float] = []
        self._false = 0

    def see(self, record: Record, cells: Instances, size: tuple[int, int]) -> None:
        """See ``Judge``."""
        owner, _, _ = instances_in_mask(record)
        truth = owner > 0
        best = 0.0
        for i in np.flatnonzero((cells.classes == LEUKOCYTE) & (cells.scores >= self._min_score)):
            mask = filled(cells.outlines[i], *size)
            best = max(best, dice(mask, truth))
            self._false += int((mask & truth).sum() * 2 < mask.sum())
        self._dice.append(best)

    def figures(self) -> dict[str, float]:
        """See ``Judge``."""
        n = max(1, len(self._dice))
        return {
            "leukocyte Dice (best match)": float(np.mean(self._dice)) if self._dice else 0.0,
            "leukocytes missed (Dice < 0.5, share)": sum(d < 0.5 for d in self._dice) / n,
            "false leukocytes per image": self._false / n,
        }


class ErythrocyteMaskJudge:
    """Mask AP50 and panoptic quality of erythrocytes where cells are outlined.

    Not judged: components that hold several cells, and cells cut by the image's edge (some have no mask). A
    found cell that reaches the edge is judged all the same if it is a true cell that does not.
    """

    def __init__(self, min_score: float) -> None:
        self._min_score = min_score
        self._cells = Collected()
        self._panoptic = Panoptic()

    def see(self, record: Record, cells: Instances, size: tuple[int, int]) -> None:
        """See ``Judge``."""
        h, w = size
        owner, names, ignore = instances_in_mask(record)
        image = self._cells.image(h, w)
        owner, ignore = owner.copy(), ignore.copy()
        for k in range(1, len(names) + 1):
            mask = owner == k
            cut = _cut(_bounds(mask), w, h)
            self._cells.truth(image, 0, mask, ignored=cut)
            if cut:
                owner[mask], ignore[mask] = 0, True
        if record.clusters.size:
            self._cells.truth(image, 0, ignore, ignored=True)
        judged, sizes = [], np.bincount(owner.ravel())
        for i in np.flatnonzero(cells.classes == ERYTHROCYTE):
            mask = filled(cells.outlines[i], h, w)
            if _cut(outline_box(cells.outlines[i]), w, h) and ious(mask, owner, sizes).max() < 0.5:
                continue  # nor is it a true cell of those judged
            self._cells.found(image, 0, float(cells.scores[i]), mask)
            if cells.scores[i] >= self._min_score:
                judged.append(mask)
        self._panoptic += panoptic(owner, judged, ignore)

    def figures(self) -> dict[str, float]:
        """See ``Judge``."""
        ap = average_precision(self._cells, ("erythrocyte",), "segm")
        p = self._panoptic
        return {
            "mask AP50 erythrocyte": mean(ap),
            "panoptic quality": p.quality,
            "segmentation quality": p.segmentation,
            "recognition quality": p.recognition,
        }


def _bounds(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)


def _cut(box: tuple[float, float, float, float], w: int, h: int) -> bool:
    return min(box[0], box[1], w - box[2], h - box[3]) < EDGE_PX


def judge_of(name: str, min_score: float) -> Judge:
    """A fresh judge for a set. Raises ValueError for a set nobody judges."""
    if name == "txl_pbc":
        return BoxJudge()
    if name == "krd_wbc":
        return LeukocyteJudge(min_score)
    if name == "bbbc041seg":
        return ErythrocyteMaskJudge(min_score)
    raise ValueError(f"no judge for {name}")
