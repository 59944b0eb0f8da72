"""Count tables: shares of the cells shown, densities of the area analysed."""

from __future__ import annotations

import pytest

from cmlcore.ui.tables import ClassStats, count_lines, in_tree_order, pair_lines

A = [ClassStats("leukocyte", 10, 0.9, 150.0), ClassStats("erythrocyte", 90, 0.7, 40.0)]
B = [ClassStats("erythrocyte", 60, 0.8, 41.0), ClassStats("net", 20, 0.6, 300.0)]


def test_lines_follow_the_tree_and_end_with_all() -> None:
    assert in_tree_order(["zzz", "leukocyte", "aaa", "erythrocyte"]) == [
        "erythrocyte",
        "leukocyte",
        "aaa",
        "zzz",
    ]
    lines = count_lines(A, 0.5)
    assert [x.key for x in lines] == ["erythrocyte", "leukocyte", None]
    assert [x.count for x in lines] == [90, 10, 100]
    assert [x.share for x in lines] == [0.9, 0.1, 1.0]
    assert [x.per_mm2 for x in lines] == [180, 20, 200]
    assert lines[-1].mean_score == pytest.approx(0.9 * 0.1 + 0.7 * 0.9)
    assert lines[-1].mean_area_um2 == pytest.approx(51.0)


def test_nothing_found_has_no_share_and_no_mean() -> None:
    (line,) = count_lines([], 1.0)
    assert (line.count, line.share, line.per_mm2, line.mean_score) == (0, None, 0.0, None)
    assert count_lines(A, 0.0)[0].per_mm2 is None


def test_pairs_join_by_class_and_subtract_first_from_second() -> None:
    lines = pair_lines(count_lines(A, 1.0), count_lines(B, 2.0))
    assert [x.key for x in lines] == ["erythrocyte", "leukocyte", "net", None]
    red, white, net, whole = lines
    assert (red.count_diff, white.count_diff, net.count_diff, whole.count_diff) == (-30, -10, 20, -20)
    assert red.share_diff == pytest.approx(60 / 80 - 0.9)
    assert red.per_mm2_diff == pytest.approx(30 - 90)
    assert white.score_diff is None
    assert net.per_mm2_diff == pytest.approx(10)
    assert red.score_diff == pytest.approx(0.1)
