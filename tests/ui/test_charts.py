"""Every figure holds the numbers it was given, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from cmlcore.classes import color, label
from cmlcore.ui import charts
from cmlcore.ui.theme import DARK, LIGHT, Palette

COUNTS = {"leukocyte": 12, "thrombocyte": 30, "erythrocyte": 958}
HEAT = charts.Heat(
    np.array([[0.0, 5.0, np.nan], [7.0, 0.0, 2.0]]), np.array([0.0, 0.1, 0.2, 0.3]), np.array([0.0, 0.1, 0.2])
)


@pytest.mark.parametrize("colors", [LIGHT, DARK])
def test_class_bars_hold_counts_shares_and_class_colours(colors: Palette) -> None:
    (bar,) = charts.class_bars(COUNTS, colors).data
    assert list(bar.x) == list(COUNTS.values())
    assert list(bar.y) == [label(k) for k in COUNTS]
    assert list(bar.marker.color) == [color(k) for k in COUNTS]
    assert [c.replace("\u202f", "") for c in bar.customdata] == ["1.20%", "3.00%", "95.80%"]


def test_class_bars_of_nothing_divide_nothing() -> None:
    (bar,) = charts.class_bars({"leukocyte": 0}, LIGHT).data
    assert list(bar.x) == [0]


def test_class_bars_of_few_cells_count_whole_ones() -> None:
    assert charts.class_bars({"leukocyte": 3}, LIGHT).layout.xaxis.dtick == 1
    assert charts.class_bars({"leukocyte": 300}, LIGHT).layout.xaxis.dtick is None


def test_histogram_steps_through_every_bin_of_every_class() -> None:
    fig = charts.histogram(
        [0, 10, 20, 30], {"leukocyte": [1, 2, 3], "erythrocyte": [4, 0, 6]}, LIGHT, title="Area (µm²)"
    )
    first, second = fig.data
    assert list(first.x) == [0, 10, 20, 30]
    assert list(first.y) == [1, 2, 3, 3]
    assert list(second.y) == [4, 0, 6, 6]
    assert first.line.color == color("leukocyte")
    assert first.line.dash != second.line.dash
    assert tuple(first.customdata[0]) == ("0.0 to 10.0", 1)
    assert fig.layout.xaxis.title.text == "Area (µm²)"


def test_histogram_of_shares_adds_up_to_a_hundred_per_class() -> None:
    counts = {"leukocyte": [1, 2, 1], "erythrocyte": [0, 0, 0]}
    first, second = charts.histogram([0, 1, 2, 3], counts, LIGHT, title="x", shares=True).data
    assert list(first.y[:-1]) == [25, 50, 25]
    assert list(second.y) == [0, 0, 0, 0]
    assert [n for _, n in first.customdata] == [1, 2, 1, 1]


def test_heatmap_keeps_densities_positions_and_the_top_on_top() -> None:
    fig = charts.position_heatmap(HEAT, "leukocyte", LIGHT)
    heat, targets = fig.data
    np.testing.assert_array_equal(heat.z, HEAT.per_mm2)
    np.testing.assert_allclose(heat.x, [0.05, 0.15, 0.25])
    assert tuple(fig.layout.yaxis.range) == (0.2, 0.0)
    assert fig.layout.coloraxis.cmax == 7
    got = sorted(zip(np.round(targets.x, 3), np.round(targets.y, 3), targets.customdata, strict=True))
    assert got == [(0.05, 0.15, 7.0), (0.15, 0.05, 5.0), (0.25, 0.15, 2.0)]


def test_an_empty_heatmap_has_a_scale_too() -> None:
    empty = charts.Heat(np.full((2, 2), np.nan), np.arange(3.0), np.arange(3.0))
    assert empty.peak == 0
    assert charts.position_heatmap(empty, None, LIGHT).layout.coloraxis.cmax == 1


def test_two_heatmaps_share_one_scale_and_their_axes() -> None:
    other = charts.Heat(HEAT.per_mm2 * 3, HEAT.x_mm, HEAT.y_mm)
    fig = charts.heatmap_pair(HEAT, other, ("A", "B"), None, DARK)
    first, second = fig.data
    assert first.coloraxis == second.coloraxis == "coloraxis"
    assert fig.layout.coloraxis.cmax == 21
    np.testing.assert_array_equal(second.z, other.per_mm2)
    assert fig.layout.xaxis2.matches == "x"
    assert fig.layout.yaxis2.matches == "y"


def test_class_pair_puts_a_class_found_by_one_run_alone_at_zero_for_the_other() -> None:
    fig = charts.class_pair({"leukocyte": 1.5}, {"leukocyte": 2.5, "net": 4.0}, ("A", "B"), "Cells", LIGHT)
    first, second = [bar for bar in fig.data if bar.x[0] is not None]
    assert [bar.name for bar in fig.data if bar.showlegend is not False] == ["A", "B"]
    assert list(first.x) == [label("leukocyte"), label("net")]
    assert list(first.y) == [1.5, 0]
    assert list(second.y) == [2.5, 4.0]
    assert list(first.marker.color) == list(second.marker.color) == [color("leukocyte"), color("net")]


def test_heat_scale_darkens_steadily_towards_the_text_colour() -> None:
    def luma(hex_color: str) -> float:
        r, g, b = (int(hex_color[i : i + 2], 16) for i in (1, 3, 5))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for key in ("leukocyte", "erythrocyte", "thrombocyte"):
        light = [luma(c) for _, c in charts.position_heatmap(HEAT, key, LIGHT).layout.coloraxis.colorscale]
        dark = [luma(c) for _, c in charts.position_heatmap(HEAT, key, DARK).layout.coloraxis.colorscale]
        assert light == sorted(light, reverse=True)
        assert dark == sorted(dark)
