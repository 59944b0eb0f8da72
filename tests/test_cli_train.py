"""``cmlscope train``: what it understands, what it refuses, and a child that fails."""

from __future__ import annotations

import pytest
from drawn_training_set import draw_set
from typer.testing import CliRunner

from cmlcore import job_folder
from cmlcore.cli import app
from cmlcore.cli.train import _clock, _more, _words
from cmlcore.errors import InputError, RunError
from cmlcore.training import run_dir
from cmlcore.training.presets import from_preset


def call(*words):
    return CliRunner().invoke(app, ["train", *map(str, words)])


@pytest.fixture
def followed(monkeypatch):
    """The folders that would be trained."""
    seen = []
    monkeypatch.setattr("cmlcore.cli.train.followed", lambda folder: seen.append(folder) or "Done.")
    return seen


def test_a_preset_with_changes_becomes_a_training(tmp_path, followed):
    result = call(
        "--model", "type1", "--data", tmp_path / "a", "--data", tmp_path / "b", "--preset", "three-class",
        "--minutes", 3, "--lr", "2e-4", "--classes", "NET, Megakaryozyt", "--out", tmp_path / "run",
        "--set", "augmentation.stain=0.5", "--set", "tile=none", "--pretrained",
        "--leave-out", "Raabin", "--leave-out", "PBC",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert followed == [tmp_path / "run"]
    made = run_dir.read_settings(tmp_path / "run")
    assert made == from_preset(
        "three-class", "type1", data=(tmp_path / "a", tmp_path / "b"), minutes=3, lr=2e-4, tile=None,
        classes=("net", "megakaryocyte"), augmentation={"stain": 0.5}, pretrained=True,
        leave_out=("Raabin", "PBC"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "x", "--minutes", 1], "Say which network"),
        (["--model", "type3", "--data", "x", "--minutes", 1], "Say which network"),
        (["--model", "type2", "--minutes", 1], "no ground truth"),
        (["--model", "type2", "--data", "x"], "how long to train"),
        (["--model", "type2", "--data", "x", "--minutes", 1, "--preset", "y"], "no preset"),
        (["--model", "type2", "--data", "x", "--minutes", 1, "--lr", 7], "setting lr"),
        (["--model", "type2", "--data", "x", "--minutes", 1, "--set", "a"], "no setting"),
        (["--resume"], "which training to resume"),
        (["--resume", "--out", "nowhere"], "holds no training"),
    ],
)
def test_what_cannot_be_is_a_sentence(words, said, followed):
    result = call(*words)
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)
    assert followed == []


def test_resume_may_change_how_long_and_on_what_but_not_what(tmp_path, followed, cml_home):
    folder = run_dir.new_run_dir(from_preset("three-cells", "type2", data=(tmp_path,), minutes=1))
    job_folder.request_stop(folder)
    result = call("--resume", "--out", folder.name, "--minutes", 2, "--threads", 1)  # by its id
    assert result.exit_code == 0, result.output
    assert followed == [folder]
    assert run_dir.read_settings(folder).minutes == 2
    assert not job_folder.stop_requested(folder)
    for words in (["--lr", "1e-3"], ["--model", "type2"], ["--classes", "net"]):
        result = call("--resume", "--out", folder, *words)
        assert isinstance(result.exception, InputError)
        assert "keeps its" in str(result.exception)


def test_a_training_that_fails_says_its_sentence_and_ends_with_the_code_of_its_kind(tmp_path):
    data = draw_set(tmp_path / "data")
    result = call(
        "--model", "type2", "--data", data, "--image-mpp", 0.2, "--classes", "leukocyte,net", "--steps", 1,
        "--device", "cpu", "--out", tmp_path / "run",
    )  # fmt: skip
    assert isinstance(result.exception, RunError)
    assert "no cell of the class “NET”" in str(result.exception)
    assert result.exception.exit_code == InputError.exit_code
    assert job_folder.read_status(tmp_path / "run")["state"] == "failed"


def test_words():
    assert _words("RBC, leukocyte,My cell") == ("erythrocyte", "leukocyte", "my_cell")
    assert _words(None) is None
    assert _more(["a=1", "b.c=2", "b.d=3", "e=none"]) == {"a": "1", "b": {"c": "2", "d": "3"}, "e": None}
    assert (_clock(20), _clock(150), _clock(3700)) == ("1 min", "2 min", "1 h 02 min")
