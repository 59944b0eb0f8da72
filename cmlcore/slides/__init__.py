"""Opening slides: ``open_slide`` for pixels, ``probe`` for facts; tiles for the viewer."""

from __future__ import annotations

import os
from pathlib import Path

from cmlcore.slides.base import Scene, SlideInfo, SlideReader
from cmlcore.slides.convert import needs_preparing, prepare
from cmlcore.slides.isolated import IsolatedReader
from cmlcore.slides.jpeg_tiff import TILE
from cmlcore.slides.tiles import TileStore

__all__ = [
    "TILE",
    "Scene",
    "SlideInfo",
    "SlideReader",
    "TileStore",
    "needs_preparing",
    "open_slide",
    "prepare",
    "probe",
]


def open_slide(path: str | os.PathLike[str], *, isolated: bool = True) -> SlideReader:
    """Open a slide, its format told by content.

    Args:
        path: a local file.
        isolated: decode in a child process with a memory limit and a deadline; False decodes in this one.

    Raises:
        SlideError: the file is no slide, damaged, or refused; the message names the reason.

    """
    if isolated:
        return IsolatedReader(Path(path).resolve())
    from cmlcore.slides.local import open_local

    return open_local(Path(path).resolve())


def probe(path: str | os.PathLike[str]) -> SlideInfo:
    """Facts of a slide, read behind the same wall as its pixels. Raises SlideError as ``open_slide`` does."""
    with open_slide(path) as reader:
        return reader.info
