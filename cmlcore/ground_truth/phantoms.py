"""A data set of phantoms: drawn NETs, pseudo-Gaucher cells and megakaryocytes on real smear ground.

It is a COCO set with every cell of the three classes outlined, made to prove the road from ground truth
to comparison for classes of which no public image exists. It says "phantom" wherever it is named, and no
figure found on it says anything about real cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError, StorageError
from cmlcore.geometry import Mpp
from cmlcore.ground_truth.coco_write import write_coco
from cmlcore.ground_truth.door import load
from cmlcore.ground_truth.phantom_cells import DIAMETER_UM, Grains, Paint, Phantom, draw_phantom
from cmlcore.ground_truth.phantom_ground import MIN_PIECE, Ground, Rgb, ground_colour, grounds_of, sewn
from cmlcore.ground_truth.raster import traced
from cmlcore.ground_truth.reading import bounding_box
from cmlcore.ground_truth.records import PHANTOM, Record, no_boxes

CLASSES = ("net", "pseudo_gaucher_cell", "megakaryocyte")
MPP_PHANTOMS = 0.2
SIDES = tuple(range(512, 769, 32))
VAL_SHARE = 0.2
MEAN_CELLS = 4.0
MIN_VISIBLE = 0.25  # of a cell's pixels; less is not drawn
HIDES = 0.93  # how far a cell's body blots out what lies below it
DESCRIPTION = (
    "Phantoms: drawn cells on smear ground, not real ones. They show that annotation, training and "
    "evaluation work together; nothing found on them says anything about real cells."
)


def draw_phantoms(
    out: Path,
    ground: Path | None,
    images: int,
    seed: int = 0,
    *,
    mpp: float = MPP_PHANTOMS,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the set: ``images/train``, ``images/val`` and ``annotations/phantoms_<part>.json``.

    The same ground, number and seed give the same files.

    Args:
        out: the folder.
        ground: labelled images of known pixel size whose smear is the ground, as ``load`` takes them, each
            part on its own; None: the demo slide's drawing.
        images: how many images in all; a fifth of them are ``val``.
        seed: where all chance comes from.
        mpp: µm per pixel of the images.
        progress: called with (images done, images in all).

    Raises:
        InputError: the ground cannot be used, or the pixel size is out of range.
        StorageError: the folder cannot be written.

    """
    Mpp(mpp, mpp)
    if images < 2:
        raise InputError("A data set needs at least two images, one to train and one to judge; ask for more.")
    grains = Grains(np.random.default_rng((seed, 2)), mpp)
    val = min(images - 1, max(1, round(VAL_SHARE * images)))
    done = 0
    for number, (part, n) in enumerate((("train", images - val), ("val", val))):
        grounds = [Ground("drawn smear", [])] if ground is None else _real(ground, part, mpp)
        records = []
        for i in range(n):
            rng = np.random.default_rng((seed, number, i))
            where = grounds[int(rng.integers(len(grounds)))]
            name = out / "images" / part / f"phantom_{part}_{i + 1:04d}.jpg"
            records.append(_one(rng, where, grains, name, mpp))
            done += 1
            if progress is not None:
                progress(done, images)
        path = out / "annotations" / f"phantoms_{part}.json"
        write_coco(path, records, CLASSES, DESCRIPTION, name="phantoms", seed=seed, mpp=mpp)


def _real(path: Path, part: str, mpp: float) -> list[Ground]:
    """The grounds of one part; fields of many erythrocytes where there are any, not of leukocytes only."""
    records = load(path, part) or load(path, "all")
    fields = [r for r in records if "erythrocyte" in r.complete]
    found = grounds_of(fields or records, mpp)
    if not found:
        raise InputError(
            f"No image of {path} can be ground for phantoms; its pixel size must be known and its sides at "
            f"least {MIN_PIECE * mpp:.0f} µm."
        )
    return found


def _one(rng: np.random.Generator, where: Ground, grains: Grains, path: Path, mpp: float) -> Record:
    h, w = (int(rng.choice(SIDES)) for _ in range(2))
    field_ = _Field(sewn(rng, where, h, w, mpp), rng)
    paint = Paint.draw(rng)
    for _ in range(1 + int(rng.poisson(MEAN_CELLS - 1))):
        cls = str(rng.choice(CLASSES, p=(0.40, 0.36, 0.24)))
        low, high = DIAMETER_UM[cls]
        diameter = low + (high - low) * float(rng.beta(1.6, 2.2))
        field_.place(cls, draw_phantom(rng, cls, diameter, paint, grains), diameter / mpp)
    rgb, owner = field_.seen()
    _save(path, rgb)
    ids = [i for i in range(1, len(field_.names) + 1) if (owner == i).any()]
    outlines = tuple(traced(owner == i) for i in ids)
    boxes = np.array([bounding_box(o) for o in outlines], np.float32).reshape(-1, 4)
    names = tuple(field_.names[i - 1] for i in ids)
    source = f"{PHANTOM} on {where.source}"
    return Record(path, source, mpp, frozenset(CLASSES), boxes, names, outlines, None, no_boxes())


