"""The position heatmap against a plain count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from cmlcore.cells import CELL_SCHEMA, CellTable, Filters, with_run_facts, write_part
from cmlcore.explain import density_grid
from cmlcore.geometry import Mpp, Size


def test_density_times_area_is_the_count(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-2, 1000, 500), rng.uniform(0, 703, 500)  # some lean over the scene's edge
    zero = dict.fromkeys(CELL_SCHEMA.names, 0.5) | {"probs": [1.0, 0.0], "outline_l0": [0.0] * 6, "block": 0}
    rows = [zero | {"cell_id": i, "cls": "ab"[i % 2], "x_l0": x[i], "y_l0": y[i]} for i in range(500)]
    table = pa.Table.from_pylist(rows, CELL_SCHEMA)
    write_part(tmp_path, 0, table.cast(with_run_facts(CELL_SCHEMA, ["a", "b"], Mpp(0.5, 0.25))))
    size, mpp = Size(1000, 700), Mpp(0.5, 0.25)
    grid = density_grid(CellTable(tmp_path), size, mpp, squares=8)  # 125 px: the last row is 75 px high
    assert grid.step_l0 == 125
    edges_x, edges_y = np.arange(9) * 125.0, np.minimum(np.arange(7) * 125.0, 700)
    area = np.diff(edges_y)[:, None] * np.diff(edges_x)[None] * 0.5 * 0.25 / 1e6
    for k, name in enumerate("ab"):
        assert grid.per_mm2[name].shape == (6, 8)
        inside_x, inside_y = np.clip(np.float32(x[k::2]), 0, 999), np.clip(np.float32(y[k::2]), 0, 699)
        expected, *_ = np.histogram2d(inside_y, inside_x, [edges_y, edges_x])
        np.testing.assert_allclose(grid.per_mm2[name] * area, expected, atol=1e-9)
    only = density_grid(CellTable(tmp_path), size, mpp, Filters(classes=("a",)), squares=8)
    assert list(only.per_mm2) == ["a"]
    assert grid.peak() == max(g.max() for g in grid.per_mm2.values())
