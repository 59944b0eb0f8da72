"""What a training is judged by while it runs: box precision on whole val images at the model's scale."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import Dataset
from torchmetrics.detection import MeanAveragePrecision

from cmlcore.training.recipe import Found, Sample
from cmlcore.training.scenes import Scene

MAX_SIDE = 1024  # model pixels; larger images are cut, so that memory and time stay bounded
MAX_DETECTIONS = 1000
MIN_VISIBLE = 0.5  # a cell of which less lies in the cut is not judged
WHITE = 255


class ValTiles(Dataset[Sample]):
    """Val images at the model's scale, cut to ``MAX_SIDE`` and padded to multiples of ``align``."""

    def __init__(self, scenes: Sequence[Scene], shrink: float, align: int, limit: int) -> None:
        """Take at most ``limit`` images, spread evenly; ``shrink`` is model pixels per scene pixel."""
        judged = [s for s in scenes if any(s.complete)]
        at = np.linspace(0, len(judged) - 1, min(limit, len(judged))).round().astype(int)
        self._cuts = [
            (judged[i], x, y, side) for i in at for x, y, side in _cuts(judged[i].owner.shape, shrink)
        ]
        self._shrink, self._align = shrink, align

    def __len__(self) -> int:
        return len(self._cuts)

    def __getitem__(self, index: int) -> Sample:
        scene, x, y, side = self._cuts[index]
        return val_sample(scene, x, y, side, self._shrink, self._align)


def _cuts(shape: tuple[int, ...], shrink: float) -> list[tuple[int, int, int]]:
    """Left, top and side, in scene pixels, of the squares that cover an image without overlap."""
    side = max(1, int(MAX_SIDE / shrink))
    return [(x, y, side) for y in range(0, shape[0], side) for x in range(0, shape[1], side)]


