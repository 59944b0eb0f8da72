"""Labelled images made ready for training: at one scale, every cell with its pixels, kept in a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError
from cmlcore.training.pseudo_masks import masks_from_boxes
from cmlcore.training.sets import Record, instances_in_mask

STORE_MPP = 0.1  # twice as fine as the models see, so that scale jitter never has to invent detail
_VERSION = "1"  # raise when what is stored changes


@dataclass(frozen=True, slots=True)
class Scene:
    """One labelled image at ``STORE_MPP``.

    Attributes:
        image: uint8 ``(H, W, 3)``, RGB.
        owner: uint16 ``(H, W)``; 0 no labelled cell, ``i + 1`` cell ``i``.
        boxes: float32 ``(N, 4)`` as x0, y0, x1, y1; as labelled, else the mask's bounds.
        labels: int64 ``(N,)``.
        has_mask: bool ``(N,)``; the cell's pixels in ``owner`` are an outline, not the ellipse of its box.
        ignore: bool ``(H, W)``; nothing may be learned here.
        complete: per class, whether every cell in view is labelled.
        source: key of ``sets.MPP``.

    """

    image: NDArray[np.uint8]
    owner: NDArray[np.uint16]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    has_mask: NDArray[np.bool_]
    ignore: NDArray[np.bool_]
    complete: tuple[bool, bool, bool]
    source: str


def load_scenes(records: Iterable[Record], cache: Path) -> list[Scene]:
    """Every record as a scene, from ``cache`` where it was made before."""
    cache.mkdir(parents=True, exist_ok=True)
    return [_cached(r, cache) for r in records]


def _cached(record: Record, cache: Path) -> Scene:
    stat = record.image.stat()
    name = f"{_VERSION}|{record.image.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{record.mpp}|{STORE_MPP}"
    path = cache / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.npz"
    if not path.is_file():
        scene = make_scene(record)
        arrays = {k: getattr(scene, k) for k in ("image", "owner", "boxes", "labels", "has_mask", "ignore")}
        part = path.with_suffix(".part.npz")
        np.savez(part, **arrays)
        part.replace(path)
        return scene
    with np.load(path, allow_pickle=False) as z:
        return Scene(**dict(z.items()), complete=record.complete, source=record.source)


def make_scene(record: Record) -> Scene:
    """Read one record, find its cells' pixels, and bring all to ``STORE_MPP``.

    Raises:
        InputError: an image or mask cannot be read.

    """
    bgr = cv2.imread(str(record.image), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InputError(f"The image {record.image} cannot be read; restore the file.")
    rgb = np.ascontiguousarray(bgr[..., ::-1], np.uint8)
    if record.mask is None:
        found = masks_from_boxes(rgb, record.boxes)
        owner, labels, has_mask, ignore = found.owner, record.labels, found.sound, found.stray
        boxes = record.boxes
    else:
        owner, labels, ignore = instances_in_mask(record)
        has_mask = np.ones(len(labels), np.bool_)
        boxes = bounds(owner, len(labels))
        if record.complete[0]:
            ignore |= masks_from_boxes(rgb, np.vstack([boxes, record.clusters])).stray
    factor = record.mpp / STORE_MPP
    h, w = rgb.shape[:2]
    size = (max(1, round(w * factor)), max(1, round(h * factor)))
    scale = np.array([size[0] / w, size[1] / h] * 2, np.float32)
    return Scene(
        np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8),
        np.asarray(cv2.resize(owner, size, interpolation=cv2.INTER_NEAREST), np.uint16),
        boxes * scale,
        labels,
        has_mask,
        cv2.resize(ignore.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0,
        record.complete,
        record.source,
    )


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
