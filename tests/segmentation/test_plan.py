"""What is planned, what is left out, and what is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from label_oracle import PictureReader, ThresholdOracle
from numpy.typing import NDArray

from cmlcore.errors import InputError, MppUnknownError
from cmlcore.geometry import Mpp, Region
from cmlcore.segmentation import Plan, SegmentSettings, plan_run, segment_blocks
from models.base import TileGrid

GRID = TileGrid(96, 16, 16)
SKIP, ALL = SegmentSettings(), SegmentSettings(skip_empty=False)


def smear(seed: int, w: int = 900, h: int = 700, mpp: float = 0.25, cells: int = 30) -> NDArray[np.uint8]:
    """Cells from thrombocytes (2.4 µm) up on uneven, noisy glass; most of it is empty."""
    rng = np.random.default_rng(seed)
    shade = np.linspace(-2.5, 2.5, w)[None, :, None]
    rgb = np.array([232.0, 228.0, 235.0]) + shade + rng.normal(0, 1.5, (h, w, 3))
    rgb = np.clip(rgb, 0, 254).astype(np.uint8)
    middle = rng.uniform((0.2 * w, 0.2 * h), (0.6 * w, 0.6 * h))
    for n in range(cells):
        x, y = rng.normal(middle, 60) if n else (40, 40)  # one alone, far from the rest
        radius = rng.choice([1.2, 3.5, 6.5]) / mpp
        tint = [(205, 110, 130), (214, 118, 120), (110, 70, 150)][n % 3]
        cv2.circle(rgb, (int(x), int(y)), round(float(radius)), tint, -1, cv2.LINE_AA)
    return rgb


@pytest.mark.parametrize("seed", range(3))
def test_empty_blocks_are_left_out_and_no_cell_with_them(seed: int) -> None:
    reader = PictureReader(smear(seed), Mpp(0.25, 0.25))
    model = ThresholdOracle(GRID, 0.25)
    found = {}
    for wish in (ALL, SKIP):
        plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, GRID, wish)
        tables = [r.table for r in segment_blocks(reader, plan, plan.blocks, model, wish)]
        found[wish] = [row for t in tables for row in t["outline_l0"].to_pylist()]
    assert len(found[ALL]) > 10
    assert found[SKIP] == found[ALL]
    assert plan.skipped_empty > 0.3 * plan.columns * plan.rows
    assert plan.skipped_empty + len(plan.blocks) == plan.columns * plan.rows


def test_every_block_is_kept_where_no_glass_shows() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal((190, 110, 125), 12, (900, 900, 3)).clip(0, 254).astype(np.uint8)
    plan = plan_run(PictureReader(dense, Mpp(0.25, 0.25)), 0, None, Mpp(0.25, 0.25), 0.25, GRID, SKIP)
    assert plan.skipped_empty == 0
    assert len(plan.blocks) == plan.columns * plan.rows


def test_few_blocks_are_all_kept() -> None:
    blank = np.full((100, 100, 3), 230, np.uint8)
    plan = plan_run(PictureReader(blank, Mpp(0.25, 0.25)), 0, None, Mpp(0.25, 0.25), 0.25, GRID, SKIP)
    assert plan.blocks == (0, 1, 2, 3)


def test_blocks_without_image_data_are_left_out() -> None:
    rgb = np.full((640, 640, 3), 255, np.uint8)
    rgb[130:180, 200:250] = 90
    reader = PictureReader(rgb, Mpp(0.25, 0.25), [Region(128, 128, 120, 60), Region(600, 600, 40, 40)])
    plan = plan_run(reader, 0, None, Mpp(0.25, 0.25), 0.25, GRID, ALL)
    rows, columns = np.divmod(plan.blocks, plan.columns)
    # Cores are 64 px; data that end within two pixels of an edge count for both sides.
    assert set(zip(columns.tolist(), rows.tolist(), strict=True)) == {
        *((i, j) for i in (1, 2, 3) for j in (1, 2)),
        (9, 9),
    }
    assert plan.skipped_uncovered == 100 - 7


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError):
        SegmentSettings(min_score=1.5)
    with pytest.raises(ValueError):
        SegmentSettings(nonsense=1)


@pytest.mark.parametrize("rois", [None, [[[10, 10], [500, 20], [300, 400]]]])
def test_a_plan_survives_json(rois: list | None) -> None:
    reader = PictureReader(smear(1), Mpp(0.25, 0.26))
    plan = plan_run(reader, 0, rois, reader.info.mpp, 0.3, GRID, SKIP)
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.to_json() == plan.to_json()


def test_area_is_that_of_the_scene_or_of_the_regions_inside_it() -> None:
    reader = PictureReader(smear(1, 1000, 800), Mpp(0.25, 0.5))
    whole = plan_run(reader, 0, None, reader.info.mpp, 0.3, GRID, SKIP)
    assert whole.area_mm2 == pytest.approx(1000 * 0.25 * 800 * 0.5 / 1e6)
    square = [[-100, 0], [100, 0], [100, 100], [-100, 100]]
    part = plan_run(reader, 0, [square, square], reader.info.mpp, 0.3, GRID, SKIP)
    assert part.area_mm2 == pytest.approx(100 * 0.25 * 100 * 0.5 / 1e6)  # inside, and counted once


def test_what_cannot_be_segmented_is_refused_in_a_sentence() -> None:
    reader = PictureReader(np.full((50, 50, 3), 200, np.uint8), None)
    with pytest.raises(MppUnknownError, match="pixel size"):
        plan_run(reader, 0, None, None, 0.3, GRID, SKIP)
    for rois, words in [
        ([[[0, 0], [5, 5]]], "three points"),
        ([[[0, 0], [5, 5], [9, 9]]], "no area"),
        ([[[0, 0], [float("nan"), 5], [9, 1]]], "polygon"),
        ([[[60, 60], [90, 60], [90, 90]]], "outside"),
    ]:
        with pytest.raises(InputError, match=words):
            plan_run(reader, 0, rois, Mpp(0.2, 0.2), 0.3, GRID, SKIP)
    with pytest.raises(InputError, match="no scene 3"):
        plan_run(reader, 3, None, Mpp(0.2, 0.2), 0.3, GRID, SKIP)