def val_sample(scene: Scene, x: int, y: int, side: int, shrink: float, align: int) -> Sample:
    """One square of a scene as a sample of ``CellTiles``, with ``judge`` bool ``(N,)``: enough is seen."""
    cut = np.s_[y : y + side, x : x + side]
    image, owner, ignore = scene.image[cut], scene.owner[cut].astype(np.int32), scene.ignore[cut]
    h, w = owner.shape
    size = (max(1, round(w * shrink)), max(1, round(h * shrink)))
    scale = np.array([size[0] / w, size[1] / h] * 2, np.float32)
    shifted = (scene.boxes - np.array([x, y, x, y], np.float32)) * scale
    boxes = np.clip(shifted, 0, [*size, *size]).astype(np.float32)
    seen = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    whole = np.maximum((shifted[:, 2:] - shifted[:, :2]).prod(axis=1), 1e-6)
    keep = seen > 0
    new_id = np.zeros(len(keep) + 1, np.int32)
    new_id[1:][keep] = 1 + np.arange(int(keep.sum()))
    pad = ((0, -size[1] % align), (0, -size[0] % align))
    smooth = cv2.INTER_AREA if shrink < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, size, interpolation=smooth)
    small_owner = cv2.resize(new_id[owner], size, interpolation=cv2.INTER_NEAREST)
    small_ignore = cv2.resize(ignore.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return {
        "image": torch.from_numpy(np.pad(small, (*pad, (0, 0)), constant_values=WHITE))
        .permute(2, 0, 1)
        .contiguous(),
        "boxes": torch.from_numpy(boxes[keep]),
        "labels": torch.from_numpy(scene.labels[keep]),
        "owner": torch.from_numpy(np.pad(small_owner, pad)),
        "has_mask": torch.from_numpy(scene.has_mask[keep]),
        "ignore": torch.from_numpy(np.pad(small_ignore, pad) > 0),
        "complete": torch.tensor(scene.complete),
        "judge": torch.from_numpy((seen / whole >= MIN_VISIBLE)[keep]),
    }


@dataclass(frozen=True)
class Figures:
    """What one validation says; averages over the classes that occur.

    Attributes:
        map50: mean of the classes' average precision at IoU 0.5.
        map: the same over IoU 0.50 to 0.95.
        ap50: average precision at 0.5, a class.
        ap: over 0.50 to 0.95, a class.
        score: the score, a class, at which F1 is best at IoU 0.5.
        threshold: the one score for all classes at which their mean F1 is best.
        images: number of tiles judged.

    """

    map50: float = 0.0
    map: float = 0.0
    ap50: dict[str, float] = field(default_factory=dict)
    ap: dict[str, float] = field(default_factory=dict)
    score: dict[str, float] = field(default_factory=dict)
    threshold: float = 0.5
    images: int = 0


class BoxFigures:
    """Gathers found and true boxes, and gives COCO's figures (torchmetrics on faster-coco-eval).

    A class counts in an image only where all its cells are labelled there; found cells over ignored places
    are not judged, and true cells that are hardly seen may be found or not.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.last = Figures()
        self._metric: Any = MeanAveragePrecision(
            iou_type="bbox",
            class_metrics=True,
            extended_summary=True,
            max_detection_thresholds=[1, 10, MAX_DETECTIONS],
            backend="faster_coco_eval",
            sync_on_compute=False,  # it would gather tensors of the CPU, which NCCL cannot
        )
        self._metric.warn_on_many_detections = False
        self._seen: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []

    def see(self, found: Found, sample: Sample) -> None:
        """Take one tile."""
        complete = sample["complete"]
        asked = complete[found.labels.cpu()]
        free = ~_on_ignored(found.boxes.cpu(), sample["ignore"])
        keep = asked & free
        true = complete[sample["labels"]]
        answer = {
            "boxes": found.boxes.float().cpu()[keep],
            "scores": found.scores.float().cpu()[keep],
            "labels": found.labels.cpu()[keep],
        }
        truth = {
            "boxes": sample["boxes"][true],
            "labels": sample["labels"][true],
            "iscrowd": (~sample["judge"][true]).long(),
        }
        self._seen.append((answer, truth))

    def compute(self) -> Figures:
        """The figures over all tiles seen by all ranks; starts afresh."""
        seen = _of_all_ranks(self._seen)
        self._seen = []
        if not seen:
            self.last = Figures()
            return self.last
        self._metric.update([a for a, _ in seen], [t for _, t in seen])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # classes without a true cell
            raw = self._metric.compute()
        self._metric.reset()
        precision, scores = raw["precision"][..., 0, -1], raw["scores"][..., 0, -1]  # (IoU, recall, class)
        recall = torch.linspace(0, 1, precision.shape[1], dtype=precision.dtype)
        ap50, ap, score, curves = {}, {}, {}, []
        for k, label in enumerate(raw["classes"].reshape(-1).tolist()):
            p = precision[:, :, k]
            if float(p.max()) < 0:  # no true cell
                continue
            name = self.classes[int(label)]
            ap50[name], ap[name] = float(p[0].mean()), float(p.mean())
            f1 = 2 * p[0] * recall / (p[0] + recall).clamp(min=1e-9)
            score[name] = float(scores[0, int(f1.argmax()), k])
            curves.append((scores[0, :, k], f1))
        n = max(1, len(ap50))
        best = best_threshold(curves)
        self.last = Figures(sum(ap50.values()) / n, sum(ap.values()) / n, ap50, ap, score, best, len(seen))
        return self.last


def best_threshold(curves: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """The score, to 0.01, from which on cells count for the mean F1 of the classes to be best.

    Args:
        curves: of each class the scores at rising recall, which fall, and F1 there.

    """
    tried = [t / 100 for t in range(5, 96)]
    means = []
    for t in tried:
        taken = [int((scores >= t).sum()) for scores, _ in curves]
        means.append(sum(float(f1[n - 1]) if n else 0.0 for n, (_, f1) in zip(taken, curves, strict=True)))
    if not any(means):
        return Figures.threshold
    top = [t for t, m in zip(tried, means, strict=True) if m >= max(means) - 1e-9]
    return top[len(top) // 2]  # the middle of where it makes no difference


def _of_all_ranks(seen: list[Any]) -> list[Any]:
    if not (dist.is_available() and dist.is_initialized()):
        return seen
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, seen)
    return [pair for part in gathered for pair in part]


def _on_ignored(boxes: torch.Tensor, ignore: torch.Tensor, share: float = 0.5) -> torch.Tensor:
    """Boxes of which at least ``share`` lies on ignored pixels, bool ``(N,)``."""
    if not len(boxes) or not bool(ignore.any()):
        return torch.zeros(len(boxes), dtype=torch.bool)
    summed = torch.nn.functional.pad(ignore.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    h, w = ignore.shape
    x0, y0, x1, y1 = boxes.round().long().unbind(1)
    x0, x1, y0, y1 = x0.clamp(0, w), x1.clamp(0, w), y0.clamp(0, h), y1.clamp(0, h)
    inside = summed[y1, x1] - summed[y0, x1] - summed[y1, x0] + summed[y0, x0]
    return inside / ((x1 - x0) * (y1 - y0)).clamp(min=1) >= share
