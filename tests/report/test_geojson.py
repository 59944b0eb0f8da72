"""GeoJSON as QuPath reads it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from cmlcore import RESEARCH_USE
from cmlcore.cells import CELL_SCHEMA, CellTable, with_run_facts, write_part
from cmlcore.geometry import Mpp
from cmlcore.report import geojson_stream


def test_every_cell_is_a_detection_with_class_and_measurements(
    manifest: dict[str, object], cells: CellTable
) -> None:
    doc = json.loads(b"".join(geojson_stream(manifest, cells)))
    assert doc["type"] == "FeatureCollection"
    assert doc["research_use"] == RESEARCH_USE
    table = pa.Table.from_batches(list(cells.batches())).to_pylist()
    assert len(doc["features"]) == len(table)
    assert len({f["id"] for f in doc["features"]}) == len(table)
    for feature, cell in zip(doc["features"], table, strict=True):
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        np.testing.assert_array_equal(np.ravel(ring[:-1]), cell["outline_l0"])
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert set(properties["classification"]) == {"name", "color"}
        assert all(0 <= c <= 255 for c in properties["classification"]["color"])
        assert properties["measurements"]["Score"] == round(cell["score"], 4)
        assert all(isinstance(v, (int, float)) for v in properties["measurements"].values())
    names = {f["properties"]["classification"]["name"] for f in doc["features"]}
    assert names == {"Erythrocyte", "Leukocyte", 'Odd, "own" class'}


def test_the_same_run_gives_the_same_bytes(
    manifest: dict[str, object], cells: CellTable, run_dir: Path
) -> None:
    again = b"".join(geojson_stream(manifest, CellTable(run_dir)))
    assert b"".join(geojson_stream(manifest, cells)) == again


def test_a_run_without_cells_is_still_valid(manifest: dict[str, object], tmp_path: Path) -> None:
    write_part(tmp_path, 0, with_run_facts(CELL_SCHEMA, ["leukocyte"], Mpp(1, 1)).empty_table())
    assert json.loads(b"".join(geojson_stream(manifest, CellTable(tmp_path))))["features"] == []
