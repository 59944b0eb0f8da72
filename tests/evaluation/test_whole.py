"""The whole road with an oracle: records in, an evaluation out, to JSON, CSV and the shell and back."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from judged import record
from PIL import Image

from cmlcore import RESEARCH_USE
from cmlcore.errors import InputError, RunCancelledError
from cmlcore.evaluation import evaluate_records
from cmlcore.evaluation.loss import NO_TRAINING, best_validation, with_loss
from cmlcore.evaluation.result import Evaluation
from cmlcore.evaluation.result_tables import csv_tables
from cmlcore.evaluation.stored import load, save, stored
from cmlcore.ground_truth import Record
from cmlcore.settings import settings
from models.base import Instances, TileGrid

CLASSES = ("erythrocyte", "leukocyte")
CELLS = [(60, 60), (200, 90), (110, 220), (270, 270)]


class Oracle:
    """Finds dark discs: pink ones are erythrocytes, violet ones leukocytes. Stands for a network."""

    key, classes, mpp, grid = "oracle", CLASSES, 0.2, TileGrid(256, 64, 32)
    device, tail, sha256, card = "test", 0.0, "0" * 64, {"min_score": 0.5, "title": "Oracle"}

    def predict(self, batch: np.ndarray, min_score: float = 0.0) -> list[Instances]:
        out = []
        for tile in batch:
            dark = (tile[1] < 200).astype(np.uint8)
            contours, _ = cv2.findContours(dark, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            shapes = [c[:, 0].astype(np.float32) + 0.5 for c in contours if len(c) > 8]
            inside = [tile[0, int(s[:, 1].mean()), int(s[:, 0].mean())] for s in shapes]
            classes = np.array([int(v < 150) for v in inside], np.int64)
            anchors = np.array([s.mean(0) for s in shapes], np.float32).reshape(-1, 2)
            scores = np.full(len(shapes), 0.9, np.float32)
            out.append(
                Instances(shapes, classes, scores, np.full((len(shapes), 2), 0.5, np.float32), anchors)
            )
        return out


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Two drawn images: all labelled, but one of the violet cells of the second is labelled as a pink one."""
    made = []
    for k in range(2):
        image = np.full((360, 360, 3), 240, np.uint8)
        cells = []
        for i, (x, y) in enumerate(CELLS):
            violet = i == k
            cv2.circle(image, (x, y), 39, (120, 60, 150) if violet else (200, 120, 130), -1)
            named = CLASSES[int(violet and k == 0)]
            cells.append((named, (x - 39, y - 39, x + 40, y + 40)))
        path = tmp_path / f"Doe_{k}.png"
        Image.fromarray(image).save(path)
        made.append(replace(record(cells, complete=CLASSES, mpp=0.1, source=("PBC", "BCD")[k]), image=path))
    return made


def test_an_oracle_is_judged_and_the_result_goes_to_json_and_back(records: list[Record]) -> None:
    seen: list[tuple[int, int]] = []
    made = evaluate_records(Oracle(), records, bootstrap=20, data="drawn", progress=lambda *p: seen.append(p))
    assert seen == [(1, 2), (2, 2)]
    assert made.classes == CLASSES
    assert made.confusion.counts == ((6, 1, 0), (0, 1, 0), (0, 0, 0))
    red = made.shapes["box"].classes["erythrocyte"]
    assert (red.precision.value, red.recall.value) == (1.0, pytest.approx(6 / 7))
    assert "mask" not in made.shapes
    assert any("No true outline" in n for n in made.notes)
    assert made.counts["leukocyte"].points == ((1, 1, 1), (2, 0, 1))
    assert made.counts["leukocyte"].bias.value == 0.5
    assert made.manifest.settings["min_score"] == 0.5
    raw = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert raw["manifest"]["research_use"] == RESEARCH_USE
    again = Evaluation.from_json(raw)
    assert again.to_json() == raw
    assert again.classes == made.classes
    assert "Doe" not in json.dumps(raw)  # no file names leave


def test_the_same_call_gives_the_same_figures(records: list[Record]) -> None:
    one, two = (evaluate_records(Oracle(), records, bootstrap=50) for _ in range(2))
    fixed = {"created": "", "seconds": 0.0}
    assert replace(one, manifest=replace(one.manifest, **fixed)) == replace(
        two, manifest=replace(two.manifest, **fixed)
    )
    moved = [replace(r, boxes=r.boxes + 1) for r in records]
    assert evaluate_records(Oracle(), moved, bootstrap=0).manifest.data_sha256 != one.manifest.data_sha256