def _save(path: Path, rgb: Rgb) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _, data = cv2.imencode(
            ".jpg",
            rgb[..., ::-1],
            [
                cv2.IMWRITE_JPEG_QUALITY,
                92,
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
            ],
        )
        path.write_bytes(data.tobytes())
    except OSError as e:
        raise StorageError(f"{path} cannot be written; make room or choose another folder.") from e


@dataclass
class _Field:
    """One image while cells are laid upon it."""

    rgb: Rgb
    rng: np.random.Generator
    names: list[str] = field(default_factory=list)
    _discs: list[tuple[float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.light = np.maximum(ground_colour(self.rgb), np.float32(1))
        self.density = -np.log(np.clip(self.rgb, 4, 255) / self.light)
        self.owner = np.zeros(self.rgb.shape[:2], np.uint16)
        self.drawn = np.zeros(self.rgb.shape[:2], np.float32)
        self.busy = cv2.GaussianBlur(self.density.sum(axis=2).astype(np.float32), (0, 0), 6)

    def place(self, cls: str, cell: Phantom, diameter: float) -> None:
        """Lay one cell down where there is room, perhaps against another; none where there is none."""
        at = self._room(cell, diameter / 2)
        if at is None:
            return
        x, y = at
        s = cell.cover.shape[0]
        h, w = self.rgb.shape[:2]
        ys, xs = slice(max(0, y), min(h, y + s)), slice(max(0, x), min(w, x + s))
        cut = np.s_[ys.start - y : ys.stop - y, xs.start - x : xs.stop - x]
        blur = float(self.rng.uniform(0.5, 1.1))
        cover = cv2.GaussianBlur(cell.cover[cut], (0, 0), blur)[..., None]
        density = cv2.GaussianBlur(cell.density[cut], (0, 0), blur)
        here = self.density[ys, xs]
        self.density[ys, xs] = here * (1 - HIDES * cover) + density * cover
        self.drawn[ys, xs] = np.maximum(self.drawn[ys, xs], cover[..., 0])
        self.names.append(cls)
        self.owner[ys, xs][cell.mask[cut]] = len(self.names)
        self._discs.append((x + s / 2, y + s / 2, diameter / 2))

    def _room(self, cell: Phantom, radius: float) -> tuple[int, int] | None:
        """Top left of the patch: of some places that fit, the one with the least beneath."""
        rng, h, w = self.rng, *self.rgb.shape[:2]
        s = cell.cover.shape[0]
        against = self._discs and rng.random() < 0.4
        best, least = None, np.inf
        for _ in range(24):
            if against:
                ox, oy, o = self._discs[int(rng.integers(len(self._discs)))]
                turn, far = rng.uniform(0, 2 * np.pi), (o + radius) * rng.uniform(0.9, 1.0)
                x, y = ox + far * np.cos(turn), oy + far * np.sin(turn)
            else:
                x, y = (
                    rng.uniform(-0.3 * radius, w + 0.3 * radius),
                    rng.uniform(-0.3 * radius, h + 0.3 * radius),
                )
            gap, out = (0.88 if against else 1.04), 0.3 * radius
            if not (-out < x < w + out and -out < y < h + out):
                continue
            if any(np.hypot(x - ox, y - oy) < gap * (o + radius) for ox, oy, o in self._discs):
                continue
            x0, y0 = round(x - s / 2), round(y - s / 2)
            ys, xs = slice(max(0, y0), min(h, y0 + s)), slice(max(0, x0), min(w, x0 + s))
            cut = cell.mask[ys.start - y0 : ys.stop - y0, xs.start - x0 : xs.stop - x0]
            if cut.sum() < MIN_VISIBLE * cell.mask.sum():
                continue
            beneath = float(self.busy[ys, xs][cut].mean())
            if beneath < least:
                best, least = (x0, y0), beneath
        return best

    def seen(self) -> tuple[Rgb, NDArray[np.uint16]]:
        """What the camera sees, and whose each pixel is."""
        rng = self.rng
        grain = rng.standard_normal(self.owner.shape, np.float32)[..., None] * 2.2 * self.drawn[..., None]
        rgb = self.light * np.exp(-self.density) + grain
        gain = rng.uniform(0.94, 1.04) * (1 + rng.normal(0, 0.02, 3))
        return np.clip(rgb * gain + 0.5, 0, 255).astype(np.uint8), self.owner
