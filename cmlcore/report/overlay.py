"""The cell layer for the browser: outlines as packed binary, one answer a grid tile.

A grid tile ``(gx, gy)`` is a square of ``GRID`` level-0 pixels and holds the cells whose centroid lies in
it, outlines whole (a centroid that leans over the scene's left or upper edge counts for the first tile).
A cell may reach out of its tile by the tile's ``radius`` at most; to draw a viewport,
ask for every tile that meets it once grown by that radius.

``overlay_index`` gives a JSON-able dict::

    {"version": 1, "grid": 2048, "unit": 0.125, "count": 5123, "radius": 71.5,
     "classes": [{"key": "erythrocyte", "label": "Erythrocyte", "color": "#D55E00", "hidden": false}, …],
     "tiles": [[gx, gy, cells, radius], …], "research_use": "…"}

Layout of both binaries (little-endian; each section starts where the one before ends; the order keeps
every section aligned, so the browser lays typed arrays over the buffer without copying)::

    offset  type      what
    0       4 bytes   "CMLO"
    4       u16       version, 1
    6       u16       kind: 0 outlines (overlay_tile), 1 centres (overlay_centres)
    8       u32       n, number of cells
    12      u32       v, number of vertices of all cells (kind 1: 0)
    16      f32       unit: level-0 pixels per step of the vertices (1/8; doubled where a cell is huge)
    20      f32       radius: how far a cell reaches from its centre along x or y at most, level-0 pixels
    24      i32 × 2   gx, gy of the tile (kind 1: 0, 0)

    kind 0: outlines
    32      f64 × n       cell_id (whole numbers below 2**53)
    …       f32 × 2n      centres x, y interleaved, level-0 pixels, on the unit grid
    …       u32 × (n+1)   first vertex of each cell; the last entry is v
    …       i16 × 2v      vertices x, y interleaved, relative to the cell's centre, in steps of unit
    …       u8 × n        score, 0..255 for 0..1
    …       u8 × n        class, index into the index's classes

    kind 1: centres only, for the overview; all cells, in the order of cell_id
    32      f32 × 2n      centres x, y interleaved, level-0 pixels
    …       u8 × n        score
    …       u8 × n        class

A vertex in level-0 pixels is ``centre + unit * (dx, dy)``; it equals the table's outline exactly.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cmlcore import RESEARCH_USE
from cmlcore.cells import OUTLINE_STEP, CellTable
from cmlcore.classes import UNIDENTIFIED, color, label

GRID = 2048
VERSION = 1
_HEADER = struct.Struct("<4sHHIIffii")
_OUTLINES, _CENTRES = 0, 1


def overlay_index(table: CellTable) -> dict[str, Any]:
    """What the viewer needs before it asks for tiles; see the module's text."""
    tiles = table.grid_tiles(GRID)
    return {
        "version": VERSION,
        "grid": GRID,
        "unit": OUTLINE_STEP,
        "count": sum(t[2] for t in tiles),
        "radius": max((t[3] for t in tiles), default=0.0),
        "classes": [
            {"key": k, "label": label(k), "color": color(k), "hidden": k == UNIDENTIFIED}
            for k in table.classes
        ],
        "tiles": [list(t) for t in tiles],
        "research_use": RESEARCH_USE,
    }


def overlay_tile(table: CellTable, gx: int, gy: int) -> bytes:
    """Outlines of the cells whose centroid lies in grid tile ``(gx, gy)``; empty tiles give n = 0."""
    x0, y0 = (g * GRID if g else -math.inf for g in (gx, gy))
    box = (x0, y0, (gx + 1) * GRID, (gy + 1) * GRID)
    cells = table.arrow(("cell_id", "cls", "score", "x_l0", "y_l0", "outline_l0"), box=box)
    n = cells.num_rows
    lists = cells["outline_l0"].combine_chunks()
    xy = np.asarray(lists.flatten(), dtype=np.float32).reshape(-1, 2)
    sizes = np.asarray(lists.value_lengths(), dtype=np.int64) // 2
    first = np.zeros(n + 1, dtype="<u4")
    np.cumsum(sizes, out=first[1:])

    centres = np.stack([np.asarray(cells["x_l0"]), np.asarray(cells["y_l0"])], axis=1)
    unit = OUTLINE_STEP
    while True:  # a second turn only where a cell spans more than 8191 px
        centres = np.round(centres / unit) * unit
        offsets = np.round((xy - np.repeat(centres, sizes, axis=0)) / unit)
        reach = float(np.abs(offsets).max(initial=0.0))
        if reach <= np.iinfo(np.int16).max:
            break
        unit *= 2
    return b"".join(
        (
            _HEADER.pack(b"CMLO", VERSION, _OUTLINES, n, len(xy), unit, reach * unit, gx, gy),
            np.asarray(cells["cell_id"]).astype("<f8").tobytes(),
            centres.astype("<f4").tobytes(),
            first.tobytes(),
            offsets.astype("<i2").tobytes(),
            _score_bytes(np.asarray(cells["score"])),
            table.class_index(cells["cls"]).astype("u1").tobytes(),
        )
    )


def overlay_centres(table: CellTable) -> bytes:
    """Centre, score and class of every cell, 10 bytes a cell."""
    centres, scores, classes = [], [], []
    for batch in table.batches(("cls", "score", "x_l0", "y_l0")):
        centres.append(np.stack([np.asarray(batch["x_l0"]), np.asarray(batch["y_l0"])], axis=1).tobytes())
        scores.append(_score_bytes(np.asarray(batch["score"])))
        classes.append(table.class_index(pa.chunked_array([batch["cls"]])).astype("u1").tobytes())
    n = sum(map(len, scores))
    head = _HEADER.pack(b"CMLO", VERSION, _CENTRES, n, 0, OUTLINE_STEP, 0.0, 0, 0)
    return b"".join((head, *centres, *scores, *classes))


def _score_bytes(score: NDArray[np.float32]) -> bytes:
    return np.round(np.clip(score, 0, 1) * 255).astype("u1").tobytes()
