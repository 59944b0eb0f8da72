"""Type 1: Mask R-CNN behind the interface of ``models.base``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from models.base import Instances, TileGrid, check_batch
from models.calibration import Calibration
from models.device import choose_device, describe, set_threads
from models.loading import with_weights
from models.mask_rcnn import MaskRcnnConfig, build
from models.outlines import box_mask_outline
from models.registry import ModelCard


class Type1:
    """A loaded Mask R-CNN; see ``models.base.CellModel`` for what each attribute means."""

    def __init__(self, card: ModelCard, net: GeneralizedRCNN, device: torch.device) -> None:
        self.key = card.key
        self.classes = card.classes
        self.mpp = card.mpp
        self.grid: TileGrid = card.grid
        self.tail = 0.0  # its boxes reach as far as the cells
        self.sha256 = card.sha256
        self.card: dict[str, Any] = card.to_json()
        self.device = describe(device, half=False)
        self.calibration = Calibration.of(card.extra.get("calibration"), card.classes)
        self._device = device
        self._net = net.to(device, memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def predict(self, batch: NDArray[np.uint8], min_score: float = 0.0) -> list[Instances]:
        """Find cells in tiles; see ``models.base.CellModel.predict``."""
        check_batch(batch, self.grid)
        if not len(batch):
            return []
        self._net.roi_heads.min_score = self.calibration.raw_floor(min_score)
        tiles = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device)
        # A CPU gains nothing from batches, and one by one a tile's answer depends on that tile alone.
        parts = torch.split(tiles, 1 if self._device.type == "cpu" else len(tiles))
        # float32: in bf16 one outline in seven moved by more than IoU 0.99 from one tiling to another.
        found = [f for part in parts for f in self._net(list(part))]
        return [self._instances(f, min_score) for f in found]

    def _instances(self, found: dict[str, torch.Tensor], min_score: float) -> Instances:
        """Scores to probabilities, then what is below the least of them out."""
        classes = found["labels"].cpu().numpy().astype(np.int64)
        scores = self.calibration.apply(found["scores"].float().cpu().numpy(), classes).astype(np.float32)
        seen = np.flatnonzero(scores >= np.float32(min_score))
        kept = {k: v[torch.from_numpy(seen).to(v.device)] for k, v in found.items()}
        return _instances(kept, classes[seen], scores[seen], len(self.classes))


def _instances(
    found: dict[str, torch.Tensor], classes: NDArray[np.int64], scores: NDArray[np.float32], n_classes: int
) -> Instances:
    """Boxes and box masks of one tile to outlines; cells whose mask is empty are dropped."""
    boxes, masks = found["boxes"].float().cpu().numpy(), found["masks"].float().cpu().numpy()
    drawn = [box_mask_outline(m, b) for m, b in zip(masks, boxes, strict=True)]
    keep = [i for i, o in enumerate(drawn) if o is not None]
    outlines = [o for o in drawn if o is not None]
    anchors = [outline_centroid(o) for o in outlines]
    return Instances(
        outlines=outlines,
        classes=classes[keep],
        scores=scores[keep],
        probs=found["probs"].float().cpu().numpy()[keep].reshape(-1, n_classes),
        anchors=np.array(anchors, np.float32).reshape(-1, 2),
    )


def outline_centroid(outline: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centre of a polygon's area (the shoelace formula), float32 ``(2,)``."""
    p = outline.astype(np.float64) - outline[0]
    q = np.roll(p, -1, axis=0)
    cross = p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1]
    twice_area = cross.sum()
    if abs(twice_area) < 1e-9:
        return np.asarray(outline.mean(0), np.float32)
    return np.asarray(((p + q) * cross[:, None]).sum(0) / (3 * twice_area) + outline[0], np.float32)


def load(card: ModelCard, device: str = "auto", threads: int = 0) -> Type1:
    """Build the network the card describes and load its weights (fp16 in the file, float32 in use).

    Raises:
        ModelError: the file cannot be read or does not fit the card, or the device cannot be used.

    """
    chosen = choose_device(device)
    set_threads(threads)
    net = with_weights(card, lambda shape: build(MaskRcnnConfig.from_json(shape), len(card.classes)))
    return Type1(card, net, chosen)
