"""A cell as a disc of its class's own colour, and a run's table of cells at given places."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cmlcore.cells import CELL_SCHEMA, CellTable, with_run_facts, write_part
from cmlcore.geometry import Mpp

MPP = 0.2
COLOURS = {"monocyte": (90, 60, 160), "eosinophil": (210, 90, 60), "lymphocyte": (40, 30, 110)}


def drawn_cell(cls: str, rng: np.random.Generator, side: int = 120) -> NDArray[np.uint8]:
    """A disc 8 to 12 µm wide in the middle of uint8 (side, side, 3)."""
    image = np.full((side, side, 3), (240, 225, 220), np.uint8)
    radius = round(rng.uniform(4, 6) / MPP)
    cv2.circle(image, (side // 2, side // 2), radius, COLOURS[cls], -1)
    return np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def run(folder: Path, xy: np.ndarray, mpp: Mpp, classes: list[str] | None = None) -> CellTable:
    """A finished run of three classes; every cell is a leukocyte unless ``classes`` says otherwise."""
    n = len(xy)
    names = ("erythrocyte", "leukocyte", "net")
    cls = classes or ["leukocyte"] * n
    ids = np.sort(np.random.default_rng(1).choice(10 * n, n, replace=False))
    one = np.ones(n, np.float32)
    columns = {
        "cell_id": ids,
        "block": np.zeros(n, np.int32),
        "cls": cls,
        "score": one,
        "probs": [[0.1, 0.8, 0.1]] * n,
        "x_l0": xy[:, 0].astype(np.float32),
        "y_l0": xy[:, 1].astype(np.float32),
        "outline_l0": [[0.0, 0.0, 1.0, 0.0, 1.0, 1.0]] * n,
    }
    arrays = [pa.array(columns.get(f.name, one), f.type) for f in CELL_SCHEMA]
    write_part(folder, 0, pa.Table.from_arrays(arrays, schema=with_run_facts(CELL_SCHEMA, names, mpp)))
    return CellTable(folder)
