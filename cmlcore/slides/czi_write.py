"""Writes CZI slides as a scanner would: mosaics, scenes, pyramids, any compression, attachments, metadata.

pylibCZIrw writes neither pyramids nor JPEG-XR nor attachments; the demo slide and the tests need them.
Layout after Zeiss, "ZEN file format CZI", version 1.2.2.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from xml.sax.saxutils import escape

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError
from cmlcore.geometry import Mpp
from cmlcore.slides.pixels import mean_down

COMPRESSIONS = {"none": 0, "jpegxr": 4, "zstd0": 5, "zstd1": 6}
PIXEL_TYPES = {("uint8", 1): 0, ("uint16", 1): 1, ("float32", 1): 2, ("uint8", 3): 3, ("uint16", 3): 4}
NAMES = {0: "Gray8", 1: "Gray16", 2: "Gray32Float", 3: "Bgr24", 4: "Bgr48"}
JXR_RGB24 = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc90d")  # pixel format GUIDs, last byte apart
JXR_BGR24 = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc90c")
NO_PYRAMID, PYRAMID = 0, 2

Pixels = NDArray[np.generic]


def encode(pixels: Pixels, compression: str, quality: float | None = None) -> bytes:
    """Payload of a sub-block: grey ``(h, w)`` or RGB ``(h, w, 3)``, which CZI stores as BGR.

    ``quality`` 0..1 is for JPEG-XR; None is lossless.
    """
    if compression == "jpegxr":
        photometric = "rgb" if pixels.ndim == 3 else None
        data = bytes(
            imagecodecs.jpegxr_encode(np.ascontiguousarray(pixels), level=quality, photometric=photometric)
        )
        return data[:200].replace(JXR_RGB24, JXR_BGR24) + data[200:]
    bgr = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    if compression == "none":
        return bgr.tobytes()
    if compression == "zstd1" and bgr.dtype == np.uint16 and bgr.ndim == 2:  # low bytes, then high ones
        halves = bgr.reshape(-1).view(np.uint8).reshape(-1, 2).T
        return b"\x03\x01\x01" + bytes(
            imagecodecs.zstd_encode(np.ascontiguousarray(halves).tobytes(), level=1)
        )
    packed = bytes(imagecodecs.zstd_encode(bgr.tobytes(), level=1))
    return b"\x01" + packed if compression == "zstd1" else packed


class CziWriter:
    """Writes one file, sub-block by sub-block; the directory follows on ``close``."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._entries: list[bytes] = []
        self._attachments: list[bytes] = []
        self._id = uuid.uuid4().bytes
        self._file.write(bytes(32 + 512))

    def add(
        self,
        pixels: Pixels,
        at: tuple[int, int],
        *,
        dims: Mapping[str, int] | None = None,
        logical: tuple[int, int] | None = None,
        compression: str = "zstd1",
        quality: float | None = None,
        payload: bytes | None = None,
    ) -> None:
        """Add a sub-block with its top left ``at`` on the canvas.

        ``dims`` are further places (S scene, M mosaic tile, C channel, Z, T, …). A ``logical`` size
        ``(w, h)`` larger than the pixels makes it part of a pyramid. ``payload`` replaces the encoded pixels.
        """
        h, w = pixels.shape[:2]
        lw, lh = logical or (w, h)
        kind = PIXEL_TYPES[pixels.dtype.name, 1 if pixels.ndim == 2 else 3]
        data = encode(pixels, compression, quality) if payload is None else payload
        places = [(b"X", at[0], lw, w), (b"Y", at[1], lh, h)]
        places += [(d.encode(), v, 1, 1) for d, v in ({"C": 0} | dict(dims or {})).items()]
        pyramid = NO_PYRAMID if (lw, lh) == (w, h) else PYRAMID
        entry = struct.pack(
            "<2siqiiB5xi", b"DV", kind, self._file.tell(), 0, COMPRESSIONS[compression], pyramid, len(places)
        )
        entry += b"".join(
            struct.pack("<4siifi", d, start, n, start, stored) for d, start, n, stored in places
        )
        head = (struct.pack("<iiq", 0, 0, len(data)) + entry).ljust(256, b"\0")
        self._segment(b"ZISRAWSUBBLOCK", head + data)
        self._entries.append(entry)

    def attach(self, name: str, kind: str, data: bytes) -> None:
        """Add an attachment, such as ``("Label", "CZI", …)`` or ``("Thumbnail", "JPG", …)``."""
        entry = struct.pack(
            "<2s10xqi16s8s80s", b"A1", self._file.tell(), 0, uuid.uuid4().bytes, kind.encode(), name.encode()
        )
        self._segment(b"ZISRAWATTACH", (struct.pack("<q8x", len(data)) + entry).ljust(256, b"\0") + data)
        self._attachments.append(entry)

    def close(self, xml: str = "") -> None:
        """Write directory, metadata and header, and close the file. Closing twice is harmless."""
        if self._file.closed:
            return
        directory = struct.pack("<i124x", len(self._entries)) + b"".join(self._entries)
        directory_at = self._segment(b"ZISRAWDIRECTORY", directory)
        text = xml.encode()
        metadata_at = self._segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(text), 0) + text)
        attached = struct.pack("<i252x", len(self._attachments)) + b"".join(self._attachments)
        attached_at = self._segment(b"ZISRAWATTDIR", attached)
        self._file.seek(0)
        self._file.write(struct.pack("<16sqq", b"ZISRAWFILE", 512, 512))
        ids = (1, 0, 0, 0, self._id, self._id, 0)
        self._file.write(struct.pack("<iiii16s16siqqiq", *ids, directory_at, metadata_at, 0, attached_at))
        self._file.close()

    def __enter__(self) -> CziWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _segment(self, tag: bytes, body: bytes) -> int:
        """Append a segment padded to 32 bytes; return where it starts."""
        at = self._file.tell()
        padded = -(-len(body) // 32) * 32
        self._file.write(struct.pack("<16sqq", tag, padded, len(body)) + body.ljust(padded, b"\0"))
        return at


def write_slide(
    path: Path,
    scenes: Sequence[tuple[tuple[int, int], Pixels]],
    *,
    mpp: Mpp | None = None,
    objective: float | None = None,
    date: str = "",
    tile: int = 1024,
    pyramid: bool = True,
    compression: str = "zstd1",
    quality: float | None = None,
    xml: str | None = None,
) -> None:
    """Write whole images as mosaics.

    Args:
        path: the file.
        scenes: canvas origin ``(x, y)`` and pixels of each: RGB ``(h, w, 3)`` or grey ``(h, w)``.
        mpp: pixel size; left out of the metadata if None.
        objective: nominal magnification, likewise.
        date: acquisition date, ISO 8601, likewise.
        tile: side of a mosaic tile in stored pixels.
        pyramid: add levels at 1/2, 1/4, … until one tile holds the scene (8-bit RGB only).
        compression: none, zstd0, zstd1 or jpegxr.
        quality: of JPEG-XR, 0..1; None is lossless.
        xml: metadata to write instead of our own.

    """
    first = scenes[0][1]
    if pyramid and (first.dtype != np.uint8 or first.ndim != 3):
        raise InputError("A pyramid is written for 8-bit RGB images only.")
    with CziWriter(path) as czi:
        for s, (origin, image) in enumerate(scenes):
            factor, level = 1, image
            while True:
                _write_level(czi, s, origin, image.shape[:2], level, factor, tile, compression, quality)
                if not pyramid or max(level.shape[:2]) <= tile:
                    break
                factor, level = 2 * factor, mean_down(level.astype(np.uint8, copy=False), 2)
        kind = NAMES[PIXEL_TYPES[first.dtype.name, 1 if first.ndim == 2 else 3]]
        czi.close(metadata(kind, len(scenes), mpp, objective, date) if xml is None else xml)


def _write_level(
    czi: CziWriter,
    scene: int,
    origin: tuple[int, int],
    size: tuple[int, ...],
    level: Pixels,
    factor: int,
    tile: int,
    compression: str,
    quality: float | None,
) -> None:
    number = 0
    for y in range(0, level.shape[0], tile):
        for x in range(0, level.shape[1], tile):
            part = level[y : y + tile, x : x + tile]
            h, w = (
                min(part.shape[0] * factor, size[0] - y * factor),
                min(part.shape[1] * factor, size[1] - x * factor),
            )
            czi.add(
                part,
                (origin[0] + x * factor, origin[1] + y * factor),
                dims={"S": scene, "M": number} if factor == 1 else {"S": scene},
                logical=(w, h),
                compression=compression,
                quality=quality,
            )
            number += 1


def metadata(
    pixel_type: str, scenes: int, mpp: Mpp | None = None, objective: float | None = None, date: str = ""
) -> str:
    """The part of ZEN's XML that readers ask for."""
    axes = (("X", mpp.x), ("Y", mpp.y)) if mpp else ()
    scaling = "".join(
        f'<Distance Id="{axis}"><Value>{um * 1e-6:.12g}</Value></Distance>' for axis, um in axes
    )
    lens = (
        '<Instrument><Objectives><Objective Id="Objective:1">'
        f"<NominalMagnification>{objective:g}</NominalMagnification></Objective></Objectives></Instrument>"
        if objective
        else ""
    )
    taken = f"<AcquisitionDateAndTime>{escape(date)}</AcquisitionDateAndTime>" if date else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?><ImageDocument><Metadata><Information>'
        f"<Image><PixelType>{pixel_type}</PixelType><SizeS>{scenes}</SizeS>{taken}"
        '<ObjectiveSettings><ObjectiveRef Id="Objective:1"/></ObjectiveSettings></Image>'
        f"{lens}</Information><Scaling><Items>{scaling}</Items></Scaling></Metadata></ImageDocument>"
    )
