"""Maps drawn by hand must come back as the cells they were drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import Point, Polygon, box

from cmlcore.errors import ModelError
from models.grouping import GroupingSettings, assign, find_peaks, group, joined

CFG = GroupingSettings()


def drawn(h, w, cells, n_classes=3):
    """Perfect maps of discs given as (x, y, radius, class), all in tile pixels; later discs lie on top."""
    ys, xs = np.mgrid[0:h:2, 0:w:2] + 0.5
    maps = np.zeros((n_classes + 3, h // 2, w // 2), np.float32)
    owner = np.full(ys.shape, -1)
    for i, (x, y, r, _) in enumerate(cells):
        owner[(xs - x) ** 2 + (ys - y) ** 2 <= r * r] = i
    for i, (_, _, r, c) in enumerate(cells):
        mine = owner == i
        if not mine.any():
            continue
        cx, cy = xs[mine].mean(), ys[mine].mean()
        maps[c][mine] = 0.9
        bump = np.exp(-((xs - cx) ** 2 + (ys - cy) ** 2) / (2 * max(2.0, r / 5) ** 2))
        maps[n_classes] = np.maximum(maps[n_classes], bump * mine)
        maps[n_classes + 1][mine] = (cx - xs[mine]) / CFG.unit
        maps[n_classes + 2][mine] = (cy - ys[mine]) / CFG.unit
    return maps


def iou(outline, shape):
    p = Polygon(outline)
    return p.intersection(shape).area / p.union(shape).area


def test_discs_come_back():
    rng = np.random.default_rng(0)
    cells = [
        (30.0 + 60 * i, 30.0 + 60 * j, float(rng.uniform(8, 26)), (i + j) % 3)
        for i in range(4)
        for j in range(3)
    ]
    found = group(drawn(192, 256, cells), CFG)
    assert len(found) == len(cells)
    assert found.probs.shape == (len(cells), 3)
    np.testing.assert_allclose(found.probs.sum(axis=1), 1, atol=1e-6)
    for x, y, r, c in cells:
        k = int(np.hypot(found.anchors[:, 0] - x, found.anchors[:, 1] - y).argmin())
        assert found.classes[k] == c
        assert 0.7 < found.scores[k] <= 0.9  # 0.9 inside, times the root of the smoothed centre's height
        assert np.hypot(*(found.anchors[k] - (x, y))) < 1.5
        assert iou(found.outlines[k], Point(x, y).buffer(r)) > 0.9


def test_touching_cells_stay_two():
    found = group(drawn(128, 128, [(44.0, 64.0, 18.0, 0), (80.0, 64.0, 18.0, 0)]), CFG)
    assert len(found) == 2
    a, b = (Polygon(o) for o in found.outlines)
    assert a.intersection(b).area < 0.02 * a.area


def test_a_cell_cut_by_the_edge_reaches_the_edge():
    found = group(drawn(128, 128, [(4.0, 60.0, 18.0, 1), (124.0, 125.0, 12.0, 2)]), CFG)
    assert len(found) == 2
    left, corner = sorted(found.outlines, key=lambda o: o[0, 0])
    assert left[:, 0].min() == 0
    assert corner.max() == 128
    assert iou(left, Point(4, 60).buffer(18).intersection(box(0, 0, 128, 128))) > 0.9


@pytest.mark.parametrize("shift", [(64, 0), (0, 96), (128, 32)])
def test_cells_do_not_depend_on_where_they_lie(shift):
    cells = [(40.0, 44.0, 17.0, 0), (73.5, 47.0, 18.0, 0), (60.0, 80.0, 6.0, 2)]
    dx, dy = shift
    here = group(drawn(256, 256, cells), CFG)
    there = group(drawn(256, 256, [(x + dx, y + dy, r, c) for x, y, r, c in cells]), CFG)
    assert len(here) == len(there) == 3
    for a, b in zip(here.outlines, there.outlines, strict=True):
        np.testing.assert_allclose(a + np.float32(shift), b, atol=1e-4)
    np.testing.assert_allclose(here.anchors + np.float32(shift), there.anchors, atol=1e-4)


def slow_assign(inside, offset, peaks, cfg):
    """Point by point, every peak tried; the two smallest distances say where a tie may go either way."""
    owner = np.zeros(inside.shape, int)
    close = np.zeros(inside.shape, bool)
    for y, x in np.argwhere(inside):
        way = offset[:, y, x] * cfg.unit / cfg.stride
        d = np.hypot(x + way[0] - peaks[:, 0], y + way[1] - peaks[:, 1])
        ranked = np.sort(d)
        allowed = cfg.reach / cfg.stride + cfg.reach_share * np.hypot(*way)
        owner[y, x] = d.argmin() + 1 if d.min() <= allowed else 0
        # rounding to the grid and the chamfer distance may err by this much
        close[y, x] = len(d) > 1 and ranked[1] - ranked[0] < 2.0
    return owner, close


def test_assign_against_every_peak_tried():
    rng = np.random.default_rng(3)
    peaks = rng.uniform(2, 62, (25, 2)).astype(np.float32)
    inside = rng.random((64, 64)) >= 0.5
    offset = rng.normal(0, 1.5, (2, 64, 64)).astype(np.float32)
    fast = assign(inside, offset, peaks, CFG)
    slow, close = slow_assign(inside, offset, peaks, CFG)
    assert (slow > 0).sum() > 200
    np.testing.assert_array_equal(fast[~close], slow[~close])


def test_one_centre_seen_twice_is_one_cell():
    maps = drawn(256, 256, [(128.0, 128.0, 90.0, 1)])
    maps[3] = 0
    maps[3, 64, 61], maps[3, 64, 67] = 0.9, 0.6  # two summits, 12 px apart in a cell 180 px wide
    maps[4, :, :64] -= 6 / CFG.unit  # and each half of it goes to its own
    maps[4, :, 64:] += 6 / CFG.unit
    peaks, heights = find_peaks(maps[3], CFG.peak)
    assert len(peaks) == 2
    found = group(maps, CFG)
    assert len(found) == 1
    assert found.scores[0] == pytest.approx(0.9 * np.sqrt(heights.sum()), abs=1e-5)
    np.testing.assert_allclose(found.anchors[0], (61 * 2 + 0.5, 64 * 2 + 0.5))  # the higher of the two
    assert iou(found.outlines[0], Point(128, 128).buffer(90)) > 0.95
    apart = group(maps, GroupingSettings(near=0.0, wide=1e6))
    assert len(apart) == 2


def slow_joined(peaks, heights, owner, cfg):
    """Sets of peaks, joined pair by pair until none is near another; areas are those before any joining."""
    area = [int((owner == i + 1).sum()) for i in range(len(peaks))]
    sets = [{i} for i in range(len(peaks))]

    def near(i, j):
        return np.hypot(*(peaks[i] - peaks[j])) < cfg.near * np.sqrt((area[i] + area[j]) / np.pi)

    while True:
        for a in sets:
            b = next((b for b in sets if b is not a and any(near(i, j) for i in a for j in b)), None)
            if b is not None:
                a |= b
                sets.remove(b)
                break
        else:
            break
    sets.sort(key=min)
    place = {i: k + 1 for k, s in enumerate(sets) for i in s} | {-1: 0}
    tops = [max(sorted(s), key=lambda i: (heights[i], i)) for s in sets]
    return (
        peaks[tops],
        np.minimum([sum(heights[i] for i in s) for s in sets], 1.0),
        np.vectorize(lambda i: place[i - 1])(owner),
    )


def test_joining_against_all_pairs():
    rng = np.random.default_rng(11)
    fewer = 0
    for _ in range(60):
        peaks = rng.uniform(0, 80, (12, 2)).astype(np.float32)
        heights = rng.uniform(0.15, 0.9, 12).astype(np.float32)
        owner = rng.choice(13, (80, 80), p=[0.1, *rng.dirichlet(np.ones(12)) * 0.9]).astype(np.int32)
        fast, slow = joined(peaks, heights, owner, CFG), slow_joined(peaks, heights, owner, CFG)
        for a, b in zip(fast, slow, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
        fewer += 12 - len(fast[0])
    assert fewer > 20  # of 720


def in_doubt(h, w, cells, summits):
    """Maps of ``cells`` that know little of their centres: ``summits`` (x, y in map points) 0.3 high."""
    maps = drawn(h, w, cells)
    maps[3] = 0
    for x, y in summits:
        maps[3, y - 1 : y + 2, x - 1 : x + 2] = 0.3
    away = np.hypot(maps[4], maps[5])
    maps[4:] *= np.where(away * CFG.unit > 40, 0.1, 1.0)  # the rim does not know the way
    return maps


SUMMITS = [(50, 64), (80, 56), (74, 84)]


def test_a_wide_cell_in_pieces_is_made_whole():
    maps = in_doubt(256, 256, [(128.0, 128.0, 90.0, 1)], SUMMITS)
    pieces = group(maps, GroupingSettings(wide=1e6))
    assert len(pieces) >= 2
    assert sum(Polygon(o).area for o in pieces.outlines) < 0.8 * np.pi * 90**2
    found = group(maps, CFG)
    assert len(found) == 1
    assert found.classes[0] == 1
    assert found.scores[0] == pytest.approx(0.9 * np.sqrt(CFG.doubt), abs=1e-5)
    assert np.hypot(*(found.anchors[0] - 128)) < 1
    assert iou(found.outlines[0], Point(128, 128).buffer(90)) > 0.97


@pytest.mark.parametrize(
    ("h", "cells", "summits"),
    [
        (256, [(128.0, 128.0, 50.0, 1)], [(52, 64), (78, 64)]),  # no wider than a cell that is seen whole
        (256, [(128.0, 64.0, 60.0, 1), (128.0, 180.0, 60.0, 1)], [(64, 32), (64, 90)]),  # they touch
        (216, [(128.0, 128.0, 90.0, 1)], SUMMITS),  # cut by the tile's edge
        (256, [(128.0, 128.0, 90.0, 1)], []),  # nothing says that it is a cell
    ],
)
def test_what_may_be_several_or_is_not_seen_whole_is_left_as_it_is(h, cells, summits):
    maps = in_doubt(h, 256, cells, summits)
    found, plain = group(maps, CFG), group(maps, GroupingSettings(wide=1e6))
    assert len(found) == len(plain)
    for a, b in zip(found.outlines, plain.outlines, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found.anchors, plain.anchors)


def test_a_sure_summit_makes_no_others_whole():
    maps = in_doubt(256, 256, [(128.0, 128.0, 90.0, 1)], SUMMITS)
    maps[3, 63:66, 63:66] = 1.0
    assert len(group(maps, CFG)) == len(group(maps, GroupingSettings(wide=1e6)))


def test_each_class_may_ask_for_a_presence_of_its_own():
    maps = drawn(128, 128, [(34.0, 64.0, 18.0, 0), (94.0, 64.0, 18.0, 1)])
    maps[:2] *= 0.5  # 0.45 within
    assert [int(c) for c in group(maps, GroupingSettings(presence=(0.4, 0.5, 0.5))).classes] == [0]
    assert [int(c) for c in group(maps, GroupingSettings(presence=(0.5, 0.4, 0.5))).classes] == [1]
    assert len(group(maps, GroupingSettings(presence=0.4))) == 2


def test_peaks_on_a_plateau_count_once():
    centre = np.zeros((20, 20), np.float32)
    centre[5, 5:7] = 0.8
    centre[12, 14] = 0.9
    peaks, heights = find_peaks(centre, 0.2)
    np.testing.assert_allclose(peaks, [[5.5, 5], [14, 12]], atol=1e-6)
    assert 0.2 < heights[0] < 0.8
    assert 0.2 < heights[1] < 0.9


def test_nothing_in_nothing_out():
    found = group(np.zeros((6, 64, 64), np.float32), CFG)
    assert len(found) == 0
    assert found.probs.shape == (0, 3)
    assert found.anchors.shape == (0, 2)


def test_dust_and_low_scores_are_left_out():
    maps = drawn(128, 128, [(30.0, 30.0, 2.0, 2), (80.0, 80.0, 15.0, 0)])
    assert len(group(maps, CFG)) == 1
    assert len(group(maps, CFG, min_score=0.95)) == 0


@pytest.mark.parametrize("given", [
    {"presence": [0.5, 0.5]}, {"presence": "high"}, {"peaks": 0.1}, {"peak": [0.1]}, {"reach": None},
    {"near": float("nan")}, [0.5],
])  # fmt: skip
def test_a_card_s_grouping_that_cannot_be_is_a_sentence(given) -> None:
    with pytest.raises(ModelError, match="grouping must hold known thresholds"):
        GroupingSettings.of(given, 3)


def test_a_card_s_grouping_is_read_as_it_stands() -> None:
    assert GroupingSettings.of(None, 3) == GroupingSettings()
    assert GroupingSettings.of({"presence": [0.5, 0.7, 0.6], "reach": 4}, 3) == GroupingSettings(
        presence=[0.5, 0.7, 0.6], reach=4
    )
