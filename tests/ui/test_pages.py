"""Every page: empty, with a slide, with runs, and with everything that can be wrong."""

from __future__ import annotations

import json
import re

import pytest

from cmlcore import RESEARCH_USE, store
from cmlcore.geometry import Mpp
from cmlcore.ui import format as fmt

PAGES = (
    "slides", "viewer", "runs", "cells", "results", "compare", "train", "evaluate", "bench", "paper",
    "models", "about",
)  # fmt: skip


KINDS = ("title", "subheader", "markdown", "caption", "error", "warning", "info", "metric", "html", "badge")


def words(test) -> str:
    """All text a page shows."""
    found = []
    for kind in KINDS:
        for element in test.get(kind):
            found.append(str(getattr(element, "value", "") or getattr(element.proto, "body", "")))
            found.append(str(getattr(element, "label", "") or ""))
    return "\n".join(found)


def viewers(test) -> list:
    """The slide viewers of a page."""
    return [e for e in test.get("bidi_component") if "cml_viewer" in e.proto.component_name]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_carries_the_research_line(page, open_page) -> None:
    assert RESEARCH_USE in [c.value for c in open_page(page).caption]


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("slides", "No slides yet"),
        ("viewer", "Nothing to look at yet"),
        ("runs", "No runs yet"),
        ("results", "No results yet"),
        ("compare", "Nothing to compare yet"),
    ],
)
def test_an_empty_page_says_the_next_step(page, title, open_page) -> None:
    test = open_page(page)
    assert title in words(test)
    assert test.get("page_link") or [b.label for b in test.button if b.label]


def test_slides_shows_facts_and_opens(open_page, add_slide) -> None:
    slide = add_slide()
    test = open_page("slides")
    text = words(test)
    assert "Zeiss CZI" in text
    assert "2.00 × 1.50\u202fmm" in text
    assert "0.250\u202fµm/px · 40×" in text
    assert not test.button(key=f"open-{slide.id}").disabled


def test_a_users_name_is_shown_letter_by_letter(open_page, add_slide) -> None:
    add_slide(name="A *B* <b>c</b> :red[x]")
    assert r"**A \*B\* \<b\>c\</b\> \:red\[x\]**" in [m.value for m in open_page("slides").markdown]


def test_a_refused_slide_says_why_and_cannot_be_opened(open_page, add_slide) -> None:
    why = "The file is cut short; upload it again."
    slide = add_slide(status="refused", facts=None, message=why)
    test = open_page("slides")
    assert any("cut short" in m.value for m in test.markdown)
    assert test.button(key=f"open-{slide.id}").disabled
    assert "Nothing to look at yet" in words(open_page("viewer"))


def test_a_slide_without_pixel_size_asks_for_it(open_page, add_slide) -> None:
    slide = add_slide(info={"mpp": None})
    assert "Pixel size unknown" in words(open_page("slides"))
    test = open_page("viewer", slide=slide.id)
    assert "How large is a pixel?" in words(test)
    test.number_input[0].set_value(0.25)
    next(b for b in test.button if b.label == "Use").click().run()
    assert store.get_slide(slide.id).mpp.mean == pytest.approx(0.25)
    assert not store.get_slide(slide.id).mpp_is_estimate
    assert "How large is a pixel?" not in words(test)


def test_an_estimated_pixel_size_is_marked_until_it_is_corrected(open_page, add_slide) -> None:
    slide = add_slide(info={"mpp": None})
    store.set_mpp(slide.id, Mpp(0.15, 0.15), is_estimate=True)
    test = open_page("viewer", slide=slide.id)
    assert "between 0.134 and 0.154\u202fµm" in words(test)
    assert '"mpp": 0.15' in viewers(test)[0].proto.json

    def use() -> None:
        next(b for b in test.button if b.label == "Use").click().run()
        assert not test.exception

    use()  # what was estimated stays an estimate
    assert store.get_slide(slide.id).mpp_is_estimate
    test.number_input[0].set_value(0.16)
    use()
    assert store.get_slide(slide.id).mpp.mean == pytest.approx(0.16)
    assert not store.get_slide(slide.id).mpp_is_estimate
    assert "healthy erythrocytes" not in words(test)
    assert '"mpp": 0.16' in viewers(test)[0].proto.json


