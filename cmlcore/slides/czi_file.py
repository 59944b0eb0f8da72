"""The CZI container (ZISRAW) in pure Python: header, sub-block directory, metadata, attachment names.

Bounded in memory and time and never decoding a pixel, this is the wall before libCZI, which a hostile
directory can crash. Layout after Zeiss, "ZEN file format CZI", version 1.2.2.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import SlideError
from cmlcore.slides.stored import MAX_SIDE

MAX_SUBBLOCKS = 200_000
MAX_DIRECTORY_BYTES = 256 << 20
MAX_XML_BYTES = 16 << 20
MAX_TILE_BYTES = 512 << 20
COORDINATE_LIMIT = 1 << 30

PIXEL_NAMES = {0: "Gray8", 1: "Gray16", 2: "Gray32Float", 3: "Bgr24", 4: "Bgr48"}
PIXEL_BYTES = {0: 1, 1: 2, 2: 4, 3: 3, 4: 6}
COMPRESSIONS = {0: "none", 4: "JPEG-XR", 5: "zstd", 6: "zstd"}
JXR, ZSTD0, ZSTD1 = 4, 5, 6
BGR48 = 4  # libCZI 6.1 unpacks its zstd1 hi-lo form wrongly, without an error

ENTRY = np.dtype(
    [
        (n, np.int64)
        for n in ("x", "y", "w", "h", "stored_w", "stored_h", "pixel", "compression", "at", "scene")
    ]
    + [("channel", np.int64)]
)


@dataclass(frozen=True)
class CziFile:
    """What the container says.

    ``blocks`` is a structured array of dtype ``ENTRY`` in canvas pixels, one row a sub-block, pyramid
    included; ``scene`` is -1 where the file has no scenes. ``dims`` maps each other dimension (T, Z, …) to
    its first index and length. ``attachments`` holds names only.
    """

    blocks: NDArray[np.void]
    dims: dict[str, tuple[int, int]]
    xml: bytes
    attachments: frozenset[str]

    def level(self, scene: int, factor: int) -> NDArray[np.void]:
        """Sub-blocks of one scene stored at 1/factor."""
        b = self.blocks
        rows: NDArray[np.void] = b[(b["scene"] == scene) & (factors_of(b) == factor)]
        return rows


def factors_of(blocks: NDArray[np.void]) -> NDArray[np.int64]:
    """Downsample of each sub-block rounded to a whole number (logical over stored size, longer side)."""
    wide = blocks["w"] >= blocks["h"]
    logical = np.where(wide, blocks["w"], blocks["h"])
    stored = np.where(wide, blocks["stored_w"], blocks["stored_h"])
    whole: NDArray[np.int64] = np.rint(logical / stored).astype(np.int64)
    return whole


class _Bytes:
    """Bounded reads at absolute positions of one open file."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size

    def at(self, pos: int, n: int, what: str) -> bytes:
        if pos < 0 or n < 0 or pos + n > self.size:
            raise SlideError(f"The CZI file is damaged or cut short: its {what} lies outside the file.")
        data = os.pread(self.fd, n, pos)
        if len(data) != n:
            raise SlideError(f"The CZI file is damaged or cut short: its {what} cannot be read.")
        return data

    def segment(self, pos: int, tag: bytes, what: str) -> int:
        """Check a segment's head; return the bytes it uses after its 32-byte head."""
        sid, allocated, used = struct.unpack("<16sqq", self.at(pos, 32, what))
        used = used or allocated
        if sid.rstrip(b"\0") != tag or used < 0 or pos + 32 + used > self.size:
            raise SlideError(f"The CZI file is damaged or cut short: its {what} is not where it should be.")
        return int(used)


def parse(path: Path) -> CziFile:
    """Read and check the container; SlideError in one sentence for anything libCZI should not see."""
    with path.open("rb") as f:
        raw = _Bytes(f.fileno())
        raw.segment(0, b"ZISRAWFILE", "header")
        head = struct.unpack("<iiii16s16siqqiq", raw.at(32, 80, "header"))
        own, primary, part, directory, metadata, pending, attached = *head[4:9], head[9], head[10]
        if own != primary or part:
            raise SlideError(
                "This CZI is one part of a slide split over several files; export it as a single CZI."
            )
        if directory <= 0 or pending:
            raise SlideError("The CZI file was not finished by the scanner; export or copy it again.")
        blocks, dims = _directory(raw, directory)
        _check_payloads(raw, blocks)
        _check_scenes(blocks)
        return CziFile(blocks, dims, _metadata(raw, metadata), _attachments(raw, attached))


