"""The type-1 network: torchvision's Mask R-CNN (He et al. 2017) fitted to blood cells.

What differs from torchvision's defaults, and why:

- no resizing: tiles arrive at the model's µm per pixel, so a pixel always means the same length;
- anchors for cells of 8 to 128 pixels; proposal and detection limits grow with the tile's area;
- partial labels: where not every class of an image is labelled, what matches nothing is not
  punished as background (``rois.PartialRoIHeads``, ``PartialRpn``);
- each cell is one detection with its whole class distribution, not one detection a class.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from models.rois import PartialRoIHeads, Target, over_ignored

LIMIT_AREA = 512 * 512
"""Pixels to which the proposal and detection limits refer."""


@dataclass(frozen=True, slots=True)
class MaskRcnnConfig:
    """Everything needed to build the network before its weights are loaded.

    ``backbone`` is "resnet50-fpn-v2" (the reference configuration, Li et al. 2021) or any timm model
    that gives features at strides 4, 8 and 16. Limits are for a tile of 512 × 512 pixels.
    """

    backbone: str = "tf_efficientnet_lite0"
    fpn: int = 64  # channels of the pyramid
    strides: tuple[int, ...] = (4, 8, 16)
    anchors: tuple[tuple[int, ...], ...] = ((12, 20), (32, 48), (72, 104))  # a stride; model pixels
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height to width
    box_hidden: int = 512
    mask_convs: tuple[int, ...] = (64, 64, 64)
    proposals: int = 600  # in training; four times as many when predicting
    detections: int = 300
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def to_json(self) -> dict[str, Any]:
        """As the model card holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> MaskRcnnConfig:
        """Back from the card; lists become tuples. Raises TypeError for a field it does not know."""
        return cls(**{k: _frozen(v) for k, v in raw.items()})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


