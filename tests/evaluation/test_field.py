"""What is judged in an image and what is not, by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from judged import CLASSES, Cell, Find, field, found, mapping, record

from cmlcore.errors import InputError
from cmlcore.evaluation.field import field_of
from cmlcore.evaluation.match_tables import match_tables, overlaps_of
from cmlcore.evaluation.matching import Table
from cmlcore.ground_truth import Record
from cmlcore.ground_truth.records import no_boxes

RED, WHITE = CLASSES
A, B = (20, 20, 40, 40), (100, 100, 130, 130)


def erythrocytes(*args: object, **options: object) -> Table:
    made = [field(*args, **options)]  # type: ignore[arg-type]
    return match_tables(made, overlaps_of(made, "box"), 2)[0]


def test_hits_misses_and_false_cells() -> None:
    table = erythrocytes([(RED, A), (RED, B)], [(RED, 0.9, A), (RED, 0.8, (60, 60, 80, 80))])
    assert table.scores.tolist() == [0.9, 0.8]
    assert table.hit[0].tolist() == [True, False]
    assert not table.ignored.any()
    assert (table.true.tolist(), table.truth.tolist(), table.near.tolist()) == ([2], [0, -1], [0, -1])
    assert table.iou.tolist() == [1.0, 0.0]


def test_another_class_is_no_hit_but_is_near() -> None:
    table = erythrocytes([(WHITE, A)], [(RED, 0.9, A)])
    assert (table.hit.any(), table.near.tolist(), table.true.tolist()) == (False, [0], [0])


def test_where_a_class_is_not_complete_a_cell_without_label_is_not_judged() -> None:
    true: list[Cell] = [(RED, A)]
    seen: list[Find] = [(RED, 0.9, A), (RED, 0.8, B), (WHITE, 0.7, B)]
    made = [field(true, seen, complete=[WHITE])]
    red, white = match_tables(made, overlaps_of(made, "box"), 2)
    assert (red.hit[0].tolist(), red.ignored[0].tolist()) == ([True, False], [False, True])
    assert (white.hit[0].tolist(), white.ignored[0].tolist()) == ([False], [False])
    assert made[0].complete == (False, True)


def test_a_cell_mostly_in_a_cluster_is_not_judged() -> None:
    seen = [(RED, 0.9, (100, 100, 120, 120)), (RED, 0.8, (110, 90, 130, 110)), (RED, 0.7, (80, 80, 101, 101))]
    table = erythrocytes([(RED, A)], seen, clusters=[(90, 100, 140, 150)])
    assert table.ignored[0].tolist() == [True, True, False]  # whole, half, a corner
    assert table.ignored[1].tolist() == [True, False, False]  # at 0.55 half is not enough


def test_cells_cut_by_the_edge_are_judged_or_not() -> None:
    true: list[Cell] = [(RED, (0, 20, 20, 40)), (RED, A)]
    seen: list[Find] = [
        (RED, 0.9, (0, 20, 20, 40)),
        (RED, 0.8, (180, 50, 199, 70)),
        (RED, 0.7, (50, 60, 70, 80)),
    ]
    judged = erythrocytes(true, seen, edges="judge")
    assert (judged.true.tolist(), judged.ignored[0].tolist()) == ([2], [False, False, False])
    ignored = erythrocytes(true, seen, edges="ignore")
    assert (ignored.true.tolist(), ignored.ignored[0].tolist()) == ([1], [True, True, False])
    assert field(true, seen).cut.tolist() == [True, False]
    assert erythrocytes(true, seen, edges="auto").true.tolist() == [2]  # boxes of an image: judged


def test_a_true_cell_inside_still_takes_a_find_that_the_edge_cuts() -> None:
    table = erythrocytes([(RED, (3, 20, 20, 40))], [(RED, 0.9, (1, 20, 20, 40))], edges="ignore")
    assert table.hit[0].tolist() == [True]


def test_in_a_base_roi_only_what_lies_inside_counts() -> None:
    roi = np.array([[50, 50], [150, 50], [150, 150], [50, 150]], np.float32)
    true: list[Cell] = [(RED, A), (RED, (60, 60, 80, 80)), (RED, (140, 100, 160, 120))]
    seen: list[Find] = [
        (RED, 0.9, A),  # outside
        (RED, 0.8, (60, 60, 80, 80)),
        (RED, 0.7, (100, 140, 120, 160)),  # across the edge, no label
        (RED, 0.6, (140, 100, 160, 120)),  # across the edge, labelled
        (RED, 0.5, (100, 100, 120, 120)),  # inside, no label
    ]
    table = erythrocytes(true, seen, rois=(roi,), edges="judge")
    assert table.scores.tolist() == [0.8, 0.7, 0.6, 0.5]
    assert table.hit[0].tolist() == [True, False, False, False]
    assert table.ignored[0].tolist() == [False, True, True, False]
    assert table.true.tolist() == [1]


def test_a_label_of_a_class_nobody_judges_is_a_place_to_pass_over() -> None:
    table = erythrocytes([("thrombocyte", A)], [(RED, 0.9, A), (RED, 0.8, B)])
    assert table.ignored[0].tolist() == [True, False]


def test_masks_only_where_every_outline_is_known() -> None:
    labels = record([(RED, A), (RED, B)], outlined=True)
    assert field_of(labels, (200, 200), found([]), mapping()).true.masks is not None
    one_box = Record(
        **{k: getattr(labels, k) for k in Record.__slots__} | {"outlines": (labels.outlines[0], None)}
    )
    made = field_of(one_box, (200, 200), found([]), mapping())
    assert made.true.masks is None
    assert len(made.true.classes) == 2  # both are judged by their boxes


def test_areas_and_neighbours() -> None:
    made = field([(RED, A), (RED, (41, 20, 61, 40)), (WHITE, B)], [], outlined=True)
    assert made.area.tolist() == pytest.approx([4.0, 4.0, 9.0])  # 20² and 30² pixels of 0.01 µm²
    assert made.touching.tolist() == [True, True, False]
    ellipses = field([(RED, A), (RED, (38, 38, 58, 58))], [])  # boxes overlap, the cells in them do not
    assert ellipses.area[0] == pytest.approx(np.pi * 1.0, rel=0.01)
    assert ellipses.touching.tolist() == [False, False]


def test_a_mask_file_is_read(tmp_path: Path) -> None:
    image = np.zeros((200, 200), np.uint8)
    for x0, y0, x1, y1 in (A, (0, 100, 30, 130), (60, 60, 110, 110)):
        image[y0:y1, x0:x1] = 255
    cv2.imwrite(str(tmp_path / "m.png"), image)
    clusters = np.array([[60, 60, 110, 110]], np.float32)
    complete = frozenset({RED})
    labels = Record(
        tmp_path / "x.png", "bbbc041seg", 0.1, complete, no_boxes(), (), (), tmp_path / "m.png", clusters
    )
    seen: list[Find] = [(RED, 0.9, A), (RED, 0.8, (70, 70, 90, 90)), (RED, 0.7, (0, 100, 30, 130))]
    made = [field_of(labels, (200, 200), found(seen), mapping())]
    assert made[0].true.boxes.tolist() == [list(map(float, A))]
    for kind in ("box", "mask"):
        table = match_tables(made, overlaps_of(made, kind), 2)[0]  # type: ignore[arg-type]
        assert table.hit[0].tolist() == [True, False, False]
        assert table.ignored[0].tolist() == [False, True, True]
        assert table.iou.tolist() == [1.0, 0, 0]


def test_a_region_beyond_what_masks_can_count_is_refused() -> None:
    with pytest.raises(InputError, match="too large"):
        field([], [], size=(70_000, 70_000))
