from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_smear import CELLS, boxes_of, smear

from cmlcore.ground_truth import instances_in_mask, records
from cmlcore.training.pseudo_masks import masks_from_boxes


def ious(owner, label):
    n = int(label.max())
    return [
        ((owner == i) & (label == i)).sum() / ((owner == i) | (label == i)).sum() for i in range(1, n + 1)
    ]


def test_drawn_cells_are_outlined_within_their_boxes():
    rgb, label = smear(363, 360, CELLS)
    found = masks_from_boxes(rgb, boxes_of(label))
    assert min(ious(found.owner, label)) > 0.8
    assert np.median(ious(found.owner, label)) > 0.93
    assert not found.stray.any()


def test_a_cell_cut_by_the_edge_keeps_its_pale_centre():
    rgb, label = smear(200, 200, [(2, 100, 38, 0), (120, 100, 38, 0)])
    found = masks_from_boxes(rgb, boxes_of(label))
    assert found.owner[100, 1] == 1
    assert min(ious(found.owner, label)) > 0.88


@pytest.mark.parametrize("seen", [6, 12, 20, 30])
def test_a_slice_at_the_edge_fills_the_box_it_was_given(seen):
    """Colour alone finds half of so thin a slice; whoever drew the box saw where it ends."""
    for turn in range(4):
        rgb = np.full((160, 160, 3), 230, np.uint8)
        rgb[62:98, : seen // 2] = (190, 150, 150)
        boxes = np.array([[0, 40, seen, 120]], np.float32)
        for _ in range(turn):  # the image and its box, a quarter turned
            rgb = np.ascontiguousarray(np.rot90(rgb))
            x0, y0, x1, y1 = boxes[0]
            boxes = np.array([[y0, 160 - x1, y1, 160 - x0]], np.float32)
        found = masks_from_boxes(rgb, boxes)
        ys, xs = np.nonzero(found.owner == 1)
        bounds = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        np.testing.assert_allclose(bounds, boxes[0], atol=3)
        # the segment of that height on a chord of 80
        r = (40**2 + seen**2) / (2 * seen)
        segment = r * r * np.arccos(1 - seen / r) - (r - seen) * np.sqrt(2 * r * seen - seen**2)
        assert len(xs) == pytest.approx(segment, rel=0.12)


def test_an_unboxed_cell_at_the_edge_is_stray_and_one_inside_is_not():
    rgb, label = smear(300, 300, [(60, 60, 38, 0), (298, 200, 38, 0), (150, 200, 38, 0)])
    found = masks_from_boxes(rgb, boxes_of(label)[:1])
    assert found.stray[200, 270]
    assert not found.stray[label == 1].any()
    assert not found.stray[200, 150]


def test_without_contrast_the_ellipse_stands_in():
    found = masks_from_boxes(np.full((100, 100, 3), 230, np.uint8), np.array([[20, 20, 60, 80]], np.float32))
    assert not found.sound[0]
    assert (found.owner == 1).sum() == pytest.approx(np.pi * 20 * 30, rel=0.03)


@pytest.mark.realdata
def test_outlines_of_real_erythrocytes_against_their_true_masks(real_data):
    record = records(real_data, "val", ("bbbc041seg",))[0]
    rgb = cv2.imread(str(record.image))[..., ::-1].copy()
    label, _, _ = instances_in_mask(record)
    found = masks_from_boxes(rgb, boxes_of(label))
    assert np.median(ious(found.owner, label)) > 0.85
