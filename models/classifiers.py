"""Networks that name a single cell: a backbone and a last layer of its own.

``build`` makes one with random weights (on the meta device it takes no memory, for counting),
``load_backbone`` reads a local file, ``fetch_backbone`` asks the libraries for weights by name.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import timm
import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers.patch_embed import resample_patch_embed
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from cmlcore.errors import InputError, ModelError
from models.backbone_names import NAMES

SIDE = 224
"""Side of the images the backbones take, in pixels; a multiple of every patch (14, 16, 32)."""

Tuning = Literal["last", "whole"]
"""What is trained: the last layer only, or the whole model."""

_Colours = tuple[tuple[float, float, float], tuple[float, float, float]]
_IMAGENET: _Colours = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF: _Colours = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True, slots=True)
class Backbone:
    """A published network without our last layer.

    Attributes:
        key: in files and the shell.
        title: what people read.
        width: numbers that reach the last layer.
        weights: by which its library fetches pretrained weights; None where only a file exists.
        mean, std: of the colours (0..1) it was pretrained with.
        make: gives it for images of so many pixels a side.
        plain: whether it is a Vision Transformer, whose attention can be looked at.

    """

    key: str
    title: str
    width: int
    weights: str | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    make: Callable[[int], nn.Module]
    plain: bool = False


class _ResNet(nn.Module):
    """ResNet50 of torchvision up to its pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.net: Any = torchvision.models.resnet50()
        self.net.fc = nn.Identity()

    def maps(self, x: Tensor) -> Tensor:
        """``(B, 2048, 7, 7)``."""
        n = self.net
        x = n.maxpool(n.relu(n.bn1(n.conv1(x))))
        return n.layer4(n.layer3(n.layer2(n.layer1(x))))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.net.avgpool(self.maps(x)).flatten(1)  # type: ignore[no-any-return]


class _KimiaNet(nn.Module):
    """DenseNet121 as KimiaNet has it: pooled right after the last norm, without torchvision's last ReLU.

    Riasatian et al., "Fine-tuning and training of DenseNet for histopathology image representation using
    TCGA diagnostic slides", Medical Image Analysis 70:102032, 2021.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net: Any = torchvision.models.densenet121().features

    def maps(self, x: Tensor) -> Tensor:
        """``(B, 1024, 7, 7)``."""
        return self.net(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).mean(dim=(2, 3))


class _Vit(nn.Module):
    """A Vision Transformer that keeps its 1000-way head: the last layer stands on its 1000 outputs."""

    def __init__(self, name: str, side: int) -> None:
        super().__init__()
        self.net: Any = timm.create_model(name, pretrained=False, img_size=side, num_classes=1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]


class _Dino(nn.Module):
    """DINOv2 as its authors' linear evaluation takes it: the last four class tokens, the last patches' mean.

    Oquab et al., "DINOv2: Learning robust visual features without supervision", TMLR 2024, section B.3.
    """

    def __init__(self, name: str, side: int) -> None:
        super().__init__()
        self.net: Any = timm.create_model(name, pretrained=False, img_size=side, num_classes=0)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 5 D)``."""
        found = self.net.forward_intermediates(
            x, indices=4, norm=True, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
        )  # of each block: patches (B, N, D) and prefix (B, 1, D)
        return torch.cat([*(prefix[:, 0] for _, prefix in found), found[-1][0].mean(dim=1)], dim=1)


