"""A pyramid of JPEG tiles in one BigTIFF: written in any order, read tile by tile as it lies there."""

from __future__ import annotations

import math
import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cmlcore.errors import SlideError
from cmlcore.geometry import Mpp, Size
from cmlcore.slides import tiff_file as tf

TILE = 512
JPEG = 7
YCBCR = 6
SHORT, LONG, RATIONAL, LONG8 = 3, 4, 5, 16


def level_sizes(size: Size) -> list[Size]:
    """Level k is ``ceil(size / 2**k)``; the last fits one tile."""
    levels = 1 + max(0, math.ceil(math.log2(max(size.w, size.h) / TILE)))
    return [size.halved(k) for k in range(levels)]


def grid(size: Size) -> Size:
    """Columns and rows of tiles that cover a level."""
    return Size(-(-size.w // TILE), -(-size.h // TILE))


class JpegTiffWriter:
    """Appends full-size 512 × 512 YCbCr 4:2:0 JPEG tiles, then the directories."""

    def __init__(self, file: BinaryIO, size: Size, mpp: Mpp | None) -> None:
        self._file = file
        self._mpp = mpp
        self._sizes = level_sizes(size)
        grids = [grid(s) for s in self._sizes]
        self._offsets = [np.zeros((g.h, g.w), np.uint64) for g in grids]
        self._counts = [np.zeros((g.h, g.w), np.uint32) for g in grids]
        self._same: dict[bytes, int] = {}
        self._end = file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))

    def put(self, level: int, col: int, row: int, data: bytes, shared: bool = False) -> None:
        """Add one tile; ``shared`` tiles of equal bytes (blank ones) are stored once."""
        at = self._same.get(data) if shared else None
        if at is None:
            at = self._end
            self._end += self._file.write(data)
            if shared:
                self._same[data] = at
        self._offsets[level][row, col] = at
        self._counts[level][row, col] = len(data)

    def finish(self) -> None:
        """Write the directories and their place into the header."""
        link = 8  # of the header's pointer to the first directory
        for level in range(len(self._sizes)):
            data, start, next_link = self._directory(level)
            self._end += self._file.write(data)
            self._file.seek(link)
            self._file.write(struct.pack("<Q", start))
            self._file.seek(self._end)
            link = next_link

    def _directory(self, level: int) -> tuple[bytes, int, int]:
        """Arrays and directory of a level, the directory's place, and the place of its pointer onwards."""
        size = self._sizes[level]
        entries: list[tuple[int, int, int, bytes]] = [
            (254, LONG, 1, struct.pack("<I", int(level > 0))),
            (tf.WIDTH, LONG, 1, struct.pack("<I", size.w)),
            (tf.HEIGHT, LONG, 1, struct.pack("<I", size.h)),
            (tf.BITS, SHORT, 3, struct.pack("<3H", 8, 8, 8)),
            (tf.COMPRESSION, SHORT, 1, struct.pack("<H", JPEG)),
            (tf.PHOTOMETRIC, SHORT, 1, struct.pack("<H", YCBCR)),
            (tf.SAMPLES, SHORT, 1, struct.pack("<H", 3)),
            (tf.PLANAR, SHORT, 1, struct.pack("<H", 1)),
            (tf.TILE_WIDTH, SHORT, 1, struct.pack("<H", TILE)),
            (tf.TILE_HEIGHT, SHORT, 1, struct.pack("<H", TILE)),
            (tf.TILES, LONG8, self._offsets[level].size, self._offsets[level].tobytes()),
            (tf.TILE_BYTES, LONG, self._counts[level].size, self._counts[level].tobytes()),
            (530, SHORT, 2, struct.pack("<2H", 2, 2)),
        ]
        if self._mpp:
            for tag, um in ((282, self._mpp.x), (283, self._mpp.y)):
                per_cm = Fraction(1e4 / (um * 2**level)).limit_denominator(10**5)
                entries.append((tag, RATIONAL, 1, struct.pack("<2I", *per_cm.as_integer_ratio())))
            entries.append((tf.RESOLUTION_UNIT, SHORT, 1, struct.pack("<H", 3)))
        arrays, fields = b"", b""
        for tag, kind, count, value in sorted(entries):
            if len(value) > 8:
                value, arrays = struct.pack("<Q", self._end + len(arrays)), arrays + value
            fields += struct.pack("<HHQ", tag, kind, count) + value.ljust(8, b"\0")
        start = self._end + len(arrays)
        directory = struct.pack("<Q", len(entries)) + fields
        return arrays + directory + bytes(8), start, start + len(directory)


class JpegTiff:
    """Tiles of a tiled JPEG TIFF as stored bytes, each a complete JPEG. Safe from several threads.

    Level k must be ``ceil(size / 2**k)`` in 512-pixel tiles; ``fits`` tells whether a file is so.
    """

    def __init__(self, path: Path) -> None:
        self._levels = tf.parse(path).ifds
        self.size = Size(self._levels[0].one(tf.WIDTH), self._levels[0].one(tf.HEIGHT))
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def fits(self) -> bool:
        """Whether every level is laid out as the viewer's own levels are."""
        sizes = level_sizes(self.size)
        return len(sizes) == len(self._levels) and all(
            (ifd.one(tf.WIDTH), ifd.one(tf.HEIGHT)) == (s.w, s.h)
            and ifd.one(tf.TILE_WIDTH) == ifd.one(tf.TILE_HEIGHT) == TILE
            and ifd.one(tf.COMPRESSION) == JPEG
            and ifd.one(tf.PHOTOMETRIC) == YCBCR
            for ifd, s in zip(self._levels, sizes, strict=True)
        )

    def tile(self, level: int, col: int, row: int) -> bytes:
        """One tile, padded to 512 × 512 at the right and bottom edges. SlideError if it is not there."""
        ifd = self._levels[level]
        across = -(-ifd.one(tf.WIDTH) // TILE)
        index = row * across + col
        at, n = int(ifd.tags[tf.TILES][index]), int(ifd.tags[tf.TILE_BYTES][index])
        data = os.pread(self._fd, n, at)
        if len(data) != n or not data.startswith(b"\xff\xd8"):
            raise SlideError("A prepared tile of this slide is damaged; prepare the slide again.")
        tables = ifd.tags.get(tf.JPEG_TABLES)
        return data if tables is None else b"\xff\xd8" + tables.tobytes()[2:-2] + data[2:]

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
