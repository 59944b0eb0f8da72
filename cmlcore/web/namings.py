"""Single cells that were named: their pictures for the gallery, and the table as CSV."""

from __future__ import annotations

import os
from collections.abc import Iterator

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cmlcore.errors import InputError
from cmlcore.jobs import crops
from cmlcore.jobs.classify import NAMINGS, naming_csv
from cmlcore.web.answers import IMMUTABLE, NO_STORE, NotFoundError, answering, not_modified

_limiter = CapacityLimiter(max(4, os.cpu_count() or 1))


@answering
async def crop(request: Request) -> Response:
    """``/namings/{naming}/{row}.jpeg?of=TIME``: the field that the classifier took.

    ``of`` is anything that changes where a naming is done anew under its id; the route does not read it.
    """
    naming, row = request.path_params["naming"], request.path_params["row"]
    etag = f'"{naming}-{row}-{request.query_params.get("of", "")[:32]}"'
    if not etag.isascii() or not etag.isprintable():
        raise NotFoundError("There is no such cell; reload the page.")
    headers = IMMUTABLE | {"ETag": etag}
    if not_modified(request, etag):
        return Response(status_code=304, headers=headers)

    def read() -> bytes:
        try:
            return crops.crop(NAMINGS.folder(naming), row)
        except InputError as e:
            raise NotFoundError(str(e)) from e

    body = await to_thread.run_sync(read, limiter=_limiter)
    return Response(body, media_type="image/jpeg", headers=headers)


@answering
async def answers(request: Request) -> Response:
    """``/namings/{naming}.csv``: every cell, and every picture that could not be used."""
    naming = request.path_params["naming"]

    def begin() -> tuple[bytes, Iterator[bytes]]:
        try:
            chunks = naming_csv(NAMINGS.folder(naming))
            return next(chunks), chunks  # what can go wrong goes wrong before the first byte leaves
        except InputError as e:
            raise NotFoundError(str(e)) from e

    first, rest = await to_thread.run_sync(begin)

    def chunks() -> Iterator[bytes]:
        yield first
        yield from rest

    headers = NO_STORE | {"Content-Disposition": f'attachment; filename="cmlscope-cells-{naming}.csv"'}
    return StreamingResponse(chunks(), media_type="text/csv; charset=utf-8", headers=headers)
