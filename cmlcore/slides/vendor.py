"""Scanner formats through OpenSlide: SVS, NDPI, MRXS, BIF, SCN, DICOM, Philips, Trestle, tiled TIFF."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from typing_extensions import override

from cmlcore.errors import InputError, SlideError
from cmlcore.geometry import Mpp, Region, Size
from cmlcore.slides.base import Scene, SlideInfo
from cmlcore.slides.pixels import on_white
from cmlcore.slides.stored import MAX_SIDE, StoredReader, iso_date, power_levels

CACHE_BYTES = 256 << 20
GENERIC = "generic-tiff"  # any tiled TIFF, even one whose depth or channels OpenSlide would drop
NAMES = {
    "aperio": "Aperio SVS",
    "hamamatsu": "Hamamatsu NDPI",
    "mirax": "3DHISTECH MRXS",
    "ventana": "Ventana BIF",
    "leica": "Leica SCN",
    "dicom": "DICOM WSI",
    "philips-tiff": "Philips TIFF",
    "trestle": "Trestle TIFF",
    "sakura": "Sakura SVSLIDE",
    GENERIC: "Tiled TIFF",
}
DATES = ("aperio.Date", "tiff.DateTime", "dicom.AcquisitionDateTime", "dicom.ContentDate", "ventana.ScanDate")
SYNTAXES = {
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.1": "none",
}


def vendor_of(path: Path) -> str:
    """OpenSlide's name of the format by content (MRXS: by name too), empty if it knows none."""
    return openslide.OpenSlide.detect_format(str(path)) or ""


class VendorReader(StoredReader):
    """A slide that OpenSlide opens. It has one scene; ``compression`` is what the caller knows of it."""

    def __init__(self, path: Path, compression: str = "") -> None:
        super().__init__()
        try:
            self._slide = openslide.OpenSlide(str(path))
        except openslide.OpenSlideUnsupportedFormatError as e:
            raise SlideError("This file is none of the slide formats that can be opened.") from e
        except openslide.OpenSlideError as e:
            raise SlideError("The slide is damaged, cut short, or one of its files is missing.") from e
        self._slide.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
        w, h = self._slide.dimensions
        if max(w, h) > MAX_SIDE:
            raise SlideError(f"The slide spans {w} × {h} pixels; at most {MAX_SIDE} a side can be opened.")
        self._levels = power_levels(self._slide.level_dimensions)
        said = self._slide.properties
        info = SlideInfo(
            format=NAMES.get(said.get(openslide.PROPERTY_NAME_VENDOR, ""), "Slide"),
            scenes=(Scene(0, Size(w, h), name="Scene 1"),),
            levels=len(self._levels),
            mpp=_mpp(said),
            objective=_positive(said.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)),
            kind="brightfield",
            channels=3,
            bits=8,
            compression=compression or SYNTAXES.get(said.get("dicom.TransferSyntaxUID", ""), "unknown"),
            acquired_at=next((d for key in DATES if (d := iso_date(said.get(key, "")))), None),
            has_label=bool({"label", "macro"} & set(self._slide.associated_images)),
        )
        self.info = info
        kind = self.kind_seen()
        self.info = replace(info, kind=kind, channels=1 if kind == "grey" else 3)

    @override
    def factors(self, scene: int) -> tuple[int, ...]:
        return tuple(self._levels)

    @override
    def read_level(self, scene: int, factor: int, stored: Region) -> NDArray[np.uint8]:
        index = self._levels[factor]
        w, h = self._slide.level_dimensions[index]
        ratio = self._slide.level_downsamples[index]
        inside = stored.clipped(Region(0, 0, w, h))
        if not inside.w or not inside.h:  # a last row or column that the stored level lacks
            inside = Region(min(stored.x, w - 1), min(stored.y, h - 1), min(stored.w, w), min(stored.h, h))
        at = round(inside.x * ratio), round(inside.y * ratio)
        try:
            rgba = np.asarray(self._slide.read_region(at, index, (inside.w, inside.h)))
        except openslide.OpenSlideError as e:
            raise SlideError("Pixels of the slide cannot be decoded; the file is damaged.") from e
        rgb = on_white(rgba)
        missing = stored.h - inside.h, stored.w - inside.w
        return (
            rgb if missing == (0, 0) else np.pad(rgb, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        )

    @override
    def close(self) -> None:
        self._slide.close()


def _mpp(said: Mapping[str, str]) -> Mpp | None:
    x, y = (_positive(said.get(k)) for k in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y))
    try:
        return Mpp(x or 0.0, y or 0.0)
    except InputError:  # absent, or a print resolution that no microscope has
        return None


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value > 0 and math.isfinite(value) else None
