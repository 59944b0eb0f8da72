"""COCO instance annotations (Lin et al. 2014), read: polygons, run-length masks, boxes.

Categories go through the names of the class tree. ``iscrowd`` objects are places to ignore. Four members are
ours, of an image or of ``info``: ``mpp`` its pixel size, ``source`` its microscope or set, ``complete`` the
classes of which every cell is labelled (by default all categories), and ``rois`` its base ROIs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError
from cmlcore.ground_truth.raster import traced
from cmlcore.ground_truth.reading import (
    FACTS,
    Facts,
    Notes,
    Sample,
    area,
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
    complete = _complete(facts, info, frozenset(categories.values()))
    source = facts.source or info.get("source") or root.name
    seen: set[Any] = set()
    samples = []
    for entry in raw["images"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            notes.say("image without name", f"An image in {path.name} has no file_name; it is left out.")
            continue
        number = _id(entry.get("id"))
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
        whole = _complete(facts, entry, complete)
        rois = _rois(entry, size, notes)
        record = Record(image, where, mpp, whole, boxes, names, outlines, None, clusters, rois)
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
        number = _id(a.get("id"))
        if number is not None and number in seen:
            notes.say(
                "duplicate id", f"The annotation id {number} stands twice in {path.name}; the first counts."
            )
            continue
        seen.add(number)
        out.setdefault(_id(a.get("image_id")), []).append(a)
    return out


def _id(value: Any) -> int | float | str | None:
    """A number of an image, category or object; None where it can be none."""
    return value if isinstance(value, int | float | str) else None


def _complete(facts: Facts, said_in: Mapping[str, Any], otherwise: frozenset[str]) -> frozenset[str]:
    """The classes of which every cell is labelled: as ``dataset.json`` says, or ``complete`` of an object."""
    if facts.complete is not None:
        return facts.complete
    said = said_in.get("complete")
    return frozenset(facts.key(str(c)) for c in said) if isinstance(said, list) else otherwise


def _rois(entry: Mapping[str, Any], size: tuple[int, int], notes: Notes) -> tuple[Floats, ...]:
    """The base ROIs of an image, each a flat list of x, y like a polygon's ring."""
    rings = entry.get("rois")
    try:
        shapes = [np.array(r, np.float32).reshape(-1, 2) for r in rings or []]
    except (TypeError, ValueError):
        notes.say(
            "broken ROI", f"“rois” of {entry['file_name']} is broken; all of the image counts as labelled."
        )
        return ()
    return tuple(c for r in shapes if (c := clipped_outline(r, *size)) is not None)


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
        except (TypeError, ValueError, KeyError, IndexError, OverflowError):  # the last: infinite numbers
            found = None
        if found is None:
            notes.say("unusable object", f"An object in {name} has no usable outline or box; it is left out.")
            continue
        outline, box = found
        if a.get("iscrowd"):
            clusters.append(box)
        elif _id(a.get("category_id")) not in categories:
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
        outline = max(usable, key=area, default=None)
        if outline is None:
            return None
    if outline is not None:
        return outline, bounding_box(outline)
    x, y, bw, bh = (float(v) for v in a["bbox"])
    x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + bw, w), min(y + bh, h)
    return (None, (x0, y0, x1, y1)) if x1 - x0 >= 1 and y1 - y0 >= 1 else None


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
