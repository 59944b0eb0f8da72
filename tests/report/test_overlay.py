"""The packed cell layer, read back by its documented layout."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cmlcore.cells import CELL_SCHEMA, CellTable, with_run_facts, write_part
from cmlcore.geometry import Mpp
from cmlcore.report import overlay_centres, overlay_index, overlay_tile
from cmlcore.report.overlay import GRID


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """The tile's sections, each at the place that the sections before it leave."""
    magic, version, kind, n, v, unit, radius, gx, gy = struct.unpack_from("<4sHHIIffii", data)
    assert (magic, version, kind) == (b"CMLO", 1, 0)
    out, at = {"head": np.array([n, v, unit, radius, gx, gy])}, 32
    for name, kind_, count in [
        ("id", "<f8", n),
        ("centre", "<f4", 2 * n),
        ("first", "<u4", n + 1),
        ("vertex", "<i2", 2 * v),
        ("score", "u1", n),
        ("cls", "u1", n),
    ]:
        assert at % np.dtype(kind_).itemsize == 0, f"{name} is not aligned"
        out[name] = np.frombuffer(data, kind_, count, at)
        at += out[name].nbytes
    assert at == len(data)
    return out


def test_tiles_hold_every_cell_once_and_its_outline_exactly(cells: CellTable) -> None:
    index = json.loads(json.dumps(overlay_index(cells)))
    table = {r["cell_id"]: r for b in cells.batches() for r in b.to_pylist()}
    assert index["count"] == len(table)
    seen = []
    for gx, gy, count, radius in index["tiles"]:
        tile = unpack(overlay_tile(cells, gx, gy))
        n, v, unit, reach, *place = tile["head"]
        assert (n, place) == (count, [gx, gy])
        assert tile["first"][-1] == v
        assert reach <= radius + unit
        for i, cell_id in enumerate(tile["id"].astype(int).tolist()):
            cell = table[cell_id]
            seen.append(cell_id)
            assert (max(0, cell["x_l0"] // GRID), max(0, cell["y_l0"] // GRID)) == (gx, gy)
            centre = tile["centre"].reshape(-1, 2)[i]
            np.testing.assert_allclose(centre, [cell["x_l0"], cell["y_l0"]], atol=1 / 16)
            vertices = tile["vertex"].reshape(-1, 2)[tile["first"][i] : tile["first"][i + 1]]
            np.testing.assert_array_equal((centre + unit * vertices).ravel(), cell["outline_l0"])
            assert tile["score"][i] == round(cell["score"] * 255)
            assert index["classes"][tile["cls"][i]]["key"] == cell["cls"]
    assert sorted(seen) == sorted(table)


def test_a_tile_without_cells_is_a_header(cells: CellTable) -> None:
    assert unpack(overlay_tile(cells, 99, 0))["head"].tolist() == [0, 0, 0.125, 0, 99, 0]


def test_centres_of_all_cells(cells: CellTable) -> None:
    data = overlay_centres(cells)
    table = pa.Table.from_batches(list(cells.batches()))
    n = table.num_rows
    assert struct.unpack_from("<4sHHII", data) == (b"CMLO", 1, 1, n, 0)
    assert len(data) == 32 + 10 * n
    xy = np.frombuffer(data, "<f4", 2 * n, 32).reshape(n, 2)
    np.testing.assert_array_equal(xy[:, 0], table["x_l0"])
    np.testing.assert_array_equal(xy[:, 1], table["y_l0"])
    np.testing.assert_allclose(
        np.frombuffer(data, "u1", n, 32 + 8 * n) / 255, table["score"], atol=1 / 510 + 1e-6
    )
    cls = np.frombuffer(data, "u1", n, 32 + 9 * n)
    assert [cells.classes[c] for c in cls] == table["cls"].to_pylist()


@pytest.mark.parametrize(("side", "unit"), [(8000.0, 0.125), (8300.0, 0.25), (40_000.0, 1.0)])
def test_a_huge_cell_takes_a_coarser_unit(tmp_path: Path, side: float, unit: float) -> None:
    row = dict.fromkeys(CELL_SCHEMA.names, 1.0) | {"cell_id": 5, "block": 0, "cls": "net", "probs": [1.0]}
    row |= {"x_l0": side / 2, "y_l0": side / 2, "outline_l0": [0.0, 0.0, side, 0.0, side, side]}
    table = pa.Table.from_pylist([row], CELL_SCHEMA)
    write_part(tmp_path, 0, table.cast(with_run_facts(CELL_SCHEMA, ["net"], Mpp(1, 1))))
    cells = CellTable(tmp_path)
    tile = unpack(overlay_tile(cells, int(side / 2 // GRID), int(side / 2 // GRID)))
    assert tile["head"][2] == unit
    np.testing.assert_array_equal(tile["centre"][:2] + unit * tile["vertex"].reshape(-1, 2)[2], [side, side])
