"""Which blocks are empty, seen on a reduced view of the scene. In doubt a block is kept."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.geometry import Mpp, Region
from cmlcore.slides.base import SlideReader

_UM_PER_PIXEL = 1.2  # a thrombocyte of 2.5 µm still covers 2 × 2 pixels
_MAX_PIXELS = 32 << 20  # of the reduced view; a larger scene is reduced further
_SQUARE_L0 = 8192  # side of one decoding call: within its deadline even where nothing but level 0 is stored
_SQUARE_PIXELS = 2048  # and of what it gives back
_SAMPLE_PIXELS = 1 << 20
_LEAST_DISTANCE = 6  # grey levels
_LEAST_GREY = 144
_MOST_TINT = 48  # between the channels of glass, white balance being off
_LEAST_SHARE = 0.02  # of the pixels that a mode must hold to be the background


@dataclass(frozen=True, slots=True)
class Foreground:
    """Which pixels of a reduced view differ from the empty glass."""

    mask: NDArray[np.bool_]
    downsample: int
    x_l0: int  # the view's top left
    y_l0: int


def foreground(reader: SlideReader, scene: int, region_l0: Region, mpp: Mpp) -> Foreground | None:
    """Find what is not empty glass in a region of a scene.

    The glass is the brightest colour that many pixels share; foreground is what lies further from it
    than four times the median distance of the glass itself, after a 3 × 3 median.

    Returns:
        None where the view shows no glass to compare with, so nothing may be called empty.

    """
    d = 1
    while 2 * d * mpp.mean <= _UM_PER_PIXEL or region_l0.w * region_l0.h > _MAX_PIXELS * d * d:
        d *= 2
    x0, y0 = region_l0.x // d * d, region_l0.y // d * d  # readers reduce on this grid
    view = _view(reader, scene, Region(x0, y0, region_l0.x1 - x0, region_l0.y1 - y0), d)
    skip = max(1, int((view.shape[0] * view.shape[1] / _SAMPLE_PIXELS) ** 0.5))
    glass = glass_color(view[::skip, ::skip])
    if glass is None:
        return None
    distance = _distance(view, glass)
    bins = 4 * _LEAST_DISTANCE + 1
    counts = cv2.calcHist([distance], [0], None, [bins], [0, bins]).ravel()
    counts[0] = 0  # never scanned, or filled with the very colour
    spread = int(np.searchsorted(counts.cumsum(), counts.sum() / 2)) if counts.any() else 0
    mask = cv2.medianBlur((distance > max(_LEAST_DISTANCE, 4 * spread)).astype(np.uint8), 3)
    return Foreground(mask.astype(bool), d, x0, y0)


def glass_color(rgb: NDArray[np.uint8]) -> NDArray[np.int16] | None:
    """The brightest mode of the image that holds enough pixels, as RGB; None where there is none.

    Pure white and pure black do not count: they fill what was never scanned. A dark or coloured mode is
    no glass but the cells of a dense field.
    """
    flat = rgb.reshape(-1, 3)
    grey = flat.astype(np.uint16).sum(axis=1) // 3
    real = ~((flat == 255).all(axis=1) | (flat == 0).all(axis=1))
    total = int(real.sum())
    if total == 0:
        return None
    histogram = np.bincount(grey[real], minlength=256).astype(np.float64)
    smooth = np.convolve(histogram, np.ones(5), mode="same")  # share within two grey levels
    modes = [
        g
        for g in range(_LEAST_GREY, 256)
        if smooth[g] >= _LEAST_SHARE * total and smooth[g] >= smooth[max(0, g - 5) : g + 6].max()
    ]
    if not modes:
        return None
    members = real & (np.abs(grey.astype(np.int32) - modes[-1]) <= 2)
    glass = np.median(flat[members], axis=0).astype(np.int16)
    return glass if np.ptp(glass) <= _MOST_TINT else None


def _view(reader: SlideReader, scene: int, region_l0: Region, d: int) -> NDArray[np.uint8]:
    """The region reduced by d, read square by square."""
    w, h = -(-region_l0.w // d), -(-region_l0.h // d)
    out = np.empty((h, w, 3), dtype=np.uint8)
    step = min(max(1, _SQUARE_L0 // d), _SQUARE_PIXELS)
    for y in range(0, h, step):
        for x in range(0, w, step):
            part = out[y : y + step, x : x + step]
            rows, columns = part.shape[:2]
            square = Region(region_l0.x + x * d, region_l0.y + y * d, columns * d, rows * d)
            part[...] = reader.read(scene, square, d)
    return out


def _distance(view: NDArray[np.uint8], glass: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Largest difference of a channel from the glass; 0 where the image was never scanned."""
    out = np.empty(view.shape[:2], dtype=np.uint8)
    for y in range(0, len(view), 512):  # bands bound the 16-bit copy
        band = view[y : y + 512]
        difference = np.abs(band.astype(np.int16) - glass).max(axis=2).astype(np.uint8)
        difference[(band == 255).all(axis=2)] = 0
        out[y : y + 512] = difference
    return out
