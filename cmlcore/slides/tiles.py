"""JPEG tiles and thumbnails of a slide for the viewer.

Level 0 is full resolution, level k is ``ceil(size / 2**k)``; tiles are 512 pixels without overlap, those
at the right and bottom edges cut to their true size. Prepared scenes (``convert.prepare``) give their
stored bytes; anything else is decoded once and kept, in memory and under the slide's cache folder.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import simplejpeg

from cmlcore.errors import InputError, SlideError
from cmlcore.files import whole_file
from cmlcore.geometry import Region, Size
from cmlcore.settings import settings
from cmlcore.slides import quota
from cmlcore.slides.base import SlideInfo
from cmlcore.slides.convert import scene_file
from cmlcore.slides.isolated import IsolatedReader
from cmlcore.slides.jpeg_tiff import TILE, JpegTiff, grid, level_sizes
from cmlcore.slides.pixels import jpeg, mean_down, white

MEMORY_BYTES = 128 << 20  # of tiles, shared by all slides of this process
MAX_THUMBNAIL = 2048
OWN_TILES = "TIFF"  # in the format's name: its file may hold tiles that can be handed on


class TileMemory:
    """The most recently used tiles, by bytes; a tile asked for by several threads is made once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._tiles: OrderedDict[object, bytes] = OrderedDict()
        self._making: dict[object, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], bytes]) -> bytes:
        """The tile under ``key``, made and kept if it is not here."""
        with self._lock:
            data = self._found(key)
            if data is not None:
                return data
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                data = self._found(key)
            if data is None:
                try:
                    data = make()
                finally:
                    with self._lock:
                        self._making.pop(key, None)
                self._keep(key, data)
        return data

    def drop(self, belongs: Callable[[object], bool]) -> None:
        """Forget the tiles whose key ``belongs`` says so of."""
        with self._lock:
            for key in [k for k in self._tiles if belongs(k)]:
                self._held -= len(self._tiles.pop(key))

    def _found(self, key: object) -> bytes | None:
        data = self._tiles.get(key)
        if data is not None:
            self._tiles.move_to_end(key)
        return data

    def _keep(self, key: object, data: bytes) -> None:
        with self._lock:
            if key not in self._tiles:
                self._tiles[key] = data
                self._held += len(data)
            while self._held > self._limit:
                self._held -= len(self._tiles.popitem(last=False)[1])


_memory = TileMemory(MEMORY_BYTES)