class _Lite(nn.Module):
    """EfficientNet-Lite0 up to its pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.net: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)

    def maps(self, x: Tensor) -> Tensor:
        """``(B, 1280, 7, 7)``."""
        return self.net.forward_features(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).mean(dim=(2, 3))


def _backbone(
    key: str, width: int, colours: _Colours, make: Callable[[int], nn.Module], *, plain: bool = False
) -> Backbone:
    name = NAMES[key]
    return Backbone(key, name.title, width, name.weights, *colours, make, plain)


def _vit(key: str, name: str) -> Backbone:
    return _backbone(key, 1000, _HALF, lambda side: _Vit(name, side), plain=True)


def _dino(side: int) -> nn.Module:
    return _Dino("vit_small_patch14_dinov2", side)


_ALL = (
    _backbone("resnet50", 2048, _IMAGENET, lambda _: _ResNet()),
    _backbone("kimianet", 1024, _IMAGENET, lambda _: _KimiaNet()),
    _vit("vit_b16", "vit_base_patch16_224"),
    _vit("vit_b32", "vit_base_patch32_224"),
    _vit("vit_l16", "vit_large_patch16_224"),
    _vit("vit_l32", "vit_large_patch32_384"),
    _backbone("dinov2_vits14", 1920, _IMAGENET, _dino, plain=True),
    _backbone("efficientnet_lite0", 1280, _HALF, lambda _: _Lite()),
)
BACKBONES: dict[str, Backbone] = {b.key: b for b in _ALL}


def backbone(key: str) -> Backbone:
    """Look a backbone up.

    Raises:
        InputError: there is none of this name.

    """
    if key not in BACKBONES:
        raise InputError(f"“{key}” is not a backbone; choose one of {', '.join(BACKBONES)}.")
    return BACKBONES[key]


class Classifier(nn.Module):
    """A backbone, the colours it expects, and a last layer."""

    mean: Tensor
    std: Tensor

    def __init__(self, base: Backbone, classes: int, side: int = SIDE) -> None:
        super().__init__()
        self.base = base
        self.body = base.make(side)
        self.head = nn.Linear(base.width, classes)
        self.register_buffer("mean", torch.tensor(base.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(base.std).view(1, -1, 1, 1))

    def set_colours(self, mean: list[float], std: list[float]) -> None:
        """Expect images of these means and deviations a channel, such as a raw colour space has."""
        like = self.mean
        self.mean = torch.tensor(mean, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)
        self.std = torch.tensor(std, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees: float ``(B, width)`` of images float ``(B, C, H, W)`` in 0..1."""
        return self.body((images - self.mean) / self.std)  # type: ignore[no-any-return]

    def maps(self, images: Tensor) -> Tensor:
        """The last feature maps of a convolutional backbone, ``(B, D, h, w)``; their mean is the features."""
        return self.body.maps((images - self.mean) / self.std)  # type: ignore[no-any-return, operator]

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of images float ``(B, C, H, W)``, RGB in 0..1."""
        return self.head(self.features(images))  # type: ignore[no-any-return]


def build(key: str, classes: int, device: str | torch.device = "cpu", side: int = SIDE) -> Classifier:
    """A network with random weights for images of ``side`` pixels; on "meta" it answers with shapes only.

    Raises:
        InputError: there is no such backbone, or its patches do not fill that side.

    """
    base = backbone(key)
    with torch.device(device):
        net = Classifier(base, classes, side)
    if base.plain:
        vit: Any = net.body.net
        patch = vit.patch_embed.patch_size[0]
        if side % patch:
            raise InputError(f"{base.title} takes images whose side is a multiple of {patch}, not {side}.")
    return net


def set_tuning(net: Classifier, tuning: Tuning) -> None:
    """Let the last layer learn, or all of it; a frozen body keeps its norms' statistics too."""
    net.requires_grad_(tuning == "whole")
    net.head.requires_grad_(True)
    net.train(tuning == "whole")
    net.head.train()


def widen_input(net: Classifier) -> None:
    """Take the four channels R, G, G, B of a packed Bayer mosaic; the green weights are shared among two."""
    conv = next(m for m in net.body.modules() if isinstance(m, nn.Conv2d))
    w = conv.weight.detach()
    if w.shape[1] != 3:
        raise ValueError(f"expected a network of 3 channels, not {w.shape[1]}")
    conv.weight = nn.Parameter(torch.stack([w[:, 0], w[:, 1] / 2, w[:, 1] / 2, w[:, 2]], dim=1))
    conv.in_channels = 4
    net.set_colours(*([v.flatten()[[0, 1, 1, 2]].tolist() for v in (net.mean, net.std)]))


# -- weights --------------------------------------------------------------------------------------------


