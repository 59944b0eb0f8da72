"""Colour, stain, focus and compression, varied as microscopes, stains and scanners vary them.

Each variation is a torchvision v2 transform of images (boxes and masks pass through), to be composed with
others at will. The tiles call ``vary`` with a generator of their own, so that a tile is a function of its
number alone; as a transform it draws from torch's generator, as torchvision's own do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors
from torchvision.transforms import v2

from cmlcore.training.settings import Augmentation

Rgb = NDArray[np.uint8]
HUE, SATURATION, DEPTH = 0.14, 0.4, 0.45
"""Spreads of the stain at strength 1: of each entry of the colour matrix, and of the logarithms of saturation
and density. Erythrocytes of one public microscope are as dense as the nuclei of another; only where density
varies as much from image to image does a network learn to look at it beside that of the neighbours."""
_DENSITY = (-np.log((np.arange(256, dtype=np.float32) + 1) / 256)).astype(np.float32)  # of each grey level


def _plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, tv_tensors.TVTensor)


class Look(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """One variation of how an image looks; at strength 0 it does nothing."""

    _transformed_types: ClassVar[Any] = (tv_tensors.Image, _plain)

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength

    def make_params(self, _flat_inputs: list[Any]) -> dict[str, Any]:
        """A number from torch's generator, from which all of one call follows."""
        return {"seed": int(torch.randint(2**62, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Vary a uint8 ``(3, H, W)`` image."""
        rgb = np.ascontiguousarray(inpt.permute(1, 2, 0).numpy())
        varied = torch.from_numpy(self.vary(rgb, np.random.default_rng(params["seed"])))
        return tv_tensors.wrap(varied.permute(2, 0, 1).contiguous(), like=inpt)

    def vary(self, rgb: Rgb, rng: np.random.Generator) -> Rgb:
        """A varied copy of uint8 ``(H, W, 3)``, or ``rgb`` itself where chance leaves it alone."""
        raise NotImplementedError


class StainAndLight(Look):
    """Hue and saturation by a colour matrix in optical density, then gain and gamma a channel.

    Both in one: each would have to leave and enter optical density again.
    """

    def __init__(self, stain: float = 1.0, light: float = 1.0) -> None:
        super().__init__(stain)
        self.light = light

    def vary(self, rgb: Rgb, rng: np.random.Generator) -> Rgb:
        """See ``Look``."""
        strength, grey = self.strength, np.full((3, 3), 1 / 3)
        mix = np.eye(3) + rng.normal(0, HUE * strength, (3, 3))
        saturation = float(np.exp(rng.normal(0, SATURATION * strength)))
        mix = (saturation * np.eye(3) + (1 - saturation) * grey) @ mix
        mix = mix * float(np.exp(rng.normal(0, DEPTH * strength)))
        stained = cv2.transform(_DENSITY[rgb], mix.astype(np.float32))
        gain = np.exp(rng.normal(0, 0.06 * self.light, 3) + rng.normal(0, 0.08 * self.light))
        gamma = float(np.exp(rng.normal(0, 0.15 * self.light)))
        out = 255 * (np.exp(-np.clip(stained, 0, 8)) * gain) ** gamma
        return np.asarray(np.clip(out, 0, 255).astype(np.uint8))


class Focus(Look):
    """Out of focus, or sharpened as scanners do it."""

    def vary(self, rgb: Rgb, rng: np.random.Generator) -> Rgb:
        """See ``Look``."""
        if rng.random() < 0.35 * self.strength:
            return np.asarray(cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.4, 1.4))), np.uint8)
        if rng.random() < 0.3 * self.strength:
            soft = cv2.GaussianBlur(rgb, (0, 0), 1.0)
            much = float(rng.uniform(0.3, 1.2))
            return np.asarray(cv2.addWeighted(rgb, 1 + much, soft, -much, 0), np.uint8)
        return rgb


class Noise(Look):
    """Noise of the camera, up to six grey levels."""

    def vary(self, rgb: Rgb, rng: np.random.Generator) -> Rgb:
        """See ``Look``."""
        if rng.random() >= 0.25 * self.strength:
            return rgb
        noise = rng.normal(0, rng.uniform(1, 6), rgb.shape).astype(np.float32)
        return np.asarray(np.clip(rgb + noise, 0, 255).astype(np.uint8))


class Jpeg(Look):
    """Traces of JPEG at a quality of 40 to 94."""

    def vary(self, rgb: Rgb, rng: np.random.Generator) -> Rgb:
        """See ``Look``."""
        if rng.random() >= 0.3 * self.strength:
            return rgb
        _, coded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def looks(strengths: Augmentation) -> list[Look]:
    """The variations of these strengths, in the order in which light, lens, sensor and file cause them."""
    made: list[Look] = []
    if strengths.stain or strengths.light:
        made.append(StainAndLight(strengths.stain, strengths.light))
    made += [Focus(strengths.blur), Noise(strengths.noise), Jpeg(strengths.jpeg)]
    return [look for look in made if look.strength or isinstance(look, StainAndLight)]


def vary_look(rgb: Rgb, rng: np.random.Generator, all_looks: Sequence[Look]) -> Rgb:
    """A copy of ``rgb`` uint8 ``(H, W, 3)`` as another microscope, stain or camera might have given it."""
    out = rgb
    for look in all_looks:
        out = look.vary(out, rng)
    return np.ascontiguousarray(out)
