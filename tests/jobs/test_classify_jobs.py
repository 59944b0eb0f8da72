"""Namings as jobs: pictures good and bad, a run's leukocytes, sizes told by files, explanations, the CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cmlcore import RESEARCH_USE, store
from cmlcore.cells import CellTable
from cmlcore.errors import InputError, ModelError, RunError
from cmlcore.job_folder import request_stop
from cmlcore.jobs import classify_child, explain_child
from cmlcore.jobs.classify import NAMINGS, PICTURES, name_pictures_of, name_run, naming_csv, naming_result
from cmlcore.jobs.crops import crop, rgb_of
from cmlcore.jobs.explainer import Explainer, map_paths
from cmlcore.jobs.pictures import new_batch, place_for
from cmlcore.single_cell.classify import load, save
from cmlcore.single_cell.images import cut_field, read_image
from cmlcore.single_cell.shelf import ClassifierCard
from cmlcore.single_cell.unlike import Unlike
from cmlcore.ui.cell_answers import read_answers
from models.classifiers import build

CLASSES = ("lymphocyte", "monocyte", "basophil")
MPP = 0.2


def on_the_shelf() -> str:
    """A small network with random weights, that calls nothing unknown; returns its key."""
    torch.manual_seed(0)
    card = ClassifierCard("small", "Small", "efficientnet_lite0", "last", "rgb", CLASSES, 22.0, 64,
                          Path("small.safetensors"), "")  # fmt: skip
    unlike = Unlike(torch.zeros(3, 1280), torch.eye(1280), 50.0, (0.0, 1e3), (0.0, 1e3))
    save(card, build("efficientnet_lite0", 3, side=64), unlike)
    return card.key


@pytest.fixture
def classifier(cml_home) -> str:
    """The small network, in this test's folder."""
    return on_the_shelf()


def cell(seed: int, side: int = 120) -> Image.Image:
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), (240, 225, 220), np.uint8)
    image[side // 3 : 2 * side // 3, side // 3 : 2 * side // 3] = rng.integers(40, 200, 3)
    return Image.fromarray(image)


def drop(*files: tuple[str, Image.Image | bytes]) -> str:
    batch = new_batch()
    for n, (name, content) in enumerate(files):
        path = place_for(batch, n, name)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path)
    return batch


