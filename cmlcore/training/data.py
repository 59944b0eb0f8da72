"""Which labelled images a training takes, and what can be said of them. No torch here."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cmlcore.classes import label
from cmlcore.errors import InputError
from cmlcore.ground_truth import Record, class_index, completeness, load, names_of, statistics
from cmlcore.training.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Gathered:
    """The images of one training.

    Attributes:
        everything: all images that lie there, of every part.
        train: those that are learned from.
        val: those that are looked at to judge and choose; may be empty.
        notes: sentences about what was left out.

    """

    everything: tuple[Record, ...]
    train: tuple[Record, ...]
    val: tuple[Record, ...]
    notes: tuple[str, ...]


def gather(settings: TrainSettings) -> Gathered:
    """Read the labels of all data folders.

    Raises:
        InputError: no data was given, a folder cannot be read, nothing in it speaks of the classes, a class
            has no cell, or an image's pixel size is unknown.

    """
    if not settings.data:
        raise InputError("There is no ground truth to train on; give a folder of labelled images.")
    notes: list[str] = []
    everything = [r for p in settings.data for r in load(p, "all", tell=notes.append)]
    left_out = _left_out(settings.leave_out, everything)

    def part(name: str) -> list[Record]:
        found = (r for p in settings.data for r in load(p, name) if r.source not in left_out)
        return _limited([r for r in found if _teaches(r, settings.classes)], settings.limit)

    train, val = (tuple(_with_mpp(r, settings) for r in part(name)) for name in ("train", "val"))
    if not train:
        wanted = ", ".join(settings.labels)
        raise InputError(f"No labelled image speaks of {wanted}; label some, or choose other classes.")
    counts = cell_counts(train, settings.classes)
    for name, n in zip(settings.classes, counts, strict=True):
        if not n:
            raise InputError(
                f"The training images hold no cell of the class “{label(name)}”; "
                "label some, or leave the class out."
            )
    return Gathered(tuple(everything), train, val, tuple(dict.fromkeys(notes)))


def cell_counts(records: tuple[Record, ...], classes: tuple[str, ...]) -> list[int]:
    """Cells of each class, sub-classes counted in."""
    counts = [0] * len(classes)
    for r in records:
        for name, n in Counter(_names(r)).items():
            i = class_index(name, classes)
            if i >= 0:
                counts[i] += n
    return counts


def _left_out(names: Sequence[str], records: Sequence[Record]) -> set[str]:
    """The sources of these names, however they are cased."""
    there = {r.source for r in records}
    for name in names:
        if name.casefold() not in map(str.casefold, there):
            raise InputError(
                f"No image is of the source “{name}”, which is to be left out; "
                f"there are {', '.join(sorted(there))}."
            )
    wanted = set(map(str.casefold, names))
    return {source for source in there if source.casefold() in wanted}


_mask_names: dict[tuple[Path, int], tuple[str, ...]] = {}


def _names(record: Record) -> tuple[str, ...]:
    """As ``names_of``; a mask file is read once only, unless it changes."""
    if record.mask is None or not record.mask.is_file():
        return names_of(record)
    key = (record.mask, record.mask.stat().st_mtime_ns)
    if key not in _mask_names:
        _mask_names[key] = names_of(record)
    return _mask_names[key]


def describe(settings: TrainSettings, hashed: bool = False) -> dict[str, Any]:
    """What data.json holds: see ``described``. Raises InputError as ``gather`` does."""
    return described(gather(settings), settings, hashed)


def described(
    found: Gathered, settings: TrainSettings, hashed: bool = True, tick: Callable[[], None] | None = None
) -> dict[str, Any]:
    """The facts about the images of a training, without a path or a file name.

    Args:
        found: the images.
        settings: the training's.
        hashed: also the sha256 over images, masks and labels, which reads every file.
        tick: called now and then while files are read.

    Returns:
        ``images`` ``{"all", "train", "val"}``, ``rows`` (``statistics``: "used" are train and val), ``cells``
        ``{"train", "val"}`` by class, ``sources``, ``notes``, and ``sha256``.

    """
    used = (*found.train, *found.val)
    rows = statistics(found.everything, used, settings.classes)
    facts: dict[str, Any] = {
        "images": {"all": len(found.everything), "train": len(found.train), "val": len(found.val)},
        "rows": [
            {
                "class": r.key,
                "label": r.label,
                "all": r.cells,
                "all_percent": round(r.percent, 1),
                "used": r.used,
                "used_percent": round(r.used_percent, 1),
                "all_images": r.images,
                "used_images": r.used_images,
                "sources": list(r.sources),
            }
            for r in rows
        ],
        "cells": {
            part: dict(zip(settings.classes, cell_counts(records, settings.classes), strict=True))
            for part, records in (("train", found.train), ("val", found.val))
        },
        "sources": sorted({r.source for r in used}),
        "notes": list(found.notes),
    }
    if hashed:
        facts["sha256"] = digest(used, tick)
    return facts


def digest(records: tuple[Record, ...], tick: Callable[[], None] | None = None) -> str:
    """A sha256 over the content of images, masks and labels, whatever the files are called."""
    total = hashlib.sha256()
    for r in records:
        if tick is not None:
            tick()
        total.update(f"{r.source}|{r.mpp}|{sorted(r.complete)}|{r.names}".encode())
        for array in (r.boxes, r.clusters, *r.outlines, *r.rois):
            total.update(b"|" if array is None else array.tobytes())
        for path in (r.image, r.mask):
            if path is not None:
                total.update(_file_digest(path))
    return total.hexdigest()


def _file_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").digest()
    except OSError:
        raise InputError(f"{path.name} cannot be read; restore the file.") from None


def _teaches(record: Record, classes: tuple[str, ...]) -> bool:
    """Whether there is a cell of the classes, or it is known that there is none."""
    if any(completeness(record, classes)):
        return True
    return any(class_index(n, classes) >= 0 for n in _names(record))


def _limited(records: list[Record], limit: int | None) -> list[Record]:
    """At most ``limit`` of them, spread evenly."""
    if limit is None or len(records) <= limit:
        return records
    return [records[i * len(records) // limit] for i in range(limit)]


def _with_mpp(record: Record, settings: TrainSettings) -> Record:
    if record.mpp is not None:
        return record
    if settings.image_mpp is None:
        raise InputError(
            f"The pixel size of {record.image.name} is not known; give it as µm per pixel (image_mpp)."
        )
    return replace(record, mpp=settings.image_mpp)
