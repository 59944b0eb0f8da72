"""Scores become probabilities: known distortions are found and undone; thresholds by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cmlcore.evaluation.calibrate import (
    best_threshold,
    beta,
    fit_map,
    held_out,
    isotonic,
    threshold_for,
)
from cmlcore.evaluation.matching import LOWEST_SCORE
from cmlcore.evaluation.reliability import calibration_error
from models.calibration import Calibration


def cells(n: int, seed: int = 0, power: float = 2.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores whose cells are right in a share score ** power of all cases."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.01, 1, n)
    return scores, (rng.random(n) < scores**power).astype(int), rng.integers(0, 40, n)


def gap(scores: np.ndarray, right: np.ndarray) -> float:
    return float(calibration_error(scores, right > 0, np.zeros(len(scores), int), np.ones((1, 1))).value or 0)


@pytest.mark.parametrize("way", [isotonic, beta])
def test_each_way_undoes_a_known_distortion(way: object) -> None:
    scores, right, _ = cells(4000)
    made = way(scores, right)  # type: ignore[operator]
    x = np.linspace(0.05, 0.95, 19)
    assert np.abs(np.interp(x, made["x"], made["y"]) - x**2.5).max() < 0.08


@pytest.mark.parametrize("way", [isotonic, beta])
@pytest.mark.parametrize("right", [0, 1])
def test_where_all_are_right_or_none_the_map_stays_finite_and_rising(way: object, right: int) -> None:
    scores = np.random.default_rng(1).random(80)
    made = way(scores, np.full(80, right))  # type: ignore[operator]
    x, y = np.array(made["x"]), np.array(made["y"])
    assert (x[0], x[-1]) == (0, 1)
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    assert (y[0], y[1] > 0.01, y.max() < 1) == (0, True, True)
    assert (np.interp(scores, x, y).mean() > 0.9) == bool(right)


def test_a_fitted_map_holds_on_cells_it_did_not_see() -> None:
    scores, right, image = cells(1500)
    made = fit_map(scores, right, image)
    assert made is not None
    fresh, fresh_right, _ = cells(4000, seed=7)
    assert gap(fresh, fresh_right) > 0.15
    assert gap(np.interp(fresh, made["x"], made["y"]), fresh_right) < 0.03
    calibration = Calibration.of({"erythrocyte": made}, ("erythrocyte",))  # the card takes it
    applied = calibration.apply(fresh, np.zeros(len(fresh), int))
    assert gap(applied, fresh_right) < 0.03
    assert (np.argsort(applied, kind="stable") == np.argsort(fresh, kind="stable")).all()


def test_asked_for_cells_from_the_lowest_score_a_calibrated_network_looks_no_lower() -> None:
    scores, right, image = cells(1500, power=8)  # low scores are hardly ever right
    made = Calibration.of({"erythrocyte": fit_map(scores, right, image)}, ("erythrocyte",))
    assert 0.008 < made.raw_floor(LOWEST_SCORE) <= LOWEST_SCORE
    assert (made.apply(scores, np.zeros(len(scores), int)) >= LOWEST_SCORE).all()


def test_good_scores_and_few_cells_are_left_alone() -> None:
    scores, right, image = cells(3000, power=1.0)
    assert fit_map(scores, right, image) is None
    assert fit_map(*(v[:49] for v in cells(3000))) is None


def test_held_out_never_sees_the_images_it_judges() -> None:
    scores, right, image = cells(400)
    seen: list[int] = []

    def way(s: np.ndarray, r: np.ndarray) -> None:
        seen.append(len(s))

    assert (held_out(way, scores, right, image) == scores).all()
    counts = np.bincount(image, minlength=40)
    order = np.random.default_rng(0).permutation(40)
    assert seen == [400 - counts[order % 5 == k].sum() for k in range(5)]


def test_the_best_threshold_by_hand() -> None:
    one = np.array([0.9, 0.8, 0.3]), np.array([1, 1, 0]), 2
    two = np.array([0.6, 0.5]), np.array([1, 0]), 1
    # F1 of the first is 1 from 0.31 to 0.80, of the second from 0.51 to 0.60
    assert best_threshold([one]) == 0.5
    assert best_threshold([one, two]) == 0.51
    assert best_threshold([two]) == 0.51
    with pytest.raises(ValueError, match="no class"):
        best_threshold([(one[0], one[1], 0)])


def test_a_threshold_for_a_wanted_precision() -> None:
    one = np.array([0.9, 0.8, 0.3]), np.array([1, 1, 0]), 2
    two = np.array([0.6, 0.5]), np.array([1, 0]), 1
    assert threshold_for(1.0, [one]) == 0.31
    assert threshold_for(0.6, [one]) == 0.01
    assert threshold_for(1.0, [one, two]) == 0.51
    assert threshold_for(0.9, [(np.array([0.5]), np.array([0]), 1)]) is None
