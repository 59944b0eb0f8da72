"""Charts of an evaluation hold the figures they were given."""

from __future__ import annotations

import pytest
from examples import evaluation

from cmlcore.classes import color
from cmlcore.evaluation.result import ALL, Confusion, CountError, Estimate
from cmlcore.ui import evaluation_charts as charts
from cmlcore.ui import model_cards
from cmlcore.ui.theme import DARK, LIGHT

FOUND = evaluation()
BOTH = pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])


@BOTH
def test_confusion_shades_by_row_and_writes_the_count(colors) -> None:
    confusion = Confusion(("a", "b", "invented"), ("a", "b", "missed"), ((6, 0, 2), (0, 0, 0), (1, 3, 0)))
    heat, texts = charts.confusion_map(confusion, colors).data
    assert list(heat.z) == [[0.75, 0.0, 0.25], [0.0, 0.0, 0.0], [0.25, 0.75, None]]
    assert list(heat.x) == ["A", "B", "Missed"]
    assert list(heat.y) == ["A", "B", "Invented"]
    written = {(x, y): t for x, y, t in zip(texts.x, texts.y, texts.text, strict=True)}
    assert written["A", "A"] == "<b>6</b><br>75.0\u202f%"
    assert written["B", "B"] == "<b>0</b><br>–"
    assert ("Missed", "Invented") not in written
    assert heat.customdata[0][2] == "A, not found: 2"
    assert heat.customdata[2][1] == "Found as B where no cell is: 3"


def test_ink_on_a_dark_field_is_the_ground_colour() -> None:
    texts = charts.confusion_map(FOUND.confusion, LIGHT).data[1]
    inks = {(x, y): c for x, y, c in zip(texts.x, texts.y, texts.textfont.color, strict=True)}
    assert inks["Erythrocyte", "Erythrocyte"] == LIGHT.background
    assert inks["Leukocyte", "Erythrocyte"] == LIGHT.text


@BOTH
def test_pr_curves_end_where_recall_ends_and_mark_the_threshold(colors) -> None:
    shape = FOUND.shapes["box"]
    traces = charts.pr_curves(shape, colors).data
    line, mark = traces[0], traces[1]
    curve = shape.curves["erythrocyte"]
    reached = [s for s in curve.score if s is not None]
    assert list(line.y) == list(curve.precision[: len(reached)])
    assert list(line.customdata) == reached
    assert line.line.color == color("erythrocyte")
    at = shape.classes["erythrocyte"]
    assert (mark.x[0], mark.y[0]) == (at.recall.value, at.precision.value)
    assert len({t.line.dash for t in traces if t.mode == "lines"}) == 3


def test_threshold_curves_mark_the_best_and_the_one_in_use() -> None:
    curve = FOUND.shapes["box"].thresholds[ALL]
    figure = charts.threshold_curves(curve, 0.45, LIGHT)
    named = {t.name: t for t in figure.data}
    assert list(named["F1"].y) == list(curve.f1)
    assert list(named["Recall"].y) == list(curve.recall)
    assert (named["Best F1"].x[0], named["Best F1"].y[0]) == (curve.best_score, curve.best_f1)
    assert figure.layout.shapes[0].x0 == 0.45


def test_ap_by_iou_leaves_out_all_classes_together() -> None:
    shape = FOUND.shapes["box"]
    traces = charts.ap_by_iou(shape, LIGHT).data
    assert [t.name for t in traces] == ["Erythrocyte", "Leukocyte", "Thrombocyte"]
    assert list(traces[2].y) == list(shape.classes["thrombocyte"].ap_by_iou)


