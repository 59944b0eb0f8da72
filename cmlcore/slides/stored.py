"""Readers over stored resolution levels: one place for white borders, area means and bounded memory."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError
from cmlcore.geometry import Region, Size
from cmlcore.slides.base import SlideReader
from cmlcore.slides.pixels import mean_down, white

MAX_OUTPUT_PX = 64 << 20  # of one read; larger answers would not fit beside a model
BAND_SIDE = 4096  # stored pixels a side decoded at once
MAX_DOWNSAMPLE = BAND_SIDE
MAX_SIDE = 400_000  # of a scene at level 0; at 0.1 µm/px already longer than a slide is wide
LEVEL_TOLERANCE = 1.5  # pixels by which a level may differ from level 0 over a power of two
OVERVIEW_PX = 16 << 20
DARK = 64  # white light fills every channel beyond it in at least a tenth of a bright field
GREY_SPREAD = 2  # between channels of a grey picture kept as RGB
REGION_LIMIT = 1 << 30  # beyond it, coordinates would overflow the native readers' 32 bits


def check_request(region_l0: Region, downsample: int) -> None:
    """Raise InputError unless the region is sane and the downsample a power of two."""
    if downsample < 1 or downsample & (downsample - 1) or downsample > MAX_DOWNSAMPLE:
        raise InputError(f"A downsample of {downsample} is not a power of two up to {MAX_DOWNSAMPLE}.")
    r = region_l0
    if r.w < 1 or r.h < 1 or max(abs(r.x), abs(r.y), abs(r.x1), abs(r.y1)) > REGION_LIMIT:
        raise InputError(f"A region of {r.w} × {r.h} pixels at ({r.x}, {r.y}) cannot be read.")
    if -(-r.w // downsample) * -(-r.h // downsample) > MAX_OUTPUT_PX:
        raise InputError(
            "The region is too large to read at once; read it in parts or at a lower resolution."
        )


def iso_date(text: str) -> str | None:
    """The date in a scanner's time stamp, ISO 8601; None where there is none."""
    if found := re.match(r"\s*(\d{4})[-:/.]?(\d{2})[-:/.]?(\d{2})", text):
        return f"{found[1]}-{found[2]}-{found[3]}"
    if found := re.match(r"\s*(\d{2})/(\d{2})/(\d{2})\b", text):  # Aperio: month, day, year
        return f"20{found[3]}-{found[1]}-{found[2]}"
    return None


def power_levels(sizes: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Index of the stored level of each power-of-two factor, from ``(w, h)`` a level, level 0 first.

    Levels at other ratios are not used.
    """
    (w0, h0), levels = sizes[0], {1: 0}
    for index, (w, h) in enumerate(sizes[1:], 1):
        f = 1 << max(0, round(math.log2(max(w0, h0) / max(w, h))))
        if f > max(levels) and max(abs(w - w0 / f), abs(h - h0 / f)) <= LEVEL_TOLERANCE:
            levels[f] = index
    return levels


def scaled(r: Region, factor: int) -> Region:
    """The region in pixels of a level stored at 1/factor; partial pixels on its edges are included."""
    x, y = r.x // factor, r.y // factor
    return Region(x, y, -(-r.x1 // factor) - x, -(-r.y1 // factor) - y)


class StoredReader(SlideReader):
    """A reader whose backend stores level 0 and, perhaps, coarser levels.

    A backend gives ``factors`` and ``read_level``; this class chooses the level, reads in bands of at most
    ``BAND_SIDE`` stored pixels a side, takes means, and leaves white what the scene does not hold.
    """

    def __init__(self) -> None:
        self.tick: Callable[[], None] = lambda: None  # called after each band: a sign of life

    @abstractmethod
    def factors(self, scene: int) -> tuple[int, ...]:
        """Downsamples of the stored levels: powers of two, ascending from 1."""

    @abstractmethod
    def read_level(self, scene: int, factor: int, stored: Region) -> NDArray[np.uint8]:
        """RGB of a region in pixels of one stored level, wholly inside the level; gaps are white."""

    def covered(self, scene: int) -> list[Region]:
        """The whole scene, for formats without a directory of their parts."""
        size = self.scene_size(scene)
        return [Region(0, 0, size.w, size.h)]

    def touches(self, scene: int, region_l0: Region) -> bool:  # noqa: ARG002  for backends that know more
        """Whether a region inside the scene may hold image data."""
        return True

    def scene_size(self, scene: int) -> Size:
        """Size of a scene at level 0; InputError if the slide has no such scene."""
        if not 0 <= scene < len(self.info.scenes):
            raise InputError(f"The slide has no scene {scene}; its last is {len(self.info.scenes) - 1}.")
        return self.info.scenes[scene].size

    def kind_seen(self) -> str:
        """Kind of an 8-bit RGB slide, told from the coarsest level of scene 0 (the middle of a large one)."""
        size, factor = self.scene_size(0), self.factors(0)[-1]
        level = scaled(Region(0, 0, size.w, size.h), factor)
        if level.w * level.h > OVERVIEW_PX:
            level = Region(level.w // 2 - 512, level.h // 2 - 512, 1024, 1024).clipped(level)
        rgb = self.read_level(0, factor, level)
        brightest, darkest = rgb.max(axis=2), rgb.min(axis=2)
        if np.percentile(darkest, 90) < DARK:
            return "fluorescence"
        return "grey" if int((brightest - darkest).max()) <= GREY_SPREAD else "brightfield"

    def level_for(self, scene: int, region_l0: Region, downsample: int) -> int:
        """The coarsest stored factor that divides the downsample and the region's origin."""
        x, y = region_l0.x, region_l0.y
        return max(f for f in self.factors(scene) if f <= downsample and x % f == 0 and y % f == 0)

    def read(self, scene: int, region_l0: Region, downsample: int = 1) -> NDArray[np.uint8]:
        """See ``SlideReader.read``; a region not aligned to a stored level is read from a finer one."""
        size = self.scene_size(scene)
        check_request(region_l0, downsample)
        s = self.level_for(scene, region_l0, downsample)
        mean = downsample // s
        r, level = scaled(region_l0, s), scaled(Region(0, 0, size.w, size.h), s)
        out = white(-(-region_l0.h // downsample), -(-region_l0.w // downsample))
        for band in _bands(r, level, max(1, BAND_SIDE // mean) * mean):
            inside = band.clipped(level)
            if not self.touches(scene, Region(inside.x * s, inside.y * s, inside.w * s, inside.h * s)):
                continue
            pixels = self.read_level(scene, s, inside)
            if inside != band:
                framed = white(band.h, band.w)
                framed[inside.y - band.y : inside.y1 - band.y, inside.x - band.x : inside.x1 - band.x] = (
                    pixels
                )
                pixels = framed
            pixels = mean_down(pixels, mean)
            oy, ox = (band.y - r.y) // mean, (band.x - r.x) // mean
            out[oy : oy + pixels.shape[0], ox : ox + pixels.shape[1]] = pixels
            self.tick()
        return out


def _bands(r: Region, level: Region, step: int) -> Iterator[Region]:
    """Cut ``r`` from its own origin into squares of ``step`` pixels; yield those that meet ``level``."""
    seen = r.clipped(level)
    if not seen.w or not seen.h:
        return
    for y in range(r.y + (seen.y - r.y) // step * step, seen.y1, step):
        for x in range(r.x + (seen.x - r.x) // step * step, seen.x1, step):
            yield Region(x, y, min(step, r.x1 - x), min(step, r.y1 - y))
