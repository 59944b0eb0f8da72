"""Figures against hand-worked cases and against torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification as tm

from cmlcore.single_cell.metrics import FIGURES, confusion, figures, judge, summary

# four images of a, two of b; answers a a a b | b a
TRUTH = np.array([0, 0, 0, 0, 1, 1])
PROBS = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6], [0.3, 0.7], [0.6, 0.4]])


def test_hand_worked_case() -> None:
    f = figures(TRUTH, PROBS)
    assert confusion(TRUTH, PROBS.argmax(1), 2).tolist() == [[3, 1], [1, 1]]
    assert f["accuracy"] == pytest.approx(4 / 6)
    assert f["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert f["precision_macro"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert f["precision_weighted"] == pytest.approx((4 * 3 / 4 + 2 * 1 / 2) / 6)
    assert f["sensitivity_weighted"] == pytest.approx(4 / 6)
    assert f["f1_macro"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    # of the 8 pairs (one of each class) 7 are in order for class a: only 0.4 < 0.6 is not
    assert f["auc_weighted"] == pytest.approx(7 / 8)


def test_figures_equal_torchmetrics() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(5, size=300)
    p = rng.dirichlet(np.ones(5), 300)
    p[np.arange(300), y] += rng.random(300)
    p /= p.sum(axis=1, keepdims=True)
    p = p.round(2)  # ties
    f, t, q = figures(y, p), torch.tensor(y), torch.tensor(p)
    pairs = {
        "accuracy": tm.multiclass_accuracy(q, t, 5, average="micro"),
        "balanced_accuracy": tm.multiclass_accuracy(q, t, 5, average="macro"),
        "precision_macro": tm.multiclass_precision(q, t, 5, average="macro"),
        "precision_weighted": tm.multiclass_precision(q, t, 5, average="weighted"),
        "sensitivity_macro": tm.multiclass_recall(q, t, 5, average="macro"),
        "f1_macro": tm.multiclass_f1_score(q, t, 5, average="macro"),
        "f1_weighted": tm.multiclass_f1_score(q, t, 5, average="weighted"),
    }
    for name, value in pairs.items():
        assert f[name] == pytest.approx(float(value), abs=1e-6), name


def test_auc_equals_torchmetrics_with_ties() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(3, size=200)
    p = rng.dirichlet(np.ones(3), 200).round(1)
    ours = judge(y, p, ("a", "b", "c"), bootstrap=0)
    theirs = tm.multiclass_auroc(torch.tensor(p), torch.tensor(y), 3, average=None)
    for line, value in zip(ours.lines, theirs.tolist(), strict=True):
        assert line.auc == pytest.approx(value, abs=1e-5)


def test_curves_equal_torchmetrics() -> None:
    rng = np.random.default_rng(4)
    y = rng.integers(2, size=60)
    p = rng.dirichlet(np.ones(2), 60)
    found = judge(y, p, ("a", "b"), bootstrap=0)
    fpr, tpr, _ = tm.binary_roc(torch.tensor(p[:, 1]), torch.tensor(y))
    np.testing.assert_allclose(found.roc[1].x, fpr.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.roc[1].y, tpr.numpy(), atol=1e-4)
    precision, recall, _ = tm.binary_precision_recall_curve(torch.tensor(p[:, 1]), torch.tensor(y))
    # theirs ends with the point (recall 0, precision 1), ours starts at the first threshold's precision
    np.testing.assert_allclose(found.pr[1].x[1:], recall.numpy()[:-1][::-1], atol=1e-4)
    np.testing.assert_allclose(found.pr[1].y[1:], precision.numpy()[:-1][::-1], atol=1e-4)


def test_a_class_without_images_drops_out() -> None:
    found = judge(TRUTH, np.c_[PROBS, np.zeros(6)], ("a", "b", "c"), bootstrap=50)
    two = figures(TRUTH, PROBS)
    for name in FIGURES:
        assert found.figures[name].value == pytest.approx(two[name]), name
    assert found.lines[2].sensitivity is None
    assert found.lines[2].auc is None
    assert [c.cls for c in found.roc] == ["a", "b"]


def test_intervals_hold_the_value_and_widen_when_groups_are_drawn() -> None:
    rng = np.random.default_rng(5)
    y = np.repeat(rng.integers(3, size=30), 10)
    right = np.repeat(rng.random(30) < 0.7, 10)  # whole patients are right or wrong
    p = np.full((300, 3), 0.1)
    p[np.arange(300), np.where(right, y, (y + 1) % 3)] = 0.8
    alone = judge(y, p, ("a", "b", "c"), bootstrap=300).figures["accuracy"]
    grouped = judge(y, p, ("a", "b", "c"), groups=[f"p{i // 10}" for i in range(300)], bootstrap=300)
    wide = grouped.figures["accuracy"]
    for f in (alone, wide):
        assert f.low is not None
        assert f.high is not None
        assert f.value is not None
        assert f.low <= f.value <= f.high
    assert wide.high - wide.low > 2 * (alone.high - alone.low)  # type: ignore[operator]


def test_the_same_draws_by_seed() -> None:
    first, again = (judge(TRUTH, PROBS, ("a", "b"), bootstrap=100, seed=7) for _ in range(2))
    assert first == again


def test_summary_of_folds() -> None:
    parts = [dict.fromkeys(FIGURES, v) for v in (0.8, 0.9, 1.0)]
    parts[0]["auc_weighted"] = math.nan
    found = summary(parts)
    assert found["accuracy"] == (pytest.approx(0.9), pytest.approx(0.1))
    assert found["auc_weighted"][0] == pytest.approx(0.95)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        judge(TRUTH, PROBS[:3], ("a", "b"))
