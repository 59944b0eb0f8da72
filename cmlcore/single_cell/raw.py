"""The camera's pipeline backwards: from an sRGB picture to the light its sensor may have counted, and forth.

After Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019, sections 3.4 to 3.7. The
formulas, x being linear light and y what is displayed, both in 0..1:

- tone curve (smoothstep):      y = 3x² − 2x³,               x = 1/2 − sin(asin(1 − 2y) / 3)
- gamma compression:            y = max(x, ε)^(1/2.2),       x = max(y, ε)^2.2
- colour correction:            y = C x with rows that sum to one, x = C⁻¹ y
- white balance and brightness: y = g x;  backwards, for g > 1, highlights are kept:
  f(y, g) = max(y/g, (1 − α) y/g + α y),  α(y) = (max(y − t, 0) / (1 − t))²,  t = 0.9

Brooks draws C and g at random to train a denoiser; a colour space must be the same for every image, so
they are the means of his distributions here. C⁻¹ then has no negative entry, so nothing leaves 0..1 and
nothing need be clipped; that is why the way back is exact.

All functions take float ``(…, 3, H, W)``, on any device, and are differentiable almost everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Form = Literal["linear", "packed"]

_EPS = 1e-8
_GAMMA = 2.2
_T = 0.9  # linear light from which a highlight keeps its brightness
_NEWTON = 8  # steps; a convex cubic approached from above: float32 is exhausted after five

# XYZ to camera of the four cameras Brooks takes from the Darmstadt Noise Dataset, as DNG files state them
_XYZ_TO_CAMERA = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.613, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.838, -0.263, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.097, 0.1581, 0.5181)),
)
_RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)


@dataclass(frozen=True, slots=True)
class Camera:
    """What a camera does between its sensor and the picture.

    Attributes:
        gains: of red, green and blue; white balance (2.15, 1, 1.7: middles of 1.9..2.4 and 1.5..1.9)
            times brightness (1 / 0.8).

    """

    gains: tuple[float, float, float] = (2.15 / 0.8, 1 / 0.8, 1.7 / 0.8)

    @staticmethod
    def to_camera(like: Tensor) -> Tensor:
        """Linear sRGB to the camera's colours, ``(3, 3)``: the mean of the four cameras, white kept white."""
        kind = {"dtype": torch.float64, "device": "cpu"}
        mean = torch.tensor(_XYZ_TO_CAMERA, **kind).mean(dim=0)  # type: ignore[arg-type]
        both = mean @ torch.tensor(_RGB_TO_XYZ, **kind)  # type: ignore[arg-type]
        kept: Tensor = both / both.sum(dim=1, keepdim=True)
        return kept.to(like.device, like.dtype)

    @staticmethod
    def from_camera(like: Tensor) -> Tensor:
        """The way back, ``(3, 3)``."""
        forth = Camera.to_camera(torch.zeros((), dtype=torch.float64))
        back: Tensor = torch.linalg.inv(forth)
        return back.to(like.device, like.dtype)


CAMERA = Camera()


def inverse(image: Tensor, camera: Camera = CAMERA) -> Tensor:
    """Raw light of a displayed picture in its demosaiced, linear form.

    Args:
        image: float ``(…, 3, H, W)``, sRGB in 0..1.
        camera: whose pipeline is undone.

    Returns:
        float of the same shape, mostly within 0..1.

    """
    x = inverse_tone(image.clamp(0, 1))
    x = x.clamp_min(_EPS) ** _GAMMA
    x = _mix(Camera.to_camera(x), x)
    return _invert_gains(x, _gains(camera, x))


def forward(raw: Tensor, camera: Camera = CAMERA) -> Tensor:
    """The picture of raw light: white balance, colour correction, gamma compression, tone curve.

    ``forward(inverse(x))`` is x within 1/255 for every sRGB colour.
    """
    x = _apply_gains(raw, _gains(camera, raw))
    x = _mix(Camera.from_camera(x), x)
    x = x.clamp(_EPS, 1) ** (1 / _GAMMA)
    return tone(x)


