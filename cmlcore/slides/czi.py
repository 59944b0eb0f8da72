"""Zeiss CZI through pylibCZIrw (libCZI, LGPL)."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pylibCZIrw import czi as libczi
from typing_extensions import override

from cmlcore.errors import SlideError
from cmlcore.geometry import Region, Size
from cmlcore.slides import czi_file, czi_xml
from cmlcore.slides.base import Scene, SlideInfo
from cmlcore.slides.pixels import stretch, tint
from cmlcore.slides.stored import StoredReader

CACHE_BYTES = 256 << 20  # decoded sub-blocks: neighbours of a tile come from here
LEVEL_COVERAGE = 0.7  # of the level-0 area (mosaic tiles overlap) that a pyramid level must hold
SAMPLES = 4  # full-resolution parts looked at for the display range, where there is no pyramid

_BACKGROUND = (1.0, 1.0, 1.0)


class CziReader(StoredReader):
    """Scenes of a CZI; mosaics, pyramids, 8 and 16 bit, colour, grey and several channels."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = czi_file.parse(path)
        facts = czi_xml.facts(self._file.xml)
        base = self._file.blocks[czi_file.factors_of(self._file.blocks) == 1]
        self._ids = [int(s) for s in np.unique(base["scene"])]
        self._rects = [_bounds(base[base["scene"] == s]) for s in self._ids]
        self._pixel = int(base["pixel"][0])
        if (base["pixel"] != self._pixel).any() and (base["pixel"] >= 3).any():
            raise SlideError("The CZI file mixes colour and grey images; export one of them.")
        self._factors = [self._stored_factors(s) for s in self._ids]
        self._boxes = [self._edges(k) for k in range(len(self._ids))]
        self._plane = {d: low + n // 2 if d == "Z" else low for d, (low, n) in self._file.dims.items()}
        self._channels = sorted({int(c) for c in base["channel"]})[:4]
        self.info = self._describe(facts)
        self._ranges: dict[int, tuple[float, float]] = {}
        self._range_lock = threading.Lock()
        try:
            options = libczi.CacheOptions(type=libczi.CacheType.Standard, max_memory_usage=CACHE_BYTES)
            self._czi = libczi.CziReader(str(path), cache_options=options)
        except (RuntimeError, ValueError, OSError, MemoryError) as e:
            raise SlideError("The CZI file is damaged and cannot be opened.") from e

    @override
    def factors(self, scene: int) -> tuple[int, ...]:
        return self._factors[scene]

    @override
    def covered(self, scene: int) -> list[Region]:
        self.scene_size(scene)
        origin = self._rects[scene]
        return [
            Region(int(b["x"]) - origin.x, int(b["y"]) - origin.y, int(b["w"]), int(b["h"]))
            for b in np.unique(self._file.level(self._ids[scene], 1)[["x", "y", "w", "h"]])
        ]

    @override
    def touches(self, scene: int, region_l0: Region) -> bool:
        x0, y0, x1, y1 = self._boxes[scene]
        r = region_l0
        return bool(((x0 < r.x1) & (x1 > r.x) & (y0 < r.y1) & (y1 > r.y)).any())

    @override
    def read_level(self, scene: int, factor: int, stored: Region) -> NDArray[np.uint8]:
        if self._pixel == 3:
            return np.ascontiguousarray(self._raw(scene, factor, stored, self._channels[0])[..., ::-1])
        if self._pixel == 4:
            high = float((1 << min(self.info.bits, 16)) - 1)
            return stretch(self._raw(scene, factor, stored, self._channels[0])[..., ::-1], 0.0, high)
        return tint(
            [stretch(self._raw(scene, factor, stored, c)[..., 0], *self._range(c)) for c in self._channels]
        )

    @override
    def close(self) -> None:
        self._czi.close()

    def _raw(self, scene: int, factor: int, stored: Region, channel: int) -> NDArray[np.generic]:
        """Pixels as libCZI gives them, ``(h, w, 1 or 3)``, BGR; a region in stored pixels has exact sizes."""
        origin, sid = self._rects[scene], self._ids[scene]
        roi = (
            origin.x + stored.x * factor,
            origin.y + stored.y * factor,
            stored.w * factor,
            stored.h * factor,
        )
        try:
            pixels: NDArray[np.generic] = self._czi.read(
                roi=roi,
                zoom=1 / factor,
                plane=self._plane | {"C": channel},
                scene=None if sid < 0 else sid,
                background_pixel=_BACKGROUND,
            )
        except MemoryError as e:
            raise SlideError("The CZI file needs more memory than a slide may use.") from e
        except (RuntimeError, ValueError, OSError) as e:
            raise SlideError("Pixels of the CZI file cannot be decoded; the file is damaged.") from e
        if pixels.shape[:2] != (stored.h, stored.w):
            raise SlideError("Pixels of the CZI file cannot be decoded; the file is damaged.")
        return pixels

    def _range(self, channel: int) -> tuple[float, float]:
        """Display range: the whole of 8-bit grey, else the 0.1 and 99.9 percentiles of a sample."""
        if self._pixel == 0 and self.info.kind == "grey":
            return 0.0, 255.0
        with self._range_lock:
            if channel not in self._ranges:
                values = np.concatenate([self._sample(k, channel) for k in range(len(self._ids))])
                finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
                low, high = np.percentile(finite, (0.1, 99.9)) if len(finite) else (0.0, 1.0)
                self._ranges[channel] = float(low), float(high)
            return self._ranges[channel]

    def _sample(self, scene: int, channel: int) -> NDArray[np.generic]:
        """Values of some parts of the coarsest level of a scene, without the gaps between them."""
        factor, origin = self._factors[scene][-1], self._rects[scene]
        parts = self._file.level(self._ids[scene], factor)
        found = []
        for b in parts[:: -(-len(parts) // SAMPLES)]:
            x, y = (int(b["x"]) - origin.x) // factor, (int(b["y"]) - origin.y) // factor
            part = Region(x, y, min(int(b["stored_w"]), 2048), min(int(b["stored_h"]), 2048))
            size = self.info.scenes[scene].size
            part = part.clipped(Region(0, 0, -(-size.w // factor), -(-size.h // factor)))
            if part.w and part.h:
                found.append(self._raw(scene, factor, part, channel)[..., 0].ravel())
        return np.concatenate(found) if found else np.zeros(0, np.uint16)

    def _stored_factors(self, sid: int) -> tuple[int, ...]:
        """Power-of-two levels of one scene that hold (nearly) the whole of it."""
        b = self._file.blocks[self._file.blocks["scene"] == sid]
        factors = czi_file.factors_of(b)
        area = b["w"] * b["h"]
        whole = area[factors == 1].sum()
        return tuple(
            int(f)
            for f in np.unique(factors)
            if f >= 1 and f & (f - 1) == 0 and (f == 1 or area[factors == f].sum() >= LEVEL_COVERAGE * whole)
        )

    def _edges(self, scene: int) -> tuple[NDArray[np.int64], ...]:
        b, o = self._file.level(self._ids[scene], 1), self._rects[scene]
        x0, y0 = b["x"] - o.x, b["y"] - o.y
        return x0, y0, x0 + b["w"], y0 + b["h"]

    def _describe(self, facts: czi_xml.CziFacts) -> SlideInfo:
        grey = self._pixel < 3
        n = len({int(c) for c in self._file.blocks["channel"]})
        notes = [] if facts.readable else ["The metadata cannot be read; give the pixel size by hand."]
        notes += [f"Only the first of {self._length('T')} time points is shown."] * (self._length("T") > 1)
        notes += [f"Only the middle of {self._length('Z')} focus planes is shown."] * (self._length("Z") > 1)
        notes += [f"Only the first 4 of {n} channels are shown."] * (n > 4)
        compressions = {czi_file.COMPRESSIONS[int(c)] for c in np.unique(self._file.blocks["compression"])}
        depth = {0: 8, 1: 16, 2: 32, 3: 8, 4: 16}[self._pixel]
        return SlideInfo(
            format="Zeiss CZI",
            scenes=tuple(
                Scene(k, Size(r.w, r.h), (r.x, r.y), f"Scene {k + 1}") for k, r in enumerate(self._rects)
            ),
            levels=min(len(f) for f in self._factors),
            mpp=facts.mpp,
            objective=facts.objective,
            kind="brightfield" if not grey else "fluorescence" if facts.fluorescent or n > 1 else "grey",
            channels=n if grey else 3,
            bits=min(facts.bits or depth, depth),
            compression=", ".join(sorted(compressions)),
            acquired_at=facts.acquired_at,
            has_label=bool(self._file.attachments & {"Label", "SlidePreview"}),
            warnings=tuple(notes),
        )

    def _length(self, dim: str) -> int:
        return self._file.dims.get(dim, (0, 1))[1]


def _bounds(blocks: NDArray[np.void]) -> Region:
    x, y = int(blocks["x"].min()), int(blocks["y"].min())
    return Region(
        x, y, int((blocks["x"] + blocks["w"]).max()) - x, int((blocks["y"] + blocks["h"]).max()) - y
    )
