"""Cut a picture into blocks, let an oracle read each tile, put the cells together: nothing may differ."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from label_oracle import LabelOracle, PictureReader, ThresholdOracle, label_slide, random_labels
from scipy import ndimage

from cmlcore.cells import CELLS_PER_BLOCK, in_rois
from cmlcore.geometry import Mpp, Region
from cmlcore.segmentation import Plan, SegmentSettings, plan_run, read_m, segment_blocks
from models.base import CellModel, TileGrid

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking takes minutes here
ALL = SegmentSettings(min_score=0.0, skip_empty=False)


def run(
    reader: PictureReader, model: CellModel, wish: SegmentSettings = ALL, rois: list | None = None
) -> tuple[Plan, pa.Table, int, int]:
    plan = plan_run(reader, 0, rois, reader.info.mpp, model.mpp, model.grid, wish)
    results = list(segment_blocks(reader, plan, plan.blocks, model, wish))
    assert [r.index for r in results] == list(plan.blocks)
    table = pa.concat_tables([r.table for r in results])
    return plan, table, sum(r.recuts for r in results), sum(r.cut_cells for r in results)


def outlines(table: pa.Table) -> list[tuple[float, ...]]:
    return sorted(tuple(o) for o in table["outline_l0"].to_pylist())


def whole(reader: PictureReader, model: LabelOracle, plan: Plan) -> list[tuple[float, ...]]:
    """What the oracle sees in the whole scene at once, at level 0."""
    size = plan.frame.size_m
    found = model.find(read_m(reader, 0, plan.frame, Region(0, 0, size.w, size.h)))
    scale = np.array(plan.frame.l0_from_m)
    return sorted(tuple((np.round(o * scale * 8) / 8).ravel().tolist()) for o in found.outlines)


@settings(max_examples=40, deadline=None, phases=QUICK)
@given(
    seed=st.integers(0, 2**32 - 1),
    w=st.integers(9, 170),
    h=st.integers(9, 170),
    align=st.sampled_from([4, 8, 16]),
    steps=st.integers(1, 5),
    margin=st.integers(0, 24),
    cells=st.integers(0, 40),
    radius=st.floats(1.5, 45),
    batch=st.integers(1, 5),
)
def test_reassembled_equals_whole(
    seed: int, w: int, h: int, align: int, steps: int, margin: int, cells: int, radius: float, batch: int
) -> None:
    margin = margin * 2 // align * align // 2  # a tile's side is a multiple of align
    labels = random_labels(np.random.default_rng(seed), w, h, cells, radius)
    reader, model = label_slide(labels), LabelOracle(TileGrid(steps * align + 2 * margin, margin, align))
    plan, table, _, cut = run(reader, model, ALL.model_copy(update={"batch": batch}))
    assert cut == 0
    assert outlines(table) == whole(reader, model, plan)
    assert table.num_rows == labels.max(initial=0)
    ids = table["cell_id"].to_pylist()
    assert ids == sorted(set(ids))
    assert all(i // CELLS_PER_BLOCK == b for i, b in zip(ids, table["block"].to_pylist(), strict=True))


@settings(max_examples=8, deadline=None, phases=QUICK)
@given(
    seed=st.integers(0, 2**32 - 1),
    mpp_x=st.floats(0.07, 0.45),
    ratio=st.floats(0.9, 1.1),
    model_mpp=st.sampled_from([0.1, 0.2, 0.25, 0.4]),
    margin=st.sampled_from([0, 8, 16]),
)
def test_reassembled_equals_whole_at_any_pixel_size(
    seed: int, mpp_x: float, ratio: float, model_mpp: float, margin: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = random_labels(rng, int(24 / mpp_x), int(19 / mpp_x), 25, 2.5 / mpp_x)
    dark = (labels > 0) & (labels % 4 > 0)
    rgb = np.where(dark[..., None], 60, 235) + rng.integers(0, 20, (*labels.shape, 3))
    reader = PictureReader(rgb.astype(np.uint8), Mpp(mpp_x, mpp_x * ratio))
    model = ThresholdOracle(TileGrid(48 + 2 * margin, margin, 8), model_mpp)
    _, table, _, cut = run(reader, model)
    assert cut == 0
    plan, untiled, *_ = run(reader, ThresholdOracle(TileGrid(1024, 0, 8), model_mpp))
    assert plan.blocks == (0,)
    assert table.num_rows > 0
    assert outlines(table) == outlines(untiled)


@pytest.mark.parametrize("place", [(0, 0), (32, 32), (31, 31), (32, 10), (63, 64), (95, 95)])
@pytest.mark.parametrize("size", [1, 2, 3, 9, 17])
def test_cells_on_seams_and_corners(place: tuple[int, int], size: int) -> None:
    labels = np.zeros((96, 96), np.int64)
    x, y = place
    labels[max(0, y - size // 2) : y + (size + 1) // 2, max(0, x - size // 2) : x + (size + 1) // 2] = 1
    reader, model = label_slide(labels), LabelOracle(TileGrid(48, 8, 16))
    plan, table, *_ = run(reader, model)
    assert table.num_rows == 1
    assert outlines(table) == whole(reader, model, plan)


def test_cell_larger_than_the_margin_is_cut_anew_and_said_so() -> None:
    labels = np.zeros((160, 160), np.int64)
    labels[20:140, 15:150] = 1
    labels[60:100, 60:100] = 2
    reader, model = label_slide(labels), LabelOracle(TileGrid(48, 8, 16))
    plan, table, recuts, cut = run(reader, model)
    assert table.num_rows == 2
    assert outlines(table) == whole(reader, model, plan)
    assert recuts > 0
    assert cut == 0
    assert all((side - 48) % 32 == 0 for side in model.sides)  # the phase never changes


def test_cell_larger_than_the_largest_tile_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmlcore.segmentation.engine.MAX_TILE", 96)
    labels = np.zeros((160, 160), np.int64)
    labels[5:155, 5:155] = 1
    reader, model = label_slide(labels), LabelOracle(TileGrid(48, 8, 16))
    *_, cut = run(reader, model)
    assert cut > 0
    assert max(model.sides) <= 96


def test_no_recut_for_a_cell_that_stays_clear_of_the_core() -> None:
    labels = np.zeros((96, 96), np.int64)
    labels[34:62, 34:62] = 1  # wholly inside the core of block 4; its neighbours see it cut
    reader, model = label_slide(labels), LabelOracle(TileGrid(64, 16, 32))
    _, table, recuts, _ = run(reader, model)
    assert table.num_rows == 1
    assert recuts == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_region_gives_the_cells_of_the_whole_slide(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = random_labels(rng, 210, 180, 45, 14)
    reader, model = label_slide(labels), LabelOracle(TileGrid(64, 16, 16))
    _, table, *_ = run(reader, model)
    x, y = rng.uniform(0, 120, 2)
    rois = [
        [[x, y], [x + 70, y + 5], [x + 60, y + 55], [x - 10, y + 40]],
        [[3, 3], [30, 3], [30, 30], [3, 30]],
    ]
    plan, part, *_ = run(reader, model, rois=rois)
    inside = in_rois(table["x_l0"], table["y_l0"], rois)
    assert 0 < inside.sum() < table.num_rows
    assert part.equals(table.filter(pa.array(inside)))  # ids, measures and outlines alike
    assert len(plan.blocks) < plan.columns * plan.rows


def test_the_same_block_gives_the_same_bytes_alone() -> None:
    labels = random_labels(np.random.default_rng(5), 200, 200, 60, 12)
    reader, model = label_slide(labels), LabelOracle(TileGrid(64, 16, 16))
    wish = ALL.model_copy(update={"batch": 4})
    plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, wish)
    together = {r.index: r.table for r in segment_blocks(reader, plan, plan.blocks, model, wish)}
    for index in plan.blocks[::5]:
        (alone,) = segment_blocks(reader, plan, [index], model, wish)
        assert alone.table.equals(together[index], check_metadata=True)


def test_user_s_tile_and_margin_change_no_cell() -> None:
    labels = random_labels(np.random.default_rng(8), 200, 190, 50, 9)
    reader, model = label_slide(labels), LabelOracle(TileGrid(64, 16, 16))
    _, table, *_ = run(reader, model)
    assert ndimage.label(labels > 0)[1] > 1
    for tile, margin in [(96, None), (None, 3), (130, 30), (33, 0)]:
        wish = ALL.model_copy(update={"tile_px": tile, "margin_px": margin})
        plan, other, *_ = run(reader, model, wish)
        assert (plan.tile - 2 * plan.margin) % 16 == 0
        assert plan.margin % 16 == model.grid.margin % 16
        assert outlines(other) == outlines(table)
