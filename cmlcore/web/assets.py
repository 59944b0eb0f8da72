"""The built frontend: content-hashed files, served immutable."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from cmlcore.errors import InputError
from cmlcore.web.answers import IMMUTABLE, NotFoundError, answering

DIST = Path(__file__).resolve().parent.parent / "ui" / "frontend" / "dist"


@lru_cache(maxsize=4)
def _manifest(path: Path, mtime_ns: int) -> dict[str, str]:
    del mtime_ns  # only a key of the cache, so that a new build is seen at once
    names: dict[str, str] = json.loads(path.read_text())
    return names


def bundle_url(name: str) -> str:
    """Path under which a browser loads the bundle ``viewer`` or ``uploader``; the content's hash is in it.

    Raises:
        InputError: the frontend has not been built.

    """
    try:
        manifest = DIST / "manifest.json"
        names = _manifest(manifest, manifest.stat().st_mtime_ns)
    except FileNotFoundError:
        raise InputError("The browser part has not been built; run “make frontend” and reload.") from None
    return f"/assets/{names[name]}"


@answering
async def asset(request: Request) -> Response:
    """``/assets/{name}``: one file of the build."""
    name = request.path_params["name"]
    path = DIST / name
    if "/" in name or path.suffix not in {".js", ".svg"} or not path.is_file():
        raise NotFoundError("There is no such asset; reload the page.")
    media = "text/javascript" if path.suffix == ".js" else "image/svg+xml"
    return FileResponse(path, media_type=media, headers=IMMUTABLE)
