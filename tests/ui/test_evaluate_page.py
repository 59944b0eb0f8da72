"""The pages Evaluate and Paper comparison: empty, at work, broken off, one, two."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from examples import evaluation, store_evaluation, store_training
from test_pages import words

from cmlcore import RESEARCH_USE
from cmlcore.job_folder import read_status, stop_requested, write_status
from cmlcore.jobs.child import CANCELLED
from cmlcore.jobs.evaluate import EVALUATIONS
from cmlcore.report import paper
from cmlcore.settings import settings
from cmlcore.ui import evaluate
from cmlcore.ui.server_path import OTHER


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with one mask folder in it, and one folder that is no ground truth."""
    root = tmp_path / "truth"
    for kind in ("images", "masks"):
        (root / "our smears" / "val" / kind).mkdir(parents=True)
    (root / "notes").mkdir()
    folder = root / "our smears" / "val"
    cv2.imwrite(str(folder / "images" / "1.png"), np.full((32, 32, 3), 200, np.uint8))
    cv2.imwrite(str(folder / "masks" / "1.png"), np.ones((32, 32), np.uint8))
    monkeypatch.setenv("CML_DATA", str(root))
    settings.cache_clear()
    return root


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch):
    """Where the paper's trainings that ship would lie; none does."""
    monkeypatch.setattr(paper, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "shipped"


@pytest.mark.parametrize("page", ["evaluate", "paper"])
def test_an_empty_page_says_the_next_step(page, open_page) -> None:
    test = open_page(page)
    assert RESEARCH_USE in [c.value for c in test.caption]
    if page == "paper":
        assert "Nothing to compare yet" in words(test)
        assert "phantoms" in words(test)
    else:
        assert "Figures stand here once an evaluation is done." in words(test)


def test_an_evaluation_is_asked_for_by_a_button(open_page, data) -> None:
    test = open_page("evaluate")
    assert test.selectbox(key="evaluate-data").options == [
        "All of the data folder",
        "our smears",
        OTHER,
    ]
    test.selectbox(key="evaluate-data").set_value("our smears").run()
    test.selectbox(key="evaluate-model").set_value("type1").run()
    test.selectbox(key="evaluate-part").set_value("all").run()
    test.number_input(key="evaluate-limit").set_value(5).run()
    test.button(key="evaluate-start").click().run()
    assert not test.exception
    [job] = EVALUATIONS.all()
    assert job.request.model == "type1"
    assert job.request.data == data / "our smears"
    assert (job.request.part, job.request.limit, job.request.mpp) == ("all", 5, "known")
    assert test.query_params["evaluation"] == job.id
    assert "Waiting for its turn" in words(test)


def test_a_link_may_name_the_model(open_page) -> None:
    test = open_page("evaluate", model="type2")
    assert test.selectbox(key="evaluate-model").value == "type2"
    assert "model" not in test.query_params
    assert open_page("evaluate", model="gone").selectbox(key="evaluate-model").value == "type1"


def test_sets_of_one_name_are_told_apart(open_page, data, cml_home) -> None:
    (cml_home / "data" / "our smears").mkdir(parents=True)
    (cml_home / "data" / "our smears" / "a.geojson").write_text("{}")
    test = open_page("evaluate")
    options = test.selectbox(key="evaluate-data").options
    assert len(set(options)) == len(options)
    assert {"our smears", "our smears (own data)", "All of the own data"} <= set(options)


def test_a_new_folder_shows_at_once(open_page, data) -> None:
    test = open_page("evaluate")
    shutil.copytree(data / "our smears", data / "later smears")
    assert "later smears" in test.run().selectbox(key="evaluate-data").options


def test_a_path_elsewhere_is_refused_in_a_sentence(open_page, data, tmp_path) -> None:
    test = open_page("evaluate")
    test.selectbox(key="evaluate-data").set_value(OTHER).run()
    test.button(key="evaluate-start").click().run()
    assert "type the path of one" in test.error[0].value
    test.text_input(key="evaluate-data-path").set_value(str(tmp_path)).run()
    test.button(key="evaluate-start").click().run()
    assert "not below a folder that may be read" in test.error[0].value
    assert EVALUATIONS.all() == []


def test_one_at_work_says_how_far_it_is_and_can_be_cancelled(open_page, cml_home) -> None:
    folder = cml_home / "evaluations" / "abcde"
    request = {"model": "type2", "data": "/x/our smears"}
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(json.dumps(request))
    write_status(folder, state="running", stage="Judging images", done=3, total=12, left_s=90.0)
    test = open_page("evaluate")
    assert "Judging images · 3 of 12 images · about 1\u202fmin 30\u202fs left" in words(test)
    assert "Type 2 · our smears" in words(test)
    test.button(key="cancel-abcde").click().run()
    assert stop_requested(folder)
    assert test.button(key="cancel-abcde").disabled


def test_the_page_stays_with_the_one_asked_for(open_page, data, cml_home) -> None:
    store_evaluation(cml_home, "abcde", evaluation(), created="2026-11-22T02:00:00+00:00")
    test = open_page("evaluate")
    test.selectbox(key="evaluate-data").set_value("our smears").run()
    test.button(key="evaluate-start").click().run()
    asked = test.query_params["evaluation"]
    assert asked != "abcde"
    assert test.selectbox(key="select-evaluation").value == asked
    assert not test.get("plotly_chart")
    test.button(key=f"cancel-{asked}").click().run()
    write_status(cml_home / "evaluations" / asked, state="cancelled", message=CANCELLED)
    test.run()
    assert test.query_params["evaluation"] == asked
    assert "cancelled" in test.selectbox(key="select-evaluation").options[0]
    test.button(key=f"again-{asked}").click().run()
    assert read_status(cml_home / "evaluations" / asked)["state"] == "waiting"


def test_one_that_failed_says_why_and_can_be_started_again(open_page, cml_home) -> None:
    folder = cml_home / "evaluations" / "abcde"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(json.dumps({"model": "type2", "data": "/x/set"}))
    write_status(folder, state="failed", message="The ground truth is empty; choose another.")
    test = open_page("evaluate")
    assert r"The ground truth is empty; choose another\." in words(test)
    test.button(key="again-abcde").click().run()
    assert read_status(folder)["state"] == "waiting"


def test_one_evaluation_shows_its_figures(open_page, cml_home) -> None:
    found = evaluation()
    store_evaluation(cml_home, "abcde", found)
    test = open_page("evaluate")
    html = "\n".join(e.proto.body for e in test.get("html"))
    assert "<b>0.913</b><small>0.88–0.93</small>" in html
    assert "<td>0.980<small>0.95–0.99</small></td>" in html
    assert len(test.get("plotly_chart")) == 8
    assert "12 images · 606 true cells · confidence from 0.45" in words(test)
    assert r"Cells cut by the image's edge are judged\." in words(test)
    names = {b.proto.label for b in test.get("download_button")}
    assert names == {"JSON", "CSV", "Images"}
    test.get("button_group")  # choices of classes and shapes are there
    assert not test.exception


def test_an_evaluation_without_masks_subsets_or_complete_classes_is_shown_too(open_page, cml_home) -> None:
    from dataclasses import replace

    bare = replace(evaluation(masks=False), subsets=(), counts={}, calibration={}, sources={}, notes=())
    store_evaluation(cml_home, "abcde", bare)
    test = open_page("evaluate")
    assert not test.exception
    assert words(test).count("Nothing to show") == 2
    assert "Not computed for this evaluation." in words(test)


def test_two_evaluations_are_subtracted(open_page, cml_home) -> None:
    store_evaluation(cml_home, "aaaaa", evaluation("type2"), created="2026-11-22T02:00:00+00:00")
    store_evaluation(cml_home, "bbbbb", evaluation("type1", 0.2))
    test = open_page("evaluate", evaluation="aaaaa")
    test.selectbox(key="select-with").set_value("bbbbb").run()
    assert not test.exception
    html = "\n".join(e.proto.body for e in test.get("html"))
    assert "<b>−0.200</b>" in html
    assert len(test.get("plotly_chart")) == 5
    assert not test.warning
    test.selectbox(key="select-evaluation").set_value("bbbbb").run()
    assert test.selectbox(key="select-with").value == evaluate.NO_PAIR  # another first one: no second yet


def test_other_images_are_warned_of(open_page, cml_home) -> None:
    from dataclasses import replace

    a, b = evaluation(), evaluation("type1")
    store_evaluation(cml_home, "aaaaa", a, created="2026-11-22T02:00:00+00:00")
    store_evaluation(cml_home, "bbbbb", replace(b, manifest=replace(b.manifest, data_sha256="9" * 64)))
    test = open_page("evaluate", **{"evaluation": "aaaaa", "with": "bbbbb"})
    assert "judged on different images" in test.warning[0].value


def test_a_damaged_evaluation_is_a_sentence(open_page, cml_home) -> None:
    folder = store_evaluation(cml_home, "abcde", evaluation())
    (folder / "evaluation.json").write_text("{}")
    test = open_page("evaluate")
    assert not test.exception
    assert "not a stored evaluation" in test.error[0].value


def test_a_run_can_be_judged_by_what_was_drawn(open_page, add_slide, add_run, cml_home) -> None:
    from cmlcore import store
    from cmlcore.demo import demo_path, truth_path

    demo_path().parent.mkdir(parents=True)
    truth_path(demo_path(), 0).write_text("{}")
    slide = add_slide()
    store.update_slide(slide.id, path=str(demo_path()))
    run = add_run(slide)
    test = open_page("evaluate")
    test.get("button_group")
    test.session_state["evaluate-what"] = evaluate.RUN
    test.run()
    box = test.selectbox(key=f"evaluate-truth-{run.id}")
    assert box.options[0] == "What was drawn on the demo slide"
    test.button(key="evaluate-start-run").click().run()
    assert not test.exception
    [job] = EVALUATIONS.all()
    assert job.request.run == run.id
    assert "demo slide, as drawn" in words(test)


def test_paper_draws_the_newest_of_each_place(open_page, cml_home) -> None:
    for task in ("erythrocyte-leukocyte", "three-class"):
        for model in ("type1", "type2"):
            store_training(cml_home, f"{task}-{model}", task, model)
    test = open_page("paper")
    assert len(test.get("plotly_chart")) == 2
    assert "NET, pseudo-Gaucher cell, megakaryocyte (phantoms)" in [s.value for s in test.subheader]
    assert "Phantoms: drawn cells" in words(test)
    assert len(test.get("download_button")) == 4
    test.selectbox(key="select-three-class-type1").set_value("none").run()
    test.selectbox(key="select-three-class-type2").set_value("none").run()
    assert not test.exception
    assert len(test.get("plotly_chart")) == 1
    assert "Phantoms: drawn cells" not in words(test)


def test_paper_says_which_training_ships(open_page, cml_home, shipped) -> None:
    store_training(cml_home, "abc", "three-class", "type2")
    stored = cml_home / "trainings" / "abc"
    shipped.mkdir()
    stored.rename(shipped / "abc")
    test = open_page("paper")
    [option] = [o for o in test.selectbox(key="select-three-class-type2").options if o != "None"]
    assert option.startswith("Shipped · mAP50 ")
    assert len(test.get("plotly_chart")) == 1


def test_paper_shows_one_that_is_still_at_work(open_page, cml_home) -> None:
    store_training(cml_home, "abc", "three-class", "type2", state="running")
    test = open_page("paper")
    [option] = [o for o in test.selectbox(key="select-three-class-type2").options if o != "None"]
    assert "Running" in option
    assert "phantom" in option
