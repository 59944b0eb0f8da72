"""What pages ask for: rows of the store and questions to the cell table, cached by run and filters.

A finished run never changes; one at work is asked anew whenever a block more is done, hence ``version``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
import streamlit as st

from cmlcore import explain
from cmlcore.cells import CellTable, Filters, analysed_area_px, roi_shape
from cmlcore.errors import ModelError, MppUnknownError
from cmlcore.explain import Heat
from cmlcore.geometry import Mpp, Size
from cmlcore.jobs import run_dir
from cmlcore.slides.base import Scene
from cmlcore.store import Run, Slide, get_slide
from cmlcore.ui import format as fmt
from cmlcore.ui.selection import CLS, RUN, SCENE, SLIDE
from cmlcore.ui.tables import ClassStats, in_tree_order
from cmlcore.ui.widgets import link
from models.registry import card

Rois = tuple[tuple[tuple[float, float], ...], ...]
Box = tuple[float, float, float, float]
CELLS_PER_BIN = 6  # on average; fewer would show chance, not density
MOST_BINS = 48  # along the longer side


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
    return h.edges.tolist(), {
        k: h.counts[k].tolist() for k in in_tree_order([*h.counts]) if h.counts[k].any()
    }


def frame_of(*runs: Run) -> Box:
    """The smallest rectangle around all that the runs analysed, x0, y0, x1, y1 in level-0 pixels."""
    bounds = np.array([_analysed(r.rois, run_scene(r)).bounds for r in runs])
    return (*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist())


def heat(q: Question, run: Run, frame: Box | None = None) -> Heat:
    """Density over what the run analysed, or over ``frame``: cells of a bin by the area analysed in it.

    Bins of which less than a fifth was analysed are NaN. All classes asked for are summed.
    """
    size = run_scene(run).size
    area, bins = frame or frame_of(run), bins_for(table(ask(run)).count())
    return _heat(q, area, bins, frozen(run.rois), (size.w, size.h), (run.mpp_x, run.mpp_y))


def bins_for(cells: int) -> int:
    """Bins along the longer side of a map of so many cells."""
    return int(np.clip(np.sqrt(cells / CELLS_PER_BIN), 8, MOST_BINS))


@st.cache_data(max_entries=128, show_spinner=False)
def _heat(
    q: Question, frame: Box, bins: int, rois: Rois | None, size: tuple[int, int], mpp: tuple[float, float]
) -> Heat:
    seen = _analysed(rois, Scene(0, Size(*size)))
    return explain.heat(table(q), frame, bins, seen, Mpp(*mpp), q.filters)


def _analysed(rois: Any, scene: Scene) -> shapely.Geometry:
    whole = shapely.box(0, 0, scene.size.w, scene.size.h)
    return whole if rois is None else shapely.intersection(roi_shape(rois), whole)


@st.cache_data(max_entries=128, show_spinner=False)
def by_confidence(q: Question, limit: int = 200, *, falling: bool = True) -> list[dict[str, Any]]:
    """The cells of highest confidence, or of lowest: id, class, score, place and size."""
    columns = ("cell_id", "cls", "score", "x_l0", "y_l0", "area_um2", "circularity")
    found = table(q).arrow(columns, q.filters)
    scores = np.asarray(found["score"])
    order = np.argsort(-scores if falling else scores, kind="stable")[:limit]
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


def model_name(key: str) -> str:
    """Short name of a model, its title up to the colon; its key where it has been taken away since."""
    try:
        return card(key).title.partition(":")[0]
    except ModelError:
        return key


def region_text(run: Run) -> str:
    """What part of the slide the run looks at."""
    if run.rois is None:
        return "whole scene"
    return "1 region" if len(run.rois) == 1 else f"{len(run.rois)} regions"


def run_title(run: Run) -> str:
    """One line that tells a run from its neighbours."""
    return f"{model_name(run.model)} · {region_text(run)} · {fmt.when(run.created_at)}"


def cells_link(run: Run, key: str | None, text: str) -> str:
    """HTML of a number of cells that leads to them in the viewer; ``key`` None: of every class."""
    only = {CLS: key} if key else {}
    return link(text, "viewer", {SLIDE: run.slide_id, SCENE: str(run.scene), RUN: run.id, **only})


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
