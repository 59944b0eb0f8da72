"""A small run with awkward cells, written as a worker writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cmlcore.cells import CELL_SCHEMA, CELLS_PER_BLOCK, CellTable, merge_parts, with_run_facts, write_part
from cmlcore.geometry import Mpp

CLASSES = ("erythrocyte", "leukocyte", 'odd, "own" class')
MPP = Mpp(0.2, 0.25)


def block_of_cells(block: int, n: int, vertices: int = 9, span: float = 9000.0) -> pa.Table:
    rng = np.random.default_rng(block)
    x, y = np.float32(rng.uniform(-60, span, (2, n)))
    angle = np.sort(rng.uniform(0, 2 * np.pi, (n, vertices)), axis=1)
    ring = np.stack([x[:, None] + 40 * np.cos(angle), y[:, None] + 40 * np.sin(angle)], axis=2)
    outline = np.round(ring * 8) / 8
    probs = rng.dirichlet(np.ones(3), n)
    low, high = outline.min(axis=1), outline.max(axis=1)
    values = {
        "cell_id": block * CELLS_PER_BLOCK + np.arange(n),
        "block": np.full(n, block),
        "cls": [CLASSES[i] for i in probs.argmax(axis=1)],
        "probs": list(probs),
        "x_l0": x,
        "y_l0": y,
        "x0_l0": low[:, 0],
        "y0_l0": low[:, 1],
        "x1_l0": high[:, 0],
        "y1_l0": high[:, 1],
        "circularity": rng.uniform(0, 1, n),
        "outline_l0": list(outline.reshape(n, 2 * vertices)),
    }
    columns = [pa.array(values.get(f.name, rng.uniform(0, 1, n)), type=f.type) for f in CELL_SCHEMA]
    return pa.Table.from_arrays(columns, schema=with_run_facts(CELL_SCHEMA, CLASSES, MPP))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    for block, n in enumerate((70, 0, 33, 1)):
        write_part(tmp_path, block, block_of_cells(block, n))
    merge_parts(tmp_path)
    return tmp_path


@pytest.fixture
def cells(run_dir: Path) -> CellTable:
    return CellTable(run_dir)


@pytest.fixture
def manifest() -> dict[str, object]:
    return {
        "run_id": "r1",
        "slide_id": "sha256:0123456789ab",
        "scene": 0,
        "model": "type2",
        "model_sha256": "ab" * 32,
        "settings": {"min_score": 0.3, "batch": None},
        "mpp": [0.2, 0.25],
        "started": "2026-01-01T00:00:00",
    }
