"""Single cells: the form, the differential, the gallery's filters and order, the dialog's parts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from named_cells import CLASSES, a_card, a_naming
from test_pages import words

from cmlcore import store
from cmlcore.jobs.classify import NAMINGS
from cmlcore.single_cell import shelf
from cmlcore.ui import cell_answers, cell_dialog, classifier_cards
from cmlcore.ui.cell_answers import Answers, differential_html, read_answers, wilson
from cmlcore.ui.cells_view import PAGE
from cmlcore.ui.gallery import Batch, batch_of


@pytest.fixture
def answers(cml_home) -> Answers:
    return read_answers(NAMINGS.folder(a_naming()))


def gallery_of(test):
    """What the gallery was given."""
    (found,) = [e for e in test.get("bidi_component") if "cml_gallery" in e.proto.component_name]
    return json.loads(found.proto.json)["cells"]


# -- pure parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(cell_answers.ORDERS))
def test_orders_against_a_slow_twin(answers, order) -> None:
    got = answers.rows([*CLASSES, "unidentified"], 0.0, 1.0, order).tolist()
    place = {k: i for i, k in enumerate(answers.counts())}
    slow = {
        "unlike": lambda r: -answers.unlike[r],
        "doubtful": lambda r: answers.score[r],
        "sure": lambda r: -answers.score[r],
        "class": lambda r: (place[answers.cls[r]], -answers.score[r]),
        "given": lambda r: r,
    }[order]
    assert got == sorted(range(60), key=slow)


def test_filters(answers) -> None:
    got = answers.rows(["monocyte"], 0.7, 0.9, "given")
    want = [r for r in range(60) if answers.cls[r] == "monocyte" and 0.7 <= answers.score[r] <= 0.9]
    assert got.tolist() == want
    assert 0 < len(want) < 20
    assert answers.rows(["unidentified"], 0, 1, "given").tolist() == [0, 10, 20, 30, 40, 50]
    assert sum(answers.counts().values()) == len(answers) == 60


def test_what_the_gallery_shows(answers) -> None:
    known, unknown = answers.shown(np.array([1, 10]), "/x/{row}")
    assert known["url"] == "/x/1"
    assert known["name"] == "cell 1.png"
    assert (known["label"], known["unknown"]) == ("Monocyte", False)
    assert known["top"][0]["label"] == "Monocyte"
    assert [t["value"] for t in known["top"]] == sorted((t["value"] for t in known["top"]), reverse=True)
    assert unknown["unknown"]
    assert unknown["unlike"] == "1.50 > 1"
    assert cell_answers.unlike_text(4e8) == "over 100 > 1"


def test_the_interval_of_a_share_is_wilsons() -> None:
    low, high = wilson(10, 100)
    assert low == pytest.approx(0.0552, abs=2e-4)  # worked by hand
    assert high == pytest.approx(0.1744, abs=2e-4)
    assert wilson(0, 20)[0] == 0
    assert wilson(20, 20)[1] == 1


def test_the_differential_counts_named_cells_only() -> None:
    html = differential_html({"monocyte": 3, "lymphocyte": 1, "basophil": 0, "unidentified": 4})
    assert "75.0" in html
    assert "25.0" in html
    assert "Basophil" not in html
    assert '<th scope="row">All cells</th><td>8</td>' in html


def test_probabilities_and_threshold_as_bars() -> None:
    bars = cell_dialog.bars_html([("monocyte", 0.9), ("own_kind", 0.1)])
    assert "--w:90.0%" in bars
    assert "Own kind" in bars
    assert "--w:50.0%" in cell_dialog.unlike_html(1.0)
    assert "above the threshold" in cell_dialog.unlike_html(1.2)
    assert "--w:100.0%" in cell_dialog.unlike_html(1e6)


@pytest.mark.parametrize("raw", [None, {}, {"id": "a"}, {"id": "a", "files": "x"}, 3])
def test_anything_else_is_no_batch(raw) -> None:
    assert batch_of(raw) is None


def test_a_batch() -> None:
    assert batch_of({"id": "ab", "files": 3.0}) == Batch("ab", 3)


# -- the page -------------------------------------------------------------------------------------------


def test_without_a_classifier_the_page_says_where_one_is_made(open_page, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("cmlcore.single_cell.shelf.SHIPPED", tmp_path)
    assert "No classifier is installed yet" in words(open_page("cells"))


def test_cards_say_figures_and_limits_and_one_is_chosen(open_page, cml_home) -> None:
    a_card(cml_home, "first")
    abroad = {"val": {"balanced_accuracy": [0.8, 0.7, 0.9]},
              "val_without_own": {"balanced_accuracy": [0.61, 0.5, 0.7],
                                  "sources": {"A": {"images": 21, "balanced_accuracy": 0.55}}}}  # fmt: skip
    a_card(cml_home, "second", metrics={}, abroad=abroad)
    a_card(cml_home, "third", weights=False)
    test = open_page("cells")
    text = words(test)
    assert "0.910" in text
    assert "0.850 to 0.950" in text
    assert "on 55 images it did not see" in text
    assert "No figures are recorded" in text
    assert "On other microscopes: balanced accuracy 0.610 (0.500 to 0.700)" in text
    assert "0.550" in text
    assert "Only this stain" in text
    assert "Weights missing" in text
    test.button(key="choose-second").click().run()
    assert not test.exception
    assert test.session_state["classifier"] == "second"
    assert test.button(key="choose-third").disabled


def test_a_start_without_images_or_size_is_a_sentence(open_page, cml_home) -> None:
    a_card(cml_home)
    test = open_page("cells")
    test.button(key="name-pictures").click().run()
    assert "Drop at least one image" in test.error[0].value
    assert NAMINGS.all() == []


def test_a_runs_leukocytes_are_asked_for(open_page, cml_home, add_slide, add_run) -> None:
    a_card(cml_home)
    run = add_run(add_slide())
    test = open_page("cells", run=run.id)
    assert "10 leukocytes will be named" in words(test)
    test.button(key="name-run").click().run()
    assert not test.exception
    (job,) = NAMINGS.all()
    assert job.request.run == run.id
    assert test.query_params["cells"] == job.id
    assert "Waiting for its turn" in words(test)
    test.button(key=f"cancel-{job.id}").click().run()
    assert NAMINGS.get(job.id).stopping


def test_a_result_shows_differential_gallery_and_what_was_left_out(open_page, cml_home) -> None:
    a_card(cml_home)
    key = a_naming()
    test = open_page("cells", cells=key)
    text = words(test)
    assert "grey.png is grey." in text
    assert "Lymphocyte" in text
    assert [m.value for m in test.metric][:3] == ["60", "6", "1"]
    shown = gallery_of(test)
    assert len(shown) == PAGE
    assert [c["unknown"] for c in shown[:7]] == [True] * 6 + [False]  # most unlike first
    test.button(key=f"page-Next-{key}").click().run()
    assert len(gallery_of(test)) == 60 - PAGE
    test.selectbox(key=f"cells-order-{key}").set_value("sure").run()
    test.button_group(key=f"cells-classes-{key}").set_value(["basophil"]).run()
    shown = gallery_of(test)
    assert {c["label"] for c in shown} == {"Basophil"}
    assert not test.exception


def test_a_failed_job_says_why_and_starts_again(open_page, cml_home) -> None:
    a_card(cml_home)
    key = a_naming(message="The disk is full.")
    from cmlcore.job_folder import write_status

    write_status(NAMINGS.folder(key), state="failed")
    test = open_page("cells", cells=key)
    assert "The disk is full" in words(test)
    test.button(key=f"again-{key}").click().run()
    assert NAMINGS.get(key).state == "waiting"


def test_names_of_slides_stay_off_the_csv(cml_home, add_slide, add_run) -> None:
    from cmlcore.jobs.classify import naming_csv

    run = add_run(add_slide("MUSTERMANN"))
    key = a_naming(run=run.id)
    text = b"".join(naming_csv(NAMINGS.folder(key))).decode()
    assert "MUSTERMANN" not in text
    assert len(text.splitlines()) > 60
    assert store.get_run(run.id)


def test_figures_on_few_images_are_marked(cml_home) -> None:
    a_card(cml_home)
    a_card(cml_home, "tiny", metrics={"images": 29, "accuracy": [1.0, 1.0, 1.0]})
    lines = {c.key: classifier_cards.few_line(c) for c in shelf.cards()}
    assert lines["small"] == ""
    assert lines["tiny"].startswith("Fewer than 10 images a class")
