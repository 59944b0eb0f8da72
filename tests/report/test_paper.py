"""The comparison of the paper: places, figures, files; phantoms say so everywhere."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmlcore import RESEARCH_USE
from cmlcore.cli import app
from cmlcore.errors import InputError
from cmlcore.files import write_json
from cmlcore.job_folder import write_status
from cmlcore.jobs.shell_trainings import shell_trainings
from cmlcore.report import paper, paper_figures
from cmlcore.settings import settings
from cmlcore.training.presets import from_preset
from cmlcore.training.run_dir import append_curve, new_run_dir, read_settings

TWO, THREE = "erythrocyte-leukocyte", "three-class"


def train(
    root: Path,
    name: str,
    task: str,
    model: str,
    *,
    state: str = "done",
    phantom: bool | None = None,
    **changes,
) -> Path:
    """A training directory: 4 train events and 2 validations, the first of them the better."""
    settings = from_preset(task, model, **changes)
    folder = new_run_dir(settings, root / name)
    for step in (1, 2, 3, 4):
        event = {"step": step, "epoch": step / 2, "seconds": 30.0 * step}
        append_curve(folder, {**event, "split": "train", "loss": 5.0 - step})
        if step % 2 == 0:
            ap = dict.fromkeys(settings.classes, 1 - step / 10)
            figures = {"map50": 1 - step / 10, "map": 0.5 - step / 10, "ap50": ap}
            append_curve(folder, {**event, "split": "val", "loss": 6.0 - step, **figures})
    if phantom is not None:
        sources = ["phantom on PBC"] if phantom else ["ward 7"]
        write_json(folder / "data.json", {"images": {"train": 8, "val": 2}, "sources": sources})
    write_status(folder, state=state, device="CPU")
    return folder


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch) -> Path:
    """Where the trainings that ship would lie; none does."""
    monkeypatch.setattr(paper, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "shipped"


@pytest.fixture
def four(tmp_path: Path) -> dict[paper.Slot, paper.Training]:
    """One training for each place."""
    folders = [train(tmp_path / "t", f"{task}-{kind}", task, kind) for task, kind in paper.SLOTS]
    return paper.chosen_from(folders)


def test_classes_and_network_say_the_place(four) -> None:
    assert tuple(four) == paper.SLOTS


def test_other_classes_have_no_place(tmp_path) -> None:
    folder = train(tmp_path, "a", "three-cells", "type1", steps=4)
    assert paper.read_training(folder).slot is None
    assert paper.stored_trainings(tmp_path) == []
    with pytest.raises(InputError, match="other classes than the paper"):
        paper.chosen_from([folder])


def test_two_for_one_place_are_refused(tmp_path) -> None:
    both = [train(tmp_path, name, TWO, "type1") for name in "ab"]
    with pytest.raises(InputError, match="same type and task"):
        paper.chosen_from(both)
    with pytest.raises(InputError, match="holds no training"):
        paper.chosen_from([tmp_path])


def test_the_newest_finished_one_leads(tmp_path) -> None:
    import os

    for i, (name, state) in enumerate((("old", "done"), ("new", "done"), ("running", "running"))):
        os.utime(train(tmp_path, name, TWO, "type2", state=state) / "settings.json", (i, i))
    known = paper.by_slot(paper.stored_trainings(tmp_path))
    assert [t.folder.name for t in known[TWO, "type2"]] == ["new", "old", "running"]
    assert known[THREE, "type1"] == []


def test_trainings_of_the_command_lie_one_level_deeper(tmp_path) -> None:
    train(tmp_path / "paper", "a", TWO, "type1")
    train(tmp_path, "b", TWO, "type2")
    assert {t.folder.name for t in paper.stored_trainings(tmp_path)} == {"a", "b"}


def test_what_ships_fills_the_places_that_nobody_trained_for(tmp_path, shipped, cml_home) -> None:
    train(shipped, "a", TWO, "type1")
    train(shipped, "b", TWO, "type2")
    own = train(cml_home / "trainings", "a", TWO, "type1")
    known = paper.known_trainings(cml_home / "trainings")
    assert [(t.folder, t.shipped) for t in known[TWO, "type1"]] == [(own, False), (shipped / "a", True)]
    answer = CliRunner().invoke(app, ["paper", "--out", str(tmp_path / "out")])
    assert answer.exit_code == 0, answer.output
    assert "No training for: three-class, type1; three-class, type2" in answer.stderr


def test_a_damaged_training_does_not_take_the_others_away(tmp_path) -> None:
    train(tmp_path, "good", TWO, "type1")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "settings.json").write_text("{")
    assert [t.folder.name for t in paper.stored_trainings(tmp_path)] == ["good"]


def test_final_figures_are_those_of_the_best_validation(four) -> None:
    row = dict(zip(paper.FIGURES_HEADER, paper.figure_row((TWO, "type1"), four[TWO, "type1"]), strict=True))
    assert row["best_map50"] == 0.8
    assert row["map_at_best"] == 0.3
    assert row["epoch_at_best"] == 1.0
    assert (row["last_val_loss"], row["last_train_loss"]) == (2.0, 1.0)
    assert row["ap50_by_class"] == {"erythrocyte": 0.8, "leukocyte": 0.8}
    assert (row["steps"], row["epochs"], row["minutes"]) == (4, 2.0, 2.0)


def test_many_train_events_are_averaged_and_none_is_lost(tmp_path) -> None:
    folder = new_run_dir(from_preset(TWO, "type1"), tmp_path / "a")
    n = 3 * paper.TRAIN_POINTS - 1
    for i in range(n):
        append_curve(folder, {"split": "train", "step": i, "epoch": i, "seconds": i, "loss": i})
    x, loss, each = paper.train_loss(paper.read_training(folder), "step")
    assert each == 3
    assert len(loss) == paper.TRAIN_POINTS
    assert x == loss  # both are the same numbers, averaged alike
    assert loss[0] == 1.0  # of 0, 1, 2
    assert loss[-1] == (n - 2 + n - 1) / 2  # the last two


@pytest.mark.parametrize(("axis", "last"), [("epoch", 2.0), ("step", 4.0), ("minutes", 2.0)])
def test_curves_hold_what_was_stored(four, axis, last) -> None:
    figure = paper_figures.comparison(four, TWO, axis)
    traces = {(t.name, t.yaxis): t for t in figure.data}
    assert list(traces["Type 1, train", "y"].y) == [4.0, 3.0, 2.0, 1.0]
    assert list(traces["Type 1, val", "y"].y) == [4.0, 2.0]
    assert list(traces["Type 2, val", "y2"].y) == [0.8, 0.6]
    assert list(traces["Type 2, val, mAP50:95", "y2"].y) == pytest.approx([0.3, 0.1])
    assert traces["Type 1, train", "y"].x[-1] == last
    assert traces["Type 1, train", "y"].line.dash == "dash"
    assert traces["Type 1, val", "y"].line.dash == "solid"
    assert len({t.line.color for t in figure.data}) == 2
    assert "phantom" not in figure.to_json()


def test_each_curve_title_legend_and_row_of_the_phantom_task_says_phantom(four) -> None:
    figure = paper_figures.comparison(four, THREE)
    assert all("(phantoms)" in t.name and "(phantoms)" in t.hovertemplate for t in figure.data)
    assert all("(phantoms)" in a.text for a in figure.layout.annotations)
    unnamed = paper_figures.comparison(four, THREE, named=False).layout.annotations
    assert [a.text for a in unnamed] == ["<b>A</b>  Loss (phantoms)", "<b>B</b>  mAP (phantoms)"]
    bare = paper_figures.comparison(four, TWO, named=False).layout.annotations
    assert [a.text for a in bare] == ["<b>A</b>  Loss", "<b>B</b>  mAP"]
    for _, rows in (paper_figures.figure_table(four), paper_figures.setting_table(four)):
        for row in rows:
            assert ("phantom" in " ".join(row)) == ("megakaryocyte" in row[0])
    assert "phantoms, drawn on real smear ground" in paper.note(four)


def test_the_data_say_whether_they_were_phantoms(tmp_path) -> None:
    real = paper.chosen_from([train(tmp_path, "r", THREE, "type1", phantom=False)])
    drawn = paper.chosen_from([train(tmp_path, "d", THREE, "type1", phantom=True)])
    assert real[THREE, "type1"].images == "photograph"
    assert "phantom" not in paper_figures.comparison(real, THREE).to_json()
    assert "phantom" not in paper.note(real)
    assert drawn[THREE, "type1"].images == "phantom"
    row = dict(
        zip(paper.FIGURES_HEADER, paper.figure_row((THREE, "type1"), drawn[THREE, "type1"]), strict=True)
    )
    assert (row["train_images"], row["val_images"]) == (8, 2)


def test_settings_that_differ_from_the_other_type_or_the_paper_are_listed(tmp_path) -> None:
    chosen = paper.chosen_from(
        [train(tmp_path, "a", TWO, "type1", lr=1e-3), train(tmp_path, "b", TWO, "type2", minutes=7)]
    )
    rows = {row[2]: row[3:] for row in paper.setting_rows(chosen)}
    assert rows["lr"] == [1e-4, 1e-3, 1e-4]
    assert rows["budget"] == ["50 epochs", "50 epochs", "7 minutes"]
    assert "batch" not in rows  # as published, and alike


def test_settings_as_published_and_alike_are_not_listed(four) -> None:
    assert {row[2] for row in paper.setting_rows(four)} <= {"ema", "weight_decay"}


def test_files_carry_the_line_and_no_path(four, tmp_path) -> None:
    files = dict(paper_figures.files(four))
    assert set(files) == {
        "paper.html",
        "paper.json",
        "paper_figures.csv",
        "paper_curves.csv",
        "paper_settings.csv",
    }
    for name, content in files.items():
        assert RESEARCH_USE.encode() in content, name
        assert str(tmp_path).encode() not in content, name
    figures = list(csv.reader(io.StringIO(files["paper_figures.csv"].decode().split("\n", 1)[1])))
    assert [row[:3] for row in figures[1:]] == [
        [task, "phantom" if task == THREE else "photograph", kind] for task, kind in paper.SLOTS
    ]
    curves = files["paper_curves.csv"].decode().splitlines()
    assert len(curves) == 2 + 4 * 6
    told = json.loads(files["paper.json"])
    assert [t["images"] for t in told["trainings"]] == ["photograph", "photograph", "phantom", "phantom"]
    html = files["paper.html"].decode()
    assert html.count("(phantoms)</h2>") == 1
    assert "https://cdn" not in html.partition("<body>")[0]


def test_the_command_writes_the_same_bytes(four, tmp_path, cml_home) -> None:
    folders = [str(t.folder) for t in reversed(list(four.values()))]
    out = tmp_path / "out"
    args = ["paper", "--out", str(out), *(a for f in folders for a in ("--run", f))]
    answer = CliRunner().invoke(app, args)
    assert answer.exit_code == 0, answer.output
    for name, content in paper_figures.files(four):
        if name != "paper.html":  # Plotly gives each figure a random name
            assert (out / name).read_bytes() == content, name
    assert (out / "paper.html").stat().st_size > 1_000_000  # Plotly is in it


def test_the_command_takes_the_newest_stored_and_says_what_is_missing(cml_home, tmp_path) -> None:
    train(cml_home / "trainings", "a", TWO, "type2")
    answer = CliRunner().invoke(app, ["paper", "--out", str(tmp_path / "out")])
    assert answer.exit_code == 0, answer.output
    assert "No training for: erythrocyte-leukocyte, type1; three-class, type1" in answer.stderr
    rows = (tmp_path / "out" / "paper_figures.csv").read_text().splitlines()
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["paper"], "Say where the figures shall go"),
        (["paper", "--out", "x"], "no stored training of the paper's tasks"),
        (["paper", "train"], "Say where the labelled photographs are"),
    ],
)
def test_mistakes_are_sentences(args, sentence, cml_home, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(app, args)
    assert isinstance(answer.exception, InputError)
    assert sentence in str(answer.exception)


def test_trainings_may_go_on_from_the_installed_models(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("cmlcore.cli.train.followed", lambda folder: "Stopped.")
    words = ["paper", "train", "--out", str(tmp_path), "--data", str(tmp_path), "--installed"]
    refused = CliRunner().invoke(app, [*words, "--weights2", "dino.safetensors"])
    assert isinstance(refused.exception, InputError)
    assert "Give one start only" in str(refused.exception)
    assert CliRunner().invoke(app, words).exit_code == 1  # the first of the four was stopped
    made = read_settings(tmp_path / "erythrocyte-leukocyte-type1")
    assert made.start_from == "type1"
    assert made.backbone_weights is None


def test_trainings_of_the_comparison_lie_where_the_train_page_looks(cml_home, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("cmlcore.cli.train.followed", lambda folder: "Stopped.")
    words = ["paper", "train", "--data", str(tmp_path), "--installed"]
    assert CliRunner().invoke(app, words).exit_code == 1
    (listed,) = shell_trainings(set())
    folder = settings().trainings_dir / listed.id
    assert listed.settings["key"] == "paper-erythrocyte-leukocyte-type1"
    assert listed.name.startswith("Paper comparison: ")
    append_curve(folder, {"step": 1, "epoch": 0.1, "seconds": 1.0, "split": "train", "loss": 1.0})
    CliRunner().invoke(app, words)  # goes on with it and begins no second one
    assert [t.id for t in shell_trainings(set())] == [listed.id]