def test_bland_altman_draws_differences_over_means() -> None:
    error = CountError(
        3, Estimate(1.0, 0.5, 1.5), 1.0, Estimate(-0.96), Estimate(2.96), Estimate(1.0),
        ((1, 10, 10), (2, 20, 22), (3, 5, 6)),
    )  # fmt: skip
    figure = charts.bland_altman("leukocyte", error, LIGHT)
    points = figure.data[0]
    assert list(points.x) == [10.0, 21.0, 5.5]
    assert list(points.y) == [0, 2, 1]
    lines = [s.y0 for s in figure.layout.shapes if s.type == "line"]
    assert lines == [1.0, 2.96, -0.96]
    bands = [(s.y0, s.y1) for s in figure.layout.shapes if s.type == "rect"]
    assert bands == [(0.5, 1.5)]  # limits without an interval have no band
    assert [a.text for a in figure.layout.annotations] == ["Bias +1.0", "+1.96 SD +3.0", "−1.96 SD −1.0"]


@BOTH
def test_reliability_shows_every_bin_and_its_cells(colors) -> None:
    found = FOUND.calibration["leukocyte"]
    diagonal, curve, bars = charts.reliability("leukocyte", found, 0.45, colors).data
    assert (list(diagonal.x), list(diagonal.y)) == ([0, 1], [0, 1])
    assert list(curve.x) == [b.score for b in found.bins]
    assert list(curve.y) == [b.right for b in found.bins]
    assert list(bars.y) == [b.cells for b in found.bins]
    assert sum(bars.y) == found.cells
    assert bars.x[0] - bars.width[0] / 2 == pytest.approx(found.bins[0].low)


def test_dots_have_their_intervals_as_whiskers() -> None:
    points = [
        charts.Point("Small", "leukocyte", Estimate(0.5, 0.4, 0.8), "9 cells"),
        charts.Point("Small", "erythrocyte", Estimate(None)),
        charts.Point("Large", "leukocyte", Estimate(0.9)),
        charts.Point("Large", "erythrocyte", Estimate(0.7, 0.6, 0.75)),
    ]
    figure = charts.dots(points, "Recall", LIGHT)
    leukocyte, erythrocyte = figure.data
    assert list(leukocyte.x) == [0.5, 0.9]
    assert list(leukocyte.error_x.array) == pytest.approx([0.3, 0])
    assert list(leukocyte.error_x.arrayminus) == pytest.approx([0.1, 0])
    assert leukocyte.y[0] == 0  # alone in its row: on its line
    assert leukocyte.y[1] < 1 < erythrocyte.y[0]
    assert list(figure.layout.yaxis.ticktext) == ["Small", "Large"]
    assert list(leukocyte.customdata[0]) == ["Small", "0.500 (0.400 to 0.800)", "9 cells"]


def test_differences_lie_about_zero() -> None:
    points = [charts.Point("AP50", ALL, Estimate(-0.1, -0.2, 0.05))]
    figure = charts.dots(points, "Difference", DARK, differences=True)
    low, high = figure.layout.xaxis.range
    assert low == -high
    assert low < -0.2
    assert figure.data[0].customdata[0][1] == "−0.100 (−0.200 to +0.050)"


def test_no_points_are_an_empty_chart() -> None:
    assert charts.dots([], "Recall", LIGHT).data == ()


def test_a_cards_calibration_is_drawn_as_it_stands() -> None:
    raw = {"leukocyte": {"x": [0.1, 0.9], "y": [0.0, 1.0]}, "net": {"x": [0.5], "y": []}, "other": 3}
    curves = model_cards.calibration_curves(raw)
    assert curves == {"leukocyte": ([0.1, 0.9], [0.0, 1.0])}
    diagonal, line = charts.calibration_map(curves, LIGHT).data
    assert (list(line.x), list(line.y)) == ([0.1, 0.9], [0.0, 1.0])
    assert line.line.color == color("leukocyte")
    assert diagonal.showlegend is False
    assert model_cards.calibration_curves(None) == {}
    told = {"cells": {"net": 1200}, "error_before": {"net": 0.2}, "error_after": {"net": 0.0312}}
    [row] = model_cards.error_rows(told)
    assert row[1:] == ["1\u202f200", "0.200", "0.031"]
    assert list(model_cards.error_rows(None)) == []
