"""Evaluations as jobs: what may be asked, how they stand, and what the child makes of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from cmlcore import store
from cmlcore.cells import CELL_SCHEMA, with_run_facts, write_part
from cmlcore.demo import DrawnCell, write_truth
from cmlcore.errors import InputError, ModelError
from cmlcore.evaluation import stored
from cmlcore.geometry import Mpp, Size
from cmlcore.ground_truth import spread
from cmlcore.job_folder import stop_requested, write_status
from cmlcore.jobs import evaluate_child
from cmlcore.jobs.evaluate import EVALUATIONS, EvaluationRequest, submit_evaluation
from cmlcore.settings import settings
from cmlcore.slides.base import Scene, SlideInfo
from cmlcore.slides.facts import info_to_json


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of ground truth in the data folder: two images with a mask each, both ``val``."""
    root = tmp_path / "truth"
    monkeypatch.setenv("CML_DATA", str(root))
    settings.cache_clear()
    for kind in ("images", "masks"):
        (root / "smear" / "val" / kind).mkdir(parents=True)
    for i in range(2):
        mask = np.zeros((64, 64), np.uint16)
        mask[20:40, 10 + i : 30] = 1
        cv2.imwrite(str(root / "smear" / "val" / "images" / f"{i}.png"), np.full((64, 64, 3), 200, np.uint8))
        cv2.imwrite(str(root / "smear" / "val" / "masks" / f"{i}.png"), mask)
    (root / "smear" / "dataset.json").write_text(json.dumps({"mpp": 0.2, "class": "leukocyte"}))
    return root / "smear"


@pytest.fixture
def run_of_squares(cml_home: Path) -> tuple[store.Run, list[np.ndarray]]:
    """A finished run of a slide of 800 × 600 pixels, and the outlines of the leukocytes it found."""
    store.ensure_schema()
    mpp, size = Mpp(0.25, 0.25), Size(800, 600)
    info = SlideInfo("Zeiss CZI", (Scene(0, size),), 1, mpp, 40.0, "brightfield", 3, 8, "JPEG-XR")
    slide = store.add_slide(cml_home / "none.czi", size_bytes=1, imported_in_place=True, name="Smear")
    store.update_slide(slide.id, status="ready", facts=info_to_json(info))
    asked = {
        "slide_id": slide.id, "scene": 0, "rois": None, "model": "type2", "model_sha256": "0" * 64,
        "settings": {"min_score": 0.3}, "mpp_x": 0.25, "mpp_y": 0.25,
    }  # fmt: skip
    run = store.add_run(**asked)
    outlines, rows = [], []
    for i in range(12):
        x, y = 60 + 60 * (i % 6), 100 + 200 * (i // 6)
        outline = np.array([[x, y], [x + 40, y], [x + 40, y + 40], [x, y + 40]], np.float32)
        outlines.append(outline)
        middle, measures = [x + 20.0, y + 20.0], [100.0, 40.0, 0.78, 200.0, 120.0, 140.0]
        box = [float(x), float(y), x + 40.0, y + 40.0]
        rows.append([i, 0, "leukocyte", 0.9, [0.1, 0.9], *middle, *box, *measures, outline.ravel().tolist()])
    schema = with_run_facts(CELL_SCHEMA, ("erythrocyte", "leukocyte"), mpp)
    columns = zip(*rows, strict=True)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, CELL_SCHEMA, strict=True)]
    write_part(store.run_dir(run.id), 0, pa.table(arrays, schema=schema))
    told = {**asked, "size_l0": [800, 600], "rois_l0": None, "slide_sha256": "1" * 64}
    (store.run_dir(run.id) / "manifest.json").write_text(json.dumps(told))
    store.update_run(run.id, status="done", blocks_total=1, blocks_done=1, cells=12)
    return store.get_run(run.id), outlines


def ask(data: Path, **asked: object) -> EvaluationRequest:
    return EvaluationRequest(**{"model": "type2", "data": data, **asked})


