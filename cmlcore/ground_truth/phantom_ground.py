"""Ground for phantoms: wide fields of smear, sewn from small real images of one microscope.

Pieces are laid in rows with overlap and cut along the path where they differ least (image quilting, Efros
and Freeman 2001), so that seams run between the cells. Where no real image is to be had, the ground is the
demo slide's drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.demo.smear import COOL, WARM, Smear, draw_smear
from cmlcore.errors import InputError
from cmlcore.geometry import Size
from cmlcore.ground_truth.records import Floats, Record

Rgb = NDArray[np.uint8]
MAX_PIECE = 320  # pixels; larger images give several pieces
MIN_PIECE = 64
MAX_IMAGES = 200  # of one source, spread evenly over it
_STREW = {"neutrophil": 6.0, "lymphocyte": 2.0, "monocyte": 1.0}


@dataclass
class Ground:
    """The real images of one source, at the phantoms' pixel size.

    Attributes:
        source: what they are, for the record.
        files: the images and the factor each has to be resized by; none for the drawn ground.

    """

    source: str
    files: list[tuple[Record, float]]
    _kept: dict[int, Rgb] = field(default_factory=dict)

    def image(self, i: int) -> Rgb:
        """Image ``i`` as RGB at the phantoms' pixel size.

        Raises:
            InputError: it cannot be read.

        """
        if i not in self._kept:
            record, factor = self.files[i]
            bgr = cv2.imread(str(record.image), cv2.IMREAD_COLOR)
            if bgr is None:
                raise InputError(f"The image {record.image.name} cannot be read; restore the file.")
            how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
            small = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=how)
            self._kept[i] = np.ascontiguousarray(small[..., ::-1], np.uint8)
        return self._kept[i]


def grounds_of(records: Sequence[Record], mpp: float) -> list[Ground]:
    """The grounds that labelled images of known pixel size give, one a source; perhaps none.

    Sides of less than ``MIN_PIECE`` pixels at ``mpp`` are too small to be sewn.
    """
    by_source: dict[str, list[tuple[Record, float]]] = {}
    for r in records:
        if r.mpp is not None:
            by_source.setdefault(r.source, []).append((r, r.mpp / mpp))
    out = []
    for source in sorted(by_source):
        files = by_source[source]
        if len(files) > MAX_IMAGES:
            files = [files[i] for i in np.linspace(0, len(files) - 1, MAX_IMAGES).astype(int)]
        ground = Ground(source, files)
        if min(ground.image(0).shape[:2]) >= MIN_PIECE:
            out.append(ground)
    return out


def sewn(rng: np.random.Generator, ground: Ground, h: int, w: int, mpp: float) -> Rgb:
    """A field ``(h, w, 3)`` of this ground."""
    if not ground.files:
        return _drawn(rng, h, w, mpp)
    # few images of one look each: a field is sewn from neighbours in the list, not from all
    first = int(rng.integers(len(ground.files)))
    near = [(first + k) % len(ground.files) for k in range(1 if _is_wide(ground, first) else 40)]
    least = min(min(ground.image(i).shape[:2]) for i in near)
    side = min(MAX_PIECE, int(0.72 * least))  # smaller than the images, so that no two pieces need be alike
    overlap = side // 4
    step = side - overlap
    out = np.zeros((h + side, w + side, 3), np.uint8)
    light: Floats | None = None
    for y in range(0, h, step):
        for x in range(0, w, step):
            piece = _piece(rng, ground.image(near[int(rng.integers(len(near)))]), side)
            here = ground_colour(piece)
            light = here if light is None else light
            piece = np.clip(piece * (light / here), 0, 255).astype(np.uint8)
            there = out[y : y + side, x : x + side]
            keep = _new_part(there, piece, overlap if x else 0, overlap if y else 0)[..., None]
            there[:] = (there * (1 - keep) + piece * keep + 0.5).astype(np.uint8)
    return out[:h, :w]


def _is_wide(ground: Ground, i: int) -> bool:
    return bool(min(ground.image(i).shape[:2]) > 1.3 * MAX_PIECE)


def ground_colour(rgb: Rgb) -> Floats:
    """Colour ``(3,)`` of the bare ground: the mean of the brightest tenth."""
    grey = rgb.astype(np.float32).sum(axis=2)
    bright = rgb[grey >= np.percentile(grey, 88)]
    return np.asarray(np.median(bright, axis=0), np.float32)


def _piece(rng: np.random.Generator, image: Rgb, side: int) -> Rgb:
    """A random cut of an image, turned and mirrored; mostly one that shows less of its leukocyte.

    Many sets have one leukocyte in the middle of every image; a smear sewn from them would teem with them.
    """
    cuts = []
    for _ in range(6 if rng.random() < 0.7 else 1):
        y, x = (int(rng.integers(0, s - side + 1)) for s in image.shape[:2])
        cuts.append(image[y : y + side, x : x + side])
    cut = max(cuts, key=lambda c: float(c[::4, ::4, 1].mean()))  # nuclei are darkest in green
    cut = np.rot90(cut, int(rng.integers(4)))
    return cut[:, ::-1] if rng.random() < 0.5 else cut


def _new_part(old: Rgb, new: Rgb, left: int, top: int) -> Floats:
    """Where the new piece shows, 0..1: right of and below the seams through the overlaps."""
    keep = np.ones(new.shape[:2], np.float32)
    difference = ((old.astype(np.float32) - new) ** 2).sum(axis=2)
    if left:
        keep[:, :left] = np.arange(left)[None] >= _seam(difference[:, :left])[:, None]
    if top:
        keep[:top] = np.minimum(keep[:top], (np.arange(top)[None] >= _seam(difference[:top].T)[:, None]).T)
    soft = cv2.GaussianBlur(keep, (0, 0), 1.2)
    if left:
        soft[:, 0] = np.minimum(soft[:, 0], keep[:, 0])
    return np.asarray(soft if left or top else keep, np.float32)


def _seam(cost: Floats) -> NDArray[np.intp]:
    """For each row the column of the cheapest path from the first to the last row."""
    rows, columns = cost.shape
    total = cost.copy()
    for y in range(1, rows):
        before = np.pad(total[y - 1], 1, constant_values=np.inf)
        total[y] += np.minimum(np.minimum(before[:-2], before[1:-1]), before[2:])
    path = np.empty(rows, np.intp)
    path[-1] = int(total[-1].argmin())
    for y in range(rows - 2, -1, -1):
        low = max(0, path[y + 1] - 1)
        path[y] = low + int(total[y, low : min(columns, path[y + 1] + 2)].argmin())
    return path


def _drawn(rng: np.random.Generator, h: int, w: int, mpp: float) -> Rgb:
    smear = Smear(
        Size(w, h),
        WARM if rng.random() < 0.5 else COOL,
        _STREW,
        erythrocytes_per_mm2=float(rng.uniform(4000, 9000)),
        leukocytes_per_mm2=150,
        margin=1e-3,  # no feathered edge
        mpp=mpp,
    )
    return draw_smear(smear, int(rng.integers(1 << 31)))[0]
