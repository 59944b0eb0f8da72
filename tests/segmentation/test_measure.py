"""The measures of many cells at once, against one cell at a time with shapely."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shapely
from label_oracle import outline_of, random_labels
from numpy.typing import NDArray
from scipy import ndimage

from cmlcore.cells import CELL_SCHEMA
from cmlcore.geometry import Region
from cmlcore.segmentation.measure import (
    areas_and_centroids,
    cell_rows,
    clean,
    mean_colors,
    perimeters,
    ragged,
)
from cmlcore.segmentation.plan import Plan
from models.base import Instances


def wobbly(rng: np.random.Generator, n: int, span: float = 200) -> list[NDArray[np.float32]]:
    """Star-shaped polygons, some concave, some tiny, in either direction."""
    out = []
    for i in range(n):
        count = int(rng.integers(3, 60))
        angle = np.sort(rng.uniform(0, 2 * np.pi, count))[:: 1 if i % 2 else -1]
        radius = rng.uniform(0.3, 1, count) * rng.uniform(0.4, 30)
        centre = rng.uniform(-5, span + 5, 2)
        out.append(
            (centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)).astype(np.float32)
        )
    return out


@pytest.mark.parametrize("seed", range(4))
def test_areas_centroids_perimeters_equal_shapely(seed: int) -> None:
    rng = np.random.default_rng(seed)
    xy, first = clean(*ragged(wobbly(rng, 300)))
    real = np.flatnonzero(areas_and_centroids(xy, first)[0])
    assert len(real) > 280
    xy, first = ragged([xy[first[i] : first[i + 1]] for i in real])
    shapes = [shapely.Polygon(xy[a:b]) for a, b in pairwise(first)]
    assert all(s.is_valid for s in shapes)
    area, centre = areas_and_centroids(xy, first)
    np.testing.assert_allclose(area, [s.area for s in shapes], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(perimeters(xy, first), [s.length for s in shapes], rtol=1e-12)
    np.testing.assert_allclose(centre, [s.centroid.coords[0] for s in shapes], rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_mean_colour_is_that_of_the_pixels_whose_centre_lies_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (180, 200, 3), dtype=np.uint8)
    polygons = wobbly(rng, 80)
    polygons = [p for p in polygons if shapely.Polygon(p).is_valid]
    y, x = np.mgrid[0:180, 0:200] + 0.5
    fast = mean_colors(rgb, *ragged(polygons))
    compared = 0
    for polygon, color in zip(polygons, fast, strict=True):
        inside = shapely.contains_xy(shapely.Polygon(polygon), x, y)
        if inside.any():
            np.testing.assert_allclose(color, rgb[inside].mean(axis=0), rtol=1e-9)
            compared += 1
    assert compared > 40


def test_mean_colour_of_outlines_along_pixel_edges_is_that_of_the_mask() -> None:
    rng = np.random.default_rng(9)
    labels = random_labels(rng, 120, 100, 25, 14)
    labels = np.where(ndimage.binary_fill_holes(labels > 0), labels, 0)
    rgb = rng.integers(0, 256, (100, 120, 3), dtype=np.uint8)
    for number in range(1, labels.max() + 1):
        mask = ndimage.binary_fill_holes(labels == number)
        (color,) = mean_colors(rgb, *ragged([outline_of(mask)]))
        np.testing.assert_allclose(color, rgb[mask].mean(axis=0), rtol=1e-9)


def test_a_speck_takes_the_pixel_below_it() -> None:
    rgb = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    speck = np.array([[4.1, 6.1], [4.3, 6.1], [4.2, 6.3]], np.float32)
    np.testing.assert_array_equal(mean_colors(rgb, *ragged([speck])), rgb[6:7, 4])


def test_a_polygon_that_crosses_itself_becomes_its_largest_part() -> None:
    bow = np.array([[0, 0], [10, 10], [10, 0], [0, 4]], np.float32)
    square = np.array([[20, 20], [24, 20], [24, 24], [20, 24]], np.float32)
    xy, first = clean(*ragged([square, bow, square]))
    mended = shapely.Polygon(xy[first[1] : first[2]])
    assert mended.is_valid
    assert mended.area == pytest.approx(
        max(p.area for p in shapely.make_valid(shapely.Polygon(bow)).geoms), abs=0.5
    )
    np.testing.assert_array_equal(xy[: first[1]], square)
    np.testing.assert_array_equal(xy[first[2] :], square)
    np.testing.assert_array_equal(xy * 8, np.round(xy * 8))


def plan(mpp: tuple[float, float] = (0.25, 0.5), model_mpp: float = 0.25) -> Plan:
    return Plan(0, (400, 400), mpp, model_mpp, 96, 16, 16, 7, 13, (8,), 0, 0, 1.0)


def test_rows_of_a_square_cell_on_oblong_pixels() -> None:
    square = np.array([[20, 20], [60, 20], [60, 40], [20, 40]], np.float32)
    found = Instances(
        [square],
        np.array([1]),
        np.array([0.9], np.float32),
        np.array([[0.1, 0.9]], np.float32),
        np.array([[40, 30]], np.float32),
    )
    rgb = np.full((96, 96, 3), (10, 20, 30), np.uint8)
    (row,) = cell_rows(
        found, np.array([0]), rgb, Region(48, 48, 96, 96), plan(), 8, ("erythrocyte", "leukocyte")
    ).to_pylist()
    assert row["cell_id"] == 800_000
    assert (row["cls"], row["block"]) == ("leukocyte", 8)
    assert row["outline_l0"] == [68, 34, 108, 34, 108, 44, 68, 44]  # x as it was, y halved
    assert (row["x_l0"], row["y_l0"]) == (88, 39)
    assert (row["x0_l0"], row["y0_l0"], row["x1_l0"], row["y1_l0"]) == (68, 34, 108, 44)
    assert row["area_um2"] == pytest.approx(10 * 5)
    assert row["perimeter_um"] == pytest.approx(30)
    assert row["circularity"] == pytest.approx(4 * np.pi * 50 / 900)
    assert (row["mean_r"], row["mean_g"], row["mean_b"]) == (10, 20, 30)
    assert row["probs"] == pytest.approx([0.1, 0.9])


def test_no_cells_give_a_table_without_rows() -> None:
    none = Instances(
        [],
        np.zeros(0, np.int64),
        np.zeros(0, np.float32),
        np.zeros((0, 2), np.float32),
        np.zeros((0, 2), np.float32),
    )
    table = cell_rows(
        none,
        np.zeros(0, np.int64),
        np.zeros((96, 96, 3), np.uint8),
        Region(0, 0, 96, 96),
        plan(),
        0,
        ("a", "b"),
    )
    assert table.num_rows == 0
    assert table.schema.equals(CELL_SCHEMA)