def work(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the child does, in this process."""
    monkeypatch.setattr(sys, "argv", ["child", str(EVALUATIONS.folder(key))])
    evaluate_child.main()


def test_a_request_is_written_down_and_waits(data) -> None:
    key = submit_evaluation(ask(data, limit=3))
    job = EVALUATIONS.get(key)
    assert (job.state, job.active, job.done, job.total) == ("waiting", True, 0, 0)
    assert job.request.data == data
    assert job.request.limit == 3
    assert job.request.threads >= 1
    assert [j.id for j in EVALUATIONS.all()] == [key]


@pytest.mark.parametrize("asked", [{"model": None}, {"model": "type1", "run": "abc"}])
def test_one_thing_is_judged_at_a_time(data, asked) -> None:
    with pytest.raises(ValueError, match="either a model or a run"):
        ask(data, **asked)


def test_ground_truth_is_read_only_from_the_folders_meant_for_it(data, tmp_path) -> None:
    outside = tmp_path / "private"
    outside.mkdir()
    link = data / "link"
    link.symlink_to(outside)
    for path in (outside, link, data / ".." / ".." / "private", data / "gone"):
        with pytest.raises(InputError, match="not below a folder that may be read"):
            submit_evaluation(ask(path))
    assert EVALUATIONS.all() == []


def test_what_is_missing_is_said_at_once(data) -> None:
    with pytest.raises(ModelError):
        submit_evaluation(ask(data, model="nobody"))
    store.ensure_schema()
    with pytest.raises(InputError, match="no such run"):
        submit_evaluation(ask(data, model=None, run="abcdefghjk"))


def test_the_newest_comes_first_and_a_name_that_is_none_is_refused(data) -> None:
    first, second = submit_evaluation(ask(data)), submit_evaluation(ask(data))
    assert [j.id for j in EVALUATIONS.all()] == [second, first]
    for name in ("../x", "", "a/b", "."):
        with pytest.raises(InputError, match="no such evaluation"):
            EVALUATIONS.get(name)


def test_cancel_restart_delete(data) -> None:
    key = submit_evaluation(ask(data))
    with pytest.raises(InputError, match="still at work"):
        EVALUATIONS.delete(key)
    with pytest.raises(InputError, match="Only a failed or cancelled"):
        EVALUATIONS.restart(key)
    EVALUATIONS.cancel(key)
    assert stop_requested(EVALUATIONS.folder(key))
    write_status(EVALUATIONS.folder(key), state="cancelled")
    EVALUATIONS.restart(key)
    assert EVALUATIONS.get(key).state == "waiting"
    assert not stop_requested(EVALUATIONS.folder(key))
    write_status(EVALUATIONS.folder(key), state="failed", message="No.")
    EVALUATIONS.cancel(key)  # it is over: nothing changes
    assert not stop_requested(EVALUATIONS.folder(key))
    EVALUATIONS.delete(key)
    assert EVALUATIONS.all() == []


def test_a_part_that_is_not_there_becomes_a_sentence(data, monkeypatch) -> None:
    key = submit_evaluation(ask(data, part="train"))
    work(key, monkeypatch)
    job = EVALUATIONS.get(key)
    assert job.state == "failed"
    assert job.message == "This ground truth has no training part; choose another part, or other data."
    with pytest.raises(InputError):
        stored.load(key)


def test_a_damaged_request_becomes_a_sentence(data, monkeypatch) -> None:
    key = submit_evaluation(ask(data))
    (EVALUATIONS.folder(key) / "request.json").write_text("{")
    work(key, monkeypatch)
    assert "ask for a new evaluation" in EVALUATIONS.get(key).message
    assert EVALUATIONS.request(EVALUATIONS.folder(key)) is None


def test_no_memory_is_a_sentence_and_a_bug_is_not_hidden(data, monkeypatch) -> None:
    class OutOfMemoryError(RuntimeError):
        pass

    key = submit_evaluation(ask(data))
    for error in (OutOfMemoryError("CUDA"), MemoryError()):

        def fail(folder: Path, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(evaluate_child, "evaluate_folder", fail)
        work(key, monkeypatch)
        assert EVALUATIONS.get(key).message == evaluate_child.NO_MEMORY
    monkeypatch.setattr(evaluate_child, "evaluate_folder", lambda folder: 1 + "a")
    with pytest.raises(TypeError):
        work(key, monkeypatch)


def test_images_are_spread_evenly() -> None:
    assert spread(list(range(10)), 4) == [0, 3, 6, 9]
    assert spread(list(range(3)), 5) == [0, 1, 2]
    assert spread(list(range(3)), None) == [0, 1, 2]


@pytest.mark.weights
def test_a_model_is_judged_on_a_mask_folder(data, monkeypatch) -> None:
    key = submit_evaluation(ask(data, bootstrap=10, threads=1, device="cpu"))
    work(key, monkeypatch)
    job = EVALUATIONS.get(key)
    assert (job.state, job.message, job.done, job.total) == ("done", "", 2, 2)
    found = stored.load(key)
    assert found.classes == ("leukocyte",)
    assert [row.true["leukocyte"] for row in found.images] == [1, 1]
    assert found.manifest.data == "smear"
    assert {"box", "mask"} == set(found.shapes)
    assert (EVALUATIONS.folder(key) / stored.FILE).is_file()


@pytest.mark.weights
def test_one_that_is_asked_to_stop_stops(data, monkeypatch) -> None:
    key = submit_evaluation(ask(data))
    EVALUATIONS.cancel(key)
    work(key, monkeypatch)
    assert EVALUATIONS.get(key).state == "cancelled"
    assert not (EVALUATIONS.folder(key) / stored.FILE).exists()


def test_a_run_that_found_just_what_was_drawn_is_perfect(data, run_of_squares, monkeypatch) -> None:
    run, squares = run_of_squares
    truth = data / "slide.geojson"
    write_truth(truth, [DrawnCell("leukocyte", "", o) for o in squares])
    key = submit_evaluation(ask(truth, model=None, run=run.id, bootstrap=20))
    work(key, monkeypatch)
    assert EVALUATIONS.get(key).message == ""
    found = stored.load(key)
    assert found.manifest.kind == "run"
    assert found.shapes["mask"].classes["leukocyte"].f1.value == 1.0
    assert found.shapes["mask"].classes["leukocyte"].true == len(squares)
    assert sum(found.confusion.counts[0]) == len(squares)


def test_a_folder_is_no_ground_truth_of_a_run(data, run_of_squares) -> None:
    run, _ = run_of_squares
    with pytest.raises(InputError, match="one GeoJSON file"):
        submit_evaluation(ask(data, model=None, run=run.id))