def _directory(raw: _Bytes, pos: int) -> tuple[NDArray[np.void], dict[str, tuple[int, int]]]:
    used = raw.segment(pos, b"ZISRAWDIRECTORY", "directory")
    (count,) = struct.unpack("<i", raw.at(pos + 32, 4, "directory"))
    if count <= 0:
        raise SlideError("The CZI file holds no image.")
    if count > MAX_SUBBLOCKS or used > MAX_DIRECTORY_BYTES:
        raise SlideError(
            f"The CZI file has more than {MAX_SUBBLOCKS} image parts, which is more than can be served."
        )
    data = raw.at(pos + 32 + 128, used - 128, "directory")
    blocks = np.zeros(count, ENTRY)
    spans: dict[str, tuple[int, int]] = {}
    offset = 0
    for k in range(count):
        offset, blocks[k] = _entry(data, offset, raw.size, spans)
    return blocks, {d: (low, high - low) for d, (low, high) in spans.items()}


def _entry(
    data: bytes, o: int, file_size: int, spans: dict[str, tuple[int, int]]
) -> tuple[int, tuple[int, ...]]:
    if o + 32 > len(data) or data[o : o + 2] != b"DV":
        raise SlideError("The CZI file is damaged: its directory is unreadable.")
    pixel, at, _, compression = struct.unpack_from("<iqii", data, o + 2)
    (n,) = struct.unpack_from("<i", data, o + 28)
    if not 0 < n <= 40 or o + 32 + 20 * n > len(data):
        raise SlideError("The CZI file is damaged: its directory is unreadable.")
    axes: dict[str, tuple[int, int, int]] = {}
    for name, start, size, _, stored in struct.iter_unpack("<4siifi", data[o + 32 : o + 32 + 20 * n]):
        axes[name.rstrip(b"\0").decode("latin-1")] = (start, size, stored or size)
    if "X" not in axes or "Y" not in axes:
        raise SlideError("The CZI file is damaged: an image part has no place on the canvas.")
    for d in ("X", "Y"):
        start, size, stored = axes[d]
        if size <= 0 or not 0 < stored <= 2 * size or max(abs(start), size) > COORDINATE_LIMIT:
            raise SlideError("The CZI file is damaged: an image part has an impossible place or size.")
    if pixel not in PIXEL_BYTES:
        raise SlideError(
            f"The CZI file holds pixels of type {pixel}, which cannot be read; export it as 8-bit colour."
        )
    if compression not in COMPRESSIONS:
        raise SlideError(
            "The CZI file uses a compression that cannot be read; "
            "export it with JPEG-XR, zstd or no compression."
        )
    if axes["X"][2] * axes["Y"][2] * PIXEL_BYTES[pixel] > MAX_TILE_BYTES:
        raise SlideError("An image part of the CZI file is too large to be decoded safely; export it tiled.")
    if at <= 0 or at + 48 > file_size:
        raise SlideError("The CZI file is damaged or cut short: an image part lies outside the file.")
    for d, (start, size, _) in axes.items():
        if d not in "XYSM":
            low, high = spans.get(d, (start, start + size))
            spans[d] = min(low, start), max(high, start + size)
    (x, w, sw), (y, h, sh) = axes["X"], axes["Y"]
    scene, channel = axes.get("S", (-1,))[0], axes.get("C", (0,))[0]
    return o + 32 + 20 * n, (x, y, w, h, sw, sh, pixel, compression, at, scene, channel)


@dataclass(frozen=True, slots=True)
class _Payload:
    """Where a sub-block's pixels lie, and what they should unpack to."""

    at: int
    size: int
    width: int
    height: int
    pixel_bytes: int


def _check_payloads(raw: _Bytes, blocks: NDArray[np.void]) -> None:
    """Hold every sub-block's own header and payload head against the directory."""
    for b in blocks:
        at = int(b["at"])
        used = raw.segment(at, b"ZISRAWSUBBLOCK", "image part")
        meta, attachment, size = struct.unpack("<iiq", raw.at(at + 32, 16, "image part"))
        (n_dims,) = struct.unpack("<i", raw.at(at + 48 + 28, 4, "image part"))
        if meta < 0 or attachment < 0 or size <= 0 or meta + attachment + size > used or not 0 < n_dims <= 40:
            raise SlideError("The CZI file is damaged: an image part is longer than its place in the file.")
        start = at + 32 + max(256, 16 + 32 + 20 * n_dims) + meta
        w, h = int(b["stored_w"]), int(b["stored_h"])
        payload = _Payload(start, int(size), w, h, PIXEL_BYTES[int(b["pixel"])] * w * h)
        if not _PAYLOAD_CHECKS[int(b["compression"])](raw, payload):
            raise SlideError("The CZI file is damaged: an image part does not hold what the directory says.")


