"""Curves show what the lines of curves.jsonl say."""

from __future__ import annotations

import math

import pytest

from cmlcore.classes import color
from cmlcore.ui import train_charts as charts
from cmlcore.ui.theme import DARK, LIGHT


def train(step, loss, **parts):
    return {"step": step, "epoch": 0.1, "seconds": 1.0, "split": "train", "loss": loss, "lr": 1e-4, **parts}


def val(step, map50, **more):
    return {"step": step, "epoch": 0.1, "seconds": 1.0, "split": "val", "map50": map50, "map": map50 / 2,
            "images": 4, **more}  # fmt: skip


EVENTS = [
    train(20, 2.0, mask=1.5, box=0.5),
    train(40, 1.0, mask=0.75, box=0.25),
    val(40, 0.5, loss=1.25, mask=1.0, ap50={"net": 0.4, "leukocyte": 0.6}, ap={"net": 0.2, "leukocyte": 0.3}),
    train(60, None, mask=None),
    val(60, 0.75, loss=1.0, ap50={"net": None, "leukocyte": 0.75}),
]


@pytest.mark.parametrize("colors", [LIGHT, DARK])
def test_loss_of_both_splits_and_their_parts(colors) -> None:
    lines = {line.name: line for line in charts.loss_curves(EVENTS, colors).data}
    assert list(lines) == ["Train", "Val", "Train: mask", "Train: box", "Val: mask"]
    assert (list(lines["Train"].x), list(lines["Train"].y)) == ([20, 40], [2, 1])
    assert (list(lines["Val"].x), list(lines["Val"].y)) == ([40, 60], [1.25, 1])
    assert list(lines["Train: mask"].y) == [1.5, 0.75]
    assert [x.visible for x in lines.values()] == [True, True, "legendonly", "legendonly", "legendonly"]
    assert lines["Train"].line.color != lines["Val"].line.color


def test_precision_by_class_in_its_colour() -> None:
    lines = {line.name: line for line in charts.map_curves(EVENTS, ("net", "leukocyte"), LIGHT).data}
    assert list(lines) == ["mAP50", "mAP50:95", "NET", "Leukocyte"]
    assert list(lines["mAP50"].y) == [0.5, 0.75]
    assert list(lines["mAP50:95"].y) == [0.25, 0.375]
    assert (list(lines["NET"].x), list(lines["NET"].y)) == ([40], [0.4])
    assert list(lines["Leukocyte"].y) == [0.6, 0.75]
    assert lines["Leukocyte"].line.color == color("leukocyte")


def test_a_long_curve_is_averaged_in_groups() -> None:
    events = [train(20 * k, float(k)) for k in range(1, 1001)]
    x, y = charts.series(events, "loss", points=400)
    assert len(x) == 334  # groups of three, the last of one
    assert (x[0], y[0]) == (60, 2)
    assert (x[-1], y[-1]) == (20_000, 1000)
    assert charts.series(events[:400], "loss", points=400)[1] == [float(k) for k in range(1, 401)]


def test_what_is_no_number_leaves_a_gap() -> None:
    events = [train(1, 1.0), train(2, math.nan), train(3, math.inf), train(4, 4.0)]
    assert charts.series(events, "loss") == ([1, 4], [1, 4])
    assert charts.loss_curves([], LIGHT).data == ()
