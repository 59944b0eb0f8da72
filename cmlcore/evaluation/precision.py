"""Average precision as COCO counts it (faster-coco-eval, a port of pycocotools)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as rle
from numpy.typing import NDArray

MAX_DETECTIONS = 1000
"""A whole field may hold hundreds of cells; COCO's usual 100 would cut them."""


@dataclass
class Collected:
    """True and found cells of many images, as COCO wants them. Classes count from 0.

    A shape is a box (4,) x0 y0 x1 y1, a bool mask (H, W), or a run-length mask.
    """

    images: list[dict[str, Any]] = field(default_factory=list)
    truths: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    def image(self, h: int, w: int) -> int:
        """Register an image and return its number."""
        self.images.append({"id": len(self.images) + 1, "height": h, "width": w})
        return len(self.images)

    def truth(self, image: int, cls: int, shape: Any, *, ignored: bool = False) -> None:
        """Add a true cell.

        An ignored one (COCO's crowd) may take any number of found cells, which then are not judged.
        """
        made = _shape(shape)
        self.truths.append(
            {
                "id": len(self.truths) + 1,
                "image_id": image,
                "category_id": cls + 1,
                "iscrowd": int(ignored),
                "ignore": int(ignored),
                "area": made["bbox"][2] * made["bbox"][3],
                **made,
            }
        )

    def found(self, image: int, cls: int, score: float, shape: Any) -> None:
        """Add a found cell."""
        self.results.append({"image_id": image, "category_id": cls + 1, "score": score, **_shape(shape)})


def _shape(shape: Any) -> dict[str, Any]:
    if isinstance(shape, dict):
        return {"bbox": [float(v) for v in rle.toBbox(shape)], "segmentation": shape}
    if shape.ndim == 1:
        x0, y0, x1, y1 = (float(v) for v in shape)
        return {"bbox": [x0, y0, x1 - x0, y1 - y0]}
    x, y, w, h = cv2.boundingRect(shape.astype(np.uint8))
    coded = rle.encode(np.asfortranarray(shape.astype(np.uint8)))
    return {"bbox": [float(x), float(y), float(w), float(h)], "segmentation": coded}


@dataclass(frozen=True, slots=True)
class Precision:
    """Precision of one class at 101 recall points and the score reached there, ``(T, 101)`` each."""

    precision: NDArray[np.float64]
    score: NDArray[np.float64]


def precision_curves(
    cells: Collected, classes: Sequence[str], kind: Literal["bbox", "segm"], ious: Sequence[float]
) -> dict[str, Precision]:
    """Precision over recall at each IoU for each class that occurs among the true cells.

    A class without true cells has no curve and is left out; ``{}`` where there are none at all.
    """
    true = {t["category_id"] for t in cells.truths if not t["iscrowd"]}
    if not true:
        return {}
    empty = np.zeros((len(ious), 101))
    if not cells.results:
        return {name: Precision(empty, empty) for i, name in enumerate(classes, 1) if i in true}
    categories = [{"id": i, "name": name} for i, name in enumerate(classes, 1)]
    truth = COCO({"images": cells.images, "annotations": cells.truths, "categories": categories})
    judge = COCOeval_faster(truth, truth.loadRes(cells.results), iouType=kind, print_function=lambda *_: None)
    most = max(Counter((r["image_id"], r["category_id"]) for r in cells.results).values())
    judge.params.maxDets = [1, 10, max(most, MAX_DETECTIONS)]
    judge.params.iouThrs = np.array(ious)
    judge.evaluate()
    judge.accumulate()
    # (IoU, recall, class, area, detections); all areas
    precision, score = (judge.eval[k][:, :, :, 0, -1] for k in ("precision", "scores"))
    return {
        name: Precision(precision[:, :, i], score[:, :, i]) for i, name in enumerate(classes) if i + 1 in true
    }


def average_precision(
    cells: Collected, classes: tuple[str, ...], kind: Literal["bbox", "segm"], iou: float = 0.5
) -> dict[str, float]:
    """AP at one IoU for each class that occurs among the true cells, by class name; see above."""
    curves = precision_curves(cells, classes, kind, [iou])
    return {name: float(c.precision.mean()) for name, c in curves.items()}


def mean(by_class: dict[str, float]) -> float:
    """Mean over the classes; 0 where there is none."""
    return float(np.mean(list(by_class.values()))) if by_class else 0.0
