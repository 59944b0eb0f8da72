"""One door to all ground truth: a path goes in, records come out, whatever lies there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cmlcore.errors import InputError
from cmlcore.ground_truth.coco import coco_files, read_coco
from cmlcore.ground_truth.mask_folders import mask_roots, read_masks
from cmlcore.ground_truth.qupath import geojson_files, read_geojson
from cmlcore.ground_truth.reading import FACTS, PARTS, Notes, Sample, in_part
from cmlcore.ground_truth.records import Record, class_index
from cmlcore.ground_truth.sets import is_set, set_names, set_records
from cmlcore.ground_truth.yolo import read_yolo, yolo_config

Tell = Callable[[str], None]
_HEAD = 1 << 16


def load(
    path: Path, part: str, classes: tuple[str, ...] | None = None, *, tell: Tell | None = None
) -> list[Record]:
    """Read labelled images.

    What lies at the path decides: a public set or a folder of them, a COCO file or a folder with some, a
    folder of QuPath GeoJSON beside images, a YOLO ``data.yaml``, a mask folder, or a folder of such folders.
    A set that does not say which images are ``val`` is split once and for all, see ``reading.in_part``.
    A ``dataset.json`` beside the labels may add what the format cannot say, see ``reading.Facts``.

    Args:
        path: file or folder.
        part: "train", "val", "test" or "all".
        classes: leave out images that say nothing about any of these; None: keep all.
        tell: called with a sentence for each thing that was left out.

    Returns:
        The images of that part, in a fixed order; none where the set has no such part.

    Raises:
        InputError: nothing that can be read lies there, a file is broken, or no image can be used.

    """
    if part not in (*PARTS, "all"):
        raise InputError(f"“{part}” is no part of a data set; choose train, val, test or all.")
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path.")
    notes = Notes(tell)
    readings = _readings(path, part, notes)
    if not readings and path.is_dir():
        children = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
        readings = [r for c in children for r in _readings(c, part, notes)]
    notes.close()
    if not readings:
        raise InputError(
            f"{path} holds no labelled images that can be read; give a COCO file, a folder of QuPath GeoJSON "
            "beside its images, a YOLO data.yaml, a folder with images and masks, or a public set."
        )
    if not any(any_image for any_image, _ in readings):
        raise InputError(f"No image of {path} can be used; see what was said about its files.")
    found = [r for _, records in readings for r in records]
    return found if classes is None else [r for r in found if speaks_of(r, classes)]


def kind_of(path: Path) -> str | None:
    """What ``load`` would take a path for, from names and the first bytes alone; None: nothing fits.

    One of "public set", "public sets", "YOLO", "COCO", "masks", "QuPath", "folder of sets".
    """
    if not path.is_dir():
        return _kind_of_own(path) if path.is_file() else None
    if is_set(path):
        return "public set"
    if set_names(path):
        return "public sets"
    own = _kind_of_own(path)
    if own is not None:
        return own
    children = (p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    return "folder of sets" if any(_kind_of_own(c) for c in children) else None


def _kind_of_own(path: Path) -> str | None:
    if yolo_config(path) is not None:
        return "YOLO"
    files = [path] if path.is_file() else [*path.glob("*.json"), *path.glob("annotations/*.json")]
    heads = [_head(p) for p in files if p.suffix == ".json" and p.name != FACTS]
    if any(k in h for h in heads for k in ('"images"', '"annotations"', '"categories"')):
        return "COCO"
    if mask_roots(path):
        return "masks"
    geojson = path.suffix == ".geojson" if path.is_file() else next(path.rglob("*.geojson"), None) is not None
    return "QuPath" if geojson or any('"Feature' in h for h in heads) else None


def _head(path: Path) -> str:
    with path.open("rb") as f:
        return f.read(_HEAD).decode("utf-8", "replace")


def _readings(path: Path, part: str, notes: Notes) -> list[tuple[bool, list[Record]]]:
    """What one data set at a path holds: whether any image at all, and the records of the part."""
    if path.is_dir() and is_set(path):
        by_part = {p: _present(set_records(path, p), notes) for p in PARTS}
        return [(any(by_part.values()), [r for p in PARTS if part in (p, "all") for r in by_part[p]])]
    samples = _samples(path, notes)
    return [] if samples is None else [(bool(samples), in_part(samples, part))]


def _samples(path: Path, notes: Notes) -> list[Sample] | None:
    """The images of a person's own set; None where no format fits."""
    config = yolo_config(path)
    if config is not None:
        return read_yolo(config, notes)
    coco = coco_files(path)
    if coco:
        return read_coco(coco, notes)
    roots = mask_roots(path)
    if roots:
        return read_masks(roots, path, notes)
    geojson = geojson_files(path)
    return read_geojson(geojson, path if path.is_dir() else path.parent, notes) if geojson else None


def _present(records: list[Record], notes: Notes) -> list[Record]:
    out = []
    for r in records:
        missing = next((f for f in (r.image, r.mask) if f is not None and not f.is_file()), None)
        if missing is None:
            out.append(r)
        else:
            notes.say("image missing", f"{missing.name} of {r.source} is missing; the image is left out.")
    return out


def speaks_of(record: Record, classes: tuple[str, ...]) -> bool:
    """Whether an image teaches anything about one of the classes: it shows one, or surely shows none."""
    whole = tuple(record.complete)
    return any(class_index(c, whole) >= 0 for c in classes) or any(
        class_index(n, classes) >= 0 for n in record.names
    )
