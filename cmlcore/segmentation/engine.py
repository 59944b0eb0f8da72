"""The engine: read ahead of the device, predict in batches, keep what each block owns, measure it.

Two threads beside the caller's: one reads a few tiles ahead, one measures the blocks before while the
network works on the next. At most a few batches are held, however many cells the slide has.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cmlcore.errors import RunCancelledError
from cmlcore.geometry import Region, Size
from cmlcore.segmentation.frame import read_m
from cmlcore.segmentation.measure import cell_rows
from cmlcore.segmentation.plan import MAX_TILE, Plan, SegmentSettings, with_phase
from cmlcore.slides.base import SlideReader
from models.base import CellModel, Instances
from models.cut_cells import continued

_CUT_WITHIN = 1.5  # model pixels: an outline this near to the tile's edge may be cut by it
_DEVICE_BATCH = 8
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class BlockResult:
    """The cells that one block owns, and what it took."""

    index: int
    table: pa.Table  # CELL_SCHEMA
    times: dict[str, float]  # seconds by stage: read, network (and the model's own stages), measure
    recuts: int = 0  # how often the block was cut anew with a larger margin
    cut_cells: int = 0  # cells still cut by the largest margin allowed


@dataclass(slots=True)
class _Tile:
    index: int
    region_m: Region
    rgb: NDArray[np.uint8]
    times: dict[str, float] = field(default_factory=dict)
    found: Instances | None = None
    recuts: int = 0
    cut_cells: int = 0


def segment_blocks(
    reader: SlideReader,
    plan: Plan,
    indices: Sequence[int],
    model: CellModel,
    settings: SegmentSettings,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[BlockResult]:
    """Segment blocks of a plan, in the order of ``indices``.

    Args:
        reader: the open slide; used from two threads.
        plan: the run's cut, made for this model's mpp and grid.
        indices: blocks to work, any part of ``plan.blocks``.
        model: a loaded network.
        settings: the run's settings.
        cancelled: asked between tiles.

    Yields:
        One result a block. The same block gives the same bytes whatever else is asked for with it.

    Raises:
        RunCancelledError: ``cancelled`` said so.
        SlideError: a tile cannot be read.

    """
    batch = settings.batch or default_batch(model)
    reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read")
    measuring = ThreadPoolExecutor(max_workers=1, thread_name_prefix="measure")
    tiles = _ahead(reading, lambda index: _read(reader, plan, index), indices, 2 * batch, cancelled)
    waiting: list[Future[BlockResult]] = []
    try:
        while group := list(islice(tiles, batch)):
            _predict(model, group, plan.frame.size_m, batch, settings.least_score)
            for tile in group:
                _raise_if(cancelled)
                _recut(reader, plan, model, settings.least_score, tile)
            ready = waiting
            facts = (plan, model.classes, settings.unnamed_below)
            waiting = [measuring.submit(_measure, tile, *facts) for tile in group]
            yield from (f.result() for f in ready)
        yield from (f.result() for f in waiting)
    finally:
        reading.shutdown(wait=True, cancel_futures=True)
        measuring.shutdown(wait=True, cancel_futures=True)


def default_batch(model: CellModel) -> int:
    """Tiles a call: one on a CPU, where more gain nothing and delay a cancel; more on a GPU."""
    return 1 if model.device.upper().startswith("CPU") else _DEVICE_BATCH


def tile_region(plan: Plan, index: int, margin: int | None = None) -> Region:
    """Where a block's tile lies in the m frame, for the plan's margin or a larger one."""
    return plan.core_m(index).grown(plan.margin if margin is None else margin)


# -- reading ------------------------------------------------------------------------------------------


def _read(reader: SlideReader, plan: Plan, index: int) -> _Tile:
    start = time.perf_counter()
    region = tile_region(plan, index)
    rgb = read_m(reader, plan.scene, plan.frame, region)
    return _Tile(index, region, rgb, {"read": time.perf_counter() - start})


def _ahead(
    pool: ThreadPoolExecutor,
    read: Callable[[int], _Tile],
    indices: Iterable[int],
    depth: int,
    cancelled: Callable[[], bool],
) -> Iterator[_Tile]:
    """Tiles in order, ``depth`` of them read or being read before they are asked for."""
    todo = iter(indices)
    under_way = deque(pool.submit(read, index) for index in islice(todo, depth))
    while under_way:
        _raise_if(cancelled)
        if not wait([under_way[0]], timeout=_POLL_S).done:
            continue
        tile = under_way.popleft().result()
        under_way.extend(pool.submit(read, index) for index in islice(todo, 1))
        yield tile


def _raise_if(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise RunCancelledError("The run was cancelled; its finished blocks are kept.")


# -- the network ----------------------------------------------------------------------------------------


def _predict(model: CellModel, group: list[_Tile], scene: Size, batch: int, min_score: float) -> None:
    """Predict a group; a short one is filled up, for a device may compute other sizes in other ways."""
    start = time.perf_counter()
    images = np.full((batch, 3, *group[0].rgb.shape[:2]), 255, dtype=np.uint8)
    for image, tile in zip(images, group, strict=False):
        image[...] = tile.rgb.transpose(2, 0, 1)
    found = model.predict(images, min_score)[: len(group)]
    times = _network_times(model, time.perf_counter() - start)
    for tile, instances in zip(group, found, strict=True):
        tile.found = continued(instances, tile.region_m, scene, model.tail)
        for stage, seconds in times.items():
            tile.times[stage] = tile.times.get(stage, 0.0) + seconds / len(group)


def _network_times(model: CellModel, elapsed: float) -> dict[str, float]:
    """The call's time by the model's own stages, where it tells them; the rest is the network's."""
    own = dict(getattr(model, "last_times", None) or {})
    own["network"] = own.get("network", 0.0) + max(0.0, elapsed - sum(own.values()))
    return own


