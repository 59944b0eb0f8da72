"""Broken and hostile files, made from good ones: name of the case to a function that writes it."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from czi_writer import CziWriter, drawn
from PIL import Image

from cmlcore.slides.czi_write import encode

Case = Callable[[Path], object]
DIRECTORY_AT, METADATA_AT, PENDING_AT = 32 + 52, 32 + 60, 32 + 68  # pointers in a CZI's header
ENTRIES = 32 + 128  # from the directory segment's start to its first entry


def good_czi(compression: str = "zstd1") -> bytearray:
    """Four tiles of 64 × 64 pixels and a half-size level of one tile."""
    image = drawn(128, 128)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "good.czi")
        with CziWriter(path) as czi:
            for k in range(4):
                y, x = divmod(k, 2)
                part = image[y * 64 : y * 64 + 64, x * 64 : x * 64 + 64]
                czi.add(part, (x * 64, y * 64), dims={"S": 0, "M": k}, compression=compression)
            czi.add(image[::2, ::2], (0, 0), dims={"S": 0}, logical=(128, 128), compression=compression)
            czi.close("<ImageDocument/>")
        return bytearray(path.read_bytes())


def directory_at(data: bytes) -> int:
    """Where the directory segment starts."""
    return int(struct.unpack_from("<q", data, DIRECTORY_AT)[0])


def patched(data: bytearray, at: int, form: str, *values: int) -> bytes:
    """The file with some bytes replaced."""
    changed = bytearray(data)
    struct.pack_into(form, changed, at, *values)
    return bytes(changed)


def with_dimension(data: bytearray, axes: str, **fields: int) -> bytes:
    """The file with start, size or stored size of the first tile's axes replaced, in directory and tile."""
    changed = bytearray(data)
    entry = directory_at(data) + ENTRIES
    (tile,) = struct.unpack_from("<q", data, entry + 6)
    for place in (entry, tile + 32 + 16):
        for axis in axes:
            dimension = place + 32 + 20 * "XY".index(axis)
            for name, offset in (("start", 4), ("size", 8), ("stored", 16)):
                if name in fields:
                    struct.pack_into("<i", changed, dimension + offset, fields[name])
    return bytes(changed)


def with_payload_size(data: bytearray, size: int) -> bytes:
    """The file with the first tile claiming to hold ``size`` bytes."""
    (tile,) = struct.unpack_from("<q", data, directory_at(data) + ENTRIES + 6)
    return patched(data, tile + 32 + 8, "<q", size)


def bomb_czi(path: Path, compression: str, payload: bytes) -> None:
    """A tile that says 512 × 512 and holds a payload of something else."""
    with CziWriter(path) as czi:
        czi.add(
            np.zeros((512, 512, 3), np.uint8), (0, 0), dims={"S": 0}, compression=compression, payload=payload
        )


