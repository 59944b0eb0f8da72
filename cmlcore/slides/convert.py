"""One-off conversion of a slide into pyramids of JPEG tiles, a file a scene, for viewing."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import StorageError
from cmlcore.geometry import Region
from cmlcore.settings import settings
from cmlcore.slides import quota
from cmlcore.slides.base import SlideInfo, SlideReader
from cmlcore.slides.isolated import IsolatedReader
from cmlcore.slides.jpeg_tiff import TILE, JpegTiffWriter, grid, level_sizes
from cmlcore.slides.pixels import WHITE, jpeg, mean_down, white

BLOCK_LEVEL = 2  # tiles of this level, 2048 pixels at level 0, are read at once
READ_AHEAD = 3
SMALL_PX = 16 << 20  # scenes up to this size without a pyramid are quick enough as they are
SLOW = "JPEG-XR"

Progress = Callable[[float], None]


def scene_file(out_dir: Path, scene: int) -> Path:
    """Where the pyramid of a scene lies."""
    return out_dir / f"scene{scene}.tif"


def needs_preparing(info: SlideInfo, out_dir: Path) -> bool:
    """Whether ``prepare`` should run: slow to view as it is, and not prepared in ``out_dir`` yet."""
    slow = info.levels == 1 or SLOW in info.compression
    return slow and any(
        s.size.w * s.size.h > SMALL_PX and not scene_file(out_dir, s.index).is_file() for s in info.scenes
    )


def prepare(path: Path, out_dir: Path, progress: Progress | None = None) -> None:
    """Write ``scene<k>.tif`` into ``out_dir`` for every scene that has none.

    Each file appears whole or not at all. ``progress`` is called with the finished share, 0 to 1; what it
    raises ends the work.

    Raises:
        SlideError: the slide cannot be read.
        StorageError: the folder cannot be written or the disk is full.

    """
    with IsolatedReader(Path(path).resolve()) as reader:
        scenes = reader.info.scenes
        total = sum(s.size.w * s.size.h for s in scenes)
        done = 0
        for s in scenes:
            share = s.size.w * s.size.h / total

            def part(x: float, share: float = share, before: float = done / total) -> None:
                if progress is not None:
                    progress(before + share * x)

            target = scene_file(out_dir, s.index)
            if not target.is_file():
                _write_whole(target, reader, s.index, part)
            done += s.size.w * s.size.h
            part(1.0)


def _write_whole(target: Path, reader: SlideReader, scene: int, progress: Progress) -> None:
    partial = target.with_suffix(".part")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as f:
                writer = JpegTiffWriter(f, reader.info.scenes[scene].size, reader.info.mpp)
                _Pyramid(reader, scene, writer, progress).build()
                writer.finish()
            partial.replace(target)
            quota.written(target.stat().st_size)
        except OSError as e:
            raise StorageError(
                "The tile cache cannot be written; free space on the disk of the data folder and try again."
            ) from e
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


class _Pyramid:
    """Builds all levels in one pass, depth first, so that only a branch of the tree is in memory."""

    def __init__(self, reader: SlideReader, scene: int, writer: JpegTiffWriter, progress: Progress) -> None:
        self.reader, self.scene, self.writer, self.progress = reader, scene, writer, progress
        self.size = reader.info.scenes[scene].size
        self.sizes = level_sizes(self.size)
        self.quality = settings().jpeg_quality
        self.block_level = min(BLOCK_LEVEL, len(self.sizes) - 1)
        self.parts = reader.covered(scene)
        self.blank = jpeg(white(TILE, TILE), self.quality)

    def build(self) -> None:
        """Read every block once and write every tile of every level."""
        with ThreadPoolExecutor(2) as pool:
            self._tile(len(self.sizes) - 1, 0, 0, self._blocks(pool))

    def _blocks(self, pool: ThreadPoolExecutor) -> Iterator[NDArray[np.uint8]]:
        """Pixels of the blocks in the order the tree asks for them, read ahead."""
        order = list(self._order(len(self.sizes) - 1, 0, 0))
        coming = iter(order)
        ahead = deque(pool.submit(self._read, region) for region in islice(coming, READ_AHEAD))
        try:
            for done in range(1, len(order) + 1):
                pixels = ahead.popleft().result()
                ahead.extend(pool.submit(self._read, region) for region in islice(coming, 1))
                yield pixels
                self.progress(done / len(order))
        finally:
            for future in ahead:
                future.cancel()

    def _order(self, level: int, col: int, row: int) -> Iterator[Region]:
        if level == self.block_level:
            side = TILE << level
            yield Region(col * side, row * side, side, side).clipped(Region(0, 0, self.size.w, self.size.h))
        else:
            for c, r in self._children(level, col, row):
                yield from self._order(level - 1, c, r)

    def _children(self, level: int, col: int, row: int) -> list[tuple[int, int]]:
        g = grid(self.sizes[level - 1])
        near = [(2 * col + dx, 2 * row + dy) for dy in (0, 1) for dx in (0, 1)]
        return [(c, r) for c, r in near if c < g.w and r < g.h]

    def _read(self, region: Region) -> NDArray[np.uint8]:
        if not any(p.clipped(region).w and p.clipped(region).h for p in self.parts):
            return white(region.h, region.w)
        return self.reader.read(self.scene, region)

    def _tile(self, level: int, col: int, row: int, blocks: Iterator[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Write a tile and all below it; return its pixels, cut to the level's size."""
        if level == self.block_level:
            return self._block(col, row, next(blocks))
        size = self.sizes[level - 1]
        x, y = 2 * col * TILE, 2 * row * TILE
        joined = white(min(2 * TILE, size.h - y), min(2 * TILE, size.w - x))
        for c, r in self._children(level, col, row):
            part = self._tile(level - 1, c, r, blocks)
            joined[
                r * TILE - y : r * TILE - y + part.shape[0], c * TILE - x : c * TILE - x + part.shape[1]
            ] = part
        tile = mean_down(joined, 2)
        self._put(level, col, row, tile)
        return tile

    def _block(self, col: int, row: int, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Write the tiles of a block, finest level first; return the one at the block's own level."""
        for level in range(self.block_level + 1):
            pixels = pixels if level == 0 else mean_down(pixels, 2)
            across = 1 << (self.block_level - level)
            for y in range(0, pixels.shape[0], TILE):
                for x in range(0, pixels.shape[1], TILE):
                    tile = pixels[y : y + TILE, x : x + TILE]
                    self._put(level, col * across + x // TILE, row * across + y // TILE, tile)
        return pixels

    def _put(self, level: int, col: int, row: int, tile: NDArray[np.uint8]) -> None:
        if tile.min() == WHITE:
            self.writer.put(level, col, row, self.blank, shared=True)
            return
        h, w = tile.shape[:2]
        if (h, w) != (TILE, TILE):  # repeat the edge: a hard one would ring into the picture
            tile = np.pad(tile, ((0, TILE - h), (0, TILE - w), (0, 0)), mode="edge")
        self.writer.put(level, col, row, jpeg(tile, self.quality))
