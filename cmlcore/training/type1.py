"""What type 1 is taught: tiles to Mask R-CNN targets, targets to losses, for labels that may be partial."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from cmlcore.training.recipe import Found, Sample
from models.mask_rcnn import MaskRcnnConfig
from models.rois import Target

BODY_RATE = 0.5  # learning rate of the pretrained backbone, relative to the rest
ALIGN, MARGIN = 32, 192  # pixels; the margin makes tiles exact for cells of the usual size
LOWEST_SCORE = 0.02  # cells below are not looked at while validating


class Type1Recipe:
    """Mask R-CNN as the training sees it: all layers learn, batch norms keep their statistics.

    See ``recipe.Recipe``.
    """

    kind = "type1"
    align = ALIGN

    def __init__(
        self,
        net: GeneralizedRCNN,
        config: MaskRcnnConfig,
        lr: float,
        weights: tuple[float, ...] = (),
        weight_decay: float = 0.05,
    ) -> None:
        """``weights`` is how much the cells of each class count in the loss of the class, () alike."""
        self.net, self.config = net, config
        self.lr, self.weight_decay = lr, weight_decay
        self.prepare: Callable[[Sample], Sample] = _as_it_is
        depthwise_in_float(net)
        if weights:
            net.roi_heads.class_weights = (1.0, *weights)  # the ground comes first

    def groups(self) -> list[dict[str, Any]]:
        """AdamW's parameter groups, each with its peak learning rate."""
        made: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, p in self.net.named_parameters():
            made.setdefault((name.startswith("backbone.body."), p.ndim > 1), []).append(p)
        return [
            {
                "params": params,
                "lr": self.lr * (BODY_RATE if body else 1.0),
                "weight_decay": self.weight_decay if matrix else 0.0,  # none for biases and norms
            }
            for (body, matrix), params in made.items()
        ]

    def loss(self, samples: list[Sample]) -> dict[str, Tensor]:
        """The five losses of Mask R-CNN for tiles of one size; it gives them in training mode only."""
        self.net.train()
        freeze_norms(self.net)  # ``train()`` would wake them
        images = [s["image"].to(self._device) for s in samples]
        found: dict[str, Tensor] = self.net(images, [target_of(s, self._device) for s in samples])
        return found

    def find(self, samples: list[Sample]) -> list[Found]:
        """The boxes of the cells."""
        self.net.roi_heads.min_score = LOWEST_SCORE
        answers = self.net([s["image"].to(self._device) for s in samples])
        return [Found(a["boxes"], a["scores"], a["labels"]) for a in answers]

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self.net.parameters()).device
        return device

    def architecture(self) -> dict[str, Any]:
        """What is needed to build the network again."""
        return self.config.to_json()

    def grid(self, largest: float) -> dict[str, int]:
        """A margin that holds a cell and what its score looks at."""
        margin = max(MARGIN, -int(-largest // ALIGN) * ALIGN)
        return {"tile": 896 + 2 * margin, "margin": margin, "align": ALIGN}


def _as_it_is(sample: Sample) -> Sample:
    return sample


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
