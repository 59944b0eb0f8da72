"""The cell table: parts on disk, questions against plain NumPy, and memory that stays flat."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from cmlcore.cells import (
    CELL_SCHEMA,
    CELLS_PER_BLOCK,
    CellTable,
    Filters,
    finished_blocks,
    in_rois,
    merge_parts,
    part_path,
    with_run_facts,
    write_part,
)
from cmlcore.errors import InputError, RunError, StorageError
from cmlcore.geometry import Mpp

CLASSES = ("erythrocyte", "leukocyte", "thrombocyte")
MPP = Mpp(0.2, 0.25)
ROI = (((100.0, 100.0), (1300.0, 300.0), (1100.0, 1400.0), (300.0, 900.0)),)


def made_cells(block: int, n: int, seed: int = 0, span: float = 3000, vertices: int = 12) -> pa.Table:
    """Round cells with true measures at random places."""
    rng = np.random.default_rng((seed, block))
    x, y = rng.uniform(0, span, (2, n))
    r = rng.uniform(5, 30, n)
    angle = np.arange(vertices) * 2 * np.pi / vertices
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    outline = np.round((np.stack([x, y], 1)[:, None] + r[:, None, None] * ring) * 8) / 8
    probs = rng.dirichlet(np.ones(len(CLASSES)), n).astype(np.float32)
    low, high = outline.min(axis=1), outline.max(axis=1)
    area = np.pi * r * r * MPP.um2_per_px
    columns = {
        "cell_id": block * CELLS_PER_BLOCK + np.arange(n),
        "block": np.full(n, block),
        "cls": np.array(CLASSES)[probs.argmax(axis=1)] if n else np.array([], dtype=str),
        "score": rng.uniform(0, 1, n),
        "probs": list(probs),
        "x_l0": x,
        "y_l0": y,
        "x0_l0": low[:, 0],
        "y0_l0": low[:, 1],
        "x1_l0": high[:, 0],
        "y1_l0": high[:, 1],
        "area_um2": area,
        "perimeter_um": 2 * np.sqrt(np.pi * area),
        "circularity": np.full(n, 0.97),
        **{f"mean_{c}": rng.uniform(0, 255, n) for c in "rgb"},
        "outline_l0": list(outline.reshape(n, 2 * vertices)),
    }
    arrays = [pa.array(columns[f.name], type=f.type) for f in CELL_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=with_run_facts(CELL_SCHEMA, CLASSES, MPP))


def made_run(folder: Path, sizes: Sequence[int], seed: int = 0, **more: float) -> pa.Table:
    tables = [made_cells(block, n, seed, **more) for block, n in enumerate(sizes)]
    for block, table in enumerate(tables):
        write_part(folder, block, table)
    return pa.concat_tables(tables)


@pytest.fixture(params=["parts", "merged"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[CellTable, pa.Table]:
    table = made_run(tmp_path, [40, 0, 300, 1, 159], span=1500)
    if request.param == "merged":
        assert merge_parts(tmp_path) == tmp_path / "cells.parquet"
    return CellTable(tmp_path), table


def passing(table: pa.Table, f: Filters) -> np.ndarray:
    keep = np.asarray(table["score"]) >= np.float32(f.min_score)
    if f.classes is not None:
        keep &= np.isin(table["cls"].to_pylist(), f.classes)
    if f.rois_l0 is not None:
        keep &= in_rois(table["x_l0"], table["y_l0"], f.rois_l0)
    return keep


FILTERS = [
    Filters(),
    Filters(min_score=0.4),
    Filters(classes=("leukocyte",)),
    Filters(classes=("thrombocyte", "erythrocyte"), min_score=0.25, rois_l0=ROI),
    Filters(classes=()),
    Filters.of(rois_l0=[[[0, 0], [50, 0], [50, 50]], [[700, 600], [1400, 600], [1400, 1400]]]),
]


@pytest.mark.parametrize("f", FILTERS)
def test_counts_equal_a_plain_count(run: tuple[CellTable, pa.Table], f: Filters) -> None:
    cells, table = run
    keep = passing(table, f)
    kept = table.filter(pa.array(keep))
    cls, score = np.array(kept["cls"].to_pylist()), np.asarray(kept["score"]).astype(float)
    assert cells.classes == CLASSES
    assert cells.mpp == MPP
    assert cells.count(f) == keep.sum()
    counts = cells.counts(f, area_mm2=0.5)
    assert [c.cls for c in counts] == [c for c in CLASSES if f.classes is None or c in f.classes]
    for c in counts:
        of = cls == c.cls
        assert c.count == of.sum()
        assert c.density_mm2 == c.count / 0.5
        assert c.percent == pytest.approx(100 * of.mean() if len(of) else 0)
        assert (c.mean_score is None) == (c.count == 0)
        if c.count:
            assert c.mean_score == pytest.approx(score[of].mean(), rel=1e-9)
            assert c.mean_area_um2 == pytest.approx(np.asarray(kept["area_um2"])[of].mean(), rel=1e-5)


@pytest.mark.parametrize("f", FILTERS)
def test_rows_stream_in_order_of_id(run: tuple[CellTable, pa.Table], f: Filters) -> None:
    cells, table = run
    expected = table.filter(pa.array(passing(table, f)))
    for rows in (7, 8192):
        batches = list(cells.batches(filters=f, rows=rows))
        assert all(0 < b.num_rows <= rows for b in batches)
        assert pa.Table.from_batches(batches, CELL_SCHEMA).to_pylist() == expected.to_pylist()
    assert cells.arrow(["cell_id", "score"], f).equals(expected.select(["cell_id", "score"]))


@pytest.mark.parametrize("f", FILTERS)
@pytest.mark.parametrize(
    ("measure", "edges"),
    [
        ("score", 20),
        ("area_um2", 13),
        ("mean_g", 32),
        ("area_um2", [0, 5, 20, 21, 60]),
        ("score", [0.0, 0.5, 1.0]),
    ],
)
def test_histograms_equal_numpy(
    run: tuple[CellTable, pa.Table], f: Filters, measure: str, edges: int | list[float]
) -> None:
    cells, table = run
    kept = table.filter(pa.array(passing(table, f)))
    got = cells.histogram(measure, edges, f)
    cls, values = np.array(kept["cls"].to_pylist()), np.asarray(kept[measure]).astype(np.float64)
    for name, counts in got.counts.items():
        np.testing.assert_array_equal(counts, np.histogram(values[cls == name], got.edges)[0])
    if isinstance(edges, int):
        assert sum(c.sum() for c in got.counts.values()) == kept.num_rows


def test_one_cell_and_the_cell_at_a_point(run: tuple[CellTable, pa.Table]) -> None:
    cells, table = run
    row = table.to_pylist()[111]
    assert cells.cell(row["cell_id"]) == row
    with pytest.raises(InputError, match="no cell 99"):
        cells.cell(99)
    shapes = [shapely.Polygon(np.reshape(o, (-1, 2))) for o in table["outline_l0"].to_pylist()]
    rng = np.random.default_rng(1)
    hits = 0
    for x, y in rng.uniform(0, 1500, (40, 2)):
        gaps = np.array([s.distance(shapely.Point(x, y)) for s in shapes])
        got = cells.cell_at(x, y, within=9)
        if gaps.min() > 9:
            assert got is None
        elif gaps.min() > 0:
            assert got is not None
            assert got["cell_id"] == table["cell_id"][int(gaps.argmin())].as_py()
        else:
            hits += 1
            assert got is not None
            assert gaps[table["cell_id"].to_pylist().index(got["cell_id"])] == 0
    assert hits > 5
    assert cells.cell_at(-500, -500) is None


def test_many_threads_may_ask_at_once(tmp_path: Path) -> None:
    table = made_run(tmp_path, [500, 500])
    cells = CellTable(tmp_path)
    ways = [Filters(rois_l0=(((0, 0), (a, 0), (a, a), (0, a)),)) for a in range(300, 3000, 150)]
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(cells.count, ways))
    assert counts == [int(passing(table, f).sum()) for f in ways]


def test_same_cells_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made_run(tmp_path / name, [20, 0, 5])
        merge_parts(tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.parquet"))
    assert len(files) == 4
    for f in files:
        assert (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes()
    assert finished_blocks(tmp_path / "a") == [0, 1, 2]
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_without_cells_can_be_asked(tmp_path: Path) -> None:
    made_run(tmp_path, [0, 0])
    for _ in range(2):
        cells = CellTable(tmp_path)
        assert cells.count() == 0
        assert [c.count for c in cells.counts()] == [0, 0, 0]
        assert cells.grid_tiles(2048) == []
        assert list(cells.batches()) == []
        assert cells.histogram("area_um2", 4).counts["leukocyte"].tolist() == [0, 0, 0, 0]
        merge_parts(tmp_path)


def test_nothing_finished_and_damaged_parts_say_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished block"):
        CellTable(tmp_path)
    made_run(tmp_path, [30, 30])
    second = part_path(tmp_path, 1)
    second.write_bytes(second.read_bytes()[:-20])
    with pytest.raises(RunError, match="damaged"):
        list(CellTable(tmp_path).batches())
    with pytest.raises(RunError, match="damaged"):
        CellTable(tmp_path).count()
    with pytest.raises(RunError, match="damaged"):
        merge_parts(tmp_path)
    assert not (tmp_path / "cells.parquet").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_a_part_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, table: pa.Table) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
    with pytest.raises(StorageError, match="full"):
        write_part(tmp_path, 3, made_cells(3, 10))
    assert list((tmp_path / "parts").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="written"):
        write_part(tmp_path / "file", 3, made_cells(3, 10))
    with pytest.raises(ValueError, match="CELL_SCHEMA"):
        write_part(tmp_path, 3, made_cells(3, 10).drop_columns(["score"]))


def test_streaming_memory_does_not_grow_with_the_cells(tmp_path: Path) -> None:
    peaks = []
    for name, blocks in (("few", 4), ("many", 40)):
        made_run(tmp_path / name, [1000] * blocks)
        merge_parts(tmp_path / name)
        cells = CellTable(tmp_path / name)
        pool = pa.default_memory_pool()
        pool.release_unused()
        tracemalloc.start()
        arrow = 0
        for _ in cells.batches(rows=500):
            arrow = max(arrow, pool.bytes_allocated())
        peaks.append((tracemalloc.get_traced_memory()[1], arrow))
        tracemalloc.stop()
    assert peaks[1][0] <= 1.15 * peaks[0][0] + 100_000
    assert peaks[1][1] <= 16 << 20  # a row group or two, not the table


def test_regions_of_interest_are_checked() -> None:
    with pytest.raises(InputError, match="Region 2"):
        in_rois([1.0], [1.0], [[[0, 0], [5, 0], [5, 5]], [[0, 0], [1, 1]]])
    bow = [[0, 0], [10, 10], [10, 0], [0, 10]]
    assert in_rois([1, 5, 9, 5], [5, 1, 5, 9], [bow]).tolist() == [True, False, True, False]
