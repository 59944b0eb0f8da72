"""YOLO label files: ``data.yaml`` with the parts and the names, and a text file an image.

A line is ``class cx cy w h`` (a box) or ``class x1 y1 x2 y2 …`` (an outline), relative to the image's size.
The label file lies where the image does, with ``images`` in its path replaced by ``labels``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from cmlcore.errors import InputError
from cmlcore.ground_truth.reading import (
    Facts,
    Notes,
    Sample,
    bounding_box,
    clipped_outline,
    facts_in,
    image_size,
    images_in,
)
from cmlcore.ground_truth.records import Floats, Record, no_boxes

CONFIG = ("data.yaml", "data.yml", "dataset.yaml")
_KEYS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


def yolo_config(path: Path) -> Path | None:
    """The ``data.yaml`` at a path or in the folder."""
    if path.is_file():
        return path if path.suffix in (".yaml", ".yml") else None
    return next((path / c for c in CONFIG if (path / c).is_file()), None)


def read_yolo(config: Path, notes: Notes) -> list[Sample]:
    """Every image of the parts that ``data.yaml`` names.

    Raises:
        InputError: the file is broken or names no classes.

    """
    try:
        raw = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as e:
        raise InputError(f"{config.name} cannot be read as YAML; correct the file.") from e
    if not isinstance(raw, dict):
        raise InputError(f"{config.name} must name the parts and the classes; correct the file.")
    facts = facts_in(config.parent)
    names = _names(raw, config, facts)
    complete = facts.complete if facts.complete is not None else frozenset(names.values())
    samples = []
    for key, part in _KEYS.items():
        for image in _images(raw.get(key), raw, config, notes):
            record = _record(image, names, complete, facts, config.parent.name, notes)
            if record is not None:
                samples.append(Sample(record, part, image.stem))
    return samples


def _names(raw: dict[str, Any], config: Path, facts: Facts) -> dict[int, str]:
    names = raw.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise InputError(
            f"{config.name} lists no “names” of classes; add them in the order of their numbers."
        )
    try:
        return {int(k): facts.key(str(v)) for k, v in names.items()}
    except ValueError as e:
        raise InputError(f"“names” in {config.name} must go from numbers to classes; correct it.") from e


def _images(value: Any, raw: dict[str, Any], config: Path, notes: Notes) -> Iterator[Path]:
    """The images of one part: a folder, a text file of paths, or a list of these."""
    for item in value if isinstance(value, list) else [value] if value else []:
        place = _found(config.parent, str(raw.get("path") or ""), str(item))
        if place is None:
            notes.say("no folder", f"“{item}” in {config.name} is not there; that part is left out.")
        elif place.is_dir():
            yield from images_in(place) or images_in(place / "images")
        else:
            for line in place.read_text(encoding="utf-8").splitlines():
                if line.strip():
                    yield place.parent / line.strip()


def _found(root: Path, base: str, item: str) -> Path | None:
    """A path of ``data.yaml``: absolute, below its ``path``, or with a ``../`` too many."""
    tries = (root / base / item, root / item, root / item.removeprefix("../"))
    return next((p for p in tries if p.exists()), None)


def label_file(image: Path) -> Path:
    """Where the labels of an image lie."""
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _record(
    image: Path, names: dict[int, str], complete: frozenset[str], facts: Facts, folder: str, notes: Notes
) -> Record | None:
    size = image_size(image, notes)
    if size is None:
        return None
    labels = label_file(image)
    if not labels.is_file():
        notes.say("no labels", f"{image.name} has no label file; it counts as bare of cells.")
    lines = labels.read_text(encoding="utf-8").splitlines() if labels.is_file() else []
    boxes: list[tuple[float, ...]] = []
    keys: list[str] = []
    outlines: list[Floats | None] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _cell(line, size)
        if found is None or found[0] not in names:
            why = "is broken" if found is None else f"names class {found[0]}, which data.yaml does not"
            notes.say("bad line", f"Line {number} of {labels.name} {why}; it is left out.")
            continue
        keys.append(names[found[0]])
        outlines.append(found[1])
        boxes.append(found[2])
    known = tuple(outlines) if any(o is not None for o in outlines) else ()
    four = np.array(boxes, np.float32).reshape(-1, 4)
    source = facts.source or folder
    return Record(image, source, facts.mpp_of(image), complete, four, tuple(keys), known, None, no_boxes())


def _cell(line: str, size: tuple[int, int]) -> tuple[int, Floats | None, tuple[float, ...]] | None:
    """Class number, outline and box of one line; None where it is broken or lies outside."""
    try:
        cls, *values = (float(v) for v in line.split())
    except ValueError:
        return None
    if not np.isfinite([cls, *values]).all() or cls != int(cls):
        return None
    w, h = size
    if len(values) == 4:
        cx, cy, bw, bh = values
        x0, x1 = max(cx - bw / 2, 0.0) * w, min(cx + bw / 2, 1.0) * w
        y0, y1 = max(cy - bh / 2, 0.0) * h, min(cy + bh / 2, 1.0) * h
        return (int(cls), None, (x0, y0, x1, y1)) if x1 - x0 >= 1 and y1 - y0 >= 1 else None
    if len(values) < 6 or len(values) % 2:
        return None
    outline = clipped_outline((np.array(values).reshape(-1, 2) * size).astype(np.float32), w, h)
    return None if outline is None else (int(cls), outline, bounding_box(outline))
