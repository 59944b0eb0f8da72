"""What type 1 is taught: tiles to Mask R-CNN targets, targets to losses, for labels that may be partial."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from cmlcore.training.sets import CLASSES
from models.mask_rcnn import MaskRcnnConfig, build
from models.rois import Target

BODY_RATE = 0.5  # learning rate of the pretrained backbone, relative to the rest
DECAY = 0.05  # weight decay of matrices; biases and norms have none


class Type1Recipe:
    """Mask R-CNN for ``loop.Loop``: all layers learn, batch norms keep their statistics."""

    name = "type1"

    def __init__(
        self, config: MaskRcnnConfig | None = None, backbone: Path | None = None, lr: float = 1e-3
    ) -> None:
        self.config = config or MaskRcnnConfig()
        self.lr = lr
        self.net = build(self.config, len(CLASSES))
        if backbone is not None:
            start_backbone(self.net, backbone)
        depthwise_in_float(self.net)

    def groups(self) -> list[dict[str, Any]]:
        """AdamW's parameter groups, each with its peak learning rate."""
        made: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, p in self.net.named_parameters():
            made.setdefault((name.startswith("backbone.body."), p.ndim > 1), []).append(p)
        return [
            {
                "params": params,
                "lr": self.lr * (BODY_RATE if body else 1.0),
                "weight_decay": DECAY if matrix else 0.0,
            }
            for (body, matrix), params in made.items()
        ]

    def prepare(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Targets are the sample itself."""
        return sample

    def loss(self, samples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """The five losses of Mask R-CNN for tiles of one size."""
        freeze_norms(self.net)  # ``train()`` would wake them
        device = next(self.net.parameters()).device
        images = [s["image"].to(device) for s in samples]
        found: dict[str, Tensor] = self.net(images, [target_of(s, device) for s in samples])
        return found

    def card(self) -> dict[str, Any]:
        """What is needed to build the network again."""
        return {"architecture": self.config.to_json(), "classes": list(CLASSES)}


def start_backbone(net: GeneralizedRCNN, path: Path) -> None:
    """Load ImageNet weights into the timm backbone; weights of stages that are not used are left out.

    Raises:
        KeyError: the file lacks a weight that the backbone has.

    """
    have = load_file(path)
    want = net.backbone.body.state_dict()
    net.backbone.body.load_state_dict({k: have[k].to(v.dtype) for k, v in want.items()})


def freeze_norms(net: nn.Module) -> None:
    """Batch norms keep the statistics they came with: batches of four tiles give poor ones."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def depthwise_in_float(net: nn.Module) -> None:
    """Take depthwise convolutions out of bf16 autocast: on CPUs their backward pass in channels-last
    float32 was measured four to six times faster than in bf16.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.forward = partial(_in_float, module.forward)  # type: ignore[method-assign]


def _in_float(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return forward(x.float())


def target_of(sample: dict[str, Any], device: torch.device) -> Target:
    """A sample of ``tiles.CellTiles`` as the network wants it; labels count from 1."""
    target: Target = {k: sample[k].to(device) for k in ("boxes", "owner", "has_mask", "ignore", "complete")}
    target["labels"] = sample["labels"].to(device) + 1
    return target
