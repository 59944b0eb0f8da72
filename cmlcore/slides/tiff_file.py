"""TIFF, BigTIFF and NDPI directories in pure Python, bounded: the wall before native TIFF readers.

Also finds the bytes of single tiles, so that JPEG tiles can be handed on without decoding them.
Layout after TIFF 6.0, the BigTIFF proposal, and for NDPI (64-bit offsets in a classic file) after OpenSlide.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import SlideError
from cmlcore.slides.stored import MAX_SIDE

MAX_IFDS = 4096
MAX_ENTRIES = 1024
MAX_ARRAY_BYTES = 128 << 20
MAX_SEGMENT_BYTES = 512 << 20
MAX_TEXT_BYTES = 32 << 20

TYPES = {1: "u1", 2: "S1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4"}
TYPES |= {11: "f4", 12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
PAIRS = {5, 10}  # rationals: two numbers a value

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 256, 257, 258, 259, 262, 270
STRIPS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, X_RESOLUTION = 273, 277, 278, 279, 282
PLANAR, RESOLUTION_UNIT, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 284, 296, 322, 323, 324, 325
SUB_IFDS, JPEG_TABLES, XMP, NDPI_MARK = 330, 347, 700, 65420
COMPRESSION_NAMES = {1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate"}
COMPRESSION_NAMES |= {
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    33007: "JPEG",
    34712: "JPEG 2000",
    50000: "zstd",
}

DAMAGED = "The TIFF file is damaged or cut short: {}."


@dataclass(frozen=True)
class Ifd:
    """One image directory: every tag's values as an array, texts as bytes."""

    tags: dict[int, NDArray[Any]]

    def one(self, tag: int, default: int = 0) -> int:
        """First value of a tag as a whole number."""
        values = self.tags.get(tag)
        return int(values[0]) if values is not None and len(values) else default

    def text(self, tag: int) -> str:
        """A text tag, empty where absent."""
        values = self.tags.get(tag)
        return "" if values is None else values.tobytes().split(b"\0")[0].decode("utf-8", "replace")

    @property
    def tiled(self) -> bool:
        """Whether the image is cut into tiles, not strips."""
        return TILE_WIDTH in self.tags

    @property
    def rgb8(self) -> bool:
        """Whether pixels have at least three samples of 8 bits."""
        return self.one(SAMPLES, 1) >= 3 and {int(b) for b in self.tags.get(BITS, ())} == {8}

    @property
    def segments(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Offsets and byte counts of the tiles or strips."""
        where, length = (TILES, TILE_BYTES) if self.tiled else (STRIPS, STRIP_BYTES)
        none = np.zeros(0, np.uint64)
        return self.tags.get(where, none).astype(np.uint64), self.tags.get(length, none).astype(np.uint64)


@dataclass(frozen=True)
class TiffFile:
    """The main images in file order and, for each, its SubIFDs."""

    ifds: tuple[Ifd, ...]
    subs: tuple[tuple[Ifd, ...], ...]
    ndpi: bool


def compression_of(ifd: Ifd) -> str:
    """Name of a directory's compression."""
    return COMPRESSION_NAMES.get(ifd.one(COMPRESSION, 1), "unknown")


class _Parser:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size
        self.budget = MAX_ARRAY_BYTES
        self.seen: set[int] = set()
        head = self.at(0, 16 if self.size >= 16 else 8)
        self.e: Literal["<", ">"] = "<" if head[:2] == b"II" else ">"
        self.big = struct.unpack(self.e + "H", head[2:4])[0] == 43
        self.ndpi = False
        if self.big and (len(head) < 16 or struct.unpack(self.e + "HH", head[4:8]) != (8, 0)):
            raise SlideError(DAMAGED.format("its header is unreadable"))
        self.first = struct.unpack(
            self.e + ("Q" if self.big else "I"), head[8:16] if self.big else head[4:8]
        )[0]

    def at(self, pos: int, n: int) -> bytes:
        if pos < 0 or n < 0 or pos + n > self.size:
            raise SlideError(DAMAGED.format("part of it lies outside the file"))
        data = os.pread(self.fd, n, pos)
        if len(data) != n:
            raise SlideError(DAMAGED.format("part of it cannot be read"))
        return data

    def ifd(self, pos: int) -> tuple[Ifd, int]:
        """Read one directory; return it and the place of the next (0: none)."""
        if pos in self.seen or len(self.seen) >= MAX_IFDS:
            raise SlideError(DAMAGED.format("its directories run in a circle"))
        self.seen.add(pos)
        count_format, entry, link = ("Q", 20, 8) if self.big else ("H", 12, 4)
        start = pos + struct.calcsize(self.e + count_format)
        (n,) = struct.unpack(self.e + count_format, self.at(pos, start - pos))
        if not 0 < n <= MAX_ENTRIES:
            raise SlideError(DAMAGED.format("a directory is unreadable"))
        data, after = self.at(start, n * entry), start + n * entry
        if not self.big and not self.ndpi:
            self.ndpi = any(
                struct.unpack_from(self.e + "H", data, k * entry)[0] == NDPI_MARK for k in range(n)
            )
        high = [0] * n
        if self.ndpi:
            link = 8
            high = list(struct.unpack(self.e + f"{n}I", self.at(after + 8, 4 * n)))
        tags = {}
        for k in range(n):
            tag, values = self.entry(data[k * entry : (k + 1) * entry], high[k])
            if values is not None:
                tags[tag] = values
        (following,) = struct.unpack(self.e + ("Q" if link == 8 else "I"), self.at(after, link))
        return Ifd(tags), following

    def entry(self, data: bytes, high: int) -> tuple[int, NDArray[Any] | None]:
        """One tag's values; None where its type is unknown or its text too long to matter."""
        if self.big:
            tag, kind, count = struct.unpack(self.e + "HHQ", data[:12])
            inline = data[12:]
        else:
            tag, kind, count = struct.unpack(self.e + "HHI", data[:8])
            inline = data[8:]
        if kind not in TYPES or count == 0:
            return tag, None
        dtype = np.dtype(TYPES[kind]).newbyteorder(self.e)
        n = int(count) * dtype.itemsize * (2 if kind in PAIRS else 1)
        if n <= len(inline):
            values = np.frombuffer(inline[:n], dtype)
            return tag, values.astype(np.uint64) | np.uint64(high << 32) if high and kind == 4 else values
        if n > (MAX_TEXT_BYTES if kind in {1, 2, 7} else self.budget):
            raise SlideError(DAMAGED.format("a directory entry is larger than any true one"))
        self.budget -= n
        at = int(np.frombuffer(inline, np.dtype("u8" if self.big else "u4").newbyteorder(self.e))[0])
        return tag, np.frombuffer(self.at(at + (high << 32), n), dtype)


def parse(path: Path) -> TiffFile:
    """Read and check every directory; SlideError in one sentence for what native readers should not see."""
    with path.open("rb") as f:
        parser = _Parser(f.fileno())
        ifds: list[Ifd] = []
        subs: list[tuple[Ifd, ...]] = []
        following = parser.first
        while following:
            ifd, following = parser.ifd(following)
            children = () if parser.ndpi else tuple(int(v) for v in ifd.tags.get(SUB_IFDS, ()) if v)
            ifds.append(ifd)
            subs.append(tuple(parser.ifd(at)[0] for at in children))
        if not ifds:
            raise SlideError("The TIFF file holds no image.")
        for ifd in [*ifds, *(s for group in subs for s in group)]:
            _check(ifd, parser.size, parser.ndpi)
        return TiffFile(tuple(ifds), tuple(subs), parser.ndpi)


def _check(ifd: Ifd, file_size: int, ndpi: bool) -> None:
    w, h = ifd.one(WIDTH), ifd.one(HEIGHT)
    if w < 1 or h < 1:
        raise SlideError(DAMAGED.format("an image in it has no size"))
    if max(w, h) > MAX_SIDE:
        raise SlideError(f"The TIFF file spans {w} × {h} pixels; at most {MAX_SIDE} a side can be opened.")
    offsets, counts = ifd.segments
    if len(offsets) != len(counts):
        raise SlideError(DAMAGED.format("its list of tiles is unreadable"))
    held = counts > 0
    limit = np.uint64(file_size)
    if (offsets[held] > limit).any() or (counts[held] > limit - np.minimum(offsets[held], limit)).any():
        raise SlideError(DAMAGED.format("image data lie outside the file"))
    samples = ifd.one(SAMPLES, 1)
    bits = max((int(b) for b in ifd.tags.get(BITS, ())), default=1)
    if ifd.tiled:
        tw, th = ifd.one(TILE_WIDTH), ifd.one(TILE_HEIGHT)
        if tw < 1 or th < 1:
            raise SlideError(DAMAGED.format("its tiles have no size"))
        planes = samples if ifd.one(PLANAR, 1) == 2 else 1
        if len(offsets) < -(-w // tw) * -(-h // th) * planes:
            raise SlideError(DAMAGED.format("tiles are missing from its list"))
    else:
        tw, th = w, min(h, ifd.one(ROWS_PER_STRIP, h) or h)
    if (
        not 1 <= samples <= 64
        or bits > 64
        or (not ndpi and tw * th * samples * bits // 8 > MAX_SEGMENT_BYTES)
    ):
        raise SlideError("The TIFF file keeps its image in pieces too large to decode safely; save it tiled.")
