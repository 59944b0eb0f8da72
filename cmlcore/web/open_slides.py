"""Which slides the routes hold open: rows are looked at again every few seconds, stores kept while used."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from cmlcore import store
from cmlcore.errors import InputError, SlideError
from cmlcore.settings import settings
from cmlcore.slides import SlideInfo, TileStore
from cmlcore.web.answers import NotFoundError, TooEarlyError

RECHECK_S = 3.0

WAITING = {
    "checking": "The slide is being checked; it shows as soon as that is done.",
    "deleting": "The slide is being deleted.",
}


@dataclass
class _Held:
    tiles: TileStore
    info: SlideInfo
    checked: float


class OpenSlides:
    """A small pool of ``TileStore`` by slide id, least recently used out first. Safe for several threads."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, slide_id: str, scene: int) -> TileStore:
        """The store of a slide that may be shown.

        Raises:
            NotFoundError: there is no such slide or scene.
            TooEarlyError: the slide is still being checked.
            SlideError: the slide has been refused; the message says why.

        """
        with self._lock:
            held = self._held.get(slide_id)
        if held is None or time.monotonic() - held.checked > RECHECK_S:
            held = self._checked(slide_id, held)
        if not 0 <= scene < len(held.info.scenes):
            raise NotFoundError("The slide has no such scene.")
        return held.tiles

    def _checked(self, slide_id: str, held: _Held | None) -> _Held:
        try:
            row, info = showable(slide_id)
        except (NotFoundError, TooEarlyError, SlideError):
            self.drop(slide_id)
            raise
        if held is None or held.info != info:
            held = _Held(TileStore(Path(row.path), info, store.tile_cache(slide_id)), info, 0.0)
        held.checked = time.monotonic()
        with self._lock:
            self._held[slide_id] = held
            self._held.move_to_end(slide_id)
            surplus = [
                self._held.popitem(last=False)[1]
                for _ in range(max(0, len(self._held) - settings().max_open_slides))
            ]
        for old in surplus:
            old.tiles.close()
        return held

    def drop(self, slide_id: str) -> None:
        """Let go of a slide."""
        with self._lock:
            held = self._held.pop(slide_id, None)
        if held is not None:
            held.tiles.close()

    def close(self) -> None:
        """Let go of all."""
        for slide_id in list(self._held):
            self.drop(slide_id)


def slide_row(slide_id: str) -> store.Slide:
    """A slide's row; NotFoundError where there is none."""
    try:
        return store.get_slide(slide_id)
    except InputError as error:
        raise NotFoundError(str(error)) from error


def showable(slide_id: str) -> tuple[store.Slide, SlideInfo]:
    """A slide's row and facts, if its pixels may be shown; raises as ``OpenSlides.get``."""
    row = slide_row(slide_id)
    if row.status == "refused":
        raise SlideError(row.message)
    info = row.info
    if row.status in WAITING or info is None:
        raise TooEarlyError(WAITING.get(row.status, WAITING["checking"]))
    return row, info