def _raw_fits(raw: _Bytes, p: _Payload) -> bool:
    return p.size >= p.pixel_bytes and p.at + p.size <= raw.size


def _jxr_fits(raw: _Bytes, p: _Payload) -> bool:
    """Whether width and height of the JPEG-XR image are those of the sub-block (tags 0xBC80, 0xBC81)."""
    head = raw.at(p.at, min(p.size, 8), "image part")
    if len(head) < 8 or head[:3] != b"II\xbc":
        return False
    (ifd,) = struct.unpack_from("<I", head, 4)
    if ifd + 2 > p.size:
        return False
    entries = raw.at(p.at + ifd, min(p.size - ifd, 2 + 12 * 64), "image part")
    (n,) = struct.unpack_from("<H", entries, 0)
    values: dict[int, int] = {}
    for k in range(min(n, (len(entries) - 2) // 12)):
        tag, kind, _, value = struct.unpack_from("<HHII", entries, 2 + 12 * k)
        values[tag] = value & 0xFFFF if kind == 3 else value
    return (values.get(0xBC80), values.get(0xBC81)) == (p.width, p.height)


def _zstd0_fits(raw: _Bytes, p: _Payload) -> bool:
    return _frame_size(raw.at(p.at, min(p.size, 18), "image part")) == p.pixel_bytes


def _zstd1_fits(raw: _Bytes, p: _Payload) -> bool:
    """A header of 1 byte, or 3 with the hi-lo packing flag, comes before the frame."""
    head = raw.at(p.at, min(p.size, 21), "image part")
    if head[0] == 3 and p.pixel_bytes == PIXEL_BYTES[BGR48] * p.width * p.height:
        raise SlideError(
            "The CZI file packs 16-bit colour in a way that decodes wrongly; export it as 8-bit colour."
        )
    return head[0] in (1, 3) and _frame_size(head[head[0] :]) == p.pixel_bytes


_PAYLOAD_CHECKS: dict[int, Callable[[_Bytes, _Payload], bool]] = {
    0: _raw_fits,
    JXR: _jxr_fits,
    ZSTD0: _zstd0_fits,
    ZSTD1: _zstd1_fits,
}


def _frame_size(frame: bytes) -> int | None:
    """Content size in a zstd frame header (RFC 8878, 3.1.1.1), None if it is not given."""
    if len(frame) < 6 or frame[:4] != b"\x28\xb5\x2f\xfd":
        return None
    flag, single, dictionary = frame[4] >> 6, frame[4] >> 5 & 1, frame[4] & 3
    start = 5 + (not single) + (0, 1, 2, 4)[dictionary]
    length = (1 if single else 0, 2, 4, 8)[flag]
    field = frame[start : start + length]
    if not length or len(field) < length:
        return None
    return int.from_bytes(field, "little") + (256 if length == 2 else 0)


def _check_scenes(blocks: NDArray[np.void]) -> None:
    base = blocks[factors_of(blocks) == 1]
    if not len(base):
        raise SlideError("The CZI file holds no image at full resolution.")
    for scene in np.unique(base["scene"]):
        b = base[base["scene"] == scene]
        w = int((b["x"] + b["w"]).max() - b["x"].min())
        h = int((b["y"] + b["h"]).max() - b["y"].min())
        if max(w, h) > MAX_SIDE:
            raise SlideError(
                f"The CZI file spans {w} × {h} pixels; at most {MAX_SIDE} a side can be opened. "
                "It is damaged, or its parts lie too far apart."
            )


def _metadata(raw: _Bytes, pos: int) -> bytes:
    if pos <= 0:
        return b""
    raw.segment(pos, b"ZISRAWMETADATA", "metadata")
    (size,) = struct.unpack("<i", raw.at(pos + 32, 4, "metadata"))
    if size < 0:
        raise SlideError("The CZI file is damaged: its metadata cannot be read.")
    if size > MAX_XML_BYTES:
        raise SlideError(
            "The metadata of the CZI file is larger than 16 MB; export the slide again without it."
        )
    return raw.at(pos + 32 + 256, size, "metadata")


def _attachments(raw: _Bytes, pos: int) -> frozenset[str]:
    if pos <= 0:
        return frozenset()
    raw.segment(pos, b"ZISRAWATTDIR", "attachment list")
    (n,) = struct.unpack("<i", raw.at(pos + 32, 4, "attachment list"))
    if not 0 <= n <= 10_000:
        raise SlideError("The CZI file is damaged: its attachment list is unreadable.")
    data = raw.at(pos + 32 + 256, 128 * n, "attachment list")
    names = (data[128 * k + 48 : 128 * k + 128].split(b"\0")[0] for k in range(n))
    return frozenset(name.decode("latin-1") for name in names)