def tone(x: Tensor) -> Tensor:
    """The tone curve, smoothstep: 3x² − 2x³."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def inverse_tone(y: Tensor) -> Tensor:
    """Smoothstep undone: 1/2 − sin(asin(1 − 2y) / 3)."""
    return 0.5 - torch.sin(torch.asin((1 - 2 * y).clamp(-1, 1)) / 3)


def _gains(camera: Camera, like: Tensor) -> Tensor:
    return torch.tensor(camera.gains, dtype=like.dtype, device=like.device).view(3, 1, 1)


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("dc,...chw->...dhw", matrix, x)


def _invert_gains(x: Tensor, gain: Tensor) -> Tensor:
    alpha = ((x - _T).clamp_min(0) / (1 - _T)).square().clamp_max(1)
    return torch.maximum(x / gain, (1 - alpha) * x / gain + alpha * x)


def _apply_gains(raw: Tensor, gain: Tensor) -> Tensor:
    """The inverse of ``_invert_gains``, which grows steadily: x·g below t/g, x from 1 on, a cubic between.

    There f(x) = x (1 + (g − 1) α) / g; it is convex, so Newton's steps from x = 1 come down to the root.
    """
    low = raw * gain
    x = torch.ones_like(raw)
    for _ in range(_NEWTON):
        u = (x - _T) / (1 - _T)
        value = x * (1 + (gain - 1) * u * u) / gain - raw
        slope = (1 + (gain - 1) * (u * u + 2 * x * u / (1 - _T))) / gain
        x = (x - value / slope).clamp(_T, 1)
    high = torch.where(raw >= 1, raw, x)
    return torch.where((low <= _T) | (gain <= 1), low, high)


# -- the mosaic -----------------------------------------------------------------------------------------


def mosaic(image: Tensor) -> Tensor:
    """Packed Bayer mosaic (RGGB): ``(…, 3, H, W)`` to ``(…, 4, H / 2, W / 2)`` as R, G, G, B.

    Raises:
        ValueError: a side is odd.

    """
    if image.shape[-1] % 2 or image.shape[-2] % 2:
        raise ValueError(f"a Bayer mosaic needs even sides, not {tuple(image.shape[-2:])}")
    r, g, b = image.unbind(dim=-3)
    sites = (r[..., ::2, ::2], g[..., ::2, 1::2], g[..., 1::2, ::2], b[..., 1::2, 1::2])
    return torch.stack(sites, dim=-3)


def demosaic(packed: Tensor) -> Tensor:
    """Bilinear demosaicing of a packed mosaic: ``(…, 4, h, w)`` to ``(…, 3, 2h, 2w)``.

    Each colour is known at its sites, kept there, and the mean of its nearest sites elsewhere.
    """
    *lead, four, h, w = packed.shape
    if four != 4:
        raise ValueError(f"expected 4 channels, got {four}")
    flat = packed.reshape(-1, 4, h, w)
    plane = flat.new_zeros(len(flat), 3, 2 * h, 2 * w)
    known = flat.new_zeros(1, 3, 2 * h, 2 * w)
    for site, (channel, dy, dx) in enumerate(((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1))):
        plane[:, channel, dy::2, dx::2] = flat[:, site]
        known[:, channel, dy::2, dx::2] = 1
    kernel = flat.new_tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]).expand(3, 1, 3, 3)
    near = F.conv2d(plane, kernel, padding=1, groups=3)
    weight = F.conv2d(known, kernel, padding=1, groups=3)
    out = torch.where(known.bool(), plane, near / weight)
    return out.reshape(*lead, 3, 2 * h, 2 * w)


def unprocess(image: Tensor, form: Form = "linear", camera: Camera = CAMERA) -> Tensor:
    """Raw light in one of its two forms: "linear" (3 channels) or "packed" (4 channels, half the size)."""
    raw = inverse(image, camera)
    return mosaic(raw) if form == "packed" else raw
