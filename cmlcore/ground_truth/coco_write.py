"""COCO instance annotations, written: the inverse of ``coco``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from cmlcore import RESEARCH_USE
from cmlcore.classes import label
from cmlcore.errors import InputError, StorageError
from cmlcore.files import whole_file
from cmlcore.ground_truth.reading import area
from cmlcore.ground_truth.records import Floats, Record
from cmlcore.ground_truth.sets import outlined


def write_coco(
    path: Path, records: Iterable[Record], classes: Sequence[str], description: str = "", **info: Any
) -> None:
    """Write records as COCO; ``read_coco`` gives the same boxes, names, outlines and ignored places back.

    Args:
        path: the JSON file; images are named relative to its folder, or to that above ``annotations``.
        records: the images; mask files are traced.
        classes: class keys in the order of the categories.
        description: what the set is.
        info: further members of ``info``, such as ``source`` or ``mpp``.

    Raises:
        InputError: a cell's class is not among ``classes``.
        StorageError: the file cannot be written.

    """
    root = path.parent.parent if path.parent.name == "annotations" else path.parent
    records = [outlined(r) for r in records]
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
        out["images"].append({"id": number, **_image(record, root)})
        for a in _annotations(record, classes):
            out["annotations"].append({"id": len(out["annotations"]) + 1, "image_id": number, **a})
    try:
        with whole_file(path) as part:
            part.write_text(json.dumps(out, ensure_ascii=False), encoding="utf-8")
    except OSError as e:
        raise StorageError(f"{path} cannot be written; make room or choose another folder.") from e


def _image(record: Record, root: Path) -> dict[str, Any]:
    with Image.open(record.image) as image:
        w, h = image.size
    name = Path(os.path.relpath(record.image, root)).as_posix()
    entry: dict[str, Any] = {"file_name": name, "width": w, "height": h, "source": record.source}
    if record.mpp is not None:
        entry["mpp"] = record.mpp
    if record.rois:
        entry["rois"] = [_ring(r) for r in record.rois]
    return entry | {"complete": sorted(record.complete)}


def _ring(outline: Floats) -> list[float]:
    return [round(v, 3) for v in outline.astype(float).reshape(-1).tolist()]


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
    ring = [] if outline is None else [_ring(outline)]
    return {
        "category_id": category,
        "bbox": [x0, y0, *side],
        "segmentation": ring,
        "area": round(side[0] * side[1] if outline is None else area(outline), 3),
        "iscrowd": 0,
    }