def test_without_a_bootstrap_there_are_no_intervals(records: list[Record]) -> None:
    made = evaluate_records(Oracle(), records, bootstrap=0, subsets=False)
    ap = made.shapes["box"].map50
    assert ap.value is not None
    assert (ap.low, ap.high) == (None, None)
    assert made.subsets == ()


def test_a_wider_class_may_be_asked_for(records: list[Record]) -> None:
    made = evaluate_records(Oracle(), records, ["blood_cell"], bootstrap=0)
    assert made.shapes["box"].map50.value == pytest.approx(1)
    assert "The model's class Erythrocyte is judged as Blood cell." in made.notes


def test_an_unknown_pixel_size_is_estimated_and_said(records: list[Record]) -> None:
    unknown = [replace(r, mpp=None) for r in records]
    made = evaluate_records(Oracle(), unknown, bootstrap=0)
    assert made.notes[0] == "The pixel size of 2 image(s) is estimated from the cells."


def test_cancel_and_nothing_to_judge(records: list[Record]) -> None:
    asked = iter([False, True])
    with pytest.raises(RunCancelledError):
        evaluate_records(Oracle(), records, cancelled=lambda: next(asked))
    with pytest.raises(InputError):
        evaluate_records(Oracle(), [])


def test_base_rois_of_one_image_are_judged_one_by_one(records: list[Record]) -> None:
    squares = [np.array([[x, 5], [x + 165, 5], [x + 165, 355], [x, 355]], np.float32) for x in (5, 185)]
    made = evaluate_records(Oracle(), [replace(records[0], rois=tuple(squares))], bootstrap=0)
    assert [r.true["erythrocyte"] for r in made.images] == [1, 1]  # (200, 90) lies across the left edge
    assert [r.true["leukocyte"] for r in made.images] == [1, 0]


def test_stored_evaluations(records: list[Record], tmp_path: Path) -> None:
    made = evaluate_records(Oracle(), records, bootstrap=5)
    folder = save(made)
    assert folder.parent == settings().evaluations_dir
    assert load(folder.name).to_json() == made.to_json()
    assert [name for name, _ in stored()] == [folder.name]
    lines = (folder / "tables" / "figures.csv").read_text().splitlines()
    assert lines[0] == f"# research_use: {RESEARCH_USE}"
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert [r["class"] for r in rows] == [*CLASSES, "all"]
    assert float(rows[0]["recall"]) == pytest.approx(6 / 7, abs=1e-6)
    names = {p.stem for p in (folder / "tables").iterdir()}
    assert {"confusion", "precision_recall", "thresholds", "count_error", "calibration", "subsets"} <= names
    for bad in ("..", "nope", "a/b"):
        with pytest.raises(InputError, match="no such evaluation"):
            load(bad)
    (folder / "evaluation.json").write_text("{}")
    with pytest.raises(InputError, match="not a stored evaluation"):
        load(folder)
    assert stored() == []


def test_who_only_reads_pays_for_no_network() -> None:
    code = "import sys, cmlcore.evaluation.stored; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_loss_comes_from_the_training_of_these_weights(records: list[Record]) -> None:
    made = evaluate_records(Oracle(), records, bootstrap=0)
    assert with_loss(made).loss_note == NO_TRAINING
    training = settings().trainings_dir / "t1"
    (training / "model").mkdir(parents=True)
    (training / "model" / "oracle.json").write_text(json.dumps({"sha256": "0" * 64}))
    lines = [
        {"split": "train", "epoch": 1, "loss": 9.0},
        {"split": "val", "epoch": 1, "step": 10, "loss": 0.8, "mask": 0.3, "map50": 0.5, "seconds": 3},
        {"split": "val", "epoch": 2, "step": 20, "loss": 0.9, "mask": 0.4, "map50": 0.6, "seconds": 6},
        {"split": "val", "epoch": 3, "step": 30, "loss": 0.7, "mask": 0.2, "map50": 0.55, "seconds": 9},
    ]
    (training / "curves.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"split": "va')
    told = with_loss(made)
    assert told.loss == {"split": "val", "epoch": 2, "step": 20, "loss": 0.9, "mask": 0.4}
    assert Evaluation.from_json(json.loads(json.dumps(told.to_json()))).loss == told.loss
    assert csv_tables(told)[0][0] == "loss"
    assert best_validation(training / "nowhere") is None
    with pytest.raises(InputError, match="no validation loss"):
        with_loss(made, training / "nowhere")
