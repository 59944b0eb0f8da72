"""Tiles, thumbnails and the facts the viewer needs of a slide."""

from __future__ import annotations

import os

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cmlcore.slides import TILE
from cmlcore.web.answers import IMMUTABLE, NO_STORE, NotFoundError, TooEarlyError, answering, not_modified
from cmlcore.web.open_slides import OpenSlides, showable

THUMBNAIL_SIDES = (128, 256, 512, 1024)

slides = OpenSlides()
# Apart from Streamlit's own threads, so that neither waits for the other; decoding runs in other processes.
_limiter = CapacityLimiter(max(4, os.cpu_count() or 1))


def _jpeg(body: bytes, etag: str) -> Response:
    return Response(body, media_type="image/jpeg", headers=IMMUTABLE | {"ETag": etag})


@answering
async def tile(request: Request) -> Response:
    """``/tiles/{slide}/{scene}/{level}/{col}_{row}.jpeg``: level 0 is full resolution."""
    p = request.path_params
    slide, scene, level, col, row = p["slide"], p["scene"], p["level"], p["col"], p["row"]
    etag = f'"{slide}-{scene}-{level}-{col}-{row}"'  # a slide's pixels never change under its id

    def read() -> bytes | None:
        tiles = slides.get(slide, scene)
        levels = tiles.levels(scene)
        if not 0 <= level < len(levels):
            raise NotFoundError("The slide has no such level.")
        size = levels[level]
        if col * TILE >= size.w or row * TILE >= size.h:
            raise NotFoundError("The tile lies outside the slide.")
        return None if not_modified(request, etag) else tiles.tile(scene, level, col, row)

    body = await to_thread.run_sync(read, limiter=_limiter)
    if body is None:
        return Response(status_code=304, headers=IMMUTABLE | {"ETag": etag})
    return _jpeg(body, etag)


@answering
async def thumbnail(request: Request) -> Response:
    """``/thumbnails/{slide}/{scene}.jpeg?side=256``: the whole scene in one of a few sizes."""
    slide, scene = request.path_params["slide"], request.path_params["scene"]
    wanted = request.query_params.get("side", "256")
    side = int(wanted) if wanted.isascii() and wanted.isdigit() else 0
    if side not in THUMBNAIL_SIDES:
        raise NotFoundError(f"Thumbnails have a side of {', '.join(map(str, THUMBNAIL_SIDES))} pixels.")
    etag = f'"{slide}-{scene}-{side}"'

    def read() -> bytes | None:
        tiles = slides.get(slide, scene)
        return None if not_modified(request, etag) else tiles.thumbnail(scene, side)

    body = await to_thread.run_sync(read, limiter=_limiter)
    if body is None:
        return Response(status_code=304, headers=IMMUTABLE | {"ETag": etag})
    return _jpeg(body, etag)


@answering
async def facts(request: Request) -> Response:
    """``/slides/{slide}/{scene}.json``: sizes, levels, scale; ``waiting`` alone while it is checked."""
    slide, scene = request.path_params["slide"], request.path_params["scene"]

    def read() -> dict[str, object]:
        try:
            row, info = showable(slide)
        except TooEarlyError as early:
            return {"waiting": str(early)}
        levels = slides.get(slide, scene).levels(scene)
        return {
            "width": levels[0].w,
            "height": levels[0].h,
            "levels": len(levels),
            "tile": TILE,
            "tiles": f"/tiles/{slide}/{scene}/",
            "mpp": row.mpp.mean if row.mpp else None,
            "mpp_is_estimate": row.mpp_is_estimate,
            "objective": info.objective,
        }

    return JSONResponse(await to_thread.run_sync(read, limiter=_limiter), headers=NO_STORE)
