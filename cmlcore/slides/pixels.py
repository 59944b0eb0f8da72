"""Pixel arithmetic shared by every reader: exact area means, display mapping, JPEG bytes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

WHITE = 255
GREY, RED, GREEN, BLUE, MAGENTA = (0, 1, 2), (0,), (1,), (2,), (0, 2)
TINTS = {1: (GREY,), 2: (GREEN, MAGENTA), 3: (BLUE, GREEN, RED), 4: (BLUE, GREEN, RED, GREY)}


def white(h: int, w: int) -> NDArray[np.uint8]:
    """A white RGB canvas ``(h, w, 3)``."""
    return np.full((h, w, 3), WHITE, np.uint8)


def mean_down(rgb: NDArray[np.uint8], d: int) -> NDArray[np.uint8]:
    """Area mean over d × d blocks, ``(h, w, 3)`` to ``(ceil(h / d), ceil(w / d), 3)``.

    Blocks cut by the right or bottom edge are averaged over the pixels they have. Rounded to nearest.
    """
    if d == 1:
        return np.ascontiguousarray(rgb)
    h, w = rgb.shape[:2]
    full_h, full_w = h // d, w // d
    out = np.empty((-(-h // d), -(-w // d), 3), np.uint8)
    if full_h and full_w:
        core = rgb[: full_h * d, : full_w * d]
        out[:full_h, :full_w] = cv2.resize(core, (full_w, full_h), interpolation=cv2.INTER_AREA)
    if w % d:
        out[:, full_w:] = _block_mean(rgb[:, full_w * d :], d)
    if h % d:
        out[full_h:] = _block_mean(rgb[full_h * d :], d)
    return out


def _block_mean(strip: NDArray[np.uint8], d: int) -> NDArray[np.uint8]:
    h, w = strip.shape[:2]
    rows, cols = np.arange(0, h, d), np.arange(0, w, d)
    sums = np.add.reduceat(np.add.reduceat(strip.astype(np.uint64), rows, axis=0), cols, axis=1)
    counts = np.outer(np.minimum(rows + d, h) - rows, np.minimum(cols + d, w) - cols)[..., None].astype(
        np.uint64
    )
    mean: NDArray[np.uint8] = ((sums + counts // 2) // counts).astype(np.uint8)
    return mean


def stretch(grey: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Map ``low..high`` linearly to 0..255, clipped; any numeric dtype, any shape."""
    scale = 255.0 / max(high - low, 1e-9)
    mapped: NDArray[np.uint8] = np.clip((grey.astype(np.float32) - low) * scale + 0.5, 0, 255).astype(
        np.uint8
    )
    return mapped


def tint(channels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """One to four grey channels ``(h, w)`` in display colours, added: RGB. All white stays white."""
    total = np.zeros((*channels[0].shape, 3), np.uint16)
    for grey, on in zip(channels, TINTS[len(channels)], strict=True):
        for c in on:
            total[..., c] += grey
    return np.minimum(total, WHITE).astype(np.uint8)


def on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite straight-alpha RGBA ``(h, w, 4)`` on white, giving RGB ``(h, w, 3)``."""
    alpha = rgba[..., 3:]
    if alpha.min() == WHITE:
        return np.ascontiguousarray(rgba[..., :3])
    a = alpha.astype(np.uint16)
    mixed: NDArray[np.uint8] = ((rgba[..., :3] * a + WHITE * (WHITE - a) + 127) // WHITE).astype(np.uint8)
    return mixed


def jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """Baseline JPEG, 4:2:0, of RGB ``(h, w, 3)``."""
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality=quality, colorspace="RGB")
    return data
