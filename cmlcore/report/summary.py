"""The numbers a finished run is known by: counts, per cent, densities and mean scores by class."""

from __future__ import annotations

from typing import Any

from cmlcore import RESEARCH_USE
from cmlcore.cells import CellTable, Filters
from cmlcore.classes import UNIDENTIFIED


def summary(cells: CellTable, area_mm2: float, filters: Filters | None = None) -> dict[str, Any]:
    """Counts of a run as a JSON-able dict.

    Args:
        cells: the run's cells.
        area_mm2: the analysed area: the scene, or the part of the run's regions that lies in it
            (``Plan.area_mm2``). Glass without cells and gaps of a mosaic count as area.
        filters: which cells; the area must be theirs.

    """
    counts = cells.counts(filters, area_mm2)
    total = sum(c.count for c in counts)
    return {
        "cells": total,
        "unidentified": next((c.count for c in counts if c.cls == UNIDENTIFIED), 0),  # among the cells
        "area_mm2": area_mm2,
        "area_is": "the scene, or the run's regions within it, glass included",
        "density_mm2": total / area_mm2 if area_mm2 > 0 else None,
        "classes": {
            c.cls: {
                "count": c.count,
                "percent": c.percent,
                "density_mm2": c.density_mm2,
                "mean_score": c.mean_score,
                "mean_area_um2": c.mean_area_um2,
            }
            for c in counts
        },
        "research_use": RESEARCH_USE,
    }
