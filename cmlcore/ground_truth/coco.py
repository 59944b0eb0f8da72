"""COCO instance annotations (Lin et al. 2014): polygons, run-length masks, boxes; read and written.

Categories go through the names of the class tree. ``iscrowd`` objects are places to ignore. Beside the
format's own fields, ``mpp`` of an image or of ``info`` is its pixel size, and ``complete`` of ``info``
lists the classes of which every cell is labelled (by default all categories).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cmlcore import RESEARCH_USE
from cmlcore.classes import label
from cmlcore.errors import InputError, StorageError
from cmlcore.ground_truth.raster import traced
from cmlcore.ground_truth.reading import (
    FACTS,
    Facts,
    Notes,
    Sample,
    bounding_box,
    checked_mpp,
    clipped_outline,
    facts_in,
    image_size,
    part_of,
    read_json,
)
from cmlcore.ground_truth.records import Floats, Record


def coco_files(path: Path) -> list[Path]:
    """The COCO files at a path: itself, or those in the folder or its ``annotations``."""
    if path.is_file():
        return [path] if path.suffix == ".json" and is_coco(read_json(path)) else []
    found = [p for folder in (path, path / "annotations") for p in sorted(folder.glob("*.json"))]
    return [p for p in found if p.name != FACTS and is_coco(read_json(p))]


def is_coco(raw: Any) -> bool:
    """Whether parsed JSON is a COCO data set."""
    return isinstance(raw, dict) and isinstance(raw.get("images"), list) and "annotations" in raw


def read_coco(files: Sequence[Path], notes: Notes) -> list[Sample]:
    """Every image of the files; several files of one folder are its parts by their names.

    Raises:
        InputError: a file is broken, or lacks images or categories.

    """
    return [s for f in files for s in _read_file(f, notes)]


def _read_file(path: Path, notes: Notes) -> list[Sample]:
    raw = read_json(path)
    root = path.parent.parent if path.parent.name == "annotations" else path.parent
    facts = facts_in(root)
    info = raw["info"] if isinstance(raw.get("info"), dict) else {}
    categories = _categories(raw, facts, path)
    objects = _by_image(raw["annotations"], path, notes)
    complete = _complete(facts, info, categories)
    source = facts.source or info.get("source") or root.name
    seen: set[Any] = set()
    samples = []
    for entry in raw["images"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            notes.say("image without name", f"An image in {path.name} has no file_name; it is left out.")
            continue
        number = entry.get("id")
        if number in seen:
            notes.say("duplicate id", f"The image id {number} stands twice in {path.name}; the first counts.")
            continue
        seen.add(number)
        image = _image_file(root, path.stem, entry["file_name"])
        size = image_size(image, notes)
        if size is None or not _same_size(entry, size, image.name, notes):
            continue
        boxes, names, outlines, clusters = _cells(
            objects.get(number, []), categories, size, image.name, notes
        )
        said = entry.get("mpp", info.get("mpp"))
        mpp = facts.mpp_of(image) if said is None else checked_mpp(said)
        where = str(entry.get("source", source))
        record = Record(image, where, mpp, complete, boxes, names, outlines, None, clusters)
        samples.append(Sample(record, part_of(path.stem), str(entry.get("group", image.stem))))
    lost = sum(len(v) for k, v in objects.items() if k not in seen)
    if lost:
        notes.say("no such image", f"{lost} objects in {path.name} belong to no image; they are left out.")
    if not samples:
        notes.say("empty", f"{path.name} holds no image that can be used.")
    return samples


def _by_image(annotations: Any, path: Path, notes: Notes) -> dict[Any, list[dict[str, Any]]]:
    if not isinstance(annotations, list):
        raise InputError(f"“annotations” in {path.name} must be a list; write or export the file again.")
    out: dict[Any, list[dict[str, Any]]] = {}
    seen: set[Any] = set()
    for a in annotations:
        if not isinstance(a, dict):
            notes.say("no object", f"An annotation in {path.name} is no object; it is left out.")
            continue
        number = a.get("id")
        if number is not None and number in seen:
            notes.say(
                "duplicate id", f"The annotation id {number} stands twice in {path.name}; the first counts."
            )
            continue
        seen.add(number)
        out.setdefault(a.get("image_id"), []).append(a)
    return out


def _complete(facts: Facts, info: Mapping[str, Any], categories: Mapping[Any, str]) -> frozenset[str]:
    if facts.complete is not None:
        return facts.complete
    said = info.get("complete")
    return (
        frozenset(facts.key(str(c)) for c in said)
        if isinstance(said, list)
        else frozenset(categories.values())
    )


def _categories(raw: Mapping[str, Any], facts: Facts, path: Path) -> dict[Any, str]:
    entries = raw.get("categories")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path.name} lists no categories; export it again with the names of the classes.")
    try:
        return {c["id"]: facts.key(str(c["name"])) for c in entries}
    except (KeyError, TypeError) as e:
        raise InputError(f"A category in {path.name} lacks its id or name; export the file again.") from e


def _image_file(root: Path, stem: str, name: str) -> Path:
    """Where an image lies: beside the file, in ``images``, or in the folder of its part."""
    part = part_of(stem)
    tails = [root / name, root / "images" / name]
    if part is not None:
        tails += [root / d / name for d in (stem, part, f"images/{part}", f"{part}/images")]
    return next((p for p in tails if p.is_file()), root / name)


def _same_size(entry: Mapping[str, Any], size: tuple[int, int], name: str, notes: Notes) -> bool:
    said = (entry.get("width"), entry.get("height"))
    if None in said or said == size:
        return True
    notes.say(
        "other size",
        f"{name} has {size[0]} × {size[1]} pixels, its labels were made on {said[0]} × {said[1]}; "
        "it is left out.",
    )
    return False


def _cells(
    objects: Sequence[Mapping[str, Any]],
    categories: Mapping[Any, str],
    size: tuple[int, int],
    name: str,
    notes: Notes,
) -> tuple[Floats, tuple[str, ...], tuple[Floats | None, ...], Floats]:
    boxes, names, outlines, clusters = [], [], [], []
    for a in objects:
        try:
            found = _shape(a, size)
        except (TypeError, ValueError, KeyError, IndexError):
            found = None
        if found is None:
            notes.say("unusable object", f"An object in {name} has no usable outline or box; it is left out.")
            continue
        outline, box = found
        if a.get("iscrowd"):
            clusters.append(box)
        elif a.get("category_id") not in categories:
            clusters.append(box)
            notes.say(
                "unknown category", f"An object in {name} has an unknown category; its place is ignored."
            )
        else:
            boxes.append(box)
            names.append(categories[a["category_id"]])
            outlines.append(outline)
    known = tuple(outlines) if any(o is not None for o in outlines) else ()
    four = [np.array(b, np.float32).reshape(-1, 4) for b in (boxes, clusters)]
    return four[0], tuple(names), known, four[1]


def _shape(a: Mapping[str, Any], size: tuple[int, int]) -> tuple[Floats | None, tuple[float, ...]] | None:
    """Outline (None where there is only a box) and box of one object, held inside the image."""
    w, h = size
    s = a.get("segmentation")
    outline: Floats | None = None
    if isinstance(s, dict):
        mask = decoded(s)
        if mask.shape != (h, w) or not mask.any():
            return None
        outline = traced(mask)
    elif isinstance(s, list) and s:
        rings = [np.array(r, np.float32).reshape(-1, 2) for r in s]
        usable = [c for r in rings if np.isfinite(r).all() and (c := clipped_outline(r, w, h)) is not None]
        outline = max(usable, key=_area, default=None)
        if outline is None:
            return None
    if outline is not None:
        return outline, bounding_box(outline)
    x, y, bw, bh = (float(v) for v in a["bbox"])
    x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + bw, w), min(y + bh, h)
    return (None, (x0, y0, x1, y1)) if x1 - x0 >= 1 and y1 - y0 >= 1 else None


def _area(outline: Floats) -> float:
    x, y = outline[:, 0].astype(float), outline[:, 1].astype(float)
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def decoded(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The pixels ``(H, W)`` of a COCO run-length mask, plain (a list of counts) or packed (a string).

    Runs go down the columns and begin with ground. The packed form holds five bits a character, and from
    the third run on the difference to the run before the last (``maskApi.c`` of the COCO tools).

    Raises:
        ValueError: the runs do not fill the mask.

    """
    h, w = (int(v) for v in rle["size"])
    counts = rle["counts"]
    runs = _unpacked(counts) if isinstance(counts, str) else [int(c) for c in counts]
    if min(h, w) <= 0 or sum(runs) != h * w or min(runs, default=0) < 0:
        raise ValueError("the runs do not fill the mask")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(w, h).T


