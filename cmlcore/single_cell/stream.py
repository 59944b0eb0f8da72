"""The leukocytes of a run, read from the slide around each and named, at a memory that does not grow.

A chunk of cells is read while the network works on the one before. Cells that lie close are read together;
what a cell's field shows depends on its own place alone, so it is the same however cells are bunched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cmlcore.cells import CellTable, Filters
from cmlcore.classes import descends
from cmlcore.errors import InputError, RunCancelledError
from cmlcore.geometry import Mpp, Region
from cmlcore.single_cell.images import cut_field
from cmlcore.slides.base import SlideReader

if TYPE_CHECKING:
    from cmlcore.single_cell.classify import Answers, CellClassifier

CHUNK = 256  # cells held at once: 37 MiB of pixels at 224 a side
_TOGETHER = 1.5  # pixels read together, relative to the sum of the cells' own, at most


@dataclass(frozen=True, slots=True)
class Named:
    """Some cells of a run and what the classifier says of them.

    Attributes:
        cell_ids: int64 ``(N,)``, as in the run's cell table, ascending over all chunks.
        answers: of these cells, in this order.

    """

    cell_ids: NDArray[np.int64]
    answers: Answers


def leukocyte_classes(table: CellTable) -> tuple[str, ...]:
    """The run's classes that are leukocytes.

    Raises:
        InputError: it has none.

    """
    found = tuple(c for c in table.classes if descends(c, "leukocyte"))
    if not found:
        raise InputError("The run names no leukocytes; choose a run of a model that knows them.")
    return found


def name_cells(
    reader: SlideReader,
    scene: int,
    table: CellTable,
    model: CellClassifier,
    *,
    mpp: Mpp | None = None,
    filters: Filters | None = None,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    seen: Callable[[NDArray[np.uint8]], None] | None = None,
) -> Iterator[Named]:
    """Name the cells of a run.

    Args:
        reader: the run's slide, open; used from one other thread.
        scene: index of the run's scene.
        table: the run's cells.
        model: a loaded classifier.
        mpp: µm per level-0 pixel; None takes the run's.
        filters: which cells; None names every leukocyte.
        progress: told the cells done so far.
        cancelled: asked between batches.
        seen: given the fields of each chunk, in the order of its answers.

    Yields:
        Chunks in the order of cell_id.

    Raises:
        InputError: the run has no leukocytes or does not say its pixel size.
        RunCancelledError: ``cancelled`` said so.
        SlideError: a cell cannot be read.

    """
    scale = mpp or table.mpp
    if scale is None:
        raise InputError("The run does not say its pixel size; delete it and start it again.")
    wanted = filters or Filters(classes=leukocyte_classes(table))
    done = 0
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="fields") as pool:
        chunks = (
            (ids, pool.submit(read_cells, reader, scene, xy, scale, model.card.field_um, model.side))
            for ids, xy in _places(table, wanted)
        )
        ahead = next(chunks, None)
        while ahead is not None:
            ids, reading = ahead
            ahead = next(chunks, None)
            fields = reading.result()
            if cancelled():
                raise RunCancelledError("Naming the leukocytes was cancelled.")
            if seen is not None:
                seen(fields)
            yield Named(ids, model.classify(fields))
            done += len(ids)
            if progress is not None:
                progress(done)


def _places(table: CellTable, filters: Filters) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Ids and centroids, ``CHUNK`` cells at most."""
    for batch in table.batches(("cell_id", "x_l0", "y_l0"), filters, rows=8192):
        ids = np.asarray(batch["cell_id"]).astype(np.int64)
        xy = np.stack([np.asarray(batch[c]).astype(np.float64) for c in ("x_l0", "y_l0")], axis=1)
        for i in range(0, len(ids), CHUNK):
            yield ids[i : i + CHUNK], xy[i : i + CHUNK]


def read_cells(
    reader: SlideReader, scene: int, xy_l0: NDArray[np.float64], mpp: Mpp, field_um: float, side: int
) -> NDArray[np.uint8]:
    """Fields uint8 ``(N, side, side, 3)`` around centroids ``(N, 2)``."""
    step = 1 << max(0, math.floor(math.log2(field_um / side / max(mpp.x, mpp.y)) + 1e-6))  # reduction read
    reach = field_um / mpp.mean / 2 + 2 * step
    windows = [_window(x, y, reach, step) for x, y in xy_l0]
    out = np.empty((len(windows), side, side, 3), np.uint8)
    for region, members in _bunches(windows, xy_l0, 2 * reach):
        pixels = reader.read(scene, region, step)
        for i in members:
            w = windows[i]
            x, y = (w.x - region.x) // step, (w.y - region.y) // step
            own = pixels[y : y + w.h // step, x : x + w.w // step]
            centre = (xy_l0[i, 0] - w.x) / step, (xy_l0[i, 1] - w.y) / step
            out[i] = cut_field(own, mpp.mean * step, centre, side, field_um)
    return out


def _window(x: float, y: float, reach: float, step: int) -> Region:
    """The square to read, its corners on the grid on which readers reduce."""
    x0, y0 = math.floor((x - reach) / step) * step, math.floor((y - reach) / step) * step
    n = math.ceil(2 * reach / step + 1) * step
    return Region(x0, y0, n, n)


def _bunches(
    windows: list[Region], xy: NDArray[np.float64], square: float
) -> Iterator[tuple[Region, list[int]]]:
    """What to read in one go: cells of one square together where that reads little more than each alone."""
    squares: dict[tuple[int, int], list[int]] = {}
    for i, (x, y) in enumerate(xy):
        squares.setdefault((math.floor(y / square), math.floor(x / square)), []).append(i)
    for key in sorted(squares):
        members = squares[key]
        x0, y0 = min(windows[i].x for i in members), min(windows[i].y for i in members)
        x1, y1 = max(windows[i].x1 for i in members), max(windows[i].y1 for i in members)
        whole = Region(x0, y0, x1 - x0, y1 - y0)
        if whole.w * whole.h <= _TOGETHER * sum(windows[i].w * windows[i].h for i in members):
            yield whole, members
        else:
            yield from ((windows[i], [i]) for i in members)
