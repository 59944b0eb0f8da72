"""Folders of images and masks: a number a cell, or cells against ground; one folder a class where told apart.

``images/`` and ``masks/`` lie side by side, in the folder itself or in one a part. A mask has the image's
stem, as PNG, TIFF, BMP or JPEG. Below ``masks``, sub-folders are classes. A mask of whole numbers (16 bit, or
more than two values) holds a number a cell; one of two values is cut into its connected pieces. The class of
masks without a class folder is ``class`` of ``dataset.json``, else "blood cell".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.ground_truth.raster import traced
from cmlcore.ground_truth.reading import (
    IMAGE_SUFFIXES,
    Facts,
    Notes,
    Sample,
    bounding_box,
    facts_in,
    image_size,
    images_in,
    part_of,
    with_complete,
)
from cmlcore.ground_truth.records import Floats, Record, no_boxes

MIN_PIECE_PX = 12
"""Smaller pieces of a mask are dust."""
DEFAULT_CLASS = "blood_cell"
_MASKS = ("masks", "mask")


def mask_roots(path: Path) -> list[Path]:
    """The folders at or below a path that hold ``images`` and ``masks`` side by side."""
    if not path.is_dir():
        return []
    places = [path, *sorted(p for p in path.iterdir() if p.is_dir() and part_of(p.name) is not None)]
    return [p for p in places if (p / "images").is_dir() and _masks_of(p) is not None]


def _masks_of(root: Path) -> Path | None:
    return next((root / m for m in _MASKS if (root / m).is_dir()), None)


def read_masks(roots: list[Path], path: Path, notes: Notes) -> list[Sample]:
    """Every image of the folders that has a mask.

    Args:
        roots: folders with ``images`` and ``masks``.
        path: the folder that was given, which may hold ``dataset.json``.
        notes: where to say what is left out.

    """
    facts = facts_in(path)
    samples = []
    for root in roots:
        part = None if root == path else part_of(root.name)
        for sub in _leaves(root / "images"):
            inner = part or part_of(sub.name)
            for image in images_in(sub):
                record = _record(image, sub.relative_to(root / "images"), root, facts, path.name, notes)
                if record is not None:
                    samples.append(Sample(record, inner, image.stem))
    return with_complete(samples, facts)


def _leaves(folder: Path) -> list[Path]:
    """The folder itself, and its sub-folders that are parts."""
    return [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and part_of(p.name) is not None)]


def _record(image: Path, inner: Path, root: Path, facts: Facts, folder: str, notes: Notes) -> Record | None:
    found = _mask_files(image, inner, root, facts, notes)
    if not found:
        notes.say("no mask", f"{image.name} has no mask; it is left out.")
        return None
    size = image_size(image, notes)
    if size is None:
        return None
    outlines: list[Floats] = []
    names: list[str] = []
    for mask_file, name in found:
        mask = cv2.imread(str(mask_file), cv2.IMREAD_UNCHANGED)
        if mask is None:
            notes.say("broken mask", f"The mask {mask_file.name} cannot be read; its image is left out.")
            return None
        mask = mask if mask.ndim == 2 else mask[..., :3].max(axis=2)
        if mask.shape != (size[1], size[0]):
            notes.say(
                "other size",
                f"{image.name} has {size[0]} × {size[1]} pixels, its mask {mask.shape[1]} × {mask.shape[0]}; "
                "it is left out.",
            )
            return None
        pieces = cells_in(mask, facts.masks, jpeg=mask_file.suffix.casefold() in (".jpg", ".jpeg"))
        outlines += pieces
        names += [name] * len(pieces)
    if not outlines:
        notes.say("empty mask", f"The mask of {image.name} holds no cell; it counts as bare of cells.")
    boxes = np.array([bounding_box(o) for o in outlines], np.float32).reshape(-1, 4)
    named = frozenset(n for _, n in found)
    return Record(
        image,
        facts.source or folder,
        facts.mpp_of(image),
        named,
        boxes,
        tuple(names),
        tuple(outlines),
        None,
        no_boxes(),
    )


def _mask_files(image: Path, inner: Path, root: Path, facts: Facts, notes: Notes) -> list[tuple[Path, str]]:
    """The masks of an image with the class of their cells."""
    masks = _masks_of(root)
    if masks is None:
        return []
    plain = _of_stem(masks / inner, image.stem)
    if plain is not None:
        if facts.cell is None:
            notes.say(
                "no class",
                f"The masks in {root.name} name no class; their cells are read as blood cells "
                "(“class” in dataset.json names another).",
            )
        return [(plain, facts.cell or DEFAULT_CLASS)]
    classes = sorted(p for p in masks.iterdir() if p.is_dir() and part_of(p.name) is None)
    there = [(_of_stem(c / inner, image.stem), facts.key(c.name)) for c in classes]
    return [(p, name) for p, name in there if p is not None]


def _of_stem(folder: Path, stem: str) -> Path | None:
    for suffix in IMAGE_SUFFIXES:
        for tail in ("", "_mask", "_label", "_labels"):
            if (folder / f"{stem}{tail}{suffix}").is_file():
                return folder / f"{stem}{tail}{suffix}"
    return None


def cells_in(mask: NDArray[Any], how: str | None = None, jpeg: bool = False) -> list[Floats]:
    """The outlines of the cells of one mask ``(H, W)``.

    Args:
        mask: a number a cell, or two values.
        how: "labels" or "binary"; None: more than two values besides ground, or 16 bit, are labels.
        jpeg: the file was compressed with loss; it is split at half its brightness.

    """
    if jpeg or how == "binary" or (how is None and not _is_labels(mask)):
        level = int(mask.max(initial=0)) // 2 if jpeg else 0
        return _pieces((mask > level).astype(np.uint8))
    cells = []
    numbers = np.unique(mask)
    for value, place in zip(numbers[numbers > 0], _places(mask), strict=True):
        ys, xs = place
        cells.append(traced(mask[ys, xs] == value, xs.start, ys.start))
    return cells


def _is_labels(mask: NDArray[Any]) -> bool:
    values = np.unique(mask)
    return len(values) > 2 or (mask.dtype.itemsize > 1 and int(values[-1]) not in (1, 255, 65535))


def _places(mask: NDArray[Any]) -> list[tuple[slice, slice]]:
    """The bounds of each number above 0, in order of the numbers."""
    from scipy.ndimage import find_objects

    _, order = np.unique(mask, return_inverse=True)
    dense = order.reshape(mask.shape) + (0 if (mask == 0).any() else 1)
    return [p for p in find_objects(dense) if p is not None]


def _pieces(binary: NDArray[np.uint8]) -> list[Floats]:
    n, comp, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    cells = []
    for i in range(1, n):
        x, y, w, h, area = stats[i].tolist()
        if area >= MIN_PIECE_PX:
            cells.append(traced(comp[y : y + h, x : x + w] == i, x, y))
    return cells
