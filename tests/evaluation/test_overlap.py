"""Panoptic quality, Dice and filling against cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cmlcore.evaluation.overlap import Panoptic, dice, filled, panoptic


def block(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_filled_covers_exactly_the_pixels_of_a_rectangle() -> None:
    outline = np.array([[3, 2], [9, 2], [9, 7], [3, 7]], np.float32)
    assert filled(outline, 20, 30).sum() in range(30, 43)
    assert (filled(outline, 20, 30) & block(3, 2, 9, 7)).sum() == 30


def test_dice_by_hand() -> None:
    assert dice(block(0, 0, 10, 10), block(5, 0, 15, 10)) == pytest.approx(2 * 50 / 200)
    assert dice(block(0, 0, 4, 4), block(0, 0, 4, 4)) == 1
    assert dice(block(0, 0, 0, 0), block(0, 0, 0, 0)) == 0


def test_panoptic_by_hand() -> None:
    owner = np.zeros((20, 30), int)
    owner[0:10, 0:10] = 1  # found with IoU 90 / 100
    owner[0:10, 15:25] = 2  # found with IoU 40 / 100: no match, a miss and a false one
    owner[12:18, 0:6] = 3  # not found
    ignore = block(20, 14, 30, 20)
    found = [block(0, 0, 9, 10), block(15, 0, 19, 10), block(22, 15, 28, 19), block(10, 14, 14, 18)]
    got = panoptic(owner, found, ignore)
    assert (got.tp, got.fp, got.fn) == (1, 2, 2)  # the third lies on what is ignored
    assert got.iou_sum == pytest.approx(0.9)
    assert got.quality == pytest.approx(0.9 / (1 + 1 + 1))
    assert got.segmentation == pytest.approx(0.9)
    assert got.recognition == pytest.approx(1 / 3)


def test_two_found_for_one_true_cell_are_one_hit_and_one_false() -> None:
    owner = block(0, 0, 10, 10).astype(int)
    got = panoptic(owner, [block(0, 0, 10, 8), block(0, 0, 10, 9)], np.zeros((20, 30), bool))
    assert (got.tp, got.fp, got.fn, got.iou_sum) == (1, 1, 0, pytest.approx(0.9))


def test_images_add_up() -> None:
    a, b = Panoptic(2, 1, 0, 1.6), Panoptic(1, 0, 3, 0.7)
    assert (a + b).quality == pytest.approx(2.3 / (3 + 0.5 + 1.5))
    assert Panoptic().quality == Panoptic().segmentation == Panoptic().recognition == 0