def _unpacked(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the runs break off")
    return runs


def write_coco(
    path: Path, records: Iterable[Record], classes: Sequence[str], description: str = "", **info: Any
) -> None:
    """Write records as COCO; ``read_coco`` gives the same boxes, names, outlines and ignored places back.

    Args:
        path: the JSON file; images are named relative to its folder, or to that above ``annotations``.
        records: outlined or boxed records; mask files have to be traced before.
        classes: class keys in the order of the categories.
        description: what the set is.
        info: further members of ``info``, such as ``source`` or ``mpp``.

    Raises:
        InputError: a cell's class is not among ``classes``.
        StorageError: the file cannot be written.

    """
    root = path.parent.parent if path.parent.name == "annotations" else path.parent
    records = list(records)
    complete = sorted(frozenset.intersection(*(r.complete for r in records))) if records else []
    out: dict[str, Any] = {
        "info": {"description": description, "note": RESEARCH_USE, "complete": complete, **info},
        "categories": [
            {"id": i + 1, "name": label(c), "supercategory": "blood cell"} for i, c in enumerate(classes)
        ],
        "images": [],
        "annotations": [],
    }
    for number, record in enumerate(records, 1):
        with Image.open(record.image) as image:
            w, h = image.size
        name = Path(os.path.relpath(record.image, root)).as_posix()
        entry = {"id": number, "file_name": name, "width": w, "height": h, "source": record.source}
        if record.mpp is not None:
            entry["mpp"] = record.mpp
        out["images"].append(entry)
        for a in _annotations(record, classes):
            out["annotations"].append({"id": len(out["annotations"]) + 1, "image_id": number, **a})
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(out, ensure_ascii=False), encoding="utf-8")
        part.replace(path)
    except OSError as e:
        raise StorageError(f"{path} cannot be written; make room or choose another folder.") from e


def _annotations(record: Record, classes: Sequence[str]) -> Iterable[dict[str, Any]]:
    outlines = record.outlines or (None,) * len(record.names)
    for box, name, outline in zip(record.boxes.tolist(), record.names, outlines, strict=True):
        if name not in classes:
            raise InputError(f"“{name}” is not among the classes to be written; add it.")
        yield _annotation(box, list(classes).index(name) + 1, outline)
    for box in record.clusters.tolist():
        yield {**_annotation(box, 1, None), "iscrowd": 1}


def _annotation(box: Sequence[float], category: int, outline: Floats | None) -> dict[str, Any]:
    x0, y0, x1, y1 = (round(v, 3) for v in box)
    side = (round(x1 - x0, 3), round(y1 - y0, 3))
    ring = [] if outline is None else [[round(v, 3) for v in outline.astype(float).reshape(-1).tolist()]]
    area = side[0] * side[1] if outline is None else _area(outline)
    return {
        "category_id": category,
        "bbox": [x0, y0, *side],
        "segmentation": ring,
        "area": round(area, 3),
        "iscrowd": 0,
    }
