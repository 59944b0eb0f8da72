"""Lamp, camera and stain taken out of a picture: its ground made white, its nucleus brought to one colour.

Between laboratories the same cell has other colours: the ground is yellow or grey, nuclei are blue, violet
or pale. Optical density (Beer and Lambert) is measured against the field's own ground; each channel's is then
scaled so that the nucleus in the middle has the density it has in the training set. That is Macenko's idea of
normal stain vectors ("A method for normalizing histology slides for quantitative analysis", ISBI 2009) with
two landmarks that every picture of a leukocyte has, and so with nothing to fit that could fail.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

WHITE = 240 / 255
"""What the ground becomes: a little below 1, so that what is brighter than it is not cut off."""
NUCLEUS = (1.33, 2.3, 0.42)
"""Optical density (natural logarithm) of red, green and blue in nuclei of the PBC set, the median of 150."""

_GROUND_SHARE = 0.1  # of a field's pixels, the brightest, whose median is the ground
_NUCLEUS_SHARE = 0.125  # of the middle's pixels, the densest, whose median is the nucleus
_DARKEST = 40 / 255  # a field without ground is not brightened without bound
_PALEST = 0.15  # density; paler is no nucleus
_FACTORS = (0.3, 5.0)  # a density is not scaled beyond these


def ground_of(images: Tensor) -> Tensor:
    """Colour of the ground, ``(B, 3)``: the median of the pixels whose darkest channel is brightest.

    Where no ground is in view these are the pale middles of erythrocytes, which are near to it.

    Args:
        images: float ``(B, 3, H, W)`` in 0..1.

    """
    pixels = images[..., ::2, ::2].flatten(2)  # every fourth pixel tells it as well
    n = max(1, int(pixels.shape[2] * _GROUND_SHARE))
    return _median_of(pixels, pixels.amin(dim=1), n).clamp_min(_DARKEST)


def nucleus_of(density: Tensor) -> Tensor:
    """Density of the nucleus, ``(B, 3)``: the median of the densest pixels (red + green) in the middle.

    Args:
        density: float ``(B, 3, H, W)``.

    """
    h, w = density.shape[-2:]
    pixels = density[..., h // 5 : h - h // 5, w // 5 : w - w // 5].flatten(2)[..., ::3]
    n = max(1, int(pixels.shape[2] * _NUCLEUS_SHARE))
    return _median_of(pixels, pixels[:, 0] + pixels[:, 1], n).clamp_min(_PALEST)


def evened(images: Tensor, rng: np.random.Generator | None = None) -> Tensor:
    """The images, float ``(B, 3, H, W)`` in 0..1, with white ground and nuclei of the density ``NUCLEUS``.

    Args:
        images: sRGB.
        rng: for training, by which what the two landmarks cannot even out is varied: the nucleus a little,
            the density of all that is paler, how far its colour lies from the nucleus's, and stained plasma.

    """
    if not len(images):
        return images
    ground = ground_of(images)[..., None, None]
    light = (images * 255 + 1) / (ground * 255 + 1)
    density = -light.clamp(1 / 256, 1.2).log()
    nucleus = nucleus_of(density)[..., None, None]
    wanted = images.new_tensor(NUCLEUS)[:, None, None]
    if rng is None:
        out = density * (wanted / nucleus).clamp(*_FACTORS)
    else:
        out = _varied(density, nucleus, wanted, rng)
    return (WHITE * (-out).exp()).clamp(0, 1)


def _varied(density: Tensor, nucleus: Tensor, wanted: Tensor, rng: np.random.Generator) -> Tensor:
    n, side = len(density), density.shape[-1]

    def each(values: NDArray[np.float64]) -> Tensor:
        return density.new_tensor(values.reshape(n, -1, 1, 1))

    def some(share: float, spread: float) -> NDArray[np.float64]:
        """Factors about 1 for a share of the images, 1 for the rest."""
        return np.where(rng.random(n) < share, np.exp(rng.normal(0, spread, n)), 1.0)

    to = wanted * each(np.exp(rng.normal(0, 0.1, (n, 3)) + rng.normal(0, 0.08, (n, 1))))
    share = (density.sum(dim=1, keepdim=True) / nucleus.sum(dim=1, keepdim=True)).clamp(0.01, 1.5)
    out = density * share ** each(some(0.7, 0.3) - 1) * (to / nucleus).clamp(*_FACTORS)
    relative = out / to
    grey = relative.mean(dim=1, keepdim=True)
    relative = grey + (relative - grey) * each(some(0.6, 0.35))
    depth = each(np.where(rng.random(n) < 0.3, rng.uniform(0.03, 0.15, n), 0.0))
    size = int(rng.integers(12, 60))  # of the flecks, one for the batch
    flecks = density.new_tensor(rng.normal(0, 1, (n, 1, size, size)))
    plasma = F.interpolate(flecks, (side, side), mode="bicubic", align_corners=False)
    return (relative + depth * plasma) * to


def ring(field: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    """A field uint8 ``(H, W, 3)`` with ground laid over all farther than ``radius`` sides off its middle."""
    side = len(field)
    ground = ground_of(torch.from_numpy(field).permute(2, 0, 1)[None].float() / 255)[0].numpy() * 255
    y, x = np.ogrid[:side, :side]
    away = np.hypot(y - (side - 1) / 2, x - (side - 1) / 2)
    keep = np.clip((radius * side - away) / 4 + 0.5, 0, 1)[..., None].astype(np.float32)
    return np.rint(field * keep + ground * (1 - keep)).astype(np.uint8)


def _median_of(pixels: Tensor, score: Tensor, n: int) -> Tensor:
    """Median colour ``(B, 3)`` of the ``n`` pixels of ``(B, 3, P)`` that score highest in ``(B, P)``."""
    best = score.topk(n, dim=1).indices
    return pixels.gather(2, best[:, None].expand(-1, 3, -1)).median(dim=2).values
