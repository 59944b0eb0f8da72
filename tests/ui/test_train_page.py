"""The Train page: empty, the form and what it asks for, a training at work, over, and gone."""

from __future__ import annotations

import json

import pytest
from test_pages import words

from cmlcore import job_folder, jobs, store
from cmlcore.settings import settings
from cmlcore.training import TrainSettings, run_dir
from cmlcore.training.settings import Augmentation
from cmlcore.ui import train_fields
from cmlcore.ui.train_view import NEW


@pytest.fixture
def a_set(cml_home):
    """A mask folder where the page may look."""
    folder = cml_home / "data" / "mine"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
        (folder / part / "a.png").write_bytes(b"not looked at")
    return folder


@pytest.fixture
def add_training(a_set):
    """Add a training; keyword arguments change its row."""

    def add(events=(), told=None, **columns):
        store.ensure_schema()
        training = jobs.submit_training("Mine", {"data": [str(a_set)], "steps": 100, "classes": ("net",)})
        folder = run_dir.new_run_dir(TrainSettings(**store.get_training(training).settings),
                                     store.training_dir(training))  # fmt: skip
        for e in events:
            run_dir.append_curve(folder, e)
        job_folder.write_status(folder, **(told or {}))
        store.update_training(training, **columns)
        return store.get_training(training)

    return add


EVENTS = [
    {"step": 20, "epoch": 1, "seconds": 4.0, "split": "train", "loss": 2.0, "loss_mask": 1.5, "lr": 1e-4},
    {"step": 40, "epoch": 1, "seconds": 8.0, "split": "train", "loss": 1.0, "loss_mask": 0.5, "lr": 1e-4},
    {"step": 40, "epoch": 1, "seconds": 9.0, "split": "val", "loss": 1.2, "map50": 0.5, "map": 0.25,
     "ap50": {"net": 0.5}, "ap": {"net": 0.25}, "images": 3},
]  # fmt: skip
RUNNING = {"state": "running", "step": 40, "steps": 100, "epoch": 1, "epochs": 3, "seconds": 9.0,
           "left_s": 13.5, "device": "CPU (2 threads)"}  # fmt: skip


def test_an_empty_page_says_the_next_step(open_page) -> None:
    test = open_page("train")
    assert "No trainings yet" in words(test)
    test.button(key="new").click().run()
    assert test.query_params["training"] == NEW
    assert "How it learns" in words(test)


def test_every_setting_has_a_place_in_the_form() -> None:
    in_groups = [n for _, _, names in train_fields.GROUPS for n in names]
    assert len(in_groups) == len(set(in_groups))
    assert set(in_groups) | train_fields.BY_HAND == set(TrainSettings.model_fields)
    assert set(train_fields.AUGMENTATION) == set(Augmentation.model_fields)


@pytest.mark.parametrize("model", ["type1", "type2"])
@pytest.mark.parametrize(
    ("preset", "values"),
    [("three-class", (100.0, 1e-4, 2, 512)), ("erythrocyte-leukocyte", (50.0, 1e-4, 1, 256))],
)
def test_a_preset_fills_the_form_and_is_asked_for(model, preset, values, open_page, a_set) -> None:
    test = open_page("train", training=NEW)
    test.button_group(key="train-model").set_value(model).run()
    test.selectbox(key="train-preset").set_value(preset).run()
    assert not test.exception
    numbers = {n.key: n.value for n in test.number_input}
    assert tuple(numbers[f"train-{n}-{model}-{preset}"] for n in ("epochs", "lr", "batch", "tile")) == values
    test.multiselect(key="train-sets").set_value([str(a_set)]).run()
    test.number_input(key=f"train-lr-{model}-{preset}").set_value(0.002)
    test.number_input(key=f"train-blur-{model}-{preset}").set_value(0.5)
    test.number_input(key=f"train-seed-{model}-{preset}").set_value(7)
    test.button(key="start").click().run()
    assert not test.exception
    assert [e.value for e in test.error] == []
    (row,) = store.list_trainings()
    asked = TrainSettings(**row.settings)
    assert (asked.model, asked.preset, asked.lr, asked.seed) == (model, preset, 0.002, 7)
    assert (asked.epochs, asked.batch, asked.tile) == (values[0], values[2], values[3])
    assert asked.augmentation == Augmentation(blur=0.5)
    assert asked.data == (a_set,)
    assert test.query_params["training"] == row.id


def test_sources_that_were_counted_can_be_left_out(open_page, a_set) -> None:
    test = open_page("train", training=NEW)
    assert test.multiselect(key="train-leave-out").options == []  # nothing counted yet
    counted = {"rows": [{"sources": ["Lab B", "Lab A"]}]}
    test.session_state["train-counted"] = ({"data": [str(a_set)]}, counted)
    test.multiselect(key="train-sets").set_value([str(a_set)]).run()
    assert test.multiselect(key="train-leave-out").options == ["Lab A", "Lab B"]
    test.multiselect(key="train-leave-out").set_value(["Lab B"]).run()
    test.button(key="start").click().run()
    assert not test.exception
    (row,) = store.list_trainings()
    assert TrainSettings(**row.settings).leave_out == ("Lab B",)


def test_the_form_refuses_in_a_sentence(open_page, a_set) -> None:
    test = open_page("train", training=NEW)
    test.button(key="start").click().run()
    assert "at least one set" in test.error[0].value
    test.text_input(key="train-folder").set_value("/etc").run()
    test.button(key="start").click().run()
    assert "not below a folder" in test.error[0].value
    assert store.list_trainings() == []


def test_a_training_at_work_shows_curves_and_can_be_cancelled(open_page, add_training) -> None:
    row = add_training(EVENTS, RUNNING, status="running")
    test = open_page("train", training=row.id)
    text = words(test)
    assert "40\u202f% · about 14\u202fs left" in text
    assert "Epoch 1 of 3 · step 40 of 100" in text
    assert len(test.get("plotly_chart")) == 2
    test.button(key=f"cancel-{row.id}").click().run()
    assert store.get_training(row.id).cancel_requested
    assert test.button(key=f"cancel-{row.id}").disabled


def test_a_failed_training_says_why_and_can_be_resumed(open_page, add_training) -> None:
    row = add_training(EVENTS, {**RUNNING, "state": "failed"}, status="failed", message="Out of memory.")
    test = open_page("train", training=row.id)
    assert "Out of memory" in words(test)
    assert "step 40 of 100" in words(test)
    test.button(key="resume").click().run()
    assert not test.exception
    assert store.get_training(row.id).status == "queued"


def test_the_list_shows_both_and_the_best_precision(open_page, add_training) -> None:
    busy = add_training(EVENTS, RUNNING, status="running")
    add_training(EVENTS, {**RUNNING, "state": "done"}, status="done")
    test = open_page("train")
    assert test.button(key=f"cancel-{busy.id}")
    frame = test.dataframe[0].value
    assert list(frame["Status"]) == ["Done"]
    assert list(frame["Best mAP50"]) == [0.5]
    assert "share this machine" in words(test)


def test_a_training_that_is_gone_says_so(open_page) -> None:
    test = open_page("train", training="gone")
    assert "There is no such training" in words(test)
    assert "No trainings yet" in words(test)


def test_settings_and_machine_are_told(open_page, add_training) -> None:
    row = add_training(EVENTS, {**RUNNING, "state": "done"}, status="done")
    (store.training_dir(row.id) / run_dir.ENVIRONMENT).write_text(json.dumps({"torch": "2.15", "threads": 2}))
    text = words(open_page("train", training=row.id))
    assert "Learning rate" in text
    assert "2.15" in text
    assert str(settings().home) not in text
