"""A stored run against ground truth on its slide, in level-0 pixels far from the origin."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from judged import record, square

from cmlcore.cells import CELL_SCHEMA, CellTable, with_run_facts, write_part
from cmlcore.errors import InputError, RunError
from cmlcore.evaluation import evaluate_run
from cmlcore.evaluation.stored_run import common_regions
from cmlcore.geometry import Mpp

CLASSES = ("erythrocyte", "leukocyte", "thrombocyte")
AT = 50_000.0


def box(x: float, y: float, side: float = 40) -> tuple[float, float, float, float]:
    return AT + x, AT + y, AT + x + side, AT + y + side


def a_run(folder: Path, cells: list[tuple[str, float, tuple[float, ...]]], rois: Any = None) -> Path:
    rows = []
    for i, (cls, score, b) in enumerate(cells):
        x0, y0, x1, y1 = b
        row: dict[str, Any] = {f.name: 0 for f in CELL_SCHEMA}
        row |= {"cell_id": i, "cls": cls, "score": score, "probs": [1.0, 0.0, 0.0]}
        row |= {"x_l0": (x0 + x1) / 2, "y_l0": (y0 + y1) / 2}
        row |= {"x0_l0": x0, "y0_l0": y0, "x1_l0": x1, "y1_l0": y1, "outline_l0": square(b).ravel().tolist()}
        rows.append(row)
    schema = with_run_facts(CELL_SCHEMA, CLASSES, Mpp(0.1, 0.1))
    write_part(folder, 0, pa.Table.from_pylist(rows, schema=CELL_SCHEMA).cast(schema))
    facts = {
        "model": "type2",
        "model_title": "Type 2",
        "model_sha256": "ab" * 32,
        "slide_sha256": "cd" * 32,
        "size_l0": [100_000, 100_000],
        "settings": {"min_score": 0.3},
        "rois_l0": rois,
        "versions": {"torch": "1"},
    }
    (folder / "manifest.json").write_text(json.dumps(facts))
    return folder


def roi(x: float, y: float, side: float) -> np.ndarray:
    return square((AT + x, AT + y, AT + x + side, AT + y + side))


def test_a_run_is_judged_inside_the_base_rois(tmp_path: Path) -> None:
    run = a_run(
        tmp_path,
        [
            ("erythrocyte", 0.9, box(50, 50)),
            ("erythrocyte", 0.8, box(200, 200)),  # no such cell
            ("erythrocyte", 0.7, box(280, 100)),  # across the edge
            ("erythrocyte", 0.9, box(900, 900)),  # outside
            ("leukocyte", 0.4, box(100, 200)),  # kept, yet below the threshold asked for
        ],
    )
    truth = record(
        [
            ("erythrocyte", box(50, 52)),
            ("erythrocyte", box(280, 100)),
            ("net", box(100, 200)),
            ("leukocyte", box(900, 900)),
        ],
        complete=("erythrocyte", "leukocyte"),
        outlined=True,
        rois=(roi(0, 0, 300),),
    )
    made = evaluate_run(run, truth, min_score=0.5, bootstrap=0)
    assert made.manifest.kind == "run"
    assert (made.manifest.model, made.manifest.settings["lowest_score"]) == ("type2", 0.3)
    assert made.classes == ("erythrocyte", "leukocyte")
    for shape in made.shapes.values():
        red = shape.classes["erythrocyte"]
        assert (red.true, red.found) == (1, 2)
        assert red.iou.value == pytest.approx(38 / 42)
    assert made.confusion.counts == ((1, 0, 0), (0, 0, 1), (1, 0, 0))
    own = evaluate_run(CellTable(run), [truth], bootstrap=0)  # at the run's own threshold
    assert own.confusion.counts == ((1, 0, 0), (0, 1, 0), (1, 0, 0))
    assert "The labels' class NET is judged as Leukocyte." in own.notes


def test_every_base_roi_is_an_image(tmp_path: Path) -> None:
    run = a_run(tmp_path, [("erythrocyte", 0.9, box(50, 50)), ("erythrocyte", 0.9, box(650, 50))])
    truth = record(
        [("erythrocyte", box(50, 50)), ("erythrocyte", box(600, 60))],
        complete=("erythrocyte",),
        rois=(roi(0, 0, 300), roi(550, 0, 300)),
    )
    made = evaluate_run(run, truth, bootstrap=30)
    assert [(r.true["erythrocyte"], r.found["erythrocyte"]) for r in made.images] == [(1, 1), (1, 1)]
    assert made.confusion.counts == ((1, 1), (1, 0))
    recall = made.shapes["box"].classes["erythrocyte"].recall
    assert (recall.value, recall.low, recall.high) == (0.5, 0.0, 1.0)


def test_what_the_run_did_not_analyse_is_not_missed(tmp_path: Path) -> None:
    run = a_run(tmp_path, [("erythrocyte", 0.9, box(50, 50))], rois=[roi(0, 0, 200).tolist()])
    truth = record([("erythrocyte", box(50, 50)), ("erythrocyte", box(600, 60))], complete=("erythrocyte",))
    made = evaluate_run(run, truth, bootstrap=0)
    assert made.confusion.counts == ((1, 0), (0, 0))
    with pytest.raises(InputError, match="no region in common"):
        evaluate_run(run, replace(truth, rois=(roi(500, 0, 300),)), bootstrap=0)


def test_common_regions() -> None:
    a, b = square((0, 0, 10, 10)), square((5, 0, 15, 10))
    assert common_regions((), None) == ()
    assert common_regions((a,), None) == (a,)
    both = common_regions((a,), [b.tolist()])
    assert len(both) == 1
    assert (both[0].min(0).tolist(), both[0].max(0).tolist()) == ([5, 0], [10, 10])


def test_a_run_without_manifest_is_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path, [("erythrocyte", 0.9, box(50, 50))])
    (run / "manifest.json").unlink()
    with pytest.raises(RunError, match="no manifest"):
        evaluate_run(run, record([("erythrocyte", box(50, 50))]))
