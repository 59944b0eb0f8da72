"""The engine's manners: order, cancel, failures, memory, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pytest
from label_oracle import LabelOracle, PictureReader, label_slide, random_labels
from numpy.typing import NDArray

from cmlcore.errors import RunCancelledError, SlideError
from cmlcore.geometry import Region
from cmlcore.segmentation import SegmentSettings, plan_run, segment_blocks
from models.base import Instances, TileGrid

WISH = SegmentSettings(min_score=0.0, skip_empty=False)


def setting(seed: int = 1) -> tuple[PictureReader, LabelOracle]:
    labels = random_labels(np.random.default_rng(seed), 160, 160, 25, 8)
    return label_slide(labels), LabelOracle(TileGrid(64, 16, 16))


def test_cancel_stops_between_tiles_and_leaves_no_thread() -> None:
    reader, model = setting()
    plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, WISH)
    before = threading.active_count()
    stop = threading.Event()
    done: list[int] = []

    def work() -> None:
        for result in segment_blocks(reader, plan, plan.blocks, model, WISH, stop.is_set):
            done.append(result.index)
            if len(done) == 3:
                stop.set()

    with pytest.raises(RunCancelledError):
        work()
    assert done == list(plan.blocks[:3])
    assert len(model.sides) <= 6
    assert threading.active_count() == before


def test_a_caller_who_stops_early_leaves_no_thread() -> None:
    reader, model = setting()
    plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, WISH)
    before = threading.active_count()
    blocks = segment_blocks(reader, plan, plan.blocks, model, WISH)
    next(blocks)
    blocks.close()
    assert threading.active_count() == before


def test_a_tile_that_cannot_be_read_fails_the_call_with_its_own_error() -> None:
    reader, model = setting()
    plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, WISH)
    sound = reader.read

    def read(scene: int, region_l0: Region, downsample: int = 1) -> NDArray[np.uint8]:
        if region_l0.y > 60:
            raise SlideError("This part of the slide is damaged.")
        return sound(scene, region_l0, downsample)

    reader.read = read  # type: ignore[method-assign]
    with pytest.raises(SlideError, match="damaged"):
        list(segment_blocks(reader, plan, plan.blocks, model, WISH))


def test_reading_stays_a_few_tiles_ahead() -> None:
    reader, model = setting()
    plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, WISH)
    assert len(plan.blocks) == 25
    blocks = segment_blocks(reader, plan, plan.blocks, model, WISH)
    next(blocks)
    assert reader.reads <= 2 + 2 + 1  # predicted so far, two ahead, and one just begun
    blocks.close()


def test_times_name_every_stage_and_the_model_s_own() -> None:
    reader, model = setting()

    class Telling(LabelOracle):
        last_times = {"grouping": 0.001}

    telling = Telling(model.grid)
    plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, WISH)
    (result,) = segment_blocks(reader, plan, plan.blocks[:1], telling, WISH)
    assert set(result.times) == {"read", "network", "grouping", "measure"}
    assert all(t > 0 for t in result.times.values())


def test_cells_cut_by_the_scene_are_continued_alike_in_every_tiling() -> None:
    labels = np.zeros((160, 160), np.int64)
    y, x = np.mgrid[:160, :160] + 0.5
    discs = [(40, -4, 12), (100, 165, 14), (-3, 62, 11), (164, 90, 12), (80, 80, 10), (64, 30, 9)]
    for n, (cx, cy, r) in enumerate(discs, start=1):
        labels[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = n
    reader = label_slide(labels)

    def areas(tail: float, tile: int) -> NDArray[np.float64]:
        model = LabelOracle(TileGrid(tile, 16, 16))
        model.tail = tail
        plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, WISH)
        blocks = [r.table for r in segment_blocks(reader, plan, plan.blocks, model, WISH)]
        found = pa.concat_tables(b.replace_schema_metadata() for b in blocks).sort_by(
            [("x_l0", "ascending"), ("y_l0", "ascending")]
        )
        assert len(found) == len(discs)
        return np.asarray(found["area_um2"])

    plain, grown = areas(0.0, 64), areas(4.0, 64)
    unchanged = np.isclose(plain, grown, rtol=1e-6)
    assert unchanged.sum() == 2  # the two that lie within the scene
    assert (grown >= plain - 1e-6).all()
    assert np.array_equal(grown, areas(4.0, 96))
    assert np.array_equal(grown, areas(4.0, 192))


def test_short_batches_are_filled_up() -> None:
    reader, _ = setting()

    class Counting(LabelOracle):
        def predict(self, batch: NDArray[np.uint8], min_score: float = 0.0) -> list[Instances]:
            self.sides.append(len(batch))
            return [self.find(image.transpose(1, 2, 0)) for image in batch]

    model = Counting(TileGrid(64, 16, 16))
    wish = WISH.model_copy(update={"batch": 4})
    plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, wish)
    results = list(segment_blocks(reader, plan, plan.blocks[:6], model, wish))
    assert [r.index for r in results] == list(plan.blocks[:6])
    assert set(model.sides) == {4}


def test_segmentation_imports_no_torch() -> None:
    code = (
        "import sys, cmlcore.segmentation, cmlcore.report, cmlcore.explain; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