def _recut(reader: SlideReader, plan: Plan, model: CellModel, min_score: float, tile: _Tile) -> None:
    """Cut the block anew, with a margin twice as large, until no cell that reaches its core is cut."""
    margin = plan.margin
    while True:
        cut = int(cut_by_edge(tile, plan).sum())
        larger = with_phase(plan.grid, 2 * max(margin, plan.align))
        side = plan.grid.core + 2 * larger
        if cut == 0 or side > MAX_TILE:
            tile.cut_cells = cut
            return
        margin = larger
        start = time.perf_counter()
        tile.region_m = tile_region(plan, tile.index, margin)
        tile.rgb = read_m(reader, plan.scene, plan.frame, tile.region_m)
        tile.times["read"] += time.perf_counter() - start
        tile.recuts += 1
        _predict(model, [tile], plan.frame.size_m, 1, min_score)


def cut_by_edge(tile: _Tile, plan: Plan) -> NDArray[np.bool_]:
    """Cells that touch an edge of the tile inside the scene, and reach the block's core."""
    assert tile.found is not None  # noqa: S101
    out = np.zeros(len(tile.found), dtype=bool)
    if not len(out):
        return out
    low = np.array([o.min(axis=0) for o in tile.found.outlines])
    high = np.array([o.max(axis=0) for o in tile.found.outlines])
    r, scene = tile.region_m, plan.frame.size_m
    touches = (
        ((low[:, 0] < _CUT_WITHIN) & (r.x > 0))
        | ((low[:, 1] < _CUT_WITHIN) & (r.y > 0))
        | ((high[:, 0] > r.w - _CUT_WITHIN) & (r.x1 < scene.w))
        | ((high[:, 1] > r.h - _CUT_WITHIN) & (r.y1 < scene.h))
    )
    core = plan.core_m(tile.index)
    x0, y0 = core.x - r.x - _CUT_WITHIN, core.y - r.y - _CUT_WITHIN
    x1, y1 = core.x1 - r.x + _CUT_WITHIN, core.y1 - r.y + _CUT_WITHIN
    reaches = (low[:, 0] < x1) & (high[:, 0] > x0) & (low[:, 1] < y1) & (high[:, 1] > y0)
    return np.asarray(touches & reaches, dtype=bool)


# -- ownership and measures -----------------------------------------------------------------------------


def owned(found: Instances, region_m: Region, plan: Plan, block: int) -> NDArray[np.int64]:
    """Indices of the cells whose anchor lies in the block's core; beyond the scene, in the nearest one."""
    core, size = plan.grid.core, plan.frame.size_m
    x_m = np.clip(found.anchors[:, 0].astype(np.float64) + region_m.x, 0, size.w - 1)
    y_m = np.clip(found.anchors[:, 1].astype(np.float64) + region_m.y, 0, size.h - 1)
    owner = (y_m // core).astype(np.int64) * plan.columns + (x_m // core).astype(np.int64)
    return np.flatnonzero(owner == block)


def _measure(tile: _Tile, plan: Plan, classes: Sequence[str], unnamed_below: float | None) -> BlockResult:
    assert tile.found is not None  # noqa: S101
    start = time.perf_counter()
    keep = owned(tile.found, tile.region_m, plan, tile.index)
    table = cell_rows(tile.found, keep, tile.rgb, tile.region_m, plan, tile.index, classes, unnamed_below)
    tile.times["measure"] = time.perf_counter() - start
    return BlockResult(tile.index, table, tile.times, tile.recuts, tile.cut_cells)
