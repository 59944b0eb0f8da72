"""The m frame: a scene's pixels at the model's resolution, each a function of its own place alone.

The frame is anchored at the scene's (0, 0), so ``x_m = x_l0 * mpp_l0 / model_mpp``. Pixel k of the frame
is the bilinear value at its centre k + 0.5, looked up in the coarsest power-of-two reduction that is at
least as fine as the frame; where that is finer by a good part, it is the mean of four such values, lest
fine texture turns into noise. Whichever tile asks for a pixel, it gets the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.geometry import Mpp, Region, Size
from cmlcore.slides.base import SlideReader

_BITS = 5  # cv2.remap interpolates in steps of 1/32 pixel; places are rounded to them beforehand
_EXACT = 1e-6
_COARSER = 1.2  # source pixels per frame pixel from which four values are averaged


@dataclass(frozen=True, slots=True)
class Frame:
    """The m frame of one scene."""

    size_l0: Size
    mpp: Mpp
    model_mpp: float

    @property
    def m_from_l0(self) -> tuple[float, float]:
        """Model pixels per level-0 pixel, along x and y."""
        return self.mpp.x / self.model_mpp, self.mpp.y / self.model_mpp

    @property
    def l0_from_m(self) -> tuple[float, float]:
        """Level-0 pixels per model pixel, along x and y."""
        return self.model_mpp / self.mpp.x, self.model_mpp / self.mpp.y

    @property
    def size_m(self) -> Size:
        """The scene's size in whole model pixels, the last one possibly cut."""
        sx, sy = self.m_from_l0
        w, h = math.ceil(self.size_l0.w * sx - _EXACT), math.ceil(self.size_l0.h * sy - _EXACT)
        return Size(max(1, w), max(1, h))

    @property
    def downsample(self) -> int:
        """The largest power of two whose reduction is still at least as fine as the frame, 1 at least."""
        finest = max(self.mpp.x, self.mpp.y)
        return 1 << max(0, math.floor(math.log2(self.model_mpp / finest) + _EXACT))


def read_m(reader: SlideReader, scene: int, frame: Frame, region_m: Region) -> NDArray[np.uint8]:
    """Read a region of the m frame.

    Args:
        reader: an open slide.
        scene: index of the scene.
        frame: that scene's frame.
        region_m: in model pixels; may reach beyond the scene.

    Returns:
        uint8 ``(h, w, 3)`` RGB, C-contiguous; white beyond the scene.

    """
    d = frame.downsample
    lx, ly = frame.l0_from_m
    fine = 2 if max(lx, ly) / d > _COARSER else 1
    cols, x0, x1 = _places(region_m.x * fine, region_m.w * fine, lx / d / fine)
    rows, y0, y1 = _places(region_m.y * fine, region_m.h * fine, ly / d / fine)
    source = reader.read(scene, Region(x0 * d, y0 * d, (x1 - x0) * d, (y1 - y0) * d), d)
    mask = (1 << _BITS) - 1
    on_grid = not ((cols & mask).any() or (rows & mask).any())
    if on_grid and source.shape[:2] == (region_m.h + 1, region_m.w + 1):
        return np.ascontiguousarray(source[:-1, :-1])  # the frame is the slide's own grid
    whole = np.empty((len(rows), len(cols), 2), dtype=np.int16)
    whole[..., 0] = (cols >> _BITS)[None, :]
    whole[..., 1] = (rows >> _BITS)[:, None]
    part = (((rows & mask) << _BITS)[:, None] + (cols & mask)[None, :]).astype(np.uint16)
    out = cv2.remap(source, whole, part, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if fine > 1:
        out = cv2.resize(out, (region_m.w, region_m.h), interpolation=cv2.INTER_AREA)
    return np.asarray(out, dtype=np.uint8)


def _places(first_m: int, count: int, step: float) -> tuple[NDArray[np.int64], int, int]:
    """Where ``count`` model pixels lie on the reduced grid, in 1/32 pixels from the first one read.

    The rounding happens on the absolute place, before the origin of the read is taken off: that is what
    makes a pixel independent of its tile. Returns the places, and the half-open range to read.
    """
    centre = (np.arange(first_m, first_m + count, dtype=np.float64) + 0.5) * step - 0.5
    place = np.rint(centre * (1 << _BITS)).astype(np.int64)
    start, stop = int(place[0]) >> _BITS, (int(place[-1]) >> _BITS) + 2
    return place - (start << _BITS), start, stop
