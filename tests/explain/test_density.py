"""The position heatmap against a plain count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from cmlcore.cells import CELL_SCHEMA, CellTable, Filters, with_run_facts, write_part
from cmlcore.explain import heat
from cmlcore.geometry import Mpp

MPP = Mpp(0.5, 0.25)
FRAME = (0.0, 0.0, 1000.0, 700.0)


@pytest.fixture
def places(tmp_path: Path) -> tuple[CellTable, np.ndarray, np.ndarray]:
    """500 cells of two classes and their centroids; some lean over the scene's edge."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-2, 1000, 500), rng.uniform(0, 703, 500)
    zero = dict.fromkeys(CELL_SCHEMA.names, 0.5) | {"probs": [1.0, 0.0], "outline_l0": [0.0] * 6, "block": 0}
    rows = [zero | {"cell_id": i, "cls": "ab"[i % 2], "x_l0": x[i], "y_l0": y[i]} for i in range(500)]
    table = pa.Table.from_pylist(rows, CELL_SCHEMA)
    write_part(tmp_path, 0, table.cast(with_run_facts(CELL_SCHEMA, ["a", "b"], MPP)))
    return CellTable(tmp_path), np.float32(x), np.float32(y)


def slow(x: np.ndarray, y: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Cells by bin of the frame, one at a time."""
    n = np.zeros((rows, columns))
    for a, b in zip(x, y, strict=True):
        column = min(max(int(a // (1000 / columns)), 0), columns - 1)
        row = min(max(int(b // (700 / rows)), 0), rows - 1)
        n[row, column] += 1
    return n


def test_density_times_area_is_the_count(places) -> None:
    cells, x, y = places
    found = heat(cells, FRAME, 8, shapely.box(*FRAME), MPP)  # 125 px; the rows a little less
    assert found.per_mm2.shape == (6, 8)
    np.testing.assert_allclose(found.x_mm, np.linspace(0, 0.5, 9))
    np.testing.assert_allclose(found.y_mm, np.linspace(0, 0.175, 7))
    area = 0.5 / 8 * 0.175 / 6
    np.testing.assert_allclose(found.per_mm2 * area, slow(x, y, 8, 6), atol=1e-9)
    assert found.peak == found.per_mm2.max()
    only = heat(cells, FRAME, 8, shapely.box(*FRAME), MPP, Filters(classes=("a",)))
    np.testing.assert_allclose(only.per_mm2 * area, slow(x[::2], y[::2], 8, 6), atol=1e-9)


def test_what_was_hardly_analysed_has_no_density_and_what_was_half_has_the_double(places) -> None:
    cells, *_ = places
    seen = shapely.box(0, 0, 1000 / 8 * 5.5, 700)  # column 5 by half, 6 and 7 not at all
    found = heat(cells, FRAME, 8, seen, MPP)
    full = heat(cells, FRAME, 8, shapely.box(*FRAME), MPP)
    assert np.isnan(found.per_mm2[:, 6:]).all()
    np.testing.assert_allclose(found.per_mm2[:, :5], full.per_mm2[:, :5])
    np.testing.assert_allclose(found.per_mm2[:, 5], 2 * full.per_mm2[:, 5])
    assert np.isnan(heat(cells, FRAME, 8, shapely.box(0, 0, 20, 700), MPP).per_mm2).all()


def test_nothing_analysed_has_no_peak(places) -> None:
    cells, *_ = places
    assert heat(cells, FRAME, 8, shapely.box(0, 0, 20, 700), MPP).peak == 0.0
