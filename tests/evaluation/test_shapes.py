"""Run-length masks against the plain road over whole images; overlaps by hand."""

from __future__ import annotations

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco

from cmlcore.evaluation.shapes import overlaps, rle_of_box, rle_of_crop, rle_of_outline
from cmlcore.ground_truth import filled


@pytest.mark.parametrize("seed", range(20))
def test_a_crops_mask_is_the_whole_images_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = 17, 23
    ch, cw = int(rng.integers(1, h + 1)), int(rng.integers(1, w + 1))
    y0, x0 = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
    crop = rng.random((ch, cw)) < rng.choice([0.0, 0.5, 1.0])  # full columns run into each other
    whole = np.zeros((h, w), np.uint8)
    whole[y0 : y0 + ch, x0 : x0 + cw] = crop
    assert rle_of_crop(crop, x0, y0, h, w) == coco.encode(np.asfortranarray(whole))


def test_an_outlines_mask_holds_the_pixels_whose_centre_is_inside() -> None:
    star = np.array([[3, 2], [20.4, 5.5], [11, 9], [19, 16], [6, 13.2]], np.float32)
    assert (coco.decode(rle_of_outline(star, 20, 30)) > 0).tolist() == filled(star, 20, 30).tolist()
    outside = star + 100
    assert coco.area(rle_of_outline(outside, 20, 30)) == 0


def test_a_boxs_mask_reaches_every_pixel_it_touches() -> None:
    made = coco.decode(rle_of_box(np.array([2.5, -3, 6.1, 2]), 10, 12))
    assert made.sum() == 5 * 2
    assert made[0:2, 2:7].all()


def test_overlaps_by_hand() -> None:
    a, b = np.array([0, 0, 10, 10.0]), np.array([5, 0, 15, 10.0])
    far = np.array([50, 50, 60, 60.0])
    assert overlaps([a, far], [b, a]) == pytest.approx(np.array([[1 / 3, 1], [0, 0]]))
    assert overlaps([a], [b], of_found=True) == pytest.approx(np.array([[0.5]]))
    masks = [rle_of_box(x, 100, 100) for x in (a, b)]
    assert overlaps(masks[:1], masks) == pytest.approx(np.array([[1, 1 / 3]]))
    assert overlaps([], [a]).shape == (0, 1)
