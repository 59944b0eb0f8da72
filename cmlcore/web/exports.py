"""Downloads: the cell report as CSV and GeoJSON, streamed, never held whole in memory."""

from __future__ import annotations

from collections.abc import Iterator

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cmlcore.cells import CellTable
from cmlcore.errors import InputError, RunError
from cmlcore.jobs import run_manifest
from cmlcore.report import csv_stream, geojson_stream
from cmlcore.store import run_dir
from cmlcore.web.answers import NO_STORE, NotFoundError, answering
from cmlcore.web.run_tables import run_row

_FORMATS = {
    "csv": (csv_stream, "text/csv; charset=utf-8"),
    "geojson": (geojson_stream, "application/geo+json"),
}


@answering
async def report(request: Request) -> Response:
    """``/exports/{run}.csv`` or ``.geojson``: every cell of a finished run."""
    run_id, kind = request.path_params["run"], request.path_params["kind"]
    if kind not in _FORMATS:
        raise NotFoundError("A run's cells come as .csv or .geojson.")
    stream, media = _FORMATS[kind]

    def begin() -> tuple[bytes, Iterator[bytes]]:
        run_row(run_id)
        try:
            manifest = run_manifest(run_id)
        except InputError as error:
            raise RunError(str(error)) from error
        chunks = stream(manifest, CellTable(run_dir(run_id)))
        return next(chunks), chunks  # what can go wrong goes wrong before the first byte leaves

    first, rest = await to_thread.run_sync(begin)

    def chunks() -> Iterator[bytes]:
        yield first
        yield from rest

    headers = NO_STORE | {"Content-Disposition": f'attachment; filename="cmlscope-{run_id}.{kind}"'}
    return StreamingResponse(chunks(), media_type=media, headers=headers)
