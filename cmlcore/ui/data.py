"""What pages ask for: rows of the store and questions to the cell table, cached by run and filters.

A finished run never changes; one at work is asked anew whenever a block more is done, hence ``version``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
import streamlit as st

from cmlcore.cells import CellTable, Filters, analysed_area_px, roi_shape
from cmlcore.errors import ModelError, MppUnknownError
from cmlcore.geometry import Mpp
from cmlcore.jobs import run_dir
from cmlcore.slides.base import Scene
from cmlcore.store import Run, Slide, get_slide
from cmlcore.ui import format as fmt
from cmlcore.ui.charts import Heat
from cmlcore.ui.tables import ClassStats
from models.registry import ModelCard, card

Rois = tuple[tuple[tuple[float, float], ...], ...]
HEAT_BINS = 40  # along the longer side of what was analysed


@dataclass(frozen=True, slots=True)
class Question:
    """One run and which of its cells count: hashable, so answers can be cached."""

    run_id: str
    version: int
    classes: tuple[str, ...] | None = None
    min_score: float = 0.0
    rois_l0: Rois | None = None

    @property
    def filters(self) -> Filters:
        """For the cell table."""
        return Filters.of(self.classes, self.min_score, self.rois_l0)


def ask(run: Run, **filters: Any) -> Question:
    """A question to the state the run is in now."""
    return Question(run.id, run.blocks_done, **filters)


@st.cache_resource(max_entries=16, show_spinner=False)
def _table(run_id: str, version: int) -> CellTable:  # noqa: ARG001
    return CellTable(run_dir(run_id))


def table(q: Question) -> CellTable:
    """The run's cell table.

    Raises:
        RunError: no block is finished yet, or a file is damaged.

    """
    return _table(q.run_id, q.version)


@st.cache_data(max_entries=256, show_spinner=False)
def class_stats(q: Question) -> list[ClassStats]:
    """Counts and means by class, classes without cells included."""
    return [ClassStats(c.cls, c.count, c.mean_score, c.mean_area_um2) for c in table(q).counts(q.filters)]


@st.cache_data(max_entries=256, show_spinner=False)
def histogram(q: Question, measure: str, bins: int = 40) -> tuple[list[float], dict[str, list[int]]]:
    """Bin edges, and cells per bin by class."""
    h = table(q).histogram(measure, bins, q.filters)
    return h.edges.tolist(), {k: v.tolist() for k, v in h.counts.items() if v.any()}


@st.cache_data(max_entries=128, show_spinner=False)
def heat(q: Question, size_px: tuple[int, int], mpp: tuple[float, float], analysed_l0: Rois | None) -> Heat:
    """Density over the scene, NaN in bins that touch nothing analysed.

    Args:
        q: run and filters; all classes asked for are summed.
        size_px: of the scene at level 0.
        mpp: the run's, µm per pixel.
        analysed_l0: the run's regions; None: the whole scene.

    """
    step = max(size_px) / HEAT_BINS
    cols, rows = (max(1, int(np.ceil(s / step))) for s in size_px)
    n = np.zeros((rows, cols))
    for hits in table(q).grid_counts(step, q.filters).values():
        x, y = np.clip(hits[:, 0], 0, cols - 1), np.clip(hits[:, 1], 0, rows - 1)
        np.add.at(n, (y, x), hits[:, 2])
    per_mm2 = n / (step * step * mpp[0] * mpp[1] / 1e6)
    if analysed_l0 is not None:
        per_mm2[~_touched(rows, cols, step, analysed_l0)] = np.nan
    edges_x, edges_y = np.arange(cols + 1) * step, np.arange(rows + 1) * step
    return Heat(per_mm2, edges_x * mpp[0] / 1000, edges_y * mpp[1] / 1000)


def _touched(rows: int, cols: int, step: float, rois_l0: Rois) -> np.ndarray[Any, np.dtype[np.bool_]]:
    x, y = np.meshgrid(np.arange(cols) * step, np.arange(rows) * step)
    return np.asarray(shapely.intersects(roi_shape(rois_l0), shapely.box(x, y, x + step, y + step)))


@st.cache_data(max_entries=128, show_spinner=False)
def strongest(q: Question, limit: int = 200) -> list[dict[str, Any]]:
    """The cells of highest confidence: id, class, score, place and size."""
    columns = ("cell_id", "cls", "score", "x_l0", "y_l0", "area_um2", "circularity")
    found = table(q).arrow(columns, q.filters)
    order = np.argsort(-np.asarray(found["score"]), kind="stable")[:limit]
    return list(found.take(order).to_pylist())


def area_mm2(run: Run, within_l0: Rois | None = None) -> float:
    """Area the run analysed, or the part of it inside ``within_l0``; mm²."""
    scene = run_scene(run)
    if within_l0 is None:
        px = analysed_area_px(scene.size, run.rois)
    else:
        both = (
            roi_shape(within_l0)
            if run.rois is None
            else shapely.intersection(roi_shape(within_l0), roi_shape(run.rois))
        )
        px = float(shapely.intersection(both, shapely.box(0, 0, scene.size.w, scene.size.h)).area)
    return px * run.mpp_x * run.mpp_y / 1e6


def scene_area_mm2(slide: Slide, scene: int, rois: Any) -> float:
    """Area of a scene of a slide, or of the regions in it; mm².

    Raises:
        MppUnknownError: nobody has said how large a pixel is.
        InputError: a region is not a polygon.

    """
    if slide.info is None or slide.mpp is None:
        raise MppUnknownError(
            "The slide does not say how large a pixel is; enter the pixel size in µm first."
        )
    return analysed_area_px(slide.info.scenes[scene].size, rois) * slide.mpp.um2_per_px / 1e6


def run_scene(run: Run) -> Scene:
    """The scene a run looked at."""
    info = get_slide(run.slide_id).info
    if info is None:
        raise RuntimeError("a run exists only of a slide that was checked")
    return info.scenes[run.scene]


def frozen(rois: Any) -> Rois | None:
    """Polygons from JSON as hashable tuples."""
    return None if rois is None else tuple(tuple((float(x), float(y)) for x, y in roi) for roi in rois)


def card_of(run: Run) -> ModelCard | None:
    """The card of the run's model; None where it has been taken away since."""
    try:
        return card(run.model)
    except ModelError:
        return None


def model_name(run: Run) -> str:
    """Short name of the run's model: its title up to the colon."""
    found = card_of(run)
    return found.title.partition(":")[0] if found else run.model


def region_text(run: Run) -> str:
    """What part of the slide the run looks at."""
    if run.rois is None:
        return "whole scene"
    return "1 region" if len(run.rois) == 1 else f"{len(run.rois)} regions"


def run_title(run: Run) -> str:
    """One line that tells a run from its neighbours."""
    return f"{model_name(run)} · {region_text(run)} · {fmt.when(run.created_at)}"


def run_mpp(run: Run) -> Mpp:
    """The pixel size the run used."""
    return Mpp(run.mpp_x, run.mpp_y)


def extent_text(slide: Slide, scene: Scene) -> str:
    """Size of a scene: in mm where the pixel size is known, and in pixels."""
    mpp = slide.mpp
    px = f"{fmt.count(scene.size.w)} × {fmt.count(scene.size.h)}\u202fpx"
    if mpp is None:
        return px
    return f"{fmt.extent(scene.size.w, scene.size.h, (mpp.x, mpp.y))} · {px}"
