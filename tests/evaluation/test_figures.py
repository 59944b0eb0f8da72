"""Figures of tiny images, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from judged import CLASSES, Cell, Find, field, random_field

from cmlcore.evaluation.agreement import count_error, image_rows
from cmlcore.evaluation.confusion import confusion
from cmlcore.evaluation.field import Field
from cmlcore.evaluation.figures import Matches, best_f1, matched, shape_figures, threshold_curve
from cmlcore.evaluation.overlap import panoptic
from cmlcore.evaluation.reliability import bins, calibration, calibration_error
from cmlcore.evaluation.resample import weights
from cmlcore.evaluation.result import ALL, ImageRow
from cmlcore.evaluation.subsets import sources, subsets

RED, WHITE = CLASSES
A, B, C = (20, 20, 40, 40), (100, 100, 120, 120), (150, 20, 180, 50)


def two_images() -> list[Field]:
    """Three red cells and a white one; two found well, one shifted too far, one named wrongly."""
    true: list[Cell] = [(RED, A), (RED, B), (WHITE, C)]
    seen: list[Find] = [
        (RED, 0.9, A),  # IoU 1
        (RED, 0.8, (100, 105, 120, 125)),  # IoU 15 / 25
        (RED, 0.7, C),  # it is white
        (RED, 0.2, (60, 60, 80, 80)),  # nothing there, and unsure
    ]
    return [field(true, seen), field([(RED, A)], [(RED, 0.6, (31, 20, 51, 40))], source="BCD")]  # IoU 9 / 31


def judged(fields: list[Field], kind: str = "box", resamples: int = 50) -> Matches:
    return matched(fields, CLASSES, kind, weights(len(fields), resamples, 0), 0.5)  # type: ignore[arg-type]


def test_precision_recall_f1_iou_dice_pq() -> None:
    fields = two_images()
    red = shape_figures(fields, judged(fields)).classes[RED]
    assert (red.true, red.found) == (3, 4)
    assert red.precision.value == pytest.approx(2 / 4)
    assert red.recall.value == pytest.approx(2 / 3)
    assert red.f1.value == pytest.approx(4 / 7)
    assert red.iou.value == pytest.approx((1 + 0.6) / 2)
    assert red.dice.value == pytest.approx((1 + 2 * 15 / 40) / 2)
    assert red.sq.value == pytest.approx(0.8)
    assert red.dq.value == pytest.approx(2 / (2 + 2 / 2 + 1 / 2))
    assert red.pq.value == pytest.approx(0.8 * 4 / 7)


def test_average_precision_over_the_thresholds() -> None:
    fields = two_images()
    shape = shape_figures(fields, judged(fields))
    red = shape.classes[RED]
    # up to IoU 0.6 two of three cells come first: precision 1 up to recall 2/3; above, one of three
    assert red.ap_by_iou == pytest.approx([67 / 101] * 3 + [34 / 101] * 7)
    assert red.ap50.value == pytest.approx(67 / 101)
    assert red.ap75.value == pytest.approx(34 / 101)
    assert red.ap.value == pytest.approx((3 * 67 + 7 * 34) / 1010)
    assert shape.classes[WHITE].ap50.value == 0
    assert shape.map50.value == pytest.approx(67 / 202)  # the mean over both classes
    assert shape.classes[ALL].recall.value == pytest.approx(2 / 4)
    curve = shape.curves[RED]
    assert (curve.recall[66], curve.precision[66], curve.score[66]) == (0.66, 1.0, pytest.approx(0.8))
    assert (curve.precision[67], curve.score[67]) == (0.0, None)


def test_masks_give_the_same_for_squares() -> None:
    true: list[Cell] = [(RED, A), (RED, B)]
    seen: list[Find] = [(RED, 0.9, A), (RED, 0.8, (100, 105, 120, 125))]
    fields = [field(true, seen, outlined=True), field([(RED, A)], [], outlined=True)]
    box, mask = (shape_figures(fields, judged(fields, k)).classes[RED] for k in ("box", "mask"))
    assert mask.iou.value == pytest.approx(0.8)
    assert mask == box


def test_a_class_without_true_cells_has_no_recall_and_no_ap() -> None:
    fields = [field([(RED, A)], [(WHITE, 0.9, B)])]
    shape = shape_figures(fields, judged(fields))
    white = shape.classes[WHITE]
    assert (white.ap50.value, white.recall.value, white.precision.value) == (None, None, 0.0)
    assert WHITE not in shape.curves
    assert shape.map50.value == 0.0  # of the red ones alone


def test_thresholds() -> None:
    fields = two_images()
    curve = threshold_curve(judged(fields).tables[:1], np.array([0.0, 0.65, 0.8, 0.95]))
    assert curve.precision == (2 / 5, 2 / 3, 1.0, None)
    assert curve.recall == (2 / 3, 2 / 3, 2 / 3, 0.0)
    assert curve.f1 == pytest.approx((4 / 8, 4 / 6, 4 / 5, 0.0))
    assert (curve.best_score, curve.best_f1) == (0.8, pytest.approx(0.8))


def test_equal_scores_stay_or_go_together() -> None:
    assert best_f1(np.array([0.9, 0.5, 0.5]), np.array([1, 1, 0]), 2) == (0.5, pytest.approx(0.8))
    assert best_f1(np.array([]), np.array([], int), 2) is None
    assert best_f1(np.array([0.5]), np.array([1]), 0) is None


def test_confusion() -> None:
    fields = two_images()
    made = confusion(fields, judged(fields).overlap, CLASSES, 0.5)
    assert made.rows == (RED, WHITE, "invented")
    assert made.columns == (RED, WHITE, "missed")
    assert made.counts == ((2, 0, 1), (1, 0, 0), (1, 0, 0))
    all_scores = confusion(fields, judged(fields).overlap, CLASSES, 0.1)
    assert all_scores.counts == ((2, 0, 1), (1, 0, 0), (2, 0, 0))


def test_confusion_passes_over_what_is_not_judged() -> None:
    fields = [field([(WHITE, A)], [(RED, 0.9, A), (RED, 0.9, B), (WHITE, 0.9, C)], complete=[WHITE])]
    made = confusion(fields, judged(fields).overlap, CLASSES, 0.5)
    assert made.counts == (
        (0, 0, 0),
        (1, 0, 0),
        (0, 1, 0),
    )  # a red one on a white one is a mistake all the same


@pytest.mark.parametrize("seed", range(5))
def test_confusion_adds_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fields = [random_field(rng) for _ in range(6)]
    made = np.array(confusion(fields, judged(fields).overlap, CLASSES, 0.3).counts)
    true = np.concatenate([f.true.classes for f in fields])
    assert made[:2].sum(axis=1).tolist() == np.bincount(true, minlength=2).tolist()
    assert made[2, 2] == 0


def test_bland_and_altman_by_hand() -> None:
    rows = [ImageRow(i + 1, "PBC", {RED: t}, {RED: f}) for i, (t, f) in enumerate([(10, 12), (5, 5), (8, 7)])]
    rows.append(ImageRow(4, "krd_wbc", {RED: None}, {RED: None}))
    made = count_error(RED, rows, weights(4, 100, 0))
    assert made is not None
    sd = float(np.std([2, 0, -1], ddof=1))
    assert made.images == 3
    assert made.bias.value == pytest.approx(1 / 3)
    assert made.sd == pytest.approx(sd)
    assert made.lower.value == pytest.approx(1 / 3 - 1.96 * sd)
    assert made.upper.value == pytest.approx(1 / 3 + 1.96 * sd)
    assert made.absolute.value == pytest.approx(1)
    assert made.points == ((1, 10, 12), (2, 5, 5), (3, 8, 7))
    assert count_error(RED, rows[3:], weights(1, 100, 0)) is None
    single = count_error(RED, rows[:1], weights(1, 100, 0))
    assert single is not None
    assert (single.bias.value, single.sd, single.upper.value) == (2, None, None)


def test_counts_of_images() -> None:
    fields = two_images()
    rows = image_rows(fields, CLASSES, judged(fields).tables, 0.5)
    assert [(r.true[RED], r.found[RED]) for r in rows] == [(2, 3), (1, 1)]
    partial = [field([(WHITE, A)], [(RED, 0.9, A), (RED, 0.9, B), (WHITE, 0.9, C)], complete=[WHITE])]
    row = image_rows(partial, CLASSES, judged(partial).tables, 0.5)[0]
    assert (row.true, row.found) == ({RED: None, WHITE: 1}, {RED: None, WHITE: 1})


def test_calibration_error_by_hand() -> None:
    scores = np.repeat([0.1, 0.4, 0.8], 20)
    right = np.concatenate([np.arange(20) < n for n in (2, 10, 20)])
    image = np.arange(60) % 3
    made = calibration_error(scores, right, image, weights(3, 100, 0))
    assert made.value == pytest.approx((0.0 + 0.1 + 0.2) / 3)
    assert made.low is not None
    assert made.high is not None
    assert made.low <= made.value <= made.high
    assert calibration_error(scores[:0], right[:0], image[:0], np.ones((2, 3))).value is None


def test_bins_hold_about_equally_many_cells_and_equal_scores_stay_together() -> None:
    rng = np.random.default_rng(0)
    assert np.bincount(bins(rng.random(300))).tolist() == [20] * 15
    assert np.bincount(bins(rng.random(35))).tolist() == [12, 11, 12]
    same = np.repeat([0.2, 0.7], [50, 10])
    assert np.bincount(bins(same)).tolist() == [50, 10]
    assert bins(np.zeros(0)).tolist() == []


def test_reliability_bins() -> None:
    seen: list[Find] = [(RED, 0.9, A)] * 1 + [(RED, 0.3, B)]
    made = calibration(judged([field([(RED, A)], seen)]).tables[:1], np.ones((1, 1)), 0.5)
    assert made.cells == 2
    assert [(b.low, b.high, b.cells, b.right) for b in made.bins] == [(0.3, 0.9, 2, 0.5)]
    assert made.error.value == pytest.approx(0.1)
    assert made.error_shown.value == pytest.approx(0.1)  # one cell of 0.9, and right


def test_subsets_by_hand() -> None:
    near = (41, 20, 61, 40)  # touches A
    true: list[Cell] = [(RED, A), (RED, near), (RED, B), (RED, (0, 150, 30, 180))]
    seen: list[Find] = [
        (RED, 0.9, A),
        (RED, 0.8, (42, 32, 60, 60)),  # overlaps ``near`` too little: a false one of the clump
        (RED, 0.7, B),
        (RED, 0.6, (150, 150, 170, 170)),  # on bare ground: of no subset
    ]
    fields = [field(true, seen, outlined=True), field([(RED, B)], [(RED, 0.9, B)], outlined=True)]
    found = {(s.cls, s.name): s for s in subsets(fields, judged(fields), "µm²")}
    clump, single = found[RED, "touching"], found[RED, "single"]
    assert (clump.true, clump.recall.value, clump.precision.value) == (2, 0.5, 0.5)
    assert clump.ap50.value == pytest.approx(51 / 101)
    assert (single.true, single.recall.value, single.precision.value) == (3, pytest.approx(2 / 3), 1.0)
    assert (found[RED, "cut"].true, found[RED, "cut"].recall.value) == (1, 0.0)
    assert found[RED, "whole"].true == 4
    large = found[RED, "large"]
    assert (large.true, large.low, large.high, large.unit) == (5, pytest.approx(4.0), None, "µm²")
    assert (RED, "small") not in found  # the lower tertiles are empty: four of five areas are equal
    assert found[ALL, "touching"].true == 2
    assert (WHITE, "single") not in found


def test_sizes_are_tertiles() -> None:
    true: list[Cell] = [(RED, (x, 20, x + s, 20 + s)) for x, s in ((10, 10), (50, 15), (90, 20))]
    fields = [field(true, [(RED, 0.9, true[2][1])], outlined=True)] * 2
    found = {s.name: s for s in subsets(fields, judged(fields), "µm²") if s.cls == RED}
    assert [found[n].true for n in ("small", "medium", "large")] == [2, 2, 2]
    assert [found[n].recall.value for n in ("small", "medium", "large")] == [0.0, 0.0, 1.0]
    assert found["medium"].high == found["large"].low


def test_sources_are_judged_alone() -> None:
    fields = [*two_images(), field([(RED, B)], [(RED, 0.9, B)], source="BCD")]
    made = sources(fields, judged(fields), 20, 0)
    assert list(made) == ["BCD", "PBC"]
    assert (made["BCD"].images, made["BCD"].true) == (2, {RED: 2, WHITE: 0})
    assert made["BCD"].map50.value == pytest.approx(51 / 101)  # one of two, and the surer one
    assert made["BCD"].f1[RED].value == pytest.approx(0.5)
    assert made["BCD"].ap50[WHITE].value is None
    assert made["PBC"].map50.low is None  # one image does not scatter
    alone = shape_figures(fields[1:], judged(fields[1:]))
    assert made["BCD"].map50.value == pytest.approx(alone.map50.value)


@pytest.mark.parametrize("seed", range(8))
def test_panoptic_quality_is_that_of_whole_label_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true: list[Cell] = []
    seen: list[Find] = []
    owner = np.zeros((200, 200), int)
    ignore = np.zeros((200, 200), bool)
    ignore[150:, 150:] = True
    masks = []
    for x in range(5, 190, 40):  # a grid, so that nothing overlaps its neighbour
        for y in range(5, 190, 40):
            if rng.random() < 0.8 and not (x > 140 and y > 140):
                true.append((RED, (x, y, x + 20, y + 20)))
                owner[y : y + 20, x : x + 20] = len(true)
            if rng.random() < 0.8:
                dx, dy = rng.integers(0, 10, 2).tolist()
                seen.append((RED, float(rng.random()), (x + dx, y + dy, x + dx + 20, y + dy + 20)))
                if seen[-1][1] >= 0.5:
                    mask = np.zeros((200, 200), bool)
                    mask[y + dy : y + dy + 20, x + dx : x + dx + 20] = True
                    masks.append(mask)
    fields = [field(true, seen, outlined=True, clusters=[(150, 150, 200, 200)])]
    red = shape_figures(fields, judged(fields, "mask")).classes[RED]
    slow = panoptic(owner, masks, ignore)
    assert red.pq.value == pytest.approx(slow.quality)
    assert (red.sq.value or 0.0) == pytest.approx(slow.segmentation)  # without a match there is none
    assert red.dq.value == pytest.approx(slow.recognition)