def tiff(tags: list[tuple[int, int, int, int]], data: bytes = b"", next_ifd: int = 0) -> bytes:
    """A classic little-endian TIFF of one directory, ``data`` right behind it."""
    entries = b"".join(struct.pack("<HHII", *t) for t in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", next_ifd) + data


def grey_tiff(w: int, h: int, layout: list[tuple[int, int, int, int]], data: bytes = b"") -> bytes:
    """An 8-bit deflate TIFF with its tiles or strips laid out as told."""
    plain = [(256, 4, 1, w), (257, 4, 1, h), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    return tiff(plain + layout, data)


def png(w: int, h: int, rows: int) -> bytes:
    """A PNG whose header says w × h and that holds the given number of black rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packed = zlib.compress(b"\0" * (1 + 3 * w) * rows, 9) if rows else b""
    head = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def jpeg_file() -> bytearray:
    """A good JPEG picture."""
    buffer = io.BytesIO()
    Image.fromarray(drawn(200, 300)).save(buffer, "JPEG")
    return bytearray(buffer.getvalue())


def jpeg_claiming(w: int, h: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    data = jpeg_file()
    return patched(data, data.find(b"\xff\xc0") + 5, ">HH", h, w)


def tiled_tiff(path: Path) -> bytes:
    """A good tiled RGB TIFF."""
    tifffile.imwrite(path, drawn(300, 400), tile=(128, 128), compression="zlib", photometric="rgb")
    return path.read_bytes()


def flat_jxr(side: int) -> bytes:
    """A JPEG-XR payload of a black square."""
    return encode(np.zeros((side, side, 3), np.uint8), "jpegxr", 0.5)


def _bytes(make: Callable[[], bytes | bytearray]) -> Case:
    return lambda path: path.write_bytes(make())


def _cut_tiff(keep: Callable[[bytes], bytes]) -> Case:
    return lambda path: path.write_bytes(keep(tiled_tiff(path)))


CASES: dict[str, Case] = {
    "empty": _bytes(lambda: b""),
    "one byte": _bytes(lambda: b"Z"),
    "text": _bytes(lambda: b"hello world\n" * 1000),
    "zeros": _bytes(lambda: bytes(1 << 20)),
    "czi: 40 bytes": _bytes(lambda: good_czi()[:40]),
    "czi: header only": _bytes(lambda: good_czi()[:544]),
    "czi: first half": _bytes(lambda: good_czi()[: len(good_czi()) // 2]),
    "czi: end missing": _bytes(lambda: good_czi()[:-100]),
    "czi: directory of noise": _bytes(
        lambda: patched(good_czi(), directory_at(good_czi()) + ENTRIES, "<50q", *range(10**9, 10**9 + 50))
    ),
    "czi: directory count huge": _bytes(
        lambda: patched(good_czi(), directory_at(good_czi()) + 32, "<i", 2**31 - 1)
    ),
    "czi: directory count negative": _bytes(
        lambda: patched(good_czi(), directory_at(good_czi()) + 32, "<i", -5)
    ),
    "czi: no parts": _bytes(lambda: patched(good_czi(), directory_at(good_czi()) + 32, "<i", 0)),
    "czi: directory length huge": _bytes(
        lambda: patched(good_czi(), directory_at(good_czi()) + 16, "<qq", 1 << 60, 1 << 60)
    ),
    "czi: directory past the end": _bytes(lambda: patched(good_czi(), DIRECTORY_AT, "<q", 10**9)),
    "czi: directory before the start": _bytes(lambda: patched(good_czi(), DIRECTORY_AT, "<q", -4096)),
    "czi: metadata past the end": _bytes(lambda: patched(good_czi(), METADATA_AT, "<q", 10**12)),
    "czi: unfinished": _bytes(lambda: patched(good_czi(), PENDING_AT, "<i", -1)),
    "czi: one of several files": _bytes(lambda: patched(good_czi(), 32 + 48, "<i", 1)),
    "czi: tile at 2^31": _bytes(lambda: with_dimension(good_czi(), "X", start=2**31 - 10)),
    "czi: tile at -2^31": _bytes(lambda: with_dimension(good_czi(), "X", start=-(2**31))),
    "czi: canvas of 10^9": _bytes(lambda: with_dimension(good_czi(), "XY", start=10**9)),
    "czi: tile 2^31 wide": _bytes(lambda: with_dimension(good_czi(), "X", size=2**31 - 1)),
    "czi: tile of no width": _bytes(lambda: with_dimension(good_czi(), "X", size=0, stored=0)),
    "czi: tile of negative width": _bytes(lambda: with_dimension(good_czi(), "X", size=-5, stored=-5)),
    "czi: zstd tile of 100000": _bytes(
        lambda: with_dimension(good_czi(), "XY", size=100_000, stored=100_000)
    ),
    "czi: zstd tile larger than its pixels": _bytes(
        lambda: with_dimension(good_czi(), "XY", size=128, stored=128)
    ),
    "czi: raw tile larger than its pixels": _bytes(
        lambda: with_dimension(good_czi("none"), "XY", size=8000, stored=8000)
    ),
    "czi: jpeg-xr tile larger than its pixels": _bytes(
        lambda: with_dimension(good_czi("jpegxr"), "XY", size=128, stored=128)
    ),
    "czi: zstd payload of 2^40": _bytes(lambda: with_payload_size(good_czi(), 1 << 40)),
    "czi: jpeg-xr payload of 2^40": _bytes(lambda: with_payload_size(good_czi("jpegxr"), 1 << 40)),
    "czi: jpeg-xr bomb": lambda path: bomb_czi(path, "jpegxr", flat_jxr(4096)),
    "czi: zstd bomb": lambda path: bomb_czi(
        path, "zstd1", b"\x01" + imagecodecs.zstd_encode(bytes(64 << 20))
    ),
    "czi: zstd0 of noise": lambda path: bomb_czi(path, "zstd0", bytes(range(256)) * 16),
    "czi: jpeg-xr of noise": lambda path: bomb_czi(path, "jpegxr", bytes(range(256)) * 16),
    "tiff: header only": _bytes(lambda: b"II*\0\x08\0\0\0"),
    "tiff: no directory": _bytes(lambda: b"II*\0" + bytes(100)),
    "tiff: directories in a circle": _bytes(lambda: tiff([(256, 4, 1, 10), (257, 4, 1, 10)], next_ifd=8)),
    "tiff: 2^31 wide": _bytes(
        lambda: grey_tiff(
            2**31 - 1, 2**31 - 1, [(322, 4, 1, 256), (323, 4, 1, 256), (324, 4, 1, 8), (325, 4, 1, 8)]
        )
    ),
    "tiff: one tile of 60000": _bytes(
        lambda: grey_tiff(
            60_000, 60_000, [(322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 8), (325, 4, 1, 8)]
        )
    ),
    "tiff: one strip of 60000": _bytes(
        lambda: grey_tiff(60_000, 60_000, [(273, 4, 1, 8), (278, 4, 1, 60_000), (279, 4, 1, 8)])
    ),
    "tiff: tiles of no size": _bytes(
        lambda: grey_tiff(100, 100, [(322, 4, 1, 0), (323, 4, 1, 0), (324, 4, 1, 8), (325, 4, 1, 8)])
    ),
    "tiff: tiles missing": _bytes(
        lambda: grey_tiff(1000, 1000, [(322, 4, 1, 16), (323, 4, 1, 16), (324, 4, 1, 8), (325, 4, 1, 8)])
    ),
    "tiff: strip of noise": _bytes(
        lambda: grey_tiff(64, 64, [(273, 4, 1, 122), (278, 4, 1, 64), (279, 4, 1, 64)], bytes(range(200)))
    ),
    "tiff: first half": _cut_tiff(lambda data: data[: len(data) // 2]),
    "tiff: end missing": _cut_tiff(lambda data: data[:-500]),
    "png: first part": _bytes(lambda: png(2000, 2000, 1000)[:3000]),
    "png: 30000 wide": _bytes(lambda: png(30_000, 30_000, 10)),
    "png: 2^31 wide": _bytes(lambda: png(2**31 - 1, 2**31 - 1, 0)),
    "jpeg: first half": _bytes(lambda: jpeg_file()[: len(jpeg_file()) // 2]),
    "jpeg: 65500 wide": _bytes(lambda: jpeg_claiming(65_500, 65_500)),
    "dicom: noise": _bytes(lambda: bytes(128) + b"DICM" + bytes(range(256)) * 20),
}
