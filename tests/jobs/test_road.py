"""The steps of a run, called directly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_oracle import MODEL, MPP

from cmlcore.cells import CELL_SCHEMA, with_run_facts
from cmlcore.geometry import Mpp
from cmlcore.jobs import road
from cmlcore.jobs.manifest import finish_run
from cmlcore.segmentation import BlockResult
from models.registry import card


def test_cells_cut_by_the_largest_margin_are_counted_once(
    slide: str, smear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = card(MODEL)
    folder, mpp = str(tmp_path / "run"), (MPP, MPP)
    job = road.Job(
        folder, str(smear), "0" * 64, 0, None, mpp, False, MODEL, made.sha256, {"min_score": 0.3}, "cpu", 1
    )
    plan = road.plan_blocks(job).plan
    empty = with_run_facts(CELL_SCHEMA, made.classes, Mpp(MPP, MPP)).empty_table()
    cut = {plan.blocks[0]: 3, plan.blocks[-1]: 4}

    def segment(_reader: Any, _plan: Any, blocks: Any, *_: Any) -> Iterator[BlockResult]:
        for b in blocks:
            yield BlockResult(b, empty, {}, recuts=int(b in cut), cut_cells=cut.get(b, 0))

    monkeypatch.setattr(road, "segment_blocks", segment)
    road.work_blocks(job, plan, plan.blocks)
    road.work_blocks(job, plan, plan.blocks[:1])  # after a worker died: the same again
    half = Path(folder) / "parts" / "00000001.parquet.4c49b0a8.part"
    half.touch()  # what it had begun to write
    manifest, _ = finish_run(job, plan, {})
    assert not half.exists()
    assert manifest["cut_cells"] == 7
    assert manifest["blocks"]["recut"] == 2
