"""Colour, stain, focus and compression, varied as microscopes, stains and scanners vary them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def vary_look(rgb: NDArray[np.uint8], rng: np.random.Generator, strength: float = 1.0) -> NDArray[np.uint8]:
    """A copy of ``rgb`` uint8 ``(H, W, 3)`` as another microscope, stain or camera might have given it."""
    out: Any = _vary_colour(rgb, rng, strength)
    if rng.random() < 0.35 * strength:
        out = cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.4, 1.4)))
    elif rng.random() < 0.3 * strength:
        soft = cv2.GaussianBlur(out, (0, 0), 1.0)
        out = cv2.addWeighted(out, 1 + (a := float(rng.uniform(0.3, 1.2))), soft, -a, 0)
    if rng.random() < 0.25 * strength:
        noise = rng.normal(0, rng.uniform(1, 6), out.shape).astype(np.float32)
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3 * strength:
        _, coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])
        out = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(out)


def _vary_colour(rgb: NDArray[np.uint8], rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Hue and saturation by a colour matrix in optical density, then gain and gamma a channel."""
    density = (-np.log((np.arange(256, dtype=np.float32) + 1) / 256)).astype(np.float32)
    mix = np.eye(3) + rng.normal(0, 0.07 * strength, (3, 3))
    grey = np.full((3, 3), 1 / 3)
    saturation = float(np.exp(rng.normal(0, 0.25 * strength)))
    mix = (
        (saturation * np.eye(3) + (1 - saturation) * grey)
        @ mix
        * float(np.exp(rng.normal(0, 0.2 * strength)))
    )
    stained = cv2.transform(density[rgb], mix.astype(np.float32))
    light = np.exp(rng.normal(0, 0.06 * strength, 3) + rng.normal(0, 0.08 * strength))
    gamma = float(np.exp(rng.normal(0, 0.15 * strength)))
    out = 255 * (np.exp(-np.clip(stained, 0, 8)) * light) ** gamma
    return np.clip(out, 0, 255).astype(np.uint8)
