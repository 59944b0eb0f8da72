"""An independent CZI reader to hold ours against: aicspylibczi.

It is GPL-3.0-or-later, so the product must not import it; only these tests do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cmlcore.geometry import Region


def read_canvas(path: Path, region: Region, factor: int = 1) -> NDArray[np.uint8]:
    """RGB of a region in canvas pixels, at a stored level; all scenes painted, gaps white."""
    aicspylibczi = pytest.importorskip("aicspylibczi")
    czi = aicspylibczi.CziFile(path)
    box = (region.x, region.y, region.w, region.h)
    bgr = czi.read_mosaic(region=box, scale_factor=1 / factor, C=0, background_color=(1.0, 1.0, 1.0))
    return np.ascontiguousarray(bgr.reshape(bgr.shape[-3:])[..., ::-1])


def bounds(path: Path) -> Region:
    """The canvas that level-0 mosaic tiles span."""
    box = pytest.importorskip("aicspylibczi").CziFile(path).get_mosaic_bounding_box()
    return Region(box.x, box.y, box.w, box.h)