def fetch_backbone(net: Classifier) -> None:
    """Start from the pretrained weights that the backbone's library knows by name; needs a network once.

    Raises:
        ModelError: they cannot be had by name, or not from here.

    """
    base = net.base
    if base.weights is None:
        raise ModelError(f"{base.title} has no weights to fetch by name; give the file its authors publish.")
    try:
        if isinstance(net.body, _ResNet):
            raw = torchvision.models.ResNet50_Weights[base.weights].get_state_dict(progress=False)
        else:
            raw = timm.create_model(base.weights, pretrained=True).state_dict()
    except (OSError, RuntimeError) as e:  # hub and URL errors are OSErrors; timm wraps some
        raise ModelError(
            f"The weights {base.weights} cannot be fetched; connect to the network or give a local file."
        ) from e
    _fit(net, dict(raw), base.weights)


def load_backbone(net: Classifier, path: Path) -> None:
    """Start from a local file: safetensors, or a torch checkpoint of plain tensors.

    Prefixes of wrappers (``module.``, ``model.``, ``backbone.``) fall away, heads of other classes are left
    out, patches and positions of a Vision Transformer are resampled to ours.

    Raises:
        ModelError: the file cannot be read, or is of another network.

    """
    try:
        if path.suffix == ".safetensors":
            raw: Any = load_file(path)
        else:
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as e:
        raise ModelError(f"The weight file {path.name} is not there; give its path.") from e
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as e:
        raise ModelError(
            f"{path.name} cannot be read as safetensors or as plain tensors of torch; fetch the file again."
        ) from e
    while isinstance(raw, dict):
        inner = next(
            (raw[k] for k in ("state_dict", "model_state_dict") if isinstance(raw.get(k), dict)), None
        )
        if inner is None:
            break
        raw = inner
    if not isinstance(raw, dict) or not all(isinstance(v, Tensor) for v in raw.values()):
        raise ModelError(f"{path.name} holds no table of weights; give the file of a network's state.")
    _fit(net, raw, path.name)


def _fit(net: Classifier, raw: dict[str, Tensor], name: str) -> None:
    """Put weights of any known layout into the body."""
    body: Any = net.body.net
    want = body.state_dict()
    rename = _densenet_name if isinstance(net.body, _KimiaNet) else _plain_name
    state = {rename(k): v.float() if v.is_floating_point() else v for k, v in raw.items()}
    if "patch_embed.proj.weight" in want:
        state = _resampled(body, state)
    absent = [k for k in want if k not in state and not k.endswith("num_batches_tracked")]
    wrong = [k for k in want if k in state and state[k].shape != want[k].shape]
    head = ("head.weight", "head.bias")  # a pretraining without classes leaves the 1000-way head as it is
    if any(k not in head for k in absent + wrong):
        first = next(k for k in absent + wrong if k not in head)
        raise ModelError(f"{name} is not a weight file of {net.base.title} ({first} does not fit).")
    body.load_state_dict({k: state[k] for k in want if k in state and k not in wrong}, strict=False)


def _plain_name(key: str) -> str:
    for prefix in ("module.", "model.", "backbone."):
        key = key.removeprefix(prefix)
    return key


def _densenet_name(key: str) -> str:
    """KimiaNet's file calls a DenseNet's features ``module.model.0.…``; torchvision, ``features.…``."""
    key = _plain_name(key)
    for prefix in ("features.0.", "features.", "0."):
        if key.startswith(prefix):
            key = key.removeprefix(prefix)
            break
    # torchvision's oldest files write norm.1 where newer ones write norm1
    parts = key.split(".")
    if len(parts) > 3 and parts[-3] in ("norm", "conv") and parts[-2].isdigit():
        parts[-3:-1] = [parts[-3] + parts[-2]]
    return ".".join(parts)


def _resampled(vit: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    patch, n = list(vit.patch_embed.patch_size), list(vit.patch_embed.grid_size)
    out = dict(state)
    if "patch_embed.proj.weight" in out:
        out["patch_embed.proj.weight"] = resample_patch_embed(out["patch_embed.proj.weight"], patch)
    if "pos_embed" in out:
        prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
        out["pos_embed"] = resample_abs_pos_embed(out["pos_embed"], n, num_prefix_tokens=prefix)
    return out
