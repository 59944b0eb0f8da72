"""Tables of evaluations: what they say, and differences worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from examples import about, evaluation

from cmlcore.evaluation.result import ALL, Estimate, Subset
from cmlcore.ui import evaluation_tables as tables

NONE = Estimate(None)


def test_a_difference_takes_the_arms_that_point_its_way() -> None:
    a, b = Estimate(0.80, 0.76, 0.83), Estimate(0.90, 0.88, 0.91)
    gap = tables.difference(a, b)
    assert gap.value == pytest.approx(0.10)
    assert gap.low == pytest.approx(0.10 - math.hypot(0.02, 0.03))  # b's lower and a's upper arm
    assert gap.high == pytest.approx(0.10 + math.hypot(0.01, 0.04))
    assert tables.clear(gap)
    back = tables.difference(b, a)
    assert (back.value, back.low, back.high) == pytest.approx((-gap.value, -gap.high, -gap.low))


def test_a_difference_needs_both_figures_and_an_interval_both_intervals() -> None:
    assert tables.difference(Estimate(0.5), NONE) == NONE
    alone = tables.difference(Estimate(0.5), Estimate(0.6, 0.5, 0.7))
    assert alone.value == pytest.approx(0.1)
    assert alone.low is None
    assert not tables.clear(alone)
    assert not tables.clear(Estimate(0.1, -0.1, 0.3))
    assert tables.clear(Estimate(-0.2, -0.3, -0.1))


def test_an_evaluation_less_itself_is_nothing() -> None:
    found = evaluation()
    pairs = tables.pairs(found, found, "mask")
    assert {p.gap.value for p in pairs} == {0.0}
    assert not any(tables.clear(p.gap) for p in pairs)
    rows = {"AP50", "AP50:95", "Precision", "Recall", "F1", "PQ", "ECE", "Count error"}
    assert {p.row for p in pairs} == rows


def test_ap_of_all_classes_is_the_mean_not_the_sum_over_cells() -> None:
    found = evaluation()
    figures = tables.pair_figures(found, "box")
    assert figures["AP50", ALL] == found.shapes["box"].map50
    assert figures["F1", ALL] == found.shapes["box"].classes[ALL].f1


def test_what_one_did_not_measure_is_left_out() -> None:
    a, b = evaluation(), evaluation(masks=False)
    assert {p.row for p in tables.pairs(a, b, "mask")} == {"ECE", "Count error"}
    fewer = replace(b, calibration={}, counts={})
    assert tables.pairs(a, fewer, "mask") == []


def test_a_clear_difference_is_bold() -> None:
    html = tables.pair_table(tables.pairs(evaluation(), evaluation("type1", 0.2), "box"), ("leukocyte",))
    assert "<td><b>−0.200</b><small>−0.23 to −0.17</small><small>0.980 → 0.780</small></td>" in html
    assert '<th scope="col">Leukocyte</th>' in html
    assert "Erythrocyte" not in html


def test_headlines_leave_out_what_was_not_measured() -> None:
    titles = [x.title for x in tables.headlines(evaluation())]
    assert titles == ["mAP50, boxes", "mAP50, outlines", "mAP50:95", "F1", "PQ", "ECE"]
    boxes = tables.headlines(replace(evaluation(masks=False), calibration={}))
    assert [x.title for x in boxes] == ["mAP50, boxes", "mAP50:95", "F1", "PQ"]
    assert "by boxes" in boxes[1].help


def test_the_loss_of_the_training_stands_beside_them() -> None:
    trained = replace(evaluation(), loss={"loss": 0.4321, "epoch": 3.0}, loss_note="Of the training.")
    last = tables.headlines(trained)[-1]
    assert (last.title, last.at.value, last.help) == ("Loss", 0.4321, "Of the training.")
    assert "<b>0.432</b><small>&nbsp;</small>" in tables.headlines_html([last])


def test_class_table_has_every_class_and_all_together() -> None:
    found = evaluation()
    html = tables.class_table(found, found.shapes["box"])
    assert "<td>0.980<small>0.95–0.99</small></td>" in html  # AP50 of leukocytes
    assert html.count("<tr>") == 1 + 3 + 1
    assert html.startswith('<div class="cmlp-scroll">')
    assert "cmlp-total" in html


def test_a_figure_without_interval_stands_alone() -> None:
    assert tables.figure_html(Estimate(0.5)) == "0.500"
    assert tables.figure_html(NONE) == "–"


@pytest.mark.parametrize(
    ("name", "low", "high", "text"),
    [
        ("small", 0.0, 20.0, "Small: below 20\u202fµm²"),
        ("medium", 20.0, 44.0, "Medium: 20 to 44\u202fµm²"),
        ("large", 44.0, None, "Large: from 44\u202fµm²"),
        ("touching", None, None, "Touching"),
    ],
)
def test_subsets_say_their_bounds(name, low, high, text) -> None:
    unit = "" if low is None else "µm²"
    subset = Subset("leukocyte", name, 3, *[about(0.9)] * 5, low=low, high=high, unit=unit)
    assert tables.subset_name(subset) == text