class TileStore:
    """Tiles of one slide. Safe from several threads; opens the slide when it is first needed."""

    def __init__(self, path: Path, info: SlideInfo, cache_dir: Path) -> None:
        self._path, self.info, self._dir = path, info, cache_dir
        self._quality = settings().jpeg_quality
        self._reader: IsolatedReader | None = None
        self._prepared: dict[int, JpegTiff] = {}
        self._lock = threading.Lock()
        self._own_checked = False
        self._key = str(cache_dir)
        self._levels = [level_sizes(s.size) for s in info.scenes]

    def levels(self, scene: int) -> list[Size]:
        """Sizes of the levels of a scene, full resolution first."""
        if not 0 <= scene < len(self._levels):
            raise InputError(f"The slide has no scene {scene}.")
        return self._levels[scene]

    def tile(self, scene: int, level: int, col: int, row: int) -> bytes:
        """One tile as JPEG.

        Raises:
            InputError: there is no such tile.
            SlideError: the slide cannot be read.

        """
        sizes = self.levels(scene)
        if not 0 <= level < len(sizes):
            raise InputError(f"The slide has no level {level}; its last is {len(sizes) - 1}.")
        g = grid(sizes[level])
        if not (0 <= col < g.w and 0 <= row < g.h):
            raise InputError(f"Level {level} has no tile in column {col}, row {row}.")
        return _memory.get((self._key, scene, level, col, row), lambda: self._make(scene, level, col, row))

    def thumbnail(self, scene: int, max_side: int) -> bytes:
        """The whole scene as JPEG, its longer side between half of ``max_side`` and ``max_side`` pixels."""
        size = self.levels(scene)[0]
        if not 16 <= max_side <= MAX_THUMBNAIL:
            raise InputError(f"A thumbnail is 16 to {MAX_THUMBNAIL} pixels wide, not {max_side}.")
        down = 0
        while max(size.halved(down).w, size.halved(down).h) > max_side:
            down += 1
        name = f"thumb{scene}_{max_side}.jpg"
        return _memory.get((self._key, name), lambda: self._kept(name, lambda: self._overview(scene, down)))

    def close(self) -> None:
        """Close the slide and its prepared files, and forget its tiles."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            for prepared in self._prepared.values():
                prepared.close()
            self._prepared.clear()
        _memory.drop(lambda key: isinstance(key, tuple) and key[0] == self._key)

    def _make(self, scene: int, level: int, col: int, row: int) -> bytes:
        size = self._levels[scene][level]
        w, h = min(TILE, size.w - col * TILE), min(TILE, size.h - row * TILE)
        stored = self._stored(scene)
        if stored is not None:
            data = stored.tile(level, col, row)
            return data if (w, h) == (TILE, TILE) else self._cut(data, w, h)
        name = f"tiles{scene}/{level}/{col}_{row}.jpg"
        side = TILE << level
        region = Region(col * side, row * side, side, side)
        full = self._levels[scene][0]
        region = region.clipped(Region(0, 0, full.w, full.h))
        return self._kept(name, lambda: self._encode(scene, region, 1 << level))

    def _encode(self, scene: int, region: Region, downsample: int) -> bytes:
        return self._open().read_jpeg(scene, region, downsample, self._quality)

    def _overview(self, scene: int, down: int) -> bytes:
        size, last = self._levels[scene][0], len(self._levels[scene]) - 1
        stored = self._stored(scene)
        if stored is None:
            return self._encode(scene, Region(0, 0, size.w, size.h), 1 << down)
        level = self._levels[scene][min(down, last)]
        g = grid(level)
        whole = white(g.h * TILE, g.w * TILE)
        for row in range(g.h):
            for col in range(g.w):
                tile = simplejpeg.decode_jpeg(stored.tile(min(down, last), col, row))
                whole[row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE] = tile
        return jpeg(mean_down(whole[: level.h, : level.w], 1 << max(0, down - last)), self._quality)

    def _cut(self, data: bytes, w: int, h: int) -> bytes:
        """A stored tile cut to its true size."""
        return jpeg(simplejpeg.decode_jpeg(data)[:h, :w], self._quality)

    def _open(self) -> IsolatedReader:
        with self._lock:
            if self._reader is None:
                self._reader = IsolatedReader(self._path.resolve())
            return self._reader

    def _stored(self, scene: int) -> JpegTiff | None:
        """Stored JPEG tiles of a scene: prepared ones, or the slide's own where they lie as ours do."""
        with self._lock:
            if scene not in self._prepared:
                found = _tiles_in(scene_file(self._dir, scene), self._levels[scene][0])
                if found is None and not self._own_checked and OWN_TILES in self.info.format:
                    found = _tiles_in(self._path, self._levels[scene][0])
                self._own_checked = True
                if found is None:
                    return None
                self._prepared[scene] = found
            return self._prepared[scene]

    def _kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Bytes from the cache folder, made and put there if need be; failing to keep them is no error."""
        file = self._dir / name
        with contextlib.suppress(OSError):
            data = file.read_bytes()
            if data:
                quota.touch(file)
                return data
        data = make()
        with contextlib.suppress(OSError):
            with whole_file(file, durable=False) as part:
                part.write_bytes(data)
            quota.written(len(data))
        return data


def _tiles_in(path: Path, size: Size) -> JpegTiff | None:
    """The file's JPEG tiles if there is such a file and they lie as the viewer's do."""
    try:
        file = JpegTiff(path)
    except (OSError, SlideError):
        return None
    if file.fits and file.size == size:
        return file
    file.close()
    return None
