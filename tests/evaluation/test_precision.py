"""Average precision against curves worked by hand (101-point interpolation, as COCO does)."""

from __future__ import annotations

import numpy as np
import pytest

from cmlcore.evaluation.precision import Collected, average_precision, mean

TRUE = [np.array([0, 0, 10, 10.0]), np.array([20, 0, 30, 10.0])]
FAR = np.array([60, 60, 70, 70.0])


def field(found: list[tuple[float, np.ndarray]]) -> Collected:
    cells = Collected()
    image = cells.image(100, 100)
    for box in TRUE:
        cells.truth(image, 0, box)
    for score, box in found:
        cells.found(image, 0, score, box)
    return cells


def test_a_false_one_between_two_hits() -> None:
    got = average_precision(field([(0.9, TRUE[0]), (0.8, FAR), (0.7, TRUE[1])]), ("a", "b"), "bbox")
    assert got == {"a": pytest.approx((51 * 1 + 50 * 2 / 3) / 101, abs=1e-6)}


def test_iou_decides() -> None:
    shifted = TRUE[1] + [3, 0, 3, 0]  # IoU 7 / 13
    far = TRUE[1] + [4, 0, 4, 0]  # IoU 6 / 14
    assert average_precision(field([(0.9, TRUE[0]), (0.7, shifted)]), ("a",), "bbox") == {
        "a": pytest.approx(1)
    }
    got = average_precision(field([(0.9, TRUE[0]), (0.7, far)]), ("a",), "bbox")
    assert got == {"a": pytest.approx(51 / 101)}


def test_a_second_find_of_one_cell_is_false() -> None:
    got = average_precision(field([(0.9, TRUE[0]), (0.8, TRUE[0]), (0.7, TRUE[1])]), ("a",), "bbox")
    assert got["a"] == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-6)


def test_masks_and_ignored_places() -> None:
    cells = Collected()
    image = cells.image(40, 40)
    a, cluster, inside = (np.zeros((40, 40), bool) for _ in range(3))
    a[2:12, 2:12] = True
    cluster[20:40, 20:40] = True
    inside[22:30, 22:30] = True
    cells.truth(image, 0, a)
    cells.truth(image, 0, cluster, ignored=True)
    cells.found(image, 0, 0.9, inside)  # surer than the hit, yet not judged
    cells.found(image, 0, 0.5, a)
    assert average_precision(cells, ("a",), "segm") == {"a": pytest.approx(1)}
    cells.found(image, 0, 0.8, np.roll(a, 14, axis=1))  # on plain ground: false
    assert average_precision(cells, ("a",), "segm") == {"a": pytest.approx(0.5)}


def test_more_than_a_hundred_cells_all_count() -> None:
    cells = Collected()
    image = cells.image(400, 400)
    boxes = [np.array([x, y, x + 8, y + 8.0]) for x in range(0, 400, 20) for y in range(0, 400, 20)]
    for i, box in enumerate(boxes):
        cells.truth(image, 0, box)
        cells.found(image, 0, 0.5 + i / 1000, box)
    assert average_precision(cells, ("a",), "bbox") == {"a": pytest.approx(1)}


def test_nothing_true_or_nothing_found() -> None:
    assert average_precision(Collected(), ("a",), "bbox") == {}
    assert average_precision(field([]), ("a", "b"), "bbox") == {"a": 0.0}
    assert mean({}) == 0
    assert mean({"a": 1.0, "b": 0.5}) == 0.75