def work(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the child does, in this process."""
    monkeypatch.setattr(sys, "argv", ["child", str(NAMINGS.folder(key))])
    classify_child.main()


def test_bad_pictures_get_a_sentence_each_and_the_rest_goes_through(classifier, monkeypatch) -> None:
    batch = drop(
        ("good.png", cell(1)),
        ("=grey.png", cell(1).convert("L")),
        ("print.tif", cell(1).convert("CMYK")),
        ("tiny.png", cell(1).resize((12, 12))),
        ("huge.png", Image.new("RGB", (5000, 60), "red")),
        ("torn.jpg", b"\xff\xd8\xff nothing"),
        ("good.png", cell(2)),
    )
    key = name_pictures_of(batch, classifier, "given", MPP)
    assert NAMINGS.get(key).state == "waiting"
    work(key, monkeypatch)
    job = NAMINGS.get(key)
    assert (job.state, job.message) == ("done", "")
    found = read_answers(job.folder)
    assert found.cell_ids.tolist() == [0, 6]
    assert {at: name for at, name, _ in found.result.refused} == {
        1: "=grey.png", 2: "print.tif", 3: "tiny.png", 4: "huge.png", 5: "torn.jpg",
    }  # fmt: skip
    for _, name, why in found.result.refused:
        assert why.startswith(name)
    field = cut_field(read_image(sorted((job.folder / PICTURES).rglob("good.png"))[0]), MPP, None, 64)
    kept = rgb_of(crop(job.folder, 0))
    assert np.abs(kept.astype(int) - field).mean() < 4
    direct = load(classifier, "cpu", 1).classify(field[None])
    assert np.allclose(found.probs[0], direct.probs[0], atol=2e-2)

    text = b"".join(naming_csv(job.folder)).decode()
    assert RESEARCH_USE in text
    lines = list(csv.reader(io.StringIO("\n".join(ln for ln in text.splitlines() if not ln.startswith("#")))))
    assert [ln[0] for ln in lines] == [
        "image", "good.png", "'=grey.png", "print.tif", "tiny.png", "huge.png", "torn.jpg", "good.png",
    ]  # fmt: skip
    assert lines[1][-1] == ""
    assert "grey" in lines[2][-1]


def test_a_job_without_one_good_picture_says_why(classifier, monkeypatch) -> None:
    key = name_pictures_of(drop(("torn.jpg", b"nothing")), classifier, "given", MPP)
    work(key, monkeypatch)
    job = NAMINGS.get(key)
    assert job.state == "failed"
    assert "None of the 1 images" in job.message
    assert "torn.jpg is damaged" in job.message


def test_what_is_missing_is_said_at_once(classifier) -> None:
    with pytest.raises(ModelError, match="no classifier"):
        name_pictures_of(drop(("a.png", cell(1))), "nobody", "given", MPP)
    with pytest.raises(InputError, match="Drop at least one"):
        name_pictures_of(new_batch(), classifier, "given", MPP)
    with pytest.raises(InputError, match="how many µm"):
        name_pictures_of(drop(("a.png", cell(1))), classifier, "given", None)
    assert NAMINGS.all() == []


def test_a_job_is_cancelled_and_started_again(classifier, monkeypatch) -> None:
    key = name_pictures_of(drop(("a.png", cell(1))), classifier, "given", MPP)
    request_stop(NAMINGS.folder(key))
    work(key, monkeypatch)
    assert NAMINGS.get(key).state == "cancelled"
    with pytest.raises(InputError, match="not there"):
        naming_result(NAMINGS.folder(key))
    NAMINGS.restart(key)
    work(key, monkeypatch)
    assert NAMINGS.get(key).state == "done"
    NAMINGS.delete(key)
    with pytest.raises(InputError, match="no such naming"):
        NAMINGS.get(key)


def test_the_pixel_size_comes_from_the_files_where_they_say_one(tmp_path) -> None:
    paths = [tmp_path / f"{i}.tif" for i in range(3)]
    for path, mpp in zip(paths, (0.1, 0.1, 0.2), strict=True):
        cell(1).save(path, dpi=(25_400 / mpp, 25_400 / mpp))
    assert classify_child.told_by_files(paths[:2]) == pytest.approx(0.1, rel=1e-3)
    with pytest.raises(InputError, match="different pixel sizes"):
        classify_child.told_by_files(paths)
    cell(1).save(tmp_path / "screen.png", dpi=(72, 72))
    with pytest.raises(InputError, match=r"screen\.png does not say"):
        classify_child.told_by_files([tmp_path / "screen.png"])


def test_a_cell_is_explained_and_the_map_kept(classifier, monkeypatch) -> None:
    key = name_pictures_of(drop(("a.png", cell(1))), classifier, "given", MPP)
    work(key, monkeypatch)
    folder = NAMINGS.folder(key)
    told = explain_child.answer({"folder": str(folder), "row": 0, "cls": "monocyte"}, explain_child._Held())
    path = map_paths(folder, 0, "monocyte")["Grad-CAM"]
    assert told == {"method": "Grad-CAM", "path": str(path)}
    assert Image.open(path).size == (448, 448)
    nobody = Explainer("no_such_module")
    assert nobody.ask(folder, 0, "monocyte") == ("Grad-CAM", path)  # drawn before: no worker is asked
    with pytest.raises(RunError, match="could not be made"):
        nobody.ask(folder, 0, "basophil")
    wrong = explain_child.answer({"folder": str(folder), "row": 7, "cls": "monocyte"}, explain_child._Held())
    assert "no such cell" in wrong["error"]


def test_a_classifier_that_changed_explains_nothing(classifier, monkeypatch) -> None:
    key = name_pictures_of(drop(("a.png", cell(1))), classifier, "given", MPP)
    work(key, monkeypatch)
    path = NAMINGS.folder(key) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": "0" * 64}))
    told = explain_child.answer(
        {"folder": str(path.parent), "row": 0, "cls": "monocyte"}, explain_child._Held()
    )
    assert "has changed" in told["error"]


def test_a_map_covers_the_more_the_higher_it_is() -> None:
    field = np.full((64, 64, 3), 40, np.uint8)
    heat = np.zeros((64, 64), np.float32)
    heat[:, 32:] = 1
    shown = explain_child.laid_over(field, heat).astype(int)
    assert np.abs(shown[:, :200] - 40).max() < 8
    assert np.abs(shown[:, 260:] - 40).min() > 60


@pytest.fixture
def run(home, slide) -> str:
    """Two leukocytes and an erythrocyte on the smear; the shelf of that folder has the classifier."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "single_cell"))
    import drawn_cells

    mpp = store.get_slide(slide).mpp
    row = store.add_run(slide_id=slide, scene=0, rois=None, model="type2", model_sha256="0" * 64,
                        settings={}, mpp_x=mpp.x, mpp_y=mpp.y)  # fmt: skip
    places = np.array([[300.0, 300.0], [500.0, 400.0], [120.0, 90.0]])
    classes = ["leukocyte", "erythrocyte", "leukocyte"]
    drawn_cells.run(store.run_dir(row.id), places, mpp, classes)
    store.update_run(row.id, status="done", blocks_total=1, blocks_done=1, cells=3)
    return row.id


def test_a_runs_leukocytes_are_named_from_its_slide(run, home, monkeypatch) -> None:
    on_the_shelf()
    key = name_run(run, "small")
    work(key, monkeypatch)
    job = NAMINGS.get(key)
    assert (job.state, job.message) == ("done", "")
    found = read_answers(job.folder)
    table = CellTable(store.run_dir(run))
    want = [i for i in found.cell_ids.tolist() if table.cell(i)["cls"] == "leukocyte"]
    assert found.cell_ids.tolist() == want
    assert len(found) == 2
    assert found.result.mpp_from == "run"
    assert rgb_of(crop(job.folder, 1)).shape == (64, 64, 3)
    assert (store.run_dir(run) / "leukocytes" / "small.parquet").is_file()  # as the shell leaves it
    text = b"".join(naming_csv(job.folder)).decode()
    assert "DOE" not in text
    store.update_run(run, status="running")
    with pytest.raises(InputError, match="not done yet"):
        name_run(run, "small")
