"""A training from its settings to a model that is installed, loads and finds cells."""

from __future__ import annotations

import json

import pytest
import torch
from drawn_training_set import MPP, draw_set
from fitted import small_settings, tiny_type2

from cmlcore import RESEARCH_USE, job_folder
from cmlcore.errors import CmlError, InputError, ModelError
from cmlcore.predict import predict_rgb, read_rgb
from cmlcore.training import fitting, run_dir
from cmlcore.training.fitting import fit
from models.registry import card, load_model


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(fitting, "build_recipe", tiny_type2)


def test_a_training_taken_up_again_gives_the_same_weights_bit_for_bit(tmp_path, tiny):
    settings = small_settings(tmp_path / "data", key="whole")
    done = fit(settings, run_dir.new_run_dir(settings, tmp_path / "whole"))
    asked = []

    def after_four():
        asked.append(len(run_dir.read_curves(tmp_path / "parts")))
        return bool(job_folder.read_status(tmp_path / "parts").get("step", 0) >= 3)

    settings = small_settings(tmp_path / "data", key="parts")
    folder = run_dir.new_run_dir(settings, tmp_path / "parts")
    stopped = fit(settings, folder, cancelled=after_four)
    assert stopped.state == "cancelled"
    assert job_folder.read_status(folder)["state"] == "cancelled"
    assert run_dir.can_resume(folder)
    resumed = fit(settings, folder)
    assert (done.state, resumed.state) == ("done", "done")
    assert (done.steps, resumed.steps) == (6, 6)
    a, b = card("whole"), card("parts")
    assert a.sha256 == b.sha256  # the same fp16 file
    assert done.figures == resumed.figures


def test_the_folder_tells_all_and_the_model_is_installed(tmp_path, tiny, cml_home):
    settings = small_settings(tmp_path / "data", title="Mine", preset="three-cells")
    folder = run_dir.new_run_dir(settings, tmp_path / "run")
    result = fit(settings, folder)
    assert run_dir.read_settings(folder) == settings
    environment = json.loads((folder / "environment.json").read_text())
    assert torch.__version__.startswith(environment["packages"]["torch"].split("+")[0])
    assert environment["precision"] == "32-true"
    facts = json.loads((folder / "data.json").read_text())
    assert facts["images"] == {"all": 6, "train": 4, "val": 2}
    assert facts["cells"]["train"] == {"erythrocyte": 27, "leukocyte": 9}
    assert len(facts["sha256"]) == 64
    assert str(tmp_path) not in json.dumps(facts)
    status = job_folder.read_status(folder)
    assert status["state"] == "done"
    assert status["model"] == result.key == card(result.key).key
    assert status["left_s"] == 0
    made = card(result.key)
    assert made.title == "Mine"
    assert made.classes == ("erythrocyte", "leukocyte")
    assert made.weights.parent == cml_home / "models"
    assert made.extra["training"]["steps"] == 6
    assert made.extra["metrics"]["part"] == "val"
    assert RESEARCH_USE in made.extra["licence"]
    assert made.extra["data"]["sha256"] == facts["sha256"]
    val = [e for e in run_dir.read_curves(folder) if e["split"] == "val"]
    assert [e["step"] for e in val] == [3, 6]
    assert val[-1]["loss"] == pytest.approx(
        sum(val[-1][k] for k in ("presence", "dice", "centre", "offset")), abs=1e-3
    )


@pytest.mark.parametrize("model", ["type1", "type2"])
def test_a_trained_network_of_either_type_loads_and_predicts(tmp_path, model):
    backbone = {"type1": "resnet18", "type2": "vit_tiny_patch16_224"}[model]
    settings = small_settings(
        tmp_path / "data",
        model=model,
        backbone=backbone,
        classes=("leukocyte",),
        tile=256,
        steps=2,
        validate_every=2,
        validate_images=1,
        lr=1e-4,
    )
    result = fit(settings, run_dir.new_run_dir(settings, tmp_path / "run"))
    loaded = load_model(result.key, "cpu", 1)
    assert loaded.classes == ("leukocyte",)
    image = read_rgb(tmp_path / "data" / "val" / "images" / "val0.png")
    cells = predict_rgb(loaded, image, MPP, 0.0)
    assert cells.probs.shape == (len(cells), 1)
    assert loaded.grid.tile % loaded.grid.align == 0


