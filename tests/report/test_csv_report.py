"""The cell report: every cell, every column, readable by csv and shapely, the same bytes each time."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

from cmlcore import RESEARCH_USE
from cmlcore.cells import CELL_SCHEMA, CellTable, Filters, with_run_facts, write_part
from cmlcore.errors import RunError
from cmlcore.geometry import Mpp
from cmlcore.report import csv_stream
from cmlcore.report.csv_report import column_names, wkt


def parsed(
    manifest: dict[str, object], cells: CellTable, f: Filters | None = None
) -> tuple[list[str], list[dict[str, Any]]]:
    text = b"".join(csv_stream(manifest, cells, f)).decode()
    head = [line for line in text.splitlines() if line.startswith("#")]
    body = text.split("\n", len(head))[-1]
    return head, list(csv.DictReader(io.StringIO(body)))


def test_every_cell_is_a_row_that_says_what_the_table_says(
    manifest: dict[str, object], cells: CellTable
) -> None:
    _, rows = parsed(manifest, cells)
    table = pa.Table.from_batches(list(cells.batches())).to_pylist()
    assert len(rows) == len(table) == 104
    assert list(rows[0]) == [n.strip('"').replace('""', '"') for n in column_names(cells)]
    for row, cell in zip(rows, table, strict=True):
        assert int(row["cell_id"]) == cell["cell_id"]
        assert row["class"] == cell["cls"]
        assert int(row["owner_block"]) == cell["block"]
        assert float(row["x_px"]) == pytest.approx(cell["x_l0"], abs=5e-4)
        assert float(row["x_um"]) == pytest.approx(cell["x_l0"] * 0.2, abs=5e-4)
        assert float(row["y_um"]) == pytest.approx(cell["y_l0"] * 0.25, abs=5e-4)
        for name, prob in zip(cells.classes, cell["probs"], strict=True):
            assert float(row[f"prob_{name}"]) == pytest.approx(prob, abs=5e-5)
        for name, decimals in [
            ("score", 4),
            ("circularity", 4),
            ("area_um2", 3),
            ("perimeter_um", 3),
            ("mean_g", 1),
        ]:
            assert float(row[name]) == round(cell[name], decimals)
        ring = np.array(shapely.from_wkt(row["outline_wkt"]).exterior.coords)
        np.testing.assert_array_equal(ring[:-1].ravel(), cell["outline_l0"])
        np.testing.assert_array_equal(ring[0], ring[-1])
        assert "e" not in row["outline_wkt"]


def test_the_head_says_what_was_done_and_for_what_use(manifest: dict[str, object], cells: CellTable) -> None:
    head, _ = parsed(manifest, cells)
    assert head[0] == f"# research_use: {RESEARCH_USE}"
    assert "# slide_id: sha256:0123456789ab" in head
    assert "# model: type2" in head
    assert '# settings: {"batch": null, "min_score": 0.3}' in head
    assert not any("run_id" in line or "started" in line for line in head)


def test_the_same_run_gives_the_same_bytes_from_parts_and_merged(
    manifest: dict[str, object], cells: CellTable, run_dir: Path
) -> None:
    merged = b"".join(csv_stream(manifest, cells))
    assert b"".join(csv_stream(dict(reversed(manifest.items())), CellTable(run_dir))) == merged
    (run_dir / "cells.parquet").unlink()
    assert b"".join(csv_stream(manifest, CellTable(run_dir))) == merged


def test_filters_choose_the_rows(manifest: dict[str, object], cells: CellTable) -> None:
    f = Filters(classes=("leukocyte",), min_score=0.5)
    _, rows = parsed(manifest, cells, f)
    assert {r["class"] for r in rows} == {"leukocyte"}
    assert len(rows) == cells.count(f) > 0


def test_no_field_can_be_run_by_a_spreadsheet(manifest: dict[str, object], tmp_path: Path) -> None:
    table = pa.Table.from_pylist(
        [
            dict.fromkeys(CELL_SCHEMA.names, 0.0)
            | {"cell_id": 1, "block": 0, "cls": "=1+1", "probs": [1.0], "outline_l0": [0.0, 0, 1, 0, 1, 1]}
        ],
        CELL_SCHEMA,
    )
    write_part(tmp_path, 0, table.cast(with_run_facts(CELL_SCHEMA, ["=1+1"], Mpp(1, 1))))
    _, rows = parsed(manifest, CellTable(tmp_path))
    assert rows[0]["class"] == "'=1+1"


def test_wkt_of_large_and_negative_places_is_exact() -> None:
    outlines = [[-0.125, 0.0, 400000.125, 7.5, 399999.875, 1e5], [1.0, 2.0, 3.0, 4.0, 5.0, -6.25, 7.0, 8.0]]
    texts = wkt(pa.array(outlines, type=pa.list_(pa.float32()))).to_pylist()
    assert texts[1] == "POLYGON ((1 2, 3 4, 5 -6.25, 7 8, 1 2))"
    assert texts[0] == "POLYGON ((-0.125 0, 400000.125 7.5, 399999.875 100000, -0.125 0))"
    assert wkt(pa.array([], type=pa.list_(pa.float32()))).to_pylist() == []


def test_a_run_without_pixel_size_is_refused(manifest: dict[str, object], tmp_path: Path) -> None:
    write_part(tmp_path, 0, CELL_SCHEMA.empty_table())
    with pytest.raises(RunError, match="pixel size"):
        next(csv_stream(manifest, CellTable(tmp_path)))
