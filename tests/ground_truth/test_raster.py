from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes

from cmlcore.ground_truth import Record, filled, painted, traced, unlabelled
from cmlcore.ground_truth.records import no_boxes


def blob(seed: int, grain: float) -> np.ndarray:
    """The largest 8-connected piece of a random mask (30, 40)."""
    noise = np.random.default_rng(seed).random((30, 40)).astype(np.float32)
    mask = (cv2.GaussianBlur(noise, (0, 0), grain) > 0.5).astype(np.uint8)
    _, comp, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return comp == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from((0.3, 0.8, 2.0)))
def test_tracing_and_filling_are_inverse_but_for_holes(seed, grain):
    mask = blob(seed, grain)
    np.testing.assert_array_equal(filled(traced(mask), 30, 40), binary_fill_holes(mask))


def test_an_outline_runs_along_pixel_edges():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    assert {tuple(p) for p in traced(mask).tolist()} == {(2, 1), (5, 1), (5, 3), (2, 3)}
    moved = traced(mask, x0=10, y0=20)
    np.testing.assert_array_equal(moved.min(0), (12, 21))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 45), st.floats(-5, 35)), min_size=3, max_size=9))
def test_filling_agrees_with_a_point_by_point_test(points):
    outline = np.array(points, np.float32)
    x, y = np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5)
    ring = np.vstack([outline, outline[:1]]).astype(float)
    crossings = np.zeros((30, 40), int)
    for (ax, ay), (bx, by) in pairwise(ring):  # even-odd, one edge after the other
        rows = (ay > y) != (by > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = ax + (y - ay) / (by - ay) * (bx - ax)
        crossings += rows & (at > x)
    near = shapely.distance(shapely.LineString(ring), shapely.points(x, y)) < 1e-3
    same = filled(outline, 30, 40) == (crossings % 2 == 1)
    assert (same | near).all()


def record(**changes) -> Record:
    values = {
        "image": Path("a.png"),
        "source": "s",
        "mpp": None,
        "complete": frozenset(),
        "boxes": no_boxes(),
        "names": (),
        "outlines": (),
        "mask": None,
        "clusters": no_boxes(),
    } | changes
    return Record(**values)


def square(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def test_smaller_cells_are_painted_on_top():
    boxes = np.array([[2, 2, 6, 6], [0, 0, 10, 10], [11, 0, 14, 3]], np.float32)
    outlines = (square(2, 2, 6, 6), square(0, 0, 10, 10), None)
    owner, has = painted(record(boxes=boxes, names=("a", "b", "c"), outlines=outlines), 12, 16)
    assert (owner[2:6, 2:6] == 1).all()
    assert int((owner == 2).sum()) == 100 - 16
    assert has.tolist() == [True, True, False]
    assert owner[1, 12] == 0


def test_outside_the_rois_and_on_clusters_nothing_is_labelled():
    clusters = np.array([[3, 3, 5, 5]], np.float32)
    bare = unlabelled(record(clusters=clusters, rois=(square(2, 2, 8, 8), square(8, 2, 10, 4))), 10, 12)
    want = np.ones((10, 12), bool)
    want[2:8, 2:8] = False
    want[2:4, 8:10] = False
    want[3:5, 3:5] = True
    np.testing.assert_array_equal(bare, want)
    assert not unlabelled(record(), 10, 12).any()


@pytest.mark.parametrize("outline", [square(-9, -9, -2, -2), square(50, 1, 60, 5)])
def test_an_outline_beside_the_image_fills_nothing(outline):
    assert not filled(outline, 20, 30).any()