@pytest.mark.parametrize("kind", ["grey", "fluorescence"])
def test_grey_and_fluorescence_can_be_looked_at_only(kind, open_page, add_slide) -> None:
    slide = add_slide(info={"kind": kind, "channels": 1})
    test = open_page("viewer", slide=slide.id)
    assert len(viewers(test)) == 1
    assert f"This is a {kind} image" in words(test)
    assert not [b for b in test.button if b.key == "segment-start"]


def test_viewer_shows_the_run_that_the_url_names(open_page, add_slide, add_run) -> None:
    slide = add_slide()
    old, new = add_run(slide, {"leukocyte": 3}), add_run(slide)  # in one minute: their titles are the same
    test = open_page("viewer", slide=slide.id, run=old.id)
    assert test.selectbox(key="select-run").value == old.id
    assert f'"/overlay/{old.id}/"' in viewers(test)[0].proto.json
    test.selectbox(key="select-run").set_value(new.id).run()
    assert not test.exception
    assert test.query_params["run"] == new.id
    assert f'"/overlay/{new.id}/"' in viewers(test)[0].proto.json


def test_a_link_may_name_the_one_class_to_show(open_page, add_slide, add_run) -> None:
    slide = add_slide()
    run, other = add_run(slide), add_run(slide, {"leukocyte": 1})
    test = open_page("viewer", slide=slide.id, run=run.id, cls="leukocyte")
    assert '"classes": ["leukocyte"]' in viewers(test)[0].proto.json
    test.selectbox(key="select-run").set_value(other.id).run()
    assert "cls" not in test.query_params


def test_a_link_that_names_a_run_alone_finds_its_slide(open_page, add_slide, add_run) -> None:
    old = add_slide("Old")
    run = add_run(old)
    add_run(add_slide("New"))
    for page in ("viewer", "results"):
        test = open_page(page, run=run.id)
        assert test.selectbox(key="select-slide").value == old.id
        assert test.selectbox(key="select-run").value == run.id


def test_an_unknown_id_in_the_url_falls_back_to_what_there_is(open_page, add_slide) -> None:
    slide = add_slide()
    test = open_page("viewer", slide="gone", scene="9", run="gone")
    assert test.selectbox(key="select-slide").value == slide.id


def test_a_run_at_work_shows_progress_and_can_be_cancelled(open_page, add_slide, add_run) -> None:
    slide = add_slide()
    state = {"status": "running", "stage": "segmenting", "stage_fraction": 0.5}
    run = add_run(slide, blocks_total=40, blocks_done=0, **state)
    test = open_page("viewer", slide=slide.id, run=run.id)
    text = words(test)
    assert "Outlining and naming cells" in text
    assert "0 of 40 blocks" in text
    test.button(key=f"cancel-{run.id}").click().run()
    assert store.get_run(run.id).cancel_requested


def test_a_cancelled_run_can_be_resumed(open_page, add_slide, add_run) -> None:
    slide = add_slide()
    run = add_run(slide, status="cancelled", message="Cancelled; it can be resumed.", blocks_total=40)
    test = open_page("viewer", slide=slide.id, run=run.id)
    test.button(key=f"resume-{run.id}").click().run()
    assert not test.exception
    assert store.get_run(run.id).status == "queued"


def test_runs_lists_every_run(open_page, add_slide, add_run) -> None:
    slide = add_slide()
    add_run(slide)
    add_run(slide, status="failed", message="The disk is full.")
    frame = open_page("runs").dataframe[0].value
    assert sorted(frame["Status"]) == ["Done", "Failed"]
    assert list(frame["Cells"]) == [100, 100]
    assert set(frame["Slide"]) == {"Smear 7"}


