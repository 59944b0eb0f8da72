"""What a run will do: how a scene is cut into blocks, which are asked for, and which are left out.

Block ``(i, j)`` owns the core ``[i * core, (i + 1) * core) × [j * core, (j + 1) * core)`` of the m frame,
anchored at the scene's (0, 0) and not at a region: a region's run gives the same cells as the whole
slide's. Its index is ``j * columns + i``. Its tile is the core grown by the margin.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cmlcore.cells import analysed_area_px, roi_shape
from cmlcore.cells.rois import Polygon
from cmlcore.errors import InputError, MppUnknownError
from cmlcore.geometry import Mpp, Region, Size
from cmlcore.segmentation.foreground import foreground
from cmlcore.segmentation.frame import Frame
from cmlcore.slides.base import SlideReader
from models.base import TileGrid

MAX_TILE = 4096  # model pixels; a cut that would need more keeps its cells as they are
_FEW_BLOCKS = 9  # fewer than this are not worth, nor enough, to look for empty ones
_COVER_SLACK = 2  # model pixels


class SegmentSettings(BaseModel):
    """How to segment; the same settings on the same slide give the same cells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_score: float = Field(0.3, ge=0, le=1, description="cells below are left out, or unidentified")
    unidentified_score: float | None = Field(
        None, ge=0, le=1, description="cells below min_score are kept from here, without a name; None: none"
    )
    margin_px: int | None = Field(
        None, ge=0, le=1024, description="overlap in model pixels; None: the model's"
    )
    tile_px: int | None = Field(
        None, ge=32, le=MAX_TILE, description="tile side in model pixels; None: the model's"
    )
    skip_empty: bool = Field(True, description="leave out blocks that show only glass")
    batch: int | None = Field(
        None, ge=1, le=256, description="tiles a call of the network; None: by the device"
    )

    @property
    def unnamed_below(self) -> float | None:
        """Score below which a cell has no name; None where every cell that is kept has one."""
        floor = self.unidentified_score
        return self.min_score if floor is not None and floor < self.min_score else None

    @property
    def least_score(self) -> float:
        """Score below which a cell is left out."""
        floor = self.unidentified_score
        return self.min_score if floor is None else min(self.min_score, floor)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's cut. ``blocks`` are the indices to work, ascending."""

    scene: int
    size_l0: tuple[int, int]
    mpp: tuple[float, float]
    model_mpp: float
    tile: int
    margin: int
    align: int
    columns: int
    rows: int
    blocks: tuple[int, ...]
    skipped_empty: int  # show only glass
    skipped_uncovered: int  # hold no image data
    area_mm2: float  # of the scene, or of the part of the regions that lies in it
    rois_l0: tuple[tuple[tuple[float, float], ...], ...] | None = None

    @property
    def frame(self) -> Frame:
        """The scene's m frame."""
        return Frame(Size(*self.size_l0), Mpp(*self.mpp), self.model_mpp)

    @property
    def grid(self) -> TileGrid:
        """The cut in force."""
        return TileGrid(self.tile, self.margin, self.align)

    def core_m(self, index: int) -> Region:
        """The part of the m frame that block ``index`` owns."""
        core = self.tile - 2 * self.margin
        return Region(index % self.columns * core, index // self.columns * core, core, core)

    def to_json(self) -> str:
        """The plan as JSON text; the same plan gives the same text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Plan:
        """The plan that ``to_json`` wrote."""
        d = json.loads(text)
        rois = d["rois_l0"]
        return Plan(
            **d
            | {
                "size_l0": tuple(d["size_l0"]),
                "mpp": tuple(d["mpp"]),
                "blocks": tuple(d["blocks"]),
                "rois_l0": None if rois is None else tuple(tuple(tuple(v) for v in p) for p in rois),
            }
        )


def cut(grid: TileGrid, settings: SegmentSettings) -> TileGrid:
    """The model's grid with the user's tile and margin, rounded up to what the network allows.

    The margin keeps its remainder by ``align``: every pixel then meets the strides and attention windows
    that it meets under the model's own grid.
    """
    margin = grid.margin if settings.margin_px is None else with_phase(grid, settings.margin_px)
    wanted = grid.tile if settings.tile_px is None else settings.tile_px
    if settings.tile_px is None and settings.margin_px is None:
        return grid
    core = max(grid.align, -(-(wanted - 2 * margin) // grid.align) * grid.align)
    return TileGrid(core + 2 * margin, margin, grid.align)


def with_phase(grid: TileGrid, margin: int) -> int:
    """The smallest margin of at least ``margin`` pixels that leaves the tiles' phase as it is."""
    return margin + (grid.margin - margin) % grid.align


def plan_run(
    reader: SlideReader,
    scene: int,
    rois_l0: Sequence[Polygon] | None,
    mpp: Mpp | None,
    model_mpp: float,
    grid: TileGrid,
    settings: SegmentSettings,
) -> Plan:
    """Cut a scene into blocks and choose those that are worth a look. Needs no network.

    Args:
        reader: the open slide.
        scene: index of the scene.
        rois_l0: polygons in level-0 pixels of the scene; None for all of it.
        mpp: of the slide at level 0, as the file or the user says.
        model_mpp: µm per pixel that the network wants.
        grid: the network's own tiling.
        settings: the user's wishes.

    Raises:
        MppUnknownError: mpp is None.
        InputError: there is no such scene, it cannot be segmented, or a region lies outside it.

    """
    info = reader.info
    if not 0 <= scene < len(info.scenes):
        raise InputError(f"The slide has no scene {scene}; it has {len(info.scenes)}.")
    if info.kind != "brightfield":
        raise InputError(f"This is a {info.kind} image; only stained brightfield slides can be segmented.")
    if mpp is None:
        raise MppUnknownError("The slide does not say its pixel size; enter the µm per pixel.")
    size = info.scenes[scene].size
    g = cut(grid, settings)
    frame = Frame(size, mpp, model_mpp)
    columns, rows = -(-frame.size_m.w // g.core), -(-frame.size_m.h // g.core)
    area_px = analysed_area_px(size, rois_l0)
    if area_px <= 0:
        raise InputError("The region lies outside the slide; draw it on the image.")
    plan = Plan(
        scene=scene,
        size_l0=(size.w, size.h),
        mpp=(mpp.x, mpp.y),
        model_mpp=model_mpp,
        tile=g.tile,
        margin=g.margin,
        align=g.align,
        columns=columns,
        rows=rows,
        blocks=(),
        skipped_empty=0,
        skipped_uncovered=0,
        area_mm2=area_px * mpp.um2_per_px / 1e6,
        rois_l0=None
        if rois_l0 is None
        else tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in rois_l0),
    )
    asked = _meets_rois(plan)
    covered = asked & _covered(plan, reader)
    full = covered
    if settings.skip_empty and covered.sum() >= _FEW_BLOCKS:
        full = covered & _not_empty(plan, reader, covered)
    return replace(
        plan,
        blocks=tuple(int(i) for i in np.flatnonzero(full)),
        skipped_uncovered=int(asked.sum() - covered.sum()),
        skipped_empty=int(covered.sum() - full.sum()),
    )


def _meets_rois(plan: Plan) -> NDArray[np.bool_]:
    """Blocks near enough to a region to own a cell whose centroid lies in it. Shape ``(rows, columns)``."""
    if plan.rois_l0 is None:
        return np.ones((plan.rows, plan.columns), dtype=bool)
    # A cell's anchor and its centroid may lie on two sides of a block's edge, half a margin apart at most.
    reach = max(plan.margin / 2, 1)
    lx, ly = plan.frame.l0_from_m
    core = plan.grid.core
    i, j = np.meshgrid(np.arange(plan.columns), np.arange(plan.rows))
    x, y = (i * core - reach) * lx, (j * core - reach) * ly
    side = core + 2 * reach
    boxes = shapely.box(x, y, x + side * lx, y + side * ly)
    shape = roi_shape(plan.rois_l0)
    shapely.prepare(shape)
    return np.asarray(shapely.intersects(shape, boxes), dtype=bool)


def _covered(plan: Plan, reader: SlideReader) -> NDArray[np.bool_]:
    """Blocks that hold image data."""
    out = np.zeros((plan.rows, plan.columns), dtype=bool)
    sx, sy = plan.frame.m_from_l0
    core = plan.grid.core
    for r in reader.covered(plan.scene):
        if r.w <= 0 or r.h <= 0:
            continue
        i0, i1 = (r.x * sx - _COVER_SLACK) // core, (r.x1 * sx + _COVER_SLACK) // core
        j0, j1 = (r.y * sy - _COVER_SLACK) // core, (r.y1 * sy + _COVER_SLACK) // core
        out[max(0, int(j0)) : int(j1) + 1, max(0, int(i0)) : int(i1) + 1] = True
    return out


def _not_empty(plan: Plan, reader: SlideReader, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Blocks whose core, or a neighbour's, shows any foreground; looks around the blocks asked for only."""
    lx, ly = plan.frame.l0_from_m
    core = plan.grid.core
    j, i = np.nonzero(asked)
    x0, y0 = math.floor((i.min() - 1) * core * lx), math.floor((j.min() - 1) * core * ly)
    x1, y1 = math.ceil((i.max() + 2) * core * lx), math.ceil((j.max() + 2) * core * ly)
    view = Region(x0, y0, x1 - x0, y1 - y0).clipped(Region(0, 0, *plan.size_l0))
    seen = foreground(reader, plan.scene, view, Mpp(*plan.mpp))
    if seen is None:
        return np.ones_like(asked)
    total = np.zeros((seen.mask.shape[0] + 1, seen.mask.shape[1] + 1), dtype=np.int64)
    total[1:, 1:] = seen.mask.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    left, right = _spans(plan.columns, core * lx, seen.x_l0, seen.downsample, seen.mask.shape[1])
    top, bottom = _spans(plan.rows, core * ly, seen.y_l0, seen.downsample, seen.mask.shape[0])
    inside = total[np.ix_(bottom, right)] - total[np.ix_(top, right)]
    inside += total[np.ix_(top, left)] - total[np.ix_(bottom, left)]
    padded = np.pad(inside > 0, 1)
    out = np.zeros_like(asked)
    for dj in range(3):
        for di in range(3):
            out |= padded[dj : dj + plan.rows, di : di + plan.columns]
    return out


def _spans(
    count: int, core_l0: float, start_l0: int, downsample: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and past-last mask pixel of each block along one axis."""
    edge = (np.arange(count + 1) * core_l0 - start_l0) / downsample
    low, high = np.floor(edge[:-1]), np.ceil(edge[1:])
    return np.clip(low, 0, length).astype(np.int64), np.clip(high, 0, length).astype(np.int64)