def test_a_three_class_task_trains_on_a_person_s_own_classes(tmp_path, tiny):
    names = ("net", "pseudo_gaucher_cell", "megakaryocyte")
    data = draw_set(tmp_path / "data")
    for part in ("train", "val"):
        masks = data / part / "masks"
        (masks / "erythrocyte").rename(masks / "net")
        (masks / "leukocyte").rename(masks / "megakaryocyte")
        (masks / "pseudo_gaucher_cell").mkdir()
        for path in (masks / "net").iterdir():
            (masks / "pseudo_gaucher_cell" / path.name).write_bytes(path.read_bytes())
    settings = small_settings(data, classes=names, steps=1, validate_every=1)
    result = fit(settings, run_dir.new_run_dir(settings, tmp_path / "run"))
    assert card(result.key).classes == names


def test_a_stop_file_that_lies_there_ends_it_at_once(tmp_path, tiny):
    settings = small_settings(tmp_path / "data")
    folder = run_dir.new_run_dir(settings, tmp_path / "run")
    job_folder.request_stop(folder)
    assert fit(settings, folder).state == "cancelled"
    assert job_folder.read_status(folder)["step"] == 0
    job_folder.clear_stop(folder)
    assert fit(settings, folder).state == "done"


def failed(settings, folder, error, match):
    run_dir.new_run_dir(settings, folder)
    with pytest.raises(error, match=match):
        fit(settings, folder)
    status = job_folder.read_status(folder)
    assert status["state"] == "failed"
    return status["message"]


def test_a_class_without_a_cell_is_a_sentence(tmp_path):
    settings = small_settings(tmp_path / "data", classes=("leukocyte", "net"))
    said = failed(settings, tmp_path / "run", InputError, "hold no cell of the class “NET”")
    assert said.endswith(".")


def test_no_ground_truth_is_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "train").mkdir()
    settings = small_settings(tmp_path / "empty")
    failed(settings, tmp_path / "a", InputError, "no labelled images")
    failed(settings.model_copy(update={"data": ()}), tmp_path / "b", InputError, "no ground truth")


def test_an_unknown_pixel_size_and_no_length_are_sentences(tmp_path):
    settings = small_settings(tmp_path / "data", image_mpp=None)
    failed(settings, tmp_path / "a", InputError, "pixel size")
    settings = small_settings(tmp_path / "data", steps=None)
    failed(settings, tmp_path / "b", InputError, "how long to train")


@pytest.mark.parametrize(
    "broken", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(),
               RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")]
)  # fmt: skip
def test_running_out_of_memory_is_a_sentence_and_the_checkpoint_stays(tmp_path, monkeypatch, broken):
    made = []

    def recipe(settings, *_):
        made.append(tiny_type2(settings))
        honest = made[-1].loss
        calls = iter(range(100))

        def loss(samples):
            if next(calls) == 4:
                raise broken
            return honest(samples)

        made[-1].loss = loss
        return made[-1]

    monkeypatch.setattr(fitting, "build_recipe", recipe)
    settings = small_settings(tmp_path / "data", save_s=1e-6, validate_every=6)
    said = failed(settings, tmp_path / "run", ModelError, "not enough memory")
    assert "batch or tile" in said
    kept = torch.load(tmp_path / "run" / run_dir.LAST, weights_only=True)
    assert kept["global_step"] == 4


def test_another_error_is_not_dressed_up(tmp_path, monkeypatch):
    def recipe(*_):
        raise RuntimeError("a mistake in the code")

    monkeypatch.setattr(fitting, "build_recipe", recipe)
    settings = small_settings(tmp_path / "data")
    with pytest.raises(RuntimeError, match="a mistake in the code"):
        fit(settings, run_dir.new_run_dir(settings, tmp_path / "run"))


def test_changed_images_are_not_taken_for_the_same(tmp_path, tiny):
    settings = small_settings(tmp_path / "data", save_s=1e-6)
    folder = run_dir.new_run_dir(settings, tmp_path / "run")
    fit(settings, folder, cancelled=lambda: bool(job_folder.read_status(folder).get("step", 0)))
    picture = next((tmp_path / "data" / "train" / "images").iterdir())
    picture.write_bytes((tmp_path / "data" / "val" / "images" / "val0.png").read_bytes())
    with pytest.raises(CmlError, match="have changed since the training began"):
        fit(settings, folder)


def test_the_figures_of_the_card_are_those_of_the_weights_kept(tmp_path):
    rest = {"map": 0.1, "ap50": {}, "ap": {}, "score": {}, "threshold": 0.4, "images": 1}
    for step, map50 in ((10, 0.9), (20, 0.5)):
        run_dir.append_curve(tmp_path, {"step": step, "split": "val", "map50": map50, **rest})
    figures, at = fitting.figures_at(tmp_path, {"global_step": 10})
    assert (figures.map50, figures.threshold, at) == (0.9, 0.4, 10)
    assert fitting.figures_at(tmp_path, {"global_step": 9}) == (None, 9)