def test_results_count_what_the_parts_hold(open_page, add_slide, add_run) -> None:
    slide = add_slide()
    run = add_run(slide)
    test = open_page("results", slide=slide.id, run=run.id)
    values = {m.label: m.value for m in test.metric}
    assert values["Cells"] == "100"
    assert values["Area analysed"] == "3.00\u202fmm²"
    assert values["Density"] == "33\u202f/mm²"
    table = next(h for h in (e.proto.body for e in test.get("html")) if "cmlp-table" in h)
    assert ">60</a></td><td>60.0\u202f%</td><td>20.0</td>" in table
    leukocytes = f"viewer?slide={slide.id}&amp;scene=0&amp;run={run.id}&amp;cls=leukocyte"
    assert f'href="{leukocytes}" target="_self">10</a>' in table
    assert len(test.get("plotly_chart")) == 4
    test.slider(key=f"score-{run.id}").set_value(0.65).run()
    shown = int({m.label: m.value for m in test.metric}["Cells"])
    from cmlcore.cells import CellTable, Filters

    assert shown == CellTable(store.run_dir(run.id)).count(Filters(min_score=0.65))
    assert 0 < shown < 100


def test_results_of_a_part_of_the_slide_divide_by_its_area(open_page, add_slide, add_run) -> None:
    slide = add_slide()
    run = add_run(slide, rois=[[[0, 0], [4000, 0], [4000, 3000], [0, 3000]]])
    values = {m.label: m.value for m in open_page("results", run=run.id).metric}
    assert values["Area analysed"] == fmt.area_mm2(0.75)


def test_results_without_a_cell_say_so(open_page, add_slide, add_run) -> None:
    add_run(add_slide(), {})
    test = open_page("results")
    assert {m.label: m.value for m in test.metric}["Cells"] == "0"
    assert "No cell passes the filters" in words(test)


def test_an_incomplete_run_is_marked_so(open_page, add_slide, add_run) -> None:
    run = add_run(add_slide(), status="cancelled", blocks_total=4, manifest=None)
    test = open_page("results", run=run.id)
    assert "1 of 4 blocks" in words(test)
    assert not test.get("link_button")


def test_compare_offers_two_models_and_subtracts(open_page, add_slide, add_run) -> None:
    slide = add_slide()
    second = add_run(slide, {"erythrocyte": 50, "leukocyte": 12}, model="type2")
    first = add_run(slide, {"erythrocyte": 60, "leukocyte": 10}, model="type1", worked_s=10.0)
    test = open_page("compare")
    assert test.selectbox(key="select-a").value == first.id
    assert test.selectbox(key="select-b").value == second.id
    table = next(h for h in (e.proto.body for e in test.get("html")) if "cmlp-total" in h)
    plain = re.sub("</?a[^>]*>", "", table)
    assert "<td>60</td><td>50</td><td>−10</td>" in plain
    assert "<td>10</td><td>12</td><td>+2</td>" in plain
    assert f"run={second.id}&amp;cls=leukocyte" in table
    facts = next(h for h in (e.proto.body for e in test.get("html")) if "Device" in h)
    assert "+2.5" in facts
    assert len(viewers(test)) == 2
    assert len(test.get("plotly_chart")) == 2


def test_a_model_whose_weights_are_missing_cannot_be_started(open_page, add_slide, cml_home) -> None:
    card = {
        "key": "mine", "title": "Mine: a test", "kind": "type2", "classes": ["leukocyte"], "mpp": 0.2,
        "tile": 256, "margin": 32, "align": 32, "sha256": "0" * 64, "min_score": 0.5,
    }  # fmt: skip
    folder = cml_home / "models"
    folder.mkdir()
    (folder / "mine.json").write_text(json.dumps(card), encoding="utf-8")
    slide = add_slide()
    test = open_page("viewer", slide=slide.id)
    test.radio(key="segment-model").set_value("mine").run()
    assert "The weights of “Mine: a test” are missing; put mine.safetensors back" in words(test)
    assert test.button(key="segment-start").disabled
    assert r"Mine\: a test" in words(open_page("models"))
