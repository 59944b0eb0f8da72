"""Where the cells of each class lie: a density grid over the scene, for the heatmaps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmlcore.cells import CellTable, Filters
from cmlcore.geometry import Mpp, Size

_PIXELS = 40  # squares along the longer side, where the caller does not say


@dataclass(frozen=True, slots=True)
class DensityGrid:
    """Cells per mm² and class in squares of ``step_l0`` pixels, rows from the top."""

    step_l0: float
    per_mm2: dict[str, NDArray[np.float64]]  # (rows, columns) each

    def peak(self) -> float:
        """The largest density of any class, 0 where there is no cell: two runs share one scale by it."""
        return max((float(g.max(initial=0.0)) for g in self.per_mm2.values()), default=0.0)


def density_grid(
    cells: CellTable, size_l0: Size, mpp: Mpp, filters: Filters | None = None, squares: int = _PIXELS
) -> DensityGrid:
    """Count cells by the square that holds their centroid, and divide by the square's area in the scene.

    Args:
        cells: the run's cells.
        size_l0: of the scene; squares at its right and lower edge are cut by it.
        mpp: of the slide at level 0.
        filters: which cells count.
        squares: along the longer side of the scene.

    """
    step = max(size_l0.w, size_l0.h) / squares
    columns, rows = (max(1, math.ceil(side / step - 1e-9)) for side in (size_l0.w, size_l0.h))
    widths = np.minimum(np.arange(1, columns + 1) * step, size_l0.w) - np.arange(columns) * step
    heights = np.minimum(np.arange(1, rows + 1) * step, size_l0.h) - np.arange(rows) * step
    area_mm2 = heights[:, None] * widths[None, :] * mpp.um2_per_px / 1e6
    out = {}
    for cls, found in cells.grid_counts(step, filters).items():
        counts = np.zeros((rows, columns))
        # An outline may lean over the scene's edge, and its centroid with it.
        x, y = np.clip(found[:, 0], 0, columns - 1), np.clip(found[:, 1], 0, rows - 1)
        np.add.at(counts, (y, x), found[:, 2])
        out[cls] = counts / area_mm2
    return DensityGrid(step, out)
