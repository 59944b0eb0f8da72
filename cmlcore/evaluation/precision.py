"""Average precision as COCO counts it (faster-coco-eval, a port of pycocotools)."""

from __future__ import annotations

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
    """True and found cells of many images, as COCO wants them. Classes count from 0."""

    images: list[dict[str, Any]] = field(default_factory=list)
    truths: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    def image(self, h: int, w: int) -> int:
        """Register an image and return its number."""
        self.images.append({"id": len(self.images) + 1, "height": h, "width": w})
        return len(self.images)

    def truth(self, image: int, cls: int, shape: Any, *, ignored: bool = False) -> None:
        """Add a true cell: ``shape`` is a box (4,) x0 y0 x1 y1, or a bool mask (H, W).

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


def _shape(shape: NDArray[Any]) -> dict[str, Any]:
    if shape.ndim == 1:
        x0, y0, x1, y1 = (float(v) for v in shape)
        return {"bbox": [x0, y0, x1 - x0, y1 - y0]}
    x, y, w, h = cv2.boundingRect(shape.astype(np.uint8))
    coded = rle.encode(np.asfortranarray(shape.astype(np.uint8)))
    return {"bbox": [float(x), float(y), float(w), float(h)], "segmentation": coded}


def average_precision(
    cells: Collected, classes: tuple[str, ...], kind: Literal["bbox", "segm"], iou: float = 0.5
) -> dict[str, float]:
    """AP at one IoU for each class that occurs among the true cells, by class name.

    A class without true cells has no AP and is left out; ``{}`` where there are none at all.
    """
    if not any(not t["iscrowd"] for t in cells.truths):
        return {}
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    truth = COCO({"images": cells.images, "annotations": cells.truths, "categories": categories})
    if not cells.results:
        return {classes[t["category_id"] - 1]: 0.0 for t in cells.truths if not t["iscrowd"]}
    judge = COCOeval_faster(truth, truth.loadRes(cells.results), iouType=kind, print_function=lambda *_: None)
    judge.params.maxDets = [1, 10, MAX_DETECTIONS]
    judge.params.iouThrs = np.array([iou])
    judge.evaluate()
    judge.accumulate()
    precision = judge.eval["precision"][0, :, :, 0, -1]  # (recall, class); all areas
    return {name: float(p.mean()) for name, p in zip(classes, precision.T, strict=True) if p.min() > -1}


def mean(by_class: dict[str, float]) -> float:
    """Mean over the classes; 0 where there is none."""
    return float(np.mean(list(by_class.values()))) if by_class else 0.0
