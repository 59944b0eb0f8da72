"""Cells too unsure to name: out of the figures until somebody asks for them, and never silent."""

from __future__ import annotations

import re

from cmlcore.classes import UNIDENTIFIED

FOUND = {"erythrocyte": 60, "leukocyte": 10, "thrombocyte": 30, UNIDENTIFIED: 25}


def table_of(test) -> str:
    """The first table, without its links."""
    found = next(h for h in (e.proto.body for e in test.get("html")) if "cmlp-table" in h)
    return re.sub("</?a[^>]*>", "", found)


def test_results_leave_them_out_until_they_are_chosen(open_page, add_slide, add_run) -> None:
    run = add_run(add_slide(), FOUND)
    test = open_page("results", run=run.id)
    figures = {m.label: m.value for m in test.metric}
    assert (figures["Cells"], figures["Unidentified"]) == ("100", "25")
    assert "<td>60</td><td>60.0\u202f%</td>" in table_of(test)
    assert "Unidentified" not in table_of(test)
    (pills,) = [b for b in test.get("button_group") if b.key == f"classes-{run.id}"]
    pills.set_value(list(FOUND)).run()
    assert not test.exception
    figures = {m.label: m.value for m in test.metric}
    assert (figures["Cells"], figures["Unidentified"]) == ("125", "25")
    assert "<td>60</td><td>48.0\u202f%</td>" in table_of(test)


def test_a_run_that_keeps_none_says_nothing_of_them(open_page, add_slide, add_run) -> None:
    run = add_run(add_slide())
    test = open_page("results", run=run.id)
    assert "Unidentified" not in {m.label for m in test.metric}


def test_the_viewer_counts_named_cells_and_tells_of_the_others(open_page, add_slide, add_run) -> None:
    slide = add_slide()
    test = open_page("viewer", slide=slide.id, run=add_run(slide, FOUND).id)
    counts = next(h for h in (e.proto.body for e in test.get("html")) if "cmlp-counts" in h)
    assert "<b>60</b><span>60.0\u202f%</span>" in counts
    assert "Unidentified" not in counts
    assert any("25 more are unidentified" in c.value for c in test.caption)


def test_compare_leaves_them_out_on_both_sides(open_page, add_slide, add_run) -> None:
    slide = add_slide()
    a, b = add_run(slide, FOUND), add_run(slide, {"erythrocyte": 50, "leukocyte": 50}, model="type1")
    test = open_page("compare", slide=slide.id, a=a.id, b=b.id)
    assert "Unidentified" not in table_of(test)
    assert "<td>100</td><td>100</td>" in table_of(test)
