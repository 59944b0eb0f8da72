"""Dropped single-cell pictures, straight to disk: a batch is begun, then takes a file a request.

Unlike a slide such a file is small: one that is cut short is sent once more, nothing is resumed.
"""

from __future__ import annotations

from urllib.parse import unquote

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from cmlcore.errors import CmlError, StorageError
from cmlcore.files import NO_SPACE
from cmlcore.jobs.pictures import FILE_BYTES, ZIP_BYTES, is_zip, new_batch, place_for
from cmlcore.web.answers import NO_STORE, answering, refusal

NAME = "x-name"
"""Header with the file's name, percent-encoded."""
_WRITE_BYTES = 4 << 20


@answering
async def batch(request: Request) -> Response:  # noqa: ARG001
    """``POST /pictures``: begin a batch."""
    try:
        key = await to_thread.run_sync(new_batch)
    except OSError as e:
        raise _storage(e) from e
    return JSONResponse({"batch": key}, status_code=201, headers=NO_STORE)


@answering
async def single(request: Request) -> Response:
    """``PUT /pictures/{batch}/{number}``: one file, its name in the header ``X-Name``."""
    p = request.path_params
    try:
        path = await to_thread.run_sync(
            place_for, p["batch"], p["number"], unquote(request.headers.get(NAME, ""))
        )
        most = ZIP_BYTES if is_zip(path) else FILE_BYTES
        part = path.with_name(path.name + ".part")
        size = 0
        try:
            with part.open("wb") as out:
                held = bytearray()
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > most:
                        return refusal(
                            CmlError(
                                f"{path.name} is larger than {most >> 20} MiB; cut the cells out first."
                            ),
                            413,
                        )
                    held += chunk
                    if len(held) >= _WRITE_BYTES:
                        await to_thread.run_sync(out.write, bytes(held))
                        held.clear()
                await to_thread.run_sync(out.write, bytes(held))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except ClientDisconnect:
        return Response(status_code=400, headers=NO_STORE)  # nobody listens
    except OSError as e:
        raise _storage(e) from e
    return JSONResponse({"bytes": size}, headers=NO_STORE)


def _storage(e: OSError) -> StorageError:
    if e.errno in NO_SPACE:
        return StorageError("The disk is full; free some space and drop the images once more.")
    return StorageError(f"The images cannot be written ({e.strerror}); drop them once more.")