REFERENCE = MaskRcnnConfig(
    backbone="resnet50-fpn-v2",
    fpn=256,
    strides=(4, 8, 16, 32),
    anchors=((12, 20), (32, 48), (72, 104), (144, 208)),
    box_hidden=1024,
    mask_convs=(256, 256, 256, 256),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""ResNet-50-FPN v2, built by name; its weights come from the user's own training."""


class TimmFpn(nn.Module):
    """Features of a timm network, joined by a feature pyramid."""

    def __init__(self, name: str, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        whole: Any = timm.create_model(name, pretrained=False, features_only=True)
        every = whole.feature_info.reduction()
        at = tuple(every.index(s) for s in strides)
        body: Any = timm.create_model(name, pretrained=False, features_only=True, out_indices=at)
        last = body.feature_info.module_name()[-1].split(".")
        if last[0] == "blocks":  # timm keeps stages behind the last one asked for; they cost time
            body.blocks = body.blocks[: int(last[1]) + 1]
        self.body = body
        self.fpn = FeaturePyramidNetwork(body.feature_info.channels(), channels)
        self.out_channels = channels

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Map (N, 3, H, W) to one map (N, channels, H / stride, W / stride) a stride, in float32."""
        levels = OrderedDict((str(i), f) for i, f in enumerate(self.body(x)))
        # Box arithmetic and NMS behind this point stay in float32 under autocast.
        return OrderedDict((k, v.float()) for k, v in self.fpn(levels).items())


def _resnet50_fpn() -> nn.Module:
    body = resnet50(weights=None, norm_layer=nn.BatchNorm2d)
    fpn: Any = _resnet_fpn_extractor(body, 5, norm_layer=nn.BatchNorm2d)
    fpn.fpn.extra_blocks = None  # no stride 64: no cell is that large
    made: nn.Module = fpn
    return made


class Normalise(nn.Module):
    """Stands where torchvision resizes: scales uint8 to the backbone's range and nothing else."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("scale", 1 / (255 * torch.tensor(std)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer(
            "shift", (torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1), persistent=False
        )

    def forward(
        self, images: list[Tensor], targets: list[Target] | None = None
    ) -> tuple[ImageList, list[Target] | None]:
        """Stack uint8 or float images (3, H, W) in 0..255 of one size."""
        batch = torch.stack(images).float() * self.scale - self.shift
        h, w = batch.shape[-2:]
        return ImageList(batch, [(h, w)] * len(images)), targets

    def postprocess(self, result: list[Target], *_sizes: object) -> list[Target]:
        """Boxes are in tile pixels already."""
        return result


class FloatRpnHead(RPNHead):  # type: ignore[misc]  # torchvision has no types
    """torchvision decodes boxes in the type of the deltas; in bf16 an x of 600 is 4 pixels coarse."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """As torchvision's, in float32."""
        objectness, deltas = super().forward(x)
        return [o.float() for o in objectness], [d.float() for d in deltas]


class PartialRpn(RegionProposalNetwork):  # type: ignore[misc]  # torchvision has no types
    """A region proposal network that knows unlabelled cells and tiles of any size."""

    proposals: int

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Label anchors 1 cell, 0 background, -1 not asked: near ignored places, and background
        anywhere an image has an incomplete class.
        """
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for label, anchor, target in zip(labels, anchors, targets, strict=True):
            background = label == 0
            if not bool(target["complete"].all()):
                label[background] = -1
            else:
                label[background & over_ignored(anchor, target["ignore"])] = -1
        return labels, boxes

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[Target] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """As torchvision's, with limits that follow the tile's area."""
        h, w = images.tensors.shape[-2:]
        limit = max(100, round(self.proposals * h * w / LIMIT_AREA))
        # A limit that binds makes a cell depend on how crowded the rest of its tile is: seldom in use.
        self._pre_nms_top_n = {"training": 2 * limit, "testing": 8 * limit}
        self._post_nms_top_n = {"training": limit, "testing": 4 * limit}
        found: tuple[list[Tensor], dict[str, Tensor]] = super().forward(images, features, targets)
        return found


def build(config: MaskRcnnConfig, n_classes: int) -> GeneralizedRCNN:
    """Build the network with random weights.

    Args:
        config: its shape.
        n_classes: cell classes, background not counted.

    """
    backbone = (
        _resnet50_fpn()
        if config.backbone == REFERENCE.backbone
        else TimmFpn(config.backbone, config.fpn, config.strides)
    )
    channels = config.fpn
    anchors = AnchorGenerator(config.anchors, (config.ratios,) * len(config.anchors))
    deep = config.backbone == REFERENCE.backbone
    rpn = PartialRpn(
        anchors,
        FloatRpnHead(channels, anchors.num_anchors_per_location()[0], conv_depth=2 if deep else 1),
        fg_iou_thresh=0.6,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 0, "testing": 0},  # set for each tile's area
        post_nms_top_n={"training": 0, "testing": 0},
        nms_thresh=0.6,
        score_thresh=0.3,  # tells cells from ground well; what is close is the second stage's to judge
    )
    rpn.proposals = config.proposals
    levels = [str(i) for i in range(len(config.strides))]
    # Cells below 56 pixels are pooled at stride 4, below 112 at stride 8.
    pool = {"featmap_names": levels, "canonical_scale": 112, "canonical_level": 4, "sampling_ratio": 2}
    box_head = (
        FastRCNNConvFCHead((channels, 7, 7), [256] * 4, [config.box_hidden], norm_layer=nn.BatchNorm2d)
        if deep
        else TwoMLPHead(channels * 7 * 7, config.box_hidden)
    )
    heads = PartialRoIHeads(
        MultiScaleRoIAlign(output_size=7, **pool),
        box_head,
        FastRCNNPredictor(config.box_hidden, n_classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=128,
        positive_fraction=0.5,
        bbox_reg_weights=None,
        score_thresh=0.005,
        nms_thresh=0.5,
        detections_per_img=config.detections,
        mask_roi_pool=MultiScaleRoIAlign(output_size=14, **pool),
        mask_head=MaskRCNNHeads(channels, config.mask_convs, 1, norm_layer=nn.BatchNorm2d if deep else None),
        mask_predictor=MaskRCNNPredictor(config.mask_convs[-1], config.mask_convs[-1], n_classes + 1),
    )
    return GeneralizedRCNN(backbone, rpn, heads, Normalise(config.mean, config.std))
