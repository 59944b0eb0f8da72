"""Type 2: the windowed Vision Transformer behind the interface of ``models.base``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.base import Instances, TileGrid, check_batch
from models.calibration import Calibration
from models.device import autocast, choose_device, describe, set_threads
from models.grouping import GroupingSettings, group
from models.loading import with_weights
from models.registry import ModelCard
from models.windowed_vit import OFFSET_UNIT, STRIDE, VitConfig, WindowedVit, fold_norms


class Type2:
    """A loaded network; see ``models.base.CellModel`` for what each attribute means."""

    def __init__(self, card: ModelCard, net: WindowedVit, device: torch.device) -> None:
        self.key = card.key
        self.classes = card.classes
        self.mpp = card.mpp
        self.grid: TileGrid = card.grid
        self.sha256 = card.sha256
        self.card: dict[str, Any] = card.to_json()
        self.device = describe(device)
        self.calibration = Calibration.of(card.extra.get("calibration"), card.classes)
        self.grouping = GroupingSettings(stride=STRIDE, unit=OFFSET_UNIT, **card.extra.get("grouping", {}))
        self._device = device
        fold_norms(net.eval())
        self._net = net.to(device)
        self._net.to(memory_format=torch.channels_last)

    def predict(self, batch: NDArray[np.uint8], min_score: float = 0.0) -> list[Instances]:
        """Find cells in tiles; see ``models.base.CellModel.predict``."""
        check_batch(batch, self.grid)
        # one tile at a time: no faster in a batch on a CPU, and bit for bit the same whatever the batch
        return [group(self.maps(tile), self.grouping, min_score, self.calibration) for tile in batch]

    @torch.inference_mode()
    def maps(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps of one tile uint8 ``(3, H, W)`` as ``models.grouping.group`` takes them."""
        image = torch.from_numpy(np.ascontiguousarray(tile))[None].to(self._device)
        with autocast(self._device):
            raw = self._net(image)[0].float()
        return as_probabilities(raw).cpu().numpy()


def as_probabilities(raw: Tensor) -> Tensor:
    """Logits of presence and centre to probabilities; offsets stay. ``(C + 3, h, w)`` in and out."""
    return torch.cat([raw[:-2].sigmoid(), raw[-2:]])


def load(card: ModelCard, device: str = "auto", threads: int = 0) -> Type2:
    """Build the network the card describes and load its weights (fp16 in the file, float32 in use).

    Raises:
        ModelError: the file cannot be read or does not fit the card, or the device cannot be used.

    """
    chosen = choose_device(device)
    set_threads(threads)
    net = with_weights(card, lambda shape: WindowedVit(VitConfig.from_dict(shape)))
    return Type2(card, net, chosen)
