"""The server's own routes, its guard, and what starts with it. Speaks HTTP; knows no page."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from cmlcore.web.guard import Guard, require_loopback
from cmlcore.web.lifespan import lifespan

__all__ = ["lifespan", "middleware", "require_loopback", "routes"]


def routes() -> list[BaseRoute]:
    """All routes beside Streamlit's own."""
    from cmlcore.web import answers, assets, exports, namings, overlay, pictures, tiles, uploads

    return [
        Route("/slides", answers.home),
        Route("/assets/{name}", assets.asset),
        Route("/slides/{slide}/{scene:int}.json", tiles.facts),
        Route("/tiles/{slide}/{scene:int}/{level:int}/{col:int}_{row:int}.jpeg", tiles.tile),
        Route("/thumbnails/{slide}/{scene:int}.jpeg", tiles.thumbnail),
        Route("/overlay/{run}/index.json", overlay.index),
        Route("/overlay/{run}/centres.bin", overlay.centres),
        Route("/overlay/{run}/{gx:int}_{gy:int}.bin", overlay.tile),
        Route("/cells/{run}/{cell:int}.json", overlay.cell),
        Route("/exports/{run}.{kind}", exports.report),
        Route("/namings/{naming}/{row:int}.jpeg", namings.crop),
        Route("/namings/{naming}.csv", namings.answers),
        Route("/pictures", pictures.batch, methods=["POST"]),
        Route("/pictures/{batch}/{number:int}", pictures.single, methods=["PUT"]),
        Route("/uploads", uploads.collection, methods=["OPTIONS", "POST"]),
        Route("/uploads/{upload}", uploads.single, methods=["HEAD", "PATCH", "DELETE"]),
    ]


def middleware() -> list[Middleware]:
    """The guard, around everything."""
    return [Middleware(Guard)]
