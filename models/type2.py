"""Type 2: the windowed Vision Transformer behind the interface of ``models.base``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cmlcore.settings import CpuEngine, settings
from models import openvino_engine
from models.base import Instances, TileGrid, check_batch
from models.calibration import Calibration
from models.device import autocast, choose_device, describe, set_threads
from models.grouping import GroupingSettings, group
from models.loading import with_weights
from models.registry import ModelCard

if TYPE_CHECKING:
    from models.windowed_vit import WindowedVit


class Network(Protocol):
    """What makes maps of a tile, by whatever engine."""

    @property
    def device(self) -> str:
        """Where it runs, as said on the page."""
        ...

    def __call__(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps ``(C + 3, h, w)`` of a tile uint8 ``(3, H, W)``, as ``models.grouping.group`` takes them."""
        ...


class Type2:
    """A loaded network; see ``models.base.CellModel`` for what each attribute means."""

    def __init__(self, card: ModelCard, network: Network) -> None:
        self.key = card.key
        self.classes = card.classes
        self.mpp = card.mpp
        self.grid: TileGrid = card.grid
        self.sha256 = card.sha256
        self.card: dict[str, Any] = card.to_json()
        self.device = network.device
        self.calibration = Calibration.of(card.extra.get("calibration"), card.classes)
        self.grouping = GroupingSettings.of(card.extra.get("grouping"), len(card.classes))
        self.tail = self.grouping.tail
        self.maps = network

    def predict(self, batch: NDArray[np.uint8], min_score: float = 0.0) -> list[Instances]:
        """Find cells in tiles; see ``models.base.CellModel.predict``."""
        check_batch(batch, self.grid)
        # one tile at a time: no faster in a batch on a CPU, and bit for bit the same whatever the batch
        return [group(self.maps(tile), self.grouping, min_score, self.calibration) for tile in batch]


class TorchNetwork:
    """The network by torch, on any device."""

    def __init__(self, net: WindowedVit, device: torch.device) -> None:
        self.device = describe(device)
        self.where = device
        self.net = net.to(device)
        self.net.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See ``Network``."""
        image = torch.from_numpy(np.ascontiguousarray(tile))[None].to(self.where)
        with autocast(self.where):
            raw = self.net(image)[0].float()
        return as_probabilities(raw).cpu().numpy()


class WithProbabilities(nn.Module):
    """The network with ``as_probabilities`` behind it: what is exported."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(1, C + 3, h, w)`` of one tile uint8 ``(1, 3, H, W)``."""
        return as_probabilities(self.net(images)[0])[None]


def as_probabilities(raw: Tensor) -> Tensor:
    """Logits of presence and centre to probabilities; offsets stay. ``(C + 3, h, w)`` in and out."""
    return torch.cat([raw[:-2].sigmoid(), raw[-2:]])


def load(card: ModelCard, device: str = "auto", threads: int = 0, engine: CpuEngine | None = None) -> Type2:
    """Load the network that the card describes.

    Args:
        card: the card.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        threads: CPU threads; 0: all cores.
        engine: what runs it on a CPU; None: as ``CML_CPU_ENGINE`` says.

    Raises:
        ModelError: the file cannot be read or does not fit the card, or the device cannot be used.

    """
    chosen = choose_device(device)
    n = set_threads(threads)
    network: Network | None = None
    if openvino_engine.wanted(chosen, engine or settings().cpu_engine):
        network = openvino_engine.open_network(card, lambda: WithProbabilities(_built(card)), n)
    return Type2(card, network or TorchNetwork(_built(card), chosen))


def _built(card: ModelCard) -> WindowedVit:
    """The network with its weights (fp16 in the file, float32 in use), its norms folded away."""
    # Here, not above: timm takes seconds to import, and an exported network does without it.
    from models.windowed_vit import VitConfig, WindowedVit, fold_norms

    net = with_weights(card, lambda shape: WindowedVit(VitConfig.from_dict(shape)))
    fold_norms(net.eval())
    return net
