"""The bootstrap against the slow way: images really doubled and judged again by faster-coco-eval."""

from __future__ import annotations

import numpy as np
import pytest
from judged import CLASSES, random_field

from cmlcore.evaluation.field import Field
from cmlcore.evaluation.figures import matched
from cmlcore.evaluation.match_tables import collected, match_tables, overlaps_of
from cmlcore.evaluation.precision import precision_curves
from cmlcore.evaluation.resample import average_precision, estimate, mean_over, ratio, sums, weights
from cmlcore.evaluation.result import IOUS


def again(fields: list[Field], kind: str) -> np.ndarray:
    """AP of each class at each IoU by faster-coco-eval, ``(C, T)``; nan where there is no true cell."""
    curves = precision_curves(collected(fields, kind), CLASSES, "bbox" if kind == "box" else "segm", IOUS)
    none = np.full(len(IOUS), np.nan)
    return np.stack([curves[c].precision.mean(axis=1) if c in curves else none for c in CLASSES])


@pytest.mark.parametrize("kind", ["box", "mask"])
@pytest.mark.parametrize("seed", range(6))
def test_a_resamples_ap_is_that_of_the_images_drawn(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    fields = [random_field(rng, outlined=kind == "mask") for _ in range(7)]
    fields = [f for f in fields if kind == "box" or f.true.masks is not None]
    weight = np.concatenate([np.ones((1, len(fields))), weights(len(fields), 12, seed)])
    made = matched(fields, CLASSES, kind, weight, 0.5)
    for r, drawn in enumerate(weight.astype(int)):
        images = [f for f, n in zip(fields, drawn, strict=True) for _ in range(n)]
        np.testing.assert_allclose(made.resampled[:, :, r], again(images, kind), atol=1e-12)


def test_ap_by_hand() -> None:
    hit, image, true = np.array([1, 0, 1], bool), np.array([0, 1, 1]), np.array([1, 1])
    one = average_precision(hit, image, true, np.array([[1.0, 1.0], [2, 0], [0, 2], [0, 0]]))
    assert one[:3].tolist() == pytest.approx([(51 + 50 * 2 / 3) / 101, 1.0, 0.5])
    assert np.isnan(one[3])
    assert average_precision(hit[:0], image[:0], true, np.ones((1, 2))).tolist() == [0.0]


def test_in_small_blocks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    fields = [random_field(rng) for _ in range(9)]
    table = match_tables(fields, overlaps_of(fields, "box"), 2)[0]
    weight = weights(9, 40, 1)
    args = table.hit[0], table.image, table.true, weight
    whole = average_precision(*args)
    monkeypatch.setattr("cmlcore.evaluation.resample._BLOCK", 7)
    np.testing.assert_array_equal(average_precision(*args), whole)


def test_weights_are_draws_with_replacement() -> None:
    made = weights(5, 200, 1)
    assert (made.sum(axis=1) == 5).all()
    assert made.max() > 1
    assert (made == weights(5, 200, 1)).all()
    assert (made != weights(5, 200, 2)).any()
    assert weights(1, 200, 1).shape == (0, 1)  # one image does not scatter


def test_ratios_and_estimates_by_hand() -> None:
    got = ratio(np.array([1.0, 3.0]), np.array([2.0, 4.0]), np.array([[2.0, 0], [0, 2]]))
    assert got.value == pytest.approx(4 / 6)
    assert (got.low, got.high) == pytest.approx((0.50625, 0.74375))  # between 1/2 and 3/4
    assert ratio(np.zeros(2), np.zeros(2), np.ones((3, 2))).value is None
    assert estimate(0.5, np.array([np.nan])).low is None
    assert sums(np.array([1.0, 2, 4]), np.array([0, 2, 2]), 3).tolist() == [1, 0, 6]
    both = mean_over(np.array([[1.0, np.nan], [0.5, np.nan]]))
    assert both[0] == 0.75
    assert np.isnan(both[1])
