"""What a training may be told, the presets, and the folder that keeps it all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cmlcore import job_folder
from cmlcore.errors import InputError
from cmlcore.training import run_dir
from cmlcore.training.presets import PRESETS, TITLES, from_preset
from cmlcore.training.settings import BACKBONES, TrainSettings, checked


@pytest.mark.parametrize("model", ["type1", "type2"])
def test_the_presets_are_as_published(model):
    three = from_preset("three-class", model)
    assert (three.epochs, three.lr, three.batch, three.tile) == (100, 1e-4, 2, 512)
    assert three.classes == ("net", "pseudo_gaucher_cell", "megakaryocyte")
    two = from_preset("erythrocyte-leukocyte", model)
    assert (two.epochs, two.lr, two.batch, two.tile) == (50, 1e-4, 1, 256)
    assert two.classes == ("erythrocyte", "leukocyte")
    assert set(TITLES) == set(PRESETS)


def test_the_networks_own_values_hold_where_a_preset_is_silent():
    assert (from_preset(None, "type1").lr, from_preset(None, "type2").lr) == (1e-3, 5e-4)
    own = from_preset("three-cells", "type2")
    assert (own.lr, own.ema, own.batch, own.tile) == (5e-4, 0.99, 2, None)


def test_every_value_of_a_preset_can_be_changed():
    made = from_preset("three-class", "type2", lr=3e-4, batch=4, tile=256, classes=("net",), epochs=7)
    assert (made.lr, made.batch, made.tile, made.classes, made.epochs) == (3e-4, 4, 256, ("net",), 7)
    assert made.preset == "three-class"
    timed = from_preset("three-class", "type2", minutes=5)  # a budget replaces the preset's as a whole
    assert (timed.minutes, timed.epochs) == (5, None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"lr": -1}, "setting lr"),
        ({"batch": 0}, "setting batch"),
        ({"classes": ()}, "setting classes"),
        ({"classes": ("net", "net")}, "once only"),
        ({"classes": ("unidentified",)}, "cannot be a class"),
        ({"augmentation": {"stain": 9}}, "augmentation.stain"),
        ({"colour": 1}, "setting colour"),
        ({"pretrained": True, "start_from": "type2"}, "one start only"),
        ({"tile": 100}, "setting tile"),
    ],
)
def test_what_cannot_be_is_a_sentence_that_names_the_setting(values, said):
    with pytest.raises(InputError, match=said) as e:
        checked(values)
    assert str(e.value).endswith(".")
    with pytest.raises(InputError, match="no preset"):
        from_preset("nothing", "type1")


def test_the_folder_keeps_what_it_is_told(tmp_path, cml_home):
    settings = from_preset(
        "three-class", "type1", data=(tmp_path / "x",), augmentation={"stain": 0.5}, start_from="type1"
    )
    folder = run_dir.new_run_dir(settings)
    assert folder.parent == cml_home / "trainings"
    assert run_dir.read_settings(folder) == settings
    assert job_folder.read_status(folder)["state"] == "waiting"
    job_folder.write_status(folder, step=3)
    assert job_folder.read_status(folder) == {
        "state": "waiting", "message": "", "step": 3, "seconds": 0.0
    }  # fmt: skip
    assert not run_dir.can_resume(folder)
    assert not job_folder.stop_requested(folder)
    job_folder.request_stop(folder)
    assert job_folder.stop_requested(folder)
    job_folder.clear_stop(folder)
    job_folder.clear_stop(folder)
    assert not job_folder.stop_requested(folder)
    with pytest.raises(InputError, match="holds a training already"):
        run_dir.new_run_dir(settings, folder)
    with pytest.raises(InputError, match="holds no training"):
        run_dir.read_settings(tmp_path)
    (folder / "settings.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        run_dir.read_settings(folder)


def test_curves_are_read_while_they_are_written(tmp_path):
    assert run_dir.read_curves(tmp_path) == []
    for step, split in ((20, "train"), (20, "val"), (40, "train"), (40, "val")):
        run_dir.append_curve(tmp_path, {"step": step, "split": split})
    with (tmp_path / "curves.jsonl").open("a") as f:
        f.write('{"step": 60')
    assert [e["step"] for e in run_dir.read_curves(tmp_path)] == [20, 20, 40, 40]
    run_dir.forget_curve_after(tmp_path, 40, validated=False)
    assert [(e["step"], e["split"]) for e in run_dir.read_curves(tmp_path)] == [
        (20, "train"), (20, "val"), (40, "train")
    ]  # fmt: skip
    run_dir.forget_curve_after(tmp_path, 20)
    assert [(e["step"], e["split"]) for e in run_dir.read_curves(tmp_path)] == [(20, "train"), (20, "val")]


def test_a_status_nobody_wrote_or_that_is_torn_is_empty(tmp_path):
    assert job_folder.read_status(tmp_path) == {}
    (tmp_path / "status.json").write_text('{"state": "run')
    assert job_folder.read_status(tmp_path) == {}
    assert not job_folder.pid_alive({})
    assert not job_folder.pid_alive({"pid": 2**22 + 1})


def test_settings_survive_json():
    settings = TrainSettings(data=(Path("a"), Path("b")), minutes=1.5)
    assert checked(json.loads(settings.model_dump_json())) == settings


def test_what_the_web_process_reads_costs_no_torch():
    code = (
        "import sys, cmlcore.training as t, cmlcore.training.data, cmlcore.training.run_dir;"
        "t.from_preset('three-class', 'type2'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(BACKBONES) == {"type1", "type2"}
