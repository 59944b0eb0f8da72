"""Where the cells lie: their density over a frame of the scene, for the heatmaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from cmlcore.cells import CellTable, Filters
from cmlcore.geometry import Mpp

ENOUGH = 0.2
"""Of a bin, so much must have been analysed for its density to mean something."""


@dataclass(frozen=True, slots=True)
class Heat:
    """Density of cells over a scene.

    ``per_mm2`` is float ``(rows, columns)`` in cells per mm², row 0 at the top; NaN where nothing was
    analysed. ``x_mm`` ``(columns + 1,)`` and ``y_mm`` ``(rows + 1,)`` are the edges of the bins from
    the scene's top left.
    """

    per_mm2: NDArray[np.float64]
    x_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]

    @property
    def peak(self) -> float:
        """Largest density, 0 where there is none."""
        finite = self.per_mm2[np.isfinite(self.per_mm2)]
        return float(finite.max()) if finite.size else 0.0

    @property
    def centres_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centres of the columns and of the rows, in mm."""
        return (self.x_mm[:-1] + self.x_mm[1:]) / 2, (self.y_mm[:-1] + self.y_mm[1:]) / 2


def heat(
    cells: CellTable,
    frame_l0: tuple[float, float, float, float],
    bins: int,
    analysed_l0: shapely.Geometry,
    mpp: Mpp,
    filters: Filters | None = None,
) -> Heat:
    """Cells by the bin that holds their centroid, divided by the area analysed in it.

    Args:
        cells: the run's cells; all classes that pass the filters are summed.
        frame_l0: x0, y0, x1, y1 of the map in level-0 pixels; a centroid that leans over it counts at its
            edge.
        bins: along the longer side; they are as square as the frame allows.
        analysed_l0: what was looked at, in level-0 pixels.
        mpp: of the slide at level 0.
        filters: which cells count.

    """
    x0, y0, x1, y1 = frame_l0
    step = max(x1 - x0, y1 - y0) / bins
    x_l0 = np.linspace(x0, x1, max(1, round((x1 - x0) / step)) + 1)
    y_l0 = np.linspace(y0, y1, max(1, round((y1 - y0) / step)) + 1)
    n = np.zeros((len(y_l0) - 1, len(x_l0) - 1))
    for batch in cells.batches(("x_l0", "y_l0"), filters):
        x, y = np.clip(np.asarray(batch["x_l0"]), x0, x1), np.clip(np.asarray(batch["y_l0"]), y0, y1)
        n += np.histogram2d(y, x, bins=(y_l0, x_l0))[0]
    left, top = np.meshgrid(x_l0[:-1], y_l0[:-1])
    right, bottom = np.meshgrid(x_l0[1:], y_l0[1:])
    area = shapely.area(shapely.intersection(analysed_l0, shapely.box(left, top, right, bottom)))
    enough = area > (right - left) * (bottom - top) * ENOUGH
    per_mm2 = np.where(enough, n / np.where(enough, area * mpp.um2_per_px / 1e6, 1), np.nan)
    return Heat(per_mm2, x_l0 * mpp.x / 1000, y_l0 * mpp.y / 1000)
