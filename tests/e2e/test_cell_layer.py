"""The browser's own cell layer against slow references: unpacking, picking, drawing. No server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from playwright.sync_api import Browser, Page, Route

from cmlcore.cells import CELL_SCHEMA, CellTable, with_run_facts, write_part
from cmlcore.geometry import Mpp
from cmlcore.report import overlay_centres, overlay_tile
from cmlcore.web.assets import DIST

pytestmark = pytest.mark.e2e
SOURCES = DIST.parent / "src"
CLASSES = ("erythrocyte", "leukocyte")
SIDE = 600  # level-0 pixels
UNPACK = "const at = s => Uint8Array.from(atob(s), c => c.charCodeAt(0)).buffer;"


@pytest.fixture
def modules(browser: Browser) -> Iterator[Page]:
    """A page that can import the frontend's modules as they are written."""
    page = browser.new_page()

    def serve(route: Route) -> None:
        path = SOURCES / route.request.url.split("cells.test/", 1)[1]
        if path.is_file():
            route.fulfill(body=path.read_text(), content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    page.route("http://cells.test/**", serve)
    page.goto("http://cells.test/")
    yield page
    page.close()


@pytest.fixture
def outlines() -> list[np.ndarray]:
    """Bumpy, partly overlapping outlines on the 1/8 pixel grid."""
    rng = np.random.default_rng(4)
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    found = []
    for x, y in rng.uniform(40, SIDE - 40, (60, 2)):
        radius = rng.uniform(8, 38) * (1 + 0.3 * np.sin(rng.integers(2, 5) * angle + rng.uniform(0, 6)))
        xy = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
        found.append(np.round(xy * 8) / 8)
    return found


@pytest.fixture
def table(outlines: list[np.ndarray], tmp_path: Path) -> CellTable:
    rows: list[dict[str, Any]] = []
    for i, xy in enumerate(outlines):
        low, high, middle = xy.min(0), xy.max(0), xy.mean(0)
        box = dict(zip(("x0_l0", "y0_l0", "x1_l0", "y1_l0"), (*low, *high), strict=True))
        rest = dict.fromkeys(
            ("area_um2", "perimeter_um", "circularity", "mean_r", "mean_g", "mean_b", "score"), 0.75
        )
        own = {"cell_id": i, "block": 0, "cls": CLASSES[i % 2], "probs": [0.5, 0.5]}
        place = {"x_l0": middle[0], "y_l0": middle[1], "outline_l0": xy.ravel().tolist()}
        rows.append({**own, **place, **box, **rest})
    schema = with_run_facts(CELL_SCHEMA, CLASSES, Mpp(0.2, 0.2))
    write_part(tmp_path, 0, pa.Table.from_pylist(rows, schema=schema))
    return CellTable(tmp_path)


def packed(body: bytes) -> str:
    return base64.b64encode(body).decode()


def test_picking_finds_the_smallest_cell_under_the_point(
    modules: Page, table: CellTable, outlines: list[np.ndarray]
) -> None:
    points = np.random.default_rng(1).uniform(0, SIDE, (3000, 2))
    found = modules.evaluate(
        f"""async ([body, points]) => {{
          {UNPACK}
          const {{ outlines }} = await import("/cells/packed.js");
          const {{ pick }} = await import("/cells/pick.js");
          const tile = outlines(at(body));
          return points.map(([x, y]) => {{ const c = pick([tile], x, y, () => true); return c ? c.tile.id[c.i] : -1; }});
        }}""",  # noqa: E501
        [packed(overlay_tile(table, 0, 0)), points.tolist()],
    )
    polygons = [shapely.Polygon(xy) for xy in outlines]
    expected = []
    for x, y in points:
        under = [i for i, polygon in enumerate(polygons) if polygon.contains(shapely.Point(x, y))]
        expected.append(min(under, key=lambda i: polygons[i].area, default=-1))
    assert found == expected
    assert len(set(expected)) > 40


@pytest.mark.parametrize(("scale", "thick"), [(0.4, 1.2), (1.0, 2.0), (2.5, 4.0)])
def test_outlines_cover_the_pixels_near_them_and_no_others(
    modules: Page, table: CellTable, outlines: list[np.ndarray], scale: float, thick: float
) -> None:
    size = 500
    view = {"x": 90.0, "y": 60.0, "scale": scale}
    alpha = modules.evaluate(
        f"""async ([body, view, size, thick]) => {{
          {UNPACK}
          const {{ outlines }} = await import("/cells/packed.js");
          const {{ Raster, pixel }} = await import("/cells/raster.js");
          const tile = outlines(at(body));
          const raster = new Raster(size, size);
          for (let i = 0; i < tile.n; i++) raster.outline(tile, i, view, thick, pixel("#d55e00"));
          return Array.from(raster.image.data.filter((_, i) => i % 4 === 3));
        }}""",
        [packed(overlay_tile(table, 0, 0)), view, size, thick],
    )
    drawn = np.asarray(alpha).reshape(size, size)
    lines = shapely.MultiLineString(
        [np.append(xy, xy[:1], axis=0) * scale - np.array([view["x"], view["y"]]) * scale for xy in outlines]
    )
    shapely.prepare(lines)
    yy, xx = np.mgrid[0:size, 0:size] + 0.5
    distance = shapely.distance(lines, shapely.points(xx.ravel(), yy.ravel())).reshape(size, size)
    assert distance[drawn > 0].max() <= thick / 2 + 2.0
    assert distance[drawn < 250].min() >= thick / 2 - 1.0
    assert distance[drawn == 0].min() >= thick / 2 - 0.6
    assert 0.5 < drawn.sum() / 255 / (distance < thick / 2).sum() < 1.5


def test_centres_are_sorted_into_squares_and_none_is_lost(
    modules: Page, table: CellTable, outlines: list[np.ndarray]
) -> None:
    grid = 128
    found = modules.evaluate(
        f"""async ([body, grid]) => {{
          {UNPACK}
          const {{ centres, squareKey }} = await import("/cells/packed.js");
          const all = centres(at(body), grid);
          const cells = [];
          for (const [key, [from, to]] of all.squares)
            for (let i = from; i < to; i++) {{
              const x = all.centre[2 * i], y = all.centre[2 * i + 1];
              const right = squareKey(Math.floor(x / grid), Math.floor(y / grid)) === key;
              cells.push([x, y, all.cls[i], all.score[i], right]);
            }}
          return cells;
        }}""",
        [packed(overlay_centres(table)), grid],
    )
    assert all(right for *_, right in found)
    expected = sorted((*np.float32(xy.mean(0)).tolist(), i % 2, 191) for i, xy in enumerate(outlines))
    np.testing.assert_allclose(sorted(tuple(c[:4]) for c in found), expected, atol=1e-3)


def test_a_newer_layout_is_refused(modules: Page, table: CellTable) -> None:
    body = bytearray(overlay_tile(table, 0, 0))
    body[4] = 2
    said = modules.evaluate(
        f"""async body => {{
          {UNPACK}
          const {{ outlines }} = await import("/cells/packed.js");
          try {{ outlines(at(body)); return ""; }} catch (error) {{ return error.message; }}
        }}""",
        packed(bytes(body)),
    )
    assert "reload the page" in said
