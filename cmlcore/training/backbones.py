"""Networks built for a training: by name, with random weights or with a start from somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights

from cmlcore.errors import InputError, ModelError
from cmlcore.ground_truth import class_index
from cmlcore.training.recipe import Recipe
from cmlcore.training.settings import BACKBONES, TrainSettings
from cmlcore.training.type1 import Type1Recipe
from cmlcore.training.type2 import Type2Recipe
from models.mask_rcnn import REFERENCE, MaskRcnnConfig
from models.mask_rcnn import build as build_mask_rcnn
from models.registry import ModelCard, card, check_weights
from models.windowed_vit import VitConfig, WindowedVit, start_backbone

FROZEN = 4  # lower blocks of type 2 that stay as they were pretrained, where nothing else is said
USUAL_SIDES = (8.0, 150.0)  # model pixels, for which type 1's anchors are made


def build_recipe(settings: TrainSettings, sides: NDArray[np.float32], weights: Sequence[float]) -> Recipe:
    """The network of a training and how it is taught.

    Args:
        settings: the training's.
        sides: ``(N,)`` of the training cells, in model pixels; type 1's anchors follow them.
        weights: how much the cells of each class count in the loss.

    Raises:
        InputError: the backbone is not one that fits.
        ModelError: the weights to start from cannot be had.

    """
    torch.manual_seed(settings.seed)
    counted = tuple(float(w) for w in weights)
    model: ModelCard | None = None
    if settings.start_from is not None:
        model = card(settings.start_from)
        if model.kind != settings.model:
            raise InputError(f"The model “{model.key}” is a {model.kind}; train a {model.kind} from it.")
    if settings.model == "type1":
        config = _mask_rcnn_config(settings, sides, model)
        net = build_mask_rcnn(config, len(settings.classes))
        _start(net, settings, model, TYPE1_ROWS)
        return Type1Recipe(net, config, settings.lr, counted, settings.weight_decay)
    vit = WindowedVit(_vit_config(settings, model))
    _start(vit, settings, model, TYPE2_ROWS)
    given = settings.backbone_weights is not None or settings.pretrained or model is not None
    frozen = settings.frozen if settings.frozen is not None else FROZEN * given
    return Type2Recipe(vit, settings.lr, frozen, counted, settings.weight_decay)


def _vit_config(settings: TrainSettings, model: ModelCard | None) -> VitConfig:
    n = len(settings.classes)
    if model is not None:
        made = VitConfig.from_dict({**model.extra["architecture"], "classes": n})
    else:
        made = vit_config(settings.backbone_name, n)
    if settings.tile is not None and settings.tile % made.window:
        raise InputError(f"A tile of type 2 must be a multiple of {made.window} pixels; give such a side.")
    return made


def vit_config(name: str, classes: int) -> VitConfig:
    """The shape of type 2 on a plain ViT of timm; the decoder taps it at half, three quarters and the end.

    Raises:
        InputError: timm does not know the name, or it is not a plain ViT.

    """
    if not timm.is_model(name.split(".")[0]):
        known = ", ".join(BACKBONES["type2"][:3])
        raise InputError(f"timm knows no network “{name}”; name a plain Vision Transformer such as {known}.")
    try:
        with torch.device("meta"):
            vit: Any = timm.create_model(name, pretrained=False, num_classes=0, img_size=256, patch_size=16)
    except (TypeError, AssertionError, RuntimeError):
        vit = None
    if not isinstance(vit, timm.models.VisionTransformer):
        raise InputError(f"“{name}” is not a plain Vision Transformer; choose one, or train type 1 on it.")
    depth = len(vit.blocks)
    taps = sorted({max(0, depth // 2 - 1), max(0, 3 * depth // 4 - 1), depth - 1})
    return VitConfig(backbone=name, classes=classes, taps=tuple(taps))


def _mask_rcnn_config(
    settings: TrainSettings, sides: NDArray[np.float32], model: ModelCard | None
) -> MaskRcnnConfig:
    if model is not None:
        return MaskRcnnConfig.from_json(model.extra["architecture"])
    name = settings.backbone_name
    if name == REFERENCE.backbone:
        return _with_anchors(REFERENCE, sides)
    try:
        with torch.device("meta"):
            body: Any = timm.create_model(name, pretrained=False, features_only=True)
        strides = set(body.feature_info.reduction())
    except (RuntimeError, TypeError, AttributeError, AssertionError):
        strides = set()
    config = MaskRcnnConfig(backbone=name)
    if not strides.issuperset(config.strides):
        raise InputError(
            f"“{name}” is not a network of timm with features at strides 4, 8 and 16; "
            f"choose one such as {', '.join(BACKBONES['type1'][:4])}."
        )
    usual: Any = timm.get_pretrained_cfg(name)
    if usual is not None:
        config = MaskRcnnConfig(backbone=name, mean=tuple(usual.mean), std=tuple(usual.std))
    return _with_anchors(config, sides)


def _with_anchors(config: MaskRcnnConfig, sides: NDArray[np.float32]) -> MaskRcnnConfig:
    """The usual anchors, or, where the cells are of quite other sizes, two a stride that span them."""
    low, high = np.percentile(sides, [2, 98]) if len(sides) else USUAL_SIDES
    if low >= USUAL_SIDES[0] and high <= USUAL_SIDES[1]:
        return config
    steps = np.geomspace(max(4.0, low), max(8.0, high), 2 * len(config.strides)).round().astype(int).tolist()
    anchors = tuple(tuple(steps[2 * k : 2 * k + 2]) for k in range(len(config.strides)))
    return MaskRcnnConfig.from_json({**config.to_json(), "anchors": [list(a) for a in anchors]})


# -- starts ---------------------------------------------------------------------------------------------

Rows = dict[str, tuple[int, int, int]]
"""For each tensor with rows by class: rows before the first class's, rows a class, rows after the last's."""

TYPE2_ROWS: Rows = {f"decoder.head.{k}": (0, 1, 3) for k in ("weight", "bias")}


_TYPE1_HEADS = {  # the ground comes first in each
    "roi_heads.box_predictor.cls_score": (1, 1, 0),
    "roi_heads.box_predictor.bbox_pred": (4, 4, 0),
    "roi_heads.mask_predictor.mask_fcn_logits": (1, 1, 0),
}
TYPE1_ROWS: Rows = {f"{name}.{k}": v for name, v in _TYPE1_HEADS.items() for k in ("weight", "bias")}


def _start(net: nn.Module, settings: TrainSettings, model: ModelCard | None, rows: Rows) -> None:
    if model is not None:
        go_on_from(net, model, settings.classes, rows)
    elif settings.backbone_weights is not None:
        _start_body(net, _read(settings.backbone_weights), settings.backbone_weights.name)
    elif settings.pretrained:
        _start_body(net, _fetched(settings.backbone_name), settings.backbone_name)


def go_on_from(net: nn.Module, model: ModelCard, classes: Sequence[str], rows: Rows) -> None:
    """Start a network from an installed model; a class it does not know starts as its nearest ancestor there.

    Raises:
        ModelError: the model's file is missing or does not fit.

    """
    check_weights(model)
    old = {k: v.float() if v.is_floating_point() else v for k, v in load_file(model.weights).items()}
    state = net.state_dict()
    at = [class_index(c, model.classes) for c in classes]
    for name, (before, each, after) in rows.items():
        if name in old and name in state:
            old[name] = _carried(state[name], old[name], at, before, each, after)
    try:
        net.load_state_dict(old)
    except RuntimeError as e:
        raise ModelError(f"The weights of “{model.key}” do not fit the network its card describes.") from e


def _carried(new: Tensor, old: Tensor, at: Sequence[int], before: int, each: int, after: int) -> Tensor:
    """``new`` with the rows of ``old``: class ``i`` takes those of ``at[i]``, or keeps its own at -1."""
    out = new.clone()
    out[:before] = old[:before]
    if after:
        out[-after:] = old[-after:]
    for i, k in enumerate(at):
        if k >= 0:
            out[before + i * each : before + (i + 1) * each] = old[
                before + k * each : before + (k + 1) * each
            ]
    return out


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        raise ModelError(f"{path.name} cannot be read as a safetensors file; give another.") from None


def _fetched(name: str) -> dict[str, Tensor]:
    """Weights by name from the hub of timm, or of torchvision for the reference configuration."""
    try:
        if name == REFERENCE.backbone:
            return dict(ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=False))
        whole: Any = timm.create_model(name, pretrained=True, num_classes=0)
        return dict(whole.state_dict())
    except (OSError, RuntimeError, ValueError) as e:  # of hubs and of the network alike
        raise ModelError(
            f"The weights of {name} cannot be fetched; connect to the network, give a local file, "
            "or start from an installed model."
        ) from e


def _start_body(net: nn.Module, weights: dict[str, Tensor], said: str) -> None:
    """Load backbone weights; those of stages that are not used, and of a head, are left out."""
    try:
        if isinstance(net, WindowedVit):
            start_backbone(net, weights)
        else:
            body: Any = net.backbone.body  # type: ignore[union-attr]
            want = body.state_dict()
            # timm calls "stages.0" of a network "stages_0" where it gives features alone
            have = {k.replace(".", "_"): v for k, v in weights.items()}
            body.load_state_dict({k: have[k.replace(".", "_")].to(v.dtype) for k, v in want.items()})
    except (KeyError, RuntimeError) as e:
        raise ModelError(
            f"The weights {said} are of another network; give those of the backbone named."
        ) from e
