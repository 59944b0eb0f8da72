"""The public image sets: where their files lie, what their labels cover, at which scale they were taken.

None of the sets states its pixel size. ``MPP`` holds estimates: 7.5 µm (the erythrocyte's mean diameter)
divided by the median of ``sqrt(w * h)`` over the erythrocyte boxes, or of the equivalent diameter over the
erythrocyte masks, of the ``train`` part that do not touch the image's edge. The two leukocyte sets label no
erythrocyte; there the median width of some 30 erythrocytes in 18 images was read off by eye.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from cmlcore.errors import InputError
from cmlcore.ground_truth.raster import traced
from cmlcore.ground_truth.records import Floats, Record, no_boxes

CLASSES = ("erythrocyte", "leukocyte", "thrombocyte")
ERYTHROCYTE, LEUKOCYTE, THROMBOCYTE = CLASSES

ERYTHROCYTE_UM = 7.5
MPP = {
    "PBC": ERYTHROCYTE_UM / 79.0,  # 2,501 boxes
    "Raabin": ERYTHROCYTE_UM / 136.5,  # 1,890 boxes
    "BCCD": ERYTHROCYTE_UM / 103.5,  # 1,634 boxes
    "BCD": ERYTHROCYTE_UM / 80.2,  # 1,066 boxes
    "bbbc041seg": ERYTHROCYTE_UM / 100.0,  # 1,654 masks
    "krd_wbc": ERYTHROCYTE_UM / 84.0,
    "zxaoyou_ds2": ERYTHROCYTE_UM / 78.0,
}

_TXL_CLASS = (LEUKOCYTE, ERYTHROCYTE, THROMBOCYTE)  # WBC, RBC, platelet
MIN_COMPONENT_PX = 150  # bbbc041seg: smaller components of a mask are dust


def records(root: Path, part: str, names: tuple[str, ...] = ()) -> list[Record]:
    """Every image of ``part`` ("train" or "val") of the sets found below ``root``.

    Args:
        root: folder with one sub-folder a set.
        part: "train" or "val".
        names: the sets wanted; empty for all that are there.

    Raises:
        InputError: a set is unknown, or none is found.

    """
    unknown = set(names) - set(_READERS)
    if unknown:
        raise InputError(f"Unknown data set {', '.join(sorted(unknown))}; known are {', '.join(_READERS)}.")
    found = [r for n in _READERS if not names or n in names for r in set_records(root / n, part)]
    if not found:
        raise InputError(f"No labelled images were found in {root}; give the folder that holds the sets.")
    return found


def set_records(folder: Path, part: str) -> list[Record]:
    """Every image of ``part`` of the public set in ``folder``, which bears the set's name; perhaps none.

    Raises:
        InputError: a label file is missing or broken.

    """
    try:
        return list(_READERS[folder.name](folder, part))
    except (OSError, ValueError, KeyError, IndexError) as e:
        raise InputError(f"The labels of {folder.name} are damaged; fetch the set again.") from e


def set_names(root: Path) -> tuple[str, ...]:
    """The public sets that lie below ``root``, told by their label tables."""
    return tuple(n for n in _READERS if is_set(root / n))


def is_set(folder: Path) -> bool:
    """Whether a folder is a public set: it bears the name of one and holds its label table."""
    return any((folder / t).is_file() for t in _TABLES.get(folder.name, ()))


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def _masked(image: Path, source: str, cls: str, mask: Path, clusters: Floats) -> Record:
    return Record(image, source, MPP[source], frozenset({cls}), no_boxes(), (), (), mask, clusters)


def _txl_pbc(folder: Path, part: str) -> Iterator[Record]:
    for row in _rows(folder / f"meta_{part}.csv"):
        path = folder / part / "images" / row["image"]
        w, h = int(row["width"]), int(row["height"])
        label_file = folder / part / "labels" / f"{path.stem}.txt"
        raw = np.array([ln.split() for ln in label_file.read_text().splitlines() if ln.strip()], np.float32)
        raw = raw.reshape(-1, 5)
        xy, half = raw[:, 1:3], raw[:, 3:5] / 2
        size = np.array([w, h, w, h], np.float32)
        boxes = np.clip(np.hstack([xy - half, xy + half]) * size, 0, size, dtype=np.float32)
        names = tuple(_TXL_CLASS[int(c)] for c in raw[:, 0])
        source = row["source"]
        yield Record(path, source, MPP[source], frozenset(CLASSES), boxes, names, (), None, no_boxes())


def _bbbc041seg(folder: Path, part: str) -> Iterator[Record]:
    by_image: dict[str, list[dict[str, str]]] = {}
    for row in _rows(folder / f"instances_{part}.csv"):
        by_image.setdefault(row["image"], []).append(row)
    for name, rows in by_image.items():
        path = folder / part / "images" / name
        if not path.is_file():
            path = next(path.parent.glob(f"{path.stem}.*"), path)
        masks = folder / part / "masks"
        mask = next(masks.glob(f"{path.stem}.*"), masks / name)
        # the few leukocytes of the set are left unjudged, as clusters are
        bad = [
            [float(r[k]) for k in ("x0", "y0", "x1", "y1")]
            for r in rows
            if r["class"] in ("cluster", "leukocyte")
        ]
        clusters = np.array(bad, np.float32).reshape(-1, 4)
        yield _masked(path, "bbbc041seg", ERYTHROCYTE, mask, clusters)


def _krd_wbc(folder: Path, part: str) -> Iterator[Record]:
    for row in _rows(folder / f"labels_{part}.csv"):
        image, mask = folder / part / "images" / row["image"], folder / part / "masks" / row["mask"]
        yield _masked(image, "krd_wbc", LEUKOCYTE, mask, no_boxes())


def _zxaoyou_ds2(folder: Path, part: str) -> Iterator[Record]:
    for row in _rows(folder / "labels.csv") if part == "train" else []:
        image, mask = folder / "images" / row["image"], folder / "masks" / row["image"]
        yield _masked(image, "zxaoyou_ds2", LEUKOCYTE, mask, no_boxes())


_READERS = {
    "txl_pbc": _txl_pbc,
    "bbbc041seg": _bbbc041seg,
    "krd_wbc": _krd_wbc,
    "zxaoyou_ds2": _zxaoyou_ds2,
}
_TABLES = {
    "txl_pbc": ("meta_train.csv", "meta_val.csv"),
    "bbbc041seg": ("instances_train.csv", "instances_val.csv"),
    "krd_wbc": ("labels_train.csv", "labels_val.csv"),
    "zxaoyou_ds2": ("labels.csv",),
}


def instances_in_mask(record: Record) -> tuple[NDArray[np.uint16], tuple[str, ...], NDArray[np.bool_]]:
    """The cells of a public set's mask file.

    Returns:
        owner uint16 ``(H, W)`` (0 ground, ``i + 1`` cell ``i``), the class key of each cell, and ignore
        bool ``(H, W)``, true on components that hold several cells.

    Raises:
        InputError: the mask file cannot be read.

    """
    mask = cv2.imread(str(record.mask), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise InputError(f"The mask {record.mask} cannot be read; restore the file.")
    only_one = record.complete == {LEUKOCYTE}
    binary = (mask > (64 if record.source == "zxaoyou_ds2" else 127)).astype(np.uint8)
    n, comp, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    boxes = np.hstack([stats[:, :2], stats[:, :2] + stats[:, 2:4]]).astype(np.float32)
    number, bad = np.zeros(n, np.uint16), np.zeros(n, np.bool_)
    taken = 0
    smallest = stats[1:, cv2.CC_STAT_AREA].max(initial=0) // 4 if only_one else MIN_COMPONENT_PX
    for i in range(1, n):
        if stats[i, cv2.CC_STAT_AREA] < smallest:
            continue
        bad[i] = _is_cluster(boxes[i], record.clusters)
        if not bad[i]:
            taken += 1
            number[i] = taken
    return number[comp], (LEUKOCYTE if only_one else ERYTHROCYTE,) * taken, bad[comp]


def outlined(record: Record) -> Record:
    """The same record with the cells of its mask file as outlines; a record without one as it is.

    Raises:
        InputError: the mask file cannot be read.

    """
    if record.mask is None:
        return record
    owner, names, _ = instances_in_mask(record)
    places = find_objects(owner, len(names))
    outlines = tuple(traced(owner[ys, xs] == i + 1, xs.start, ys.start) for i, (ys, xs) in enumerate(places))
    boxes = np.array([(xs.start, ys.start, xs.stop, ys.stop) for ys, xs in places], np.float32).reshape(-1, 4)
    return replace(record, boxes=boxes, names=names, outlines=outlines, mask=None)


def _is_cluster(box: Floats, clusters: Floats) -> bool:
    return bool(len(clusters)) and bool((np.abs(clusters - box).max(axis=1) <= 2).any())
