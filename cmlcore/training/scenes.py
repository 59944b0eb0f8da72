"""Labelled images made ready for training: at one scale, every cell with its pixels, kept in a cache."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError
from cmlcore.ground_truth.raster import painted, unlabelled
from cmlcore.ground_truth.records import Record, class_index, completeness
from cmlcore.ground_truth.sets import instances_in_mask
from cmlcore.training.pseudo_masks import masks_from_boxes
from cmlcore.training.settings import MODEL_MPP

STORE_MPP = MODEL_MPP / 2  # twice as fine as the models see, so that scale jitter never has to invent detail
SMALL_UM = 4.5  # smaller cells are round enough for the ellipse of their box to be their outline
_VERSION = "3"  # raise when what is stored changes
_STORED = ("image", "owner", "boxes", "names", "has_mask", "ignore")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the cache holds of one image, whatever classes are trained: a scene with names for labels."""

    image: NDArray[np.uint8]
    owner: NDArray[np.uint16]
    boxes: NDArray[np.float32]
    names: NDArray[np.str_]
    has_mask: NDArray[np.bool_]
    ignore: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scene:
    """One labelled image at the scale it is stored at.

    Attributes:
        image: uint8 ``(H, W, 3)``, RGB.
        owner: uint16 ``(H, W)``; 0 no labelled cell, ``i + 1`` cell ``i``.
        boxes: float32 ``(N, 4)`` as x0, y0, x1, y1; as labelled, else the mask's bounds.
        labels: int64 ``(N,)``, index into the classes that are trained.
        has_mask: bool ``(N,)``; the cell's pixels in ``owner`` are an outline, not the ellipse of its box.
        ignore: bool ``(H, W)``; nothing may be learned here.
        complete: per class, whether every cell in view is labelled.
        source: the microscope.

    """

    image: NDArray[np.uint8]
    owner: NDArray[np.uint16]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    has_mask: NDArray[np.bool_]
    ignore: NDArray[np.bool_]
    complete: tuple[bool, ...]
    source: str


def load_scenes(
    records: Iterable[Record],
    classes: Sequence[str],
    cache: Path,
    store_mpp: float = STORE_MPP,
    progress: Callable[[int], None] | None = None,
) -> list[Scene]:
    """Every record as a scene for these classes, from ``cache`` where it was made before.

    Args:
        records: the labelled images; each must know its pixel size.
        classes: keys of the class tree, in the order of the labels.
        cache: folder of prepared images; one serves every choice of classes.
        store_mpp: µm per pixel of the scenes.
        progress: called with the number of scenes done.

    Raises:
        InputError: an image or mask cannot be read, or an image's pixel size is unknown.

    """
    cache.mkdir(parents=True, exist_ok=True)
    scenes = []
    for record in records:
        scenes.append(scene_for(_cached(record, cache, store_mpp), record, classes))
        if progress is not None:
            progress(len(scenes))
    return scenes


def make_scene(record: Record, classes: Sequence[str], store_mpp: float = STORE_MPP) -> Scene:
    """One record as a scene, without a cache; see ``load_scenes``."""
    return scene_for(prepare(record, store_mpp), record, classes)


def scene_for(found: Prepared, record: Record, classes: Sequence[str]) -> Scene:
    """A prepared image for these classes; cells of other kinds become places where nothing is learned."""
    labels = np.array([class_index(str(n), tuple(classes)) for n in found.names], np.int64)
    keep = labels >= 0
    new_id = np.zeros(len(keep) + 1, np.uint16)
    new_id[1:][keep] = 1 + np.arange(int(keep.sum()))
    owner = found.owner if keep.all() else new_id[found.owner]
    ignore = found.ignore if keep.all() else found.ignore | ((found.owner > 0) & (owner == 0))
    return Scene(
        found.image,
        owner,
        found.boxes[keep],
        labels[keep],
        found.has_mask[keep],
        ignore,
        completeness(record, tuple(classes)),
        record.source,
    )


