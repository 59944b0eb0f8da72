"""The cell layer for the browser, packed as ``cmlcore.report.overlay`` says, and one cell's facts."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cmlcore import store
from cmlcore.cells import CellTable
from cmlcore.classes import color, label
from cmlcore.errors import InputError
from cmlcore.files import whole_file
from cmlcore.report import overlay_centres, overlay_index, overlay_tile
from cmlcore.web.answers import IMMUTABLE, NO_STORE, NotFoundError, answering
from cmlcore.web.run_tables import RunTable, RunTables, run_row

GZIP_LEVEL = 4

runs = RunTables()
_limiter = CapacityLimiter(2)


@answering
async def index(request: Request) -> Response:
    """``/overlay/{run}/index.json``: ``overlay_index``, cells per class, and whether more will come."""
    run_id = request.path_params["run"]

    def read() -> dict[str, Any]:
        if not _has_cells(run_id):
            return {**_EMPTY, "growing": True}
        table = runs.get(run_id)
        answer = overlay_index(table.cells)
        counts = {c.cls: c.count for c in table.cells.counts()}
        for entry in answer["classes"]:
            entry["count"] = counts.get(entry["key"], 0)
        return {**answer, "growing": not table.final}

    return JSONResponse(await to_thread.run_sync(read, limiter=_limiter), headers=NO_STORE)


_EMPTY: dict[str, Any] = {"version": 1, "grid": 2048, "count": 0, "radius": 0.0, "classes": [], "tiles": []}


def _has_cells(run_id: str) -> bool:
    """Whether a run has finished a block; an active one that has not is not an error, just early."""
    run = run_row(run_id)
    return run.status not in store.ACTIVE or run.blocks_done > 0


@answering
async def tile(request: Request) -> Response:
    """``/overlay/{run}/{gx}_{gy}.bin``: outlines of one grid tile."""
    gx, gy = request.path_params["gx"], request.path_params["gy"]
    return await _packed(request, f"{gx}_{gy}", lambda cells: overlay_tile(cells, gx, gy))


@answering
async def centres(request: Request) -> Response:
    """``/overlay/{run}/centres.bin``: the centre of every cell."""
    return await _packed(request, "centres", overlay_centres)


async def _packed(request: Request, name: str, make: Callable[[CellTable], bytes]) -> Response:
    """A packed answer, gzip-compressed; of a finished run it is made once and kept beside the run's parts."""

    def read() -> tuple[bytes, bool]:
        table = runs.get(request.path_params["run"])
        return _kept(table, name, make), table.final

    body, final = await to_thread.run_sync(read, limiter=_limiter)
    headers = {"Vary": "Accept-Encoding"} | (IMMUTABLE if final else NO_STORE)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, media_type="application/octet-stream", headers=headers)


def _kept(table: RunTable, name: str, make: Callable[[CellTable], bytes]) -> bytes:
    if not table.final or table.run.status != "done":  # a cancelled run may be resumed and grow
        return gzip.compress(make(table.cells), GZIP_LEVEL, mtime=0)
    path = store.run_dir(table.run.id) / "overlay" / f"{name}.bin.gz"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        body = gzip.compress(make(table.cells), GZIP_LEVEL, mtime=0)
        _keep(path, body)
        return body


def _keep(path: Path, body: bytes) -> None:
    with contextlib.suppress(OSError):  # a full disk costs speed here, nothing else
        path.parent.mkdir(exist_ok=True)  # not the run's own folder: that may have been deleted meanwhile
        with whole_file(path, durable=False) as part:
            part.write_bytes(body)


@answering
async def cell(request: Request) -> Response:
    """``/cells/{run}/{cell}.json``: one cell's measures and the probability of each class."""
    run_id, cell_id = request.path_params["run"], request.path_params["cell"]

    def read() -> dict[str, Any]:
        table = runs.get(run_id).cells
        try:
            row = table.cell(cell_id)
        except InputError as error:
            raise NotFoundError(str(error)) from error
        shown = ("cell_id", "score", "x_l0", "y_l0", "area_um2", "perimeter_um", "circularity")
        probabilities = [
            {"label": label(key), "color": color(key), "value": value}
            for key, value in zip(table.prob_classes, row["probs"], strict=True)
        ]
        return {
            **{name: row[name] for name in shown},
            "class": row["cls"],
            "label": label(row["cls"]),
            "probabilities": probabilities,
        }

    return JSONResponse(await to_thread.run_sync(read, limiter=_limiter), headers=NO_STORE)
