"""OME-TIFF, and TIFF that OpenSlide does not know, through tifffile; segments are decoded one by one."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import tifffile
from imagecodecs import DelayedImportError
from numpy.typing import NDArray
from typing_extensions import override

from cmlcore.errors import InputError, SlideError
from cmlcore.geometry import Mpp, Region, Size
from cmlcore.slides import tiff_file as tf
from cmlcore.slides.base import Scene, SlideInfo
from cmlcore.slides.pixels import on_white, stretch, tint
from cmlcore.slides.stored import StoredReader, iso_date, power_levels

CACHE_BYTES = 128 << 20  # of decoded tiles and strips
MICRONS = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "": 1.0}
UNIT_UM = {2: 25_400.0, 3: 10_000.0}  # ResolutionUnit: inch, centimetre
BROKEN = (
    tifffile.TiffFileError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    RuntimeError,
    OSError,
    DelayedImportError,
)


class TiffReader(StoredReader):
    """The largest image of a TIFF: one scene; its pyramid in SubIFDs or pages; RGB or grey channels."""

    def __init__(self, path: Path, checked: tf.TiffFile) -> None:
        super().__init__()
        self._fd = -1
        try:
            # one file only: names of further files, given in the metadata, are not to be followed
            self._tiff = tifffile.TiffFile(path, _multifile=False)
            self._open(checked)
        except BROKEN as e:
            raise SlideError("The TIFF file is damaged, or laid out in a way that cannot be read.") from e
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._decoded: OrderedDict[tuple[int, int, int], NDArray[Any]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        self._ranges: dict[int, tuple[float, float]] = {}
        if self.info.kind == "brightfield":
            kind = self.kind_seen()
            self.info = replace(self.info, kind=kind)

    def _open(self, checked: tf.TiffFile) -> None:
        series = max(self._tiff.series, key=lambda s: s.keyframe.imagewidth * s.keyframe.imagelength)
        page = series.keyframe
        outer = series.axes[: -len(page.axes)] if len(series.axes) > len(page.axes) else ""
        lengths = dict(zip(outer, series.shape, strict=False))
        planes = int(np.prod(list(lengths.values()))) if lengths else 1
        if any(len(level.pages) < planes or any(p is None for p in level.pages) for level in series.levels):
            raise SlideError(
                "The TIFF file keeps its planes in another file or in one block; save it as OME-TIFF."
            )
        self._samples = page.samplesperpixel
        if page.dtype is None or self._samples not in {1, 3, 4} or page.photometric not in {0, 1, 2, 6}:
            raise SlideError("The TIFF file holds neither grey nor RGB pixels; save it as 8-bit RGB.")
        if page.photometric == 6 and tf.COMPRESSION_NAMES.get(int(page.compression)) not in {
            "JPEG",
            "JPEG 2000",
        }:
            raise SlideError("The TIFF file keeps its colours as uncompressed YCbCr; save it as 8-bit RGB.")
        sizes = [(level.keyframe.imagewidth, level.keyframe.imagelength) for level in series.levels]
        self._series, self._levels = series, power_levels(sizes)
        self._index = [self._plane(outer, lengths, c) for c in range(min(lengths.get("C", 1), 4))]
        n = lengths.get("C", 1)
        notes = [f"Only the first 4 of {n} channels are shown."] * (n > 4)
        notes += [f"Only the middle of {lengths.get('Z', 1)} focus planes is shown."] * (
            lengths.get("Z", 1) > 1
        )
        notes += [f"Only the first of {lengths.get('T', 1)} time points is shown."] * (
            lengths.get("T", 1) > 1
        )
        ome = _ome(checked, self._tiff.series.index(series)) if self._tiff.is_ome else None
        grey = self._samples == 1
        self.info = SlideInfo(
            format="OME-TIFF" if self._tiff.is_ome else "TIFF",
            scenes=(Scene(0, Size(*sizes[0]), name="Scene 1"),),
            levels=len(self._levels),
            mpp=_ome_mpp(ome) if ome is not None else _tag_mpp(checked.ifds[0]),
            objective=None,
            kind="brightfield" if not grey else "fluorescence" if n > 1 else "grey",
            channels=n if grey else 3,
            bits=int(page.bitspersample),
            compression=tf.COMPRESSION_NAMES.get(int(page.compression), "unknown"),
            acquired_at=iso_date(
                _text(ome, "AcquisitionDate") if ome is not None else checked.ifds[0].text(306)
            ),
            has_label=any(w in s.name.lower() for s in self._tiff.series for w in ("label", "macro")),
            warnings=tuple(notes),
        )

    @override
    def factors(self, scene: int) -> tuple[int, ...]:
        return tuple(self._levels)

    @override
    def read_level(self, scene: int, factor: int, stored: Region) -> NDArray[np.uint8]:
        raw = [self._read(factor, stored, k) for k in self._index]
        if self._samples == 1:
            return tint([stretch(c[..., 0], *self._range(k)) for k, c in enumerate(raw)])
        pixels = raw[0] if raw[0].dtype == np.uint8 else stretch(raw[0], 0.0, float(_top(raw[0].dtype)))
        return on_white(pixels) if self._samples == 4 else np.ascontiguousarray(pixels)

    @override
    def close(self) -> None:
        self._tiff.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @staticmethod
    def _plane(outer: str, lengths: dict[str, int], channel: int) -> int:
        """Index of the page of a channel: middle focus plane, first of everything else."""
        if not outer:
            return 0
        at = [channel if a == "C" else lengths[a] // 2 if a == "Z" else 0 for a in outer]
        return int(np.ravel_multi_index(at, [lengths[a] for a in outer]))

    def _read(self, factor: int, stored: Region, plane: int) -> NDArray[Any]:
        """Samples of a region of one page, ``(h, w, samples)``; an end that the level lacks is repeated."""
        level = self._levels[factor]
        found = self._series.levels[level].pages[plane]
        assert found is not None  # noqa: S101  looked at when the file was opened
        page = found.aspage()
        inside = stored.clipped(Region(0, 0, page.imagewidth, page.imagelength))
        if not inside.w or not inside.h:
            x, y = min(stored.x, page.imagewidth - 1), min(stored.y, page.imagelength - 1)
            inside = Region(x, y, 1 if stored.x > x else stored.w, 1 if stored.y > y else stored.h)
        out = np.zeros((inside.h, inside.w, self._samples), page.dtype)
        tw = page.tilewidth if page.is_tiled else page.imagewidth
        th = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
        across, down = -(-page.imagewidth // tw), -(-page.imagelength // th)
        separate = range(self._samples if page.planarconfig == 2 else 1)
        for row in range(inside.y // th, -(-inside.y1 // th)):
            for col in range(inside.x // tw, -(-inside.x1 // tw)):
                for s in separate:
                    part = self._segment(level, plane, (s * down + row) * across + col, page)
                    here = Region(col * tw, row * th, part.shape[1], part.shape[0]).clipped(inside)
                    target = out[
                        here.y - inside.y : here.y1 - inside.y, here.x - inside.x : here.x1 - inside.x
                    ]
                    cut = part[here.y - row * th : here.y1 - row * th, here.x - col * tw : here.x1 - col * tw]
                    if len(separate) > 1:
                        target[..., s] = cut[..., 0]
                    else:
                        target[...] = cut
        if page.photometric == 0:
            out = _top(out.dtype) - out
        missing = stored.h - inside.h, stored.w - inside.w
        return (
            out if missing == (0, 0) else np.pad(out, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        )

    def _segment(self, level: int, plane: int, index: int, page: tifffile.TiffPage) -> NDArray[Any]:
        """One decoded tile or strip, ``(h, w, samples)``, from the cache if it is there."""
        key = level, plane, index
        with self._lock:
            if key in self._decoded:
                self._decoded.move_to_end(key)
                return self._decoded[key]
        data = os.pread(self._fd, page.databytecounts[index], page.dataoffsets[index])
        try:
            decoded = page.decode(data or None, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
        except (*BROKEN, NotImplementedError) as e:
            raise SlideError("Pixels of the TIFF file cannot be decoded; the file is damaged.") from e
        if decoded[0] is None:  # a tile that was never written
            part = np.full((*decoded[2][1:3], decoded[2][3]), _top(page.dtype), page.dtype)
        else:
            part = decoded[0][0]
        with self._lock:
            self._decoded[key] = part
            self._held += part.nbytes
            while self._held > CACHE_BYTES and len(self._decoded) > 1:
                self._held -= self._decoded.popitem(last=False)[1].nbytes
        return part

    def _range(self, channel: int) -> tuple[float, float]:
        """Display range: the whole of 8 bit, else the 0.1 and 99.9 percentiles of the coarsest level."""
        if self._series.dtype == np.uint8:
            return 0.0, 255.0
        if channel not in self._ranges:
            factor, size = self.factors(0)[-1], self.scene_size(0)
            w, h = -(-size.w // factor), -(-size.h // factor)
            part = Region(max(0, w // 2 - 1024), max(0, h // 2 - 1024), min(w, 2048), min(h, 2048))
            low, high = np.nanpercentile(self._read(factor, part, self._index[channel]), (0.1, 99.9))
            self._ranges[channel] = float(low), float(high)
        return self._ranges[channel]


def _top(dtype: np.dtype[Any] | None) -> Any:
    """White of a dtype."""
    assert dtype is not None  # noqa: S101  refused when the file was opened
    return np.iinfo(dtype).max if dtype.kind in "ui" else dtype.type(1)


def _ome(checked: tf.TiffFile, series: int) -> ET.Element | None:
    """The Image element of a series; None if the metadata is not plain XML."""
    text = checked.ifds[0].text(tf.DESCRIPTION)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        images = [e for e in ET.fromstring(text) if e.tag.endswith("}Image")]  # noqa: S314  no entities
    except (ET.ParseError, ValueError):
        return None
    return images[series] if series < len(images) else None


def _ome_mpp(image: ET.Element) -> Mpp | None:
    pixels = next((e for e in image if e.tag.endswith("}Pixels")), None)
    if pixels is None:
        return None
    um = []
    for axis in "XY":
        unit = MICRONS.get(pixels.get(f"PhysicalSize{axis}Unit", ""), 0.0)
        try:
            um.append(float(pixels.get(f"PhysicalSize{axis}", "0")) * unit)
        except ValueError:
            return None
    return _known(um[0], um[1])


def _text(image: ET.Element, tag: str) -> str:
    return next((e.text or "" for e in image if e.tag.endswith("}" + tag)), "")


def _tag_mpp(ifd: tf.Ifd) -> Mpp | None:
    """Pixel size from the resolution tags; print resolutions fall outside what ``Mpp`` takes for true."""
    unit = UNIT_UM.get(ifd.one(tf.RESOLUTION_UNIT, 2))
    x, y = ifd.tags.get(tf.X_RESOLUTION), ifd.tags.get(tf.X_RESOLUTION + 1)
    if unit is None or x is None or y is None or len(x) < 2 or len(y) < 2 or not (x.all() and y.all()):
        return None
    return _known(unit * int(x[1]) / int(x[0]), unit * int(y[1]) / int(y[0]))


def _known(x: float, y: float) -> Mpp | None:
    try:
        return Mpp(x, y)
    except InputError:
        return None