def prepare(record: Record, store_mpp: float = STORE_MPP) -> Prepared:
    """Read one record, find its cells' pixels, and bring all to ``store_mpp``.

    Raises:
        InputError: an image or mask cannot be read, or its pixel size is unknown.

    """
    if record.mpp is None:
        raise InputError(f"The pixel size of {record.image.name} is unknown; give it as µm per pixel.")
    bgr = cv2.imread(str(record.image), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InputError(f"The image {record.image} cannot be read; restore the file.")
    rgb = np.ascontiguousarray(bgr[..., ::-1], np.uint8)
    owner, boxes, names, has_mask, ignore = _cells(record, rgb)
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    has_mask = has_mask | (sides * record.mpp < SMALL_UM)
    factor = record.mpp / store_mpp
    h, w = rgb.shape[:2]
    size = (max(1, round(w * factor)), max(1, round(h * factor)))
    scale = np.array([size[0] / w, size[1] / h] * 2, np.float32)
    return Prepared(
        np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8),
        np.asarray(cv2.resize(owner, size, interpolation=cv2.INTER_NEAREST), np.uint16),
        boxes * scale,
        np.array(names, np.str_),
        has_mask,
        cv2.resize(ignore.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0,
    )


_Cells = tuple[NDArray[np.uint16], NDArray[np.float32], tuple[str, ...], NDArray[np.bool_], NDArray[np.bool_]]


def _cells(record: Record, rgb: NDArray[np.uint8]) -> _Cells:
    """Owner map, boxes, names, which have an outline, and what to ignore, in the image's own pixels."""
    h, w = rgb.shape[:2]
    # Where erythrocytes are all labelled, a dark thing at the edge outside every box is a cell left out.
    dense = class_index("erythrocyte", tuple(record.complete)) >= 0
    if record.mask is not None:
        owner, names, ignore = instances_in_mask(record)
        boxes = bounds(owner, len(names))
        if dense:
            ignore |= masks_from_boxes(rgb, np.vstack([boxes, record.clusters])).stray
        return owner, boxes, names, np.ones(len(names), np.bool_), ignore
    owner, has_mask = painted(record, h, w)
    ignore = unlabelled(record, h, w)
    if not has_mask.all() or dense:
        found = masks_from_boxes(rgb, record.boxes)
        bare = np.append(False, ~has_mask)[found.owner]
        owner = np.where((owner == 0) & bare, found.owner, owner)
        has_mask = has_mask | found.sound
        if dense:
            ignore |= found.stray
    return owner, record.boxes, record.names, has_mask, ignore & (owner == 0)


def _cached(record: Record, cache: Path, store_mpp: float) -> Prepared:
    path = cache / f"{_digest(record, store_mpp)}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as z:
            return Prepared(**{k: z[k] for k in _STORED})
    made = prepare(record, store_mpp)
    part = path.with_suffix(f".{secrets.token_hex(4)}.npz")  # two trainings may prepare the same image
    np.savez(part, **{k: getattr(made, k) for k in _STORED})
    part.replace(path)
    return made


def _digest(record: Record, store_mpp: float) -> str:
    """Changes with the files, the labels, the scale and what is stored."""
    told = hashlib.sha256(f"{_VERSION}|{record.mpp}|{store_mpp}|{sorted(record.complete)}".encode())
    for file in (record.image, record.mask):
        if file is not None and file.is_file():
            stat = file.stat()
            told.update(f"|{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode())
    told.update("|".join(record.names).encode())
    for array in (record.boxes, record.clusters, *record.outlines, *record.rois):
        told.update(b"|" + (b"" if array is None else np.ascontiguousarray(array).tobytes()))
    return told.hexdigest()[:24]


def bounds(owner: NDArray[np.uint16], n: int) -> NDArray[np.float32]:
    """Bounding boxes float32 ``(n, 4)`` of cells 1..n; zeros for a cell without pixels."""
    boxes = np.zeros((n, 4), np.float32)
    ys, xs = np.nonzero(owner)
    ids = owner[ys, xs].astype(np.int64) - 1
    low = np.full((n, 2), np.iinfo(np.int64).max)
    high = np.zeros((n, 2), np.int64)
    for k, v in enumerate((xs, ys)):
        np.minimum.at(low[:, k], ids, v)
        np.maximum.at(high[:, k], ids, v + 1)
    seen = high[:, 0] > 0
    boxes[seen] = np.hstack([low, high])[seen]
    return boxes
