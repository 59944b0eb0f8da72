"""Leukocytes with a sub-class in labelled fields of view: a judge from other microscopes than the trainer's.

Of the public sets, ``txl_pbc`` (sub-class of an image's single leukocyte, beside its box), ``krd_wbc`` and
``zxaoyou_ds2`` (one leukocyte mask and class an image) name sub-classes. Each cell is cut to the same field
as a single-cell image, by the pixel size of its source.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.classes import ancestors
from cmlcore.errors import InputError
from cmlcore.ground_truth.sets import MPP
from cmlcore.single_cell.data import key_of
from cmlcore.single_cell.images import FIELD_UM, SIDE, cut_field, read_image


@dataclass(frozen=True, slots=True)
class FieldCell:
    """One leukocyte in a field of view: the image, its source (microscope), class, and centre in pixels."""

    image: Path
    source: str
    cls: str
    centre: tuple[float, float]

    def field(self, side: int = SIDE, field_um: float = FIELD_UM) -> NDArray[np.uint8]:
        """The square around it, uint8 ``(side, side, 3)``. Raises InputError if the image cannot be used."""
        return cut_field(read_image(self.image), MPP[self.source], self.centre, side, field_um)


def field_cells(root: Path, part: str = "val") -> list[FieldCell]:
    """The cells of every such set below ``root``, in one part ("train" or "val").

    Raises:
        InputError: none is there.

    """
    found = [
        *_txl_pbc(root / "txl_pbc", part),
        *_krd_wbc(root / "krd_wbc", part),
        *(_zxaoyou(root / "zxaoyou_ds2") if part == "train" else ()),
    ]
    if not found:
        raise InputError(f"The folder {root.name} holds no fields with leukocyte sub-classes.")
    return found


def shared(
    probs: NDArray[np.floating[Any]], classes: Sequence[str], wanted: Sequence[str]
) -> NDArray[np.float64]:
    """Probabilities of wider classes, ``(N, len(wanted))``: the sum over each one's kinds, then normalised.

    What the classifier gives to classes outside ``wanted`` is left out: it is asked which of these it is.
    """
    out = np.zeros((len(probs), len(wanted)), np.float64)
    for i, c in enumerate(classes):
        home = next((a for a in ancestors(c) if a in wanted), None)
        if home is not None:
            out[:, list(wanted).index(home)] += probs[:, i]
    return np.asarray(out / np.maximum(out.sum(axis=1, keepdims=True), 1e-12), np.float64)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def _txl_pbc(folder: Path, part: str) -> Iterator[FieldCell]:
    for row in _rows(folder / f"meta_{part}.csv"):
        if not row["wbc_subclass"] or not row["wbc_label_line"]:
            continue
        lines = (folder / part / "labels" / row["image"]).with_suffix(".txt").read_text().splitlines()
        _, x, y, *_ = (float(v) for v in lines[int(row["wbc_label_line"])].split())
        centre = x * int(row["width"]), y * int(row["height"])
        yield FieldCell(
            folder / part / "images" / row["image"], row["source"], key_of(row["wbc_subclass"]), centre
        )


def _krd_wbc(folder: Path, part: str) -> Iterator[FieldCell]:
    for row in _rows(folder / f"labels_{part}.csv"):
        image, mask = folder / part / "images" / row["image"], folder / part / "masks" / row["mask"]
        yield FieldCell(image, "krd_wbc", key_of(row["class"]), _middle(mask, 127))


def _zxaoyou(folder: Path) -> Iterator[FieldCell]:
    for row in _rows(folder / "labels.csv"):
        image, mask = folder / "images" / row["image"], folder / "masks" / row["image"]
        yield FieldCell(image, "zxaoyou_ds2", key_of(row["class"]), _middle(mask, 64))


def _middle(mask: Path, threshold: int) -> tuple[float, float]:
    """Centre of the largest component's box: how a detection is centred too."""
    grey = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise InputError(f"The mask {mask.name} cannot be read; restore the file.")
    _, _, stats, _ = cv2.connectedComponentsWithStats((grey > threshold).astype(np.uint8))
    if len(stats) < 2:
        raise InputError(f"The mask {mask.name} shows no cell; restore the file.")
    x, y, w, h, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    return float(x + w / 2), float(y + h / 2)
