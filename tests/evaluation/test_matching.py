"""COCO's matching against cases worked by hand and against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from cmlcore.evaluation.matching import best_pairs, match
from cmlcore.evaluation.result import IOUS


def slow(
    iou: np.ndarray, covered: np.ndarray, scores: np.ndarray, threshold: float
) -> tuple[list[int], list[bool]]:
    """The rule as it reads."""
    truth, taken = [-1] * len(scores), set()
    for d in sorted(range(len(scores)), key=lambda i: -scores[i]):
        best = threshold
        for g in range(iou.shape[1]):
            if g not in taken and iou[d, g] >= best:
                best, truth[d] = iou[d, g], g
        taken.add(truth[d])
        taken.discard(-1)
    return truth, [t < 0 and bool(c >= threshold) for t, c in zip(truth, covered, strict=True)]


@pytest.mark.parametrize("seed", range(30))
def test_match_does_as_the_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_found, n_true = int(rng.integers(0, 9)), int(rng.integers(0, 7))
    iou, scores, covered = rng.random((n_found, n_true)), rng.random(n_found), rng.random(n_found)
    made = match(iou, covered, scores)
    for t, threshold in enumerate(IOUS):
        truth, ignored = slow(iou, covered, scores, threshold)
        assert made.truth[t].tolist() == truth
        assert made.ignored[t].tolist() == ignored


def test_the_surer_cell_chooses_first() -> None:
    iou = np.array([[0.9, 0.6], [0.8, 0.0]])
    none = np.zeros(2)
    assert match(iou, none, np.array([0.9, 0.5])).truth[0].tolist() == [0, -1]
    assert match(iou, none, np.array([0.5, 0.9])).truth[0].tolist() == [1, 0]


def test_what_is_not_judged_passes_only_where_nothing_true_is_taken() -> None:
    made = match(np.array([[0.7], [0.6]]), np.array([1.0, 1.0]), np.array([0.9, 0.8]), (0.5, 0.75))
    assert made.truth.tolist() == [[0, -1], [-1, -1]]
    assert made.ignored.tolist() == [[False, True], [True, True]]


def test_best_pairs_take_the_best_overlap_first() -> None:
    iou = np.array([[0.6, 0.5], [0.9, 0.8]])
    assert best_pairs(iou, 0.5) == [(1, 0), (0, 1)]
    assert best_pairs(iou, 0.5, strict=True) == [(1, 0)]
    assert best_pairs(np.zeros((0, 3)), 0.5) == []
