"""Resumable uploads after the tus protocol 1.0 (https://tus.io/protocols/resumable-upload), straight to disk.

Extensions: creation, termination. The file on disk is the truth: its size is the offset, so a cut connection,
a killed server or a full disk loses nothing that had arrived.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Callable, Coroutine

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from cmlcore.errors import CmlError, InputError, SlideError, StorageError
from cmlcore.jobs import intake_slide
from cmlcore.settings import settings
from cmlcore.web.answers import NO_STORE, answering, refusal
from cmlcore.web.upload_files import HEAD_BYTES, PartialUpload, check_head, create, find, sweep

__all__ = ["collection", "single", "sweep"]

VERSION = "1.0.0"
_TUS = {"Tus-Resumable": VERSION, **NO_STORE}
_WRITE_BYTES = 4 << 20

_busy: set[str] = (
    set()
)  # uploads a PATCH is writing to, or a DELETE is removing; touched on the event loop only


@answering
async def collection(request: Request) -> Response:
    """``/uploads``: OPTIONS says what is supported, POST creates an upload."""
    if request.method == "OPTIONS":
        abilities = {
            "Tus-Version": VERSION,
            "Tus-Extension": "creation,termination",
            "Tus-Max-Size": str(settings().max_upload_bytes),
        }
        return Response(status_code=204, headers=_TUS | abilities)
    if (wrong := _wrong_version(request)) is not None:
        return wrong
    length = _whole_number(request.headers.get("upload-length"), "Upload-Length")
    if length > settings().max_upload_bytes:
        limit = settings().max_upload_bytes / 1e9
        return _refuse(
            f"The file is larger than this server takes ({limit:.3g} GB); ask for a higher limit.", 413
        )
    extension = _metadata(request.headers.get("upload-metadata", "")).get("extension", "")
    upload = await to_thread.run_sync(create, length, extension)
    return Response(
        status_code=201, headers=_TUS | {"Location": f"/uploads/{upload.id}", "Upload-Offset": "0"}
    )


@answering
async def single(request: Request) -> Response:
    """``/uploads/{upload}``: HEAD asks how far, PATCH goes on, DELETE gives up."""
    upload_id = request.path_params["upload"]
    if request.method == "HEAD":
        return _state(find(upload_id), status=200)
    if (wrong := _wrong_version(request)) is not None:
        return wrong
    upload = find(upload_id)
    if upload_id in _busy:
        return _refuse("Another connection is still writing to this upload; try again in a moment.", 423)
    _busy.add(upload_id)
    try:
        if request.method == "DELETE":
            await to_thread.run_sync(upload.remove)
            return Response(status_code=204, headers=_TUS)
        return await _patch(request, upload)
    finally:
        _busy.discard(upload_id)


async def _patch(request: Request, upload: PartialUpload) -> Response:
    if request.headers.get("content-type") != "application/offset+octet-stream":
        return _refuse("An upload's content type is application/offset+octet-stream; use a tus client.", 415)
    offset = _whole_number(request.headers.get("upload-offset"), "Upload-Offset")
    if offset != upload.offset:
        return _refuse(f"The upload stands at byte {upload.offset}, not {offset}; go on from there.", 409)
    try:
        complete = await _receive(request, upload)
    except ClientDisconnect:
        return Response(status_code=400, headers=_TUS)  # nobody listens; what came is kept
    if complete and upload.slide is None:
        await _finish(upload)
    return _state(upload, status=204)


async def _receive(request: Request, upload: PartialUpload) -> bool:
    """Append the body; True once every byte is there. A file of the wrong kind goes with its first bytes."""
    unchecked = upload.offset < HEAD_BYTES
    async for piece in _pieces(request):
        if upload.offset + len(piece) > upload.length:
            raise InputError("More bytes came than the upload has; start it again.")
        await to_thread.run_sync(upload.append, piece)
        if unchecked and (upload.offset >= HEAD_BYTES or upload.offset == upload.length):
            await _or_removed(upload, lambda: to_thread.run_sync(check_head, upload.data))
            unchecked = False
    return upload.offset == upload.length


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces worth a write; what came before a disconnect is given out too."""
    held = bytearray()
    cut: ClientDisconnect | None = None
    try:
        async for chunk in request.stream():
            held += chunk
            if len(held) >= _WRITE_BYTES:
                yield bytes(held)
                held.clear()
    except ClientDisconnect as error:
        cut = error
    if held:
        yield bytes(held)
    if cut is not None:
        raise cut


async def _finish(upload: PartialUpload) -> None:
    """Hand the whole file over; the upload keeps the slide's id, for a lost answer may be asked for again."""

    def hand_over() -> None:
        try:
            slide = intake_slide(upload.named(), in_place=False)
        except StorageError:
            upload.unnamed()
            raise
        upload.arrived(slide)

    await _or_removed(upload, lambda: to_thread.run_sync(hand_over))


async def _or_removed(upload: PartialUpload, action: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run ``action``; where it finds the file unusable, nothing of the file stays."""
    try:
        await action()
    except (SlideError, InputError):
        await to_thread.run_sync(upload.remove)
        raise


def _state(upload: PartialUpload, status: int) -> Response:
    headers = _TUS | {"Upload-Offset": str(upload.offset), "Upload-Length": str(upload.length)}
    if upload.slide is not None:
        headers["X-Slide-Id"] = upload.slide
    return Response(status_code=status, headers=headers)


def _refuse(sentence: str, status: int) -> JSONResponse:
    answer = refusal(CmlError(sentence), status)
    answer.headers["Tus-Resumable"] = VERSION
    return answer


def _wrong_version(request: Request) -> Response | None:
    if request.headers.get("tus-resumable") == VERSION:
        return None
    answer = _refuse(f"Uploads speak tus {VERSION}; use a client of that version.", 412)
    answer.headers["Tus-Version"] = VERSION
    return answer


def _whole_number(text: str | None, name: str) -> int:
    if text is None or not text.isascii() or not text.isdigit():
        raise InputError(f"The header {name} must be a whole number; use a tus client.")
    return int(text)


def _metadata(header: str) -> dict[str, str]:
    """``key base64, key base64`` as a dict; the file's name is not among the keys our client sends."""
    values = {}
    for pair in filter(None, (p.strip() for p in header.split(","))):
        key, _, encoded = pair.partition(" ")
        try:
            values[key] = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise InputError("The header Upload-Metadata cannot be read; use a tus client.") from None
    return values
