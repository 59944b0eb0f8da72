"""The network of type 2: a plain Vision Transformer on fixed windows, a convolutional decoder over all.

The transformer sees one window of the tile at a time, so its cost grows with the area, not with its square,
and a window's tokens depend on that window alone. The decoder runs over the stitched token map and the image
itself, bridges the windows, and has a limited reach: a pixel farther than ``REACH`` from the tile's edge gets
the same answer in any tile whose windows lie alike. BatchNorm, constant once trained, keeps this;
a norm over the tile would not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import timm
import torch
from timm.layers.patch_embed import resample_patch_embed
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

STRIDE = 2  # of the maps that come out; map point (i, j) stands for the centre of tile pixel (2 i, 2 j)
REACH = 80  # pixels; how far the decoder looks beyond the token under a pixel
OFFSET_UNIT = 8.0  # the offset maps are in units of this many pixels
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class VitConfig:
    """What is needed to build the network again.

    Attributes:
        backbone: any plain ViT of timm by name.
        classes: number of cell classes.
        window: side of a window in pixels, a multiple of ``patch``.
        patch: side of a patch in pixels; 16 fits the decoder's four doublings to stride 1.
        taps: blocks whose tokens reach the decoder.
        width: channels of the decoder at stride 16; halved at 8 and at 4, and again at 2.

    """

    backbone: str = "vit_small_patch14_dinov2"
    classes: int = 3
    window: int = 256
    patch: int = 16
    taps: tuple[int, ...] = (5, 8, 11)
    width: int = 256

    def as_dict(self) -> dict[str, Any]:
        """For the model card."""
        return asdict(self)

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> VitConfig:
        """Back from the model card."""
        return VitConfig(**{**raw, "taps": tuple(raw["taps"])})


class WindowedVit(nn.Module):
    """Images in, stride-2 maps out; see ``forward``."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        self.vit: Any = timm.create_model(
            config.backbone, pretrained=False, num_classes=0, img_size=config.window, patch_size=config.patch
        )
        width = int(self.vit.embed_dim)  # type: ignore[arg-type]
        self.decoder = Decoder(len(config.taps) * width, config.width, config.classes + 3)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Maps for a batch of tiles.

        Args:
            images: uint8 ``(B, 3, H, W)``, RGB, H and W multiples of the window.

        Returns:
            float ``(B, C + 3, H / 2, W / 2)``: a presence logit for each of the C classes, a logit for
            "a cell's centre is here", and the way to the centre of the own cell as x, y in ``OFFSET_UNIT``.

        """
        x = ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.decoder(x, self.tokens(x))  # type: ignore[no-any-return]

    def tokens(self, x: Tensor) -> Tensor:
        """Token maps ``(B, D, H / patch, W / patch)``, every window on its own."""
        side, patch = self.config.window, self.config.patch
        b, c, h, w = x.shape
        ny, nx, n = h // side, w // side, side // patch
        windows = x.reshape(b, c, ny, side, nx, side).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, side, side)
        taps = self.vit.forward_intermediates(
            windows, indices=list(self.config.taps), norm=True, output_fmt="NLC", intermediates_only=True
        )
        t = torch.cat(taps, dim=-1)  # (B·ny·nx, n·n, D)
        t = t.reshape(b, ny, nx, n, n, -1).permute(0, 5, 1, 3, 2, 4)
        return t.reshape(b, -1, ny * n, nx * n).contiguous(memory_format=torch.channels_last)


def start_backbone(net: WindowedVit, weights: dict[str, Tensor]) -> None:
    """Start the transformer from a plain ViT's weights, its patches and positions resampled to ours, once.

    Raises:
        KeyError, RuntimeError: the weights are of another network.

    """
    state = {k: v.float() for k, v in weights.items() if not k.startswith("head.")}
    patch, side = net.config.patch, net.config.window // net.config.patch
    state["patch_embed.proj.weight"] = resample_patch_embed(state["patch_embed.proj.weight"], [patch, patch])
    if "pos_embed" in state:
        prefix = net.vit.num_prefix_tokens if not net.vit.no_embed_class else 0
        state["pos_embed"] = resample_abs_pos_embed(
            state["pos_embed"], [side, side], num_prefix_tokens=prefix
        )
    net.vit.load_state_dict(state)


def fold_norms(net: nn.Module) -> None:
    """Fold every BatchNorm that follows a convolution into it, in place; for inference alone."""
    for part in net.modules():
        if not isinstance(part, nn.Sequential):
            continue
        for i in range(len(part) - 1):
            conv, norm = part[i], part[i + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                part[i], part[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


class _ConvNorm(nn.Sequential):
    def __init__(self, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True)
        )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _ConvNorm(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Decoder(nn.Module):
    """Tokens at stride 16 and the image's own detail at strides 8, 4 and 2, merged upwards to stride 2."""

    def __init__(self, cin: int, width: int, cout: int) -> None:
        super().__init__()
        w16, w8, w4, w2 = width, width // 2, width // 4, width // 8
        self.stem2 = nn.Sequential(_ConvNorm(3, 24, 2), _ConvNorm(24, 24))
        self.stem4 = nn.Sequential(_ConvNorm(24, 48, 2), _ConvNorm(48, 48))
        self.stem8 = _ConvNorm(48, 64, 2)
        self.enter = nn.Sequential(
            nn.Conv2d(cin, w16, 1, bias=False), nn.BatchNorm2d(w16), nn.ReLU(inplace=True)
        )
        self.body16 = _Residual(w16)
        self.up8 = nn.ConvTranspose2d(w16, w8, 2, 2)
        self.body8 = nn.Sequential(_ConvNorm(w8 + 64, w8), _ConvNorm(w8, w8))
        self.up4 = nn.ConvTranspose2d(w8, w4, 2, 2)
        self.body4 = nn.Sequential(_ConvNorm(w4 + 48, w4), _ConvNorm(w4, w4))
        self.up2 = nn.ConvTranspose2d(w4, w2, 2, 2)
        self.body2 = nn.Sequential(_ConvNorm(w2 + 24, w2), _ConvNorm(w2, 2 * w2))
        self.head = nn.Conv2d(2 * w2, cout, 1)
        bias = torch.full((cout,), -3.0)  # most pixels hold no centre and most classes are rare
        bias[-2:] = 0.0
        self.head.bias = nn.Parameter(bias)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        """Maps ``(B, cout, H / 2, W / 2)`` from the image ``(B, 3, H, W)`` and its tokens."""
        s2 = self.stem2(image)
        s4 = self.stem4(s2)
        s8 = self.stem8(s4)
        x = self.body16(self.enter(tokens))
        x = self.body8(torch.cat([self.up8(x), s8], dim=1))
        x = self.body4(torch.cat([self.up4(x), s4], dim=1))
        x = self.body2(torch.cat([self.up2(x), s2], dim=1))
        return self.head(x)  # type: ignore[no-any-return]
