"""The labelled image sets: where their files lie, what their labels cover, at which scale they were taken.

None of the sets states its pixel size. ``MPP`` holds estimates: 7.5 µm (the erythrocyte's mean diameter)
divided by the median of ``sqrt(w * h)`` over the erythrocyte boxes, or of the equivalent diameter over the
erythrocyte masks, of the ``train`` part that do not touch the image's edge. The two leukocyte sets label no
erythrocyte; there the median width of some 30 erythrocytes in 18 images was read off by eye.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError

CLASSES = ("erythrocyte", "leukocyte", "thrombocyte")
ERYTHROCYTE, LEUKOCYTE, THROMBOCYTE = range(3)

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

_ALL = (True, True, True)
_ONLY_ERYTHROCYTES = (True, False, False)
_ONLY_LEUKOCYTES = (False, True, False)
_TXL_CLASS = (LEUKOCYTE, ERYTHROCYTE, THROMBOCYTE)  # WBC, RBC, platelet


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled image as it lies on disk, in its own pixels.

    Attributes:
        image: the image file.
        source: key of ``MPP``; the microscope.
        complete: for each of ``CLASSES``, whether every cell of that class in view is labelled.
        boxes: float32 ``(N, 4)`` as x0, y0, x1, y1; empty where the labels are masks.
        labels: int64 ``(N,)``, index into ``CLASSES``, one a box.
        mask: the mask file, or None where the labels are boxes.
        clusters: float32 ``(K, 4)``, boxes of components that hold several cells and are to be ignored.

    """

    image: Path
    source: str
    complete: tuple[bool, bool, bool]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    mask: Path | None
    clusters: NDArray[np.float32]

    @property
    def mpp(self) -> float:
        """Estimated µm per pixel."""
        return MPP[self.source]


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
    found = [r for n, read in _READERS.items() if not names or n in names for r in read(root / n, part)]
    if not found:
        raise InputError(f"No labelled images were found in {root}; give the folder that holds the sets.")
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def _no_boxes() -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


def _masked(
    image: Path, source: str, complete: tuple[bool, bool, bool], mask: Path, clusters: NDArray[np.float32]
) -> Record:
    return Record(image, source, complete, _no_boxes(), np.zeros(0, np.int64), mask, clusters)


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
        labels = np.array(_TXL_CLASS, np.int64)[raw[:, 0].astype(int)]
        yield Record(path, row["source"], _ALL, boxes, labels, None, _no_boxes())


def _bbbc041seg(folder: Path, part: str) -> Iterator[Record]:
    by_image: dict[str, list[dict[str, str]]] = {}
    for row in _rows(folder / f"instances_{part}.csv"):
        by_image.setdefault(row["image"], []).append(row)
    for name, rows in by_image.items():
        path = folder / part / "images" / name
        if not path.is_file():
            path = next(path.parent.glob(f"{path.stem}.*"))
        mask = next((folder / part / "masks").glob(f"{path.stem}.*"))
        # the few leukocytes of the set are left unjudged, as clusters are
        bad = [
            [float(r[k]) for k in ("x0", "y0", "x1", "y1")]
            for r in rows
            if r["class"] in ("cluster", "leukocyte")
        ]
        clusters = np.array(bad, np.float32).reshape(-1, 4)
        yield Record(
            path, "bbbc041seg", _ONLY_ERYTHROCYTES, _no_boxes(), np.zeros(0, np.int64), mask, clusters
        )


def _krd_wbc(folder: Path, part: str) -> Iterator[Record]:
    for row in _rows(folder / f"labels_{part}.csv"):
        image, mask = folder / part / "images" / row["image"], folder / part / "masks" / row["mask"]
        yield Record(
            image, "krd_wbc", _ONLY_LEUKOCYTES, _no_boxes(), np.zeros(0, np.int64), mask, _no_boxes()
        )


def _zxaoyou_ds2(folder: Path, part: str) -> Iterator[Record]:
    for row in _rows(folder / "labels.csv") if part == "train" else []:
        image, mask = folder / "images" / row["image"], folder / "masks" / row["image"]
        yield Record(
            image, "zxaoyou_ds2", _ONLY_LEUKOCYTES, _no_boxes(), np.zeros(0, np.int64), mask, _no_boxes()
        )


_READERS = {
    "txl_pbc": _txl_pbc,
    "bbbc041seg": _bbbc041seg,
    "krd_wbc": _krd_wbc,
    "zxaoyou_ds2": _zxaoyou_ds2,
}

MIN_COMPONENT_PX = 150  # bbbc041seg: smaller components of a mask are dust


def instances_in_mask(record: Record) -> tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.bool_]]:
    """The cells of a mask file.

    Returns:
        owner uint16 ``(H, W)`` (0 ground, ``i + 1`` cell ``i``), labels int64 ``(N,)``, and ignore bool
        ``(H, W)``, true on components that hold several cells.

    Raises:
        InputError: the mask file cannot be read.

    """
    mask = cv2.imread(str(record.mask), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise InputError(f"The mask {record.mask} cannot be read; restore the file.")
    only_one = record.complete == _ONLY_LEUKOCYTES
    binary = (mask > (64 if record.source == "zxaoyou_ds2" else 127)).astype(np.uint8)
    n, comp, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    owner, ignore = np.zeros(mask.shape, np.uint16), np.zeros(mask.shape, np.bool_)
    boxes = stats[:, :2].astype(np.float32), (stats[:, :2] + stats[:, 2:4]).astype(np.float32)
    taken = 0
    smallest = stats[1:, cv2.CC_STAT_AREA].max(initial=0) // 4 if only_one else MIN_COMPONENT_PX
    for i in range(1, n):
        if stats[i, cv2.CC_STAT_AREA] < smallest:
            continue
        if _is_cluster(np.concatenate([boxes[0][i], boxes[1][i]]), record.clusters):
            ignore |= comp == i
            continue
        taken += 1
        owner[comp == i] = taken
    label = LEUKOCYTE if only_one else ERYTHROCYTE
    return owner, np.full(taken, label, np.int64), ignore


def _is_cluster(box: NDArray[np.float32], clusters: NDArray[np.float32]) -> bool:
    return bool(len(clusters)) and bool((np.abs(clusters - box).max(axis=1) <= 2).any())
