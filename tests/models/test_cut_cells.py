"""Cells cut by the image's edge: the circle's geometry, and which outlines are changed."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import Point, Polygon, box

from cmlcore.geometry import Region, Size
from models.base import Instances
from models.cut_cells import base, continued

TILE, WHOLE = Region(0, 0, 100, 100), Size(100, 100)
WITHIN, LARGE = Region(1000, 1000, 100, 100), Size(2100, 2100)


def cells(*outlines: np.ndarray) -> Instances:
    n = len(outlines)
    return Instances(
        [np.asarray(o, np.float32) for o in outlines],
        np.zeros(n, np.int64),
        np.ones(n, np.float32),
        np.ones((n, 1), np.float32),
        np.zeros((n, 2), np.float32),
    )


def segment(radius: float, depth: float, missing: float) -> tuple[np.ndarray, np.ndarray]:
    """A disc of which ``depth`` reaches beyond y = 0, whole and without what is thinner than ``missing``."""
    disc = Point(50, depth - radius).buffer(radius, 64)
    whole = disc.intersection(box(0, 0, 100, 100))
    half = np.sqrt(radius**2 - (radius - depth + missing) ** 2)
    short = whole.intersection(box(50 - half, 0, 50 + half, 100))
    return (np.array(p.exterior.coords, np.float32)[:-1] for p in (whole, short))  # type: ignore[return-value]


@pytest.mark.parametrize("radius", [8.0, 22.0, 60.0])
@pytest.mark.parametrize("share", [0.45, 0.6, 0.9])
def test_the_chord_is_that_of_the_circle(radius: float, share: float) -> None:
    tail, depth = 0.2 * radius, share * radius
    length = 2 * np.sqrt(radius**2 - (radius - depth + tail) ** 2)
    strip = base(depth, length, tail)
    assert strip is not None
    assert np.ptp(strip[:, 0]) == pytest.approx(2 * np.sqrt(radius**2 - (radius - depth) ** 2))
    assert strip[:, 1].max() == pytest.approx(tail)
    assert np.hypot(strip[:, 0], strip[:, 1] - (depth - radius)) == pytest.approx(np.full(len(strip), radius))


def test_a_cut_disc_gets_its_tails_back() -> None:
    whole, short = segment(22, 11, 4)
    found = continued(cells(short), TILE, WHOLE, 4.0)
    (got,) = found.outlines
    assert np.ptp(got[:, 0]) == pytest.approx(np.ptp(whole[:, 0]), rel=0.02)
    assert np.ptp(got[:, 1]) == pytest.approx(11, abs=0.1)
    want = Polygon(whole)
    before, after = (p.intersection(want).area / p.union(want).area for p in (Polygon(short), Polygon(got)))
    assert before < 0.96 < 0.98 < after


@pytest.mark.parametrize("side", range(4))
def test_every_side_alike(side: int) -> None:
    _, short = segment(22, 11, 4)
    turned = [short, short[:, ::-1], [100, 100] - short, ([100, 100] - short)[:, ::-1]][side]
    (plain,) = continued(cells(short), TILE, WHOLE, 4.0).outlines
    (got,) = continued(cells(turned), TILE, WHOLE, 4.0).outlines
    want = [plain, plain[:, ::-1], [100, 100] - plain, ([100, 100] - plain)[:, ::-1]][side]
    assert Polygon(got).symmetric_difference(Polygon(want)).area < 0.5  # of 261


def test_what_is_not_cut_by_one_side_stays_as_it_is() -> None:
    _, short = segment(22, 11, 4)
    corner = short - np.array([short[:, 0].min(), 0])
    most = np.array(Point(50, 18).buffer(22).intersection(box(0, 0, 100, 100)).exterior.coords)[:-1]
    within = short + np.array([0, 5])
    untouched = cells(corner, most, within)
    got = continued(untouched, TILE, WHOLE, 4.0)
    for a, b in zip(got.outlines, untouched.outlines, strict=True):
        assert np.array_equal(a, b)
    beyond = short - np.array([0, 12])  # found in the white alone
    assert np.array_equal(continued(cells(beyond), TILE, WHOLE, 4.0).outlines[0], beyond.astype(np.float32))
    # the same tile inside a slide, and maps that miss nothing
    assert np.array_equal(continued(cells(short), WITHIN, LARGE, 4.0).outlines[0], short)
    assert np.array_equal(continued(cells(short), TILE, WHOLE, 0.0).outlines[0], short)
    assert len(continued(cells(), TILE, WHOLE, 4.0)) == 0


def test_it_never_leaves_the_image_and_stays_a_polygon() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        radius = rng.uniform(6, 60)
        depth = rng.uniform(1, 2 * radius)
        disc = Point(rng.uniform(0, 100), depth - radius).buffer(radius).intersection(box(0, 0, 100, 100))
        if disc.area < 1:
            continue
        outline = np.array(disc.exterior.coords, np.float32)[:-1]
        (got,) = continued(cells(outline), TILE, WHOLE, 4.0).outlines
        assert Polygon(got).is_valid
        assert (got >= -1e-3).all()
        assert (got <= 100 + 1e-3).all()
        assert np.ptp(got[:, 0]) >= np.ptp(outline[:, 0]) - 1e-3
