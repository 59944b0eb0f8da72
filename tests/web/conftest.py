"""A client of the real routes behind the real guard, a slide drawn by the test, and a finished run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pylibCZIrw import czi as pyczi
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cmlcore import store
from cmlcore.cells import CELL_SCHEMA, CELLS_PER_BLOCK, with_run_facts, write_part
from cmlcore.geometry import Mpp
from cmlcore.slides import probe
from cmlcore.slides.facts import info_to_json
from cmlcore.web import middleware, routes, tiles
from cmlcore.web.overlay import runs

CLASSES = ("erythrocyte", "thrombocyte", "leukocyte")
MPP = Mpp(0.22, 0.22)
WIDTH, HEIGHT = 1300, 900


def application() -> Starlette:
    return Starlette(routes=routes(), middleware=middleware())


@pytest.fixture
def client(cml_home: Path) -> Iterator[TestClient]:
    store.ensure_schema()
    runs._held.clear()
    with TestClient(application(), base_url="http://localhost", client=("127.0.0.1", 50000)) as c:
        yield c
    tiles.slides.close()


def smear(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Discs on a bright ground, RGB."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), (236, 226, 214), np.uint8)
    yy, xx = np.mgrid[0:height, 0:width]
    for x, y in rng.uniform((0, 0), (width, height), (40, 2)):
        image[(xx - x) ** 2 + (yy - y) ** 2 < 16**2] = (196, 120, 130)
    return image


def write_czi(path: Path, image: np.ndarray) -> Path:
    with pyczi.create_czi(str(path), exist_ok=True, compression_options="zstd1:ExplicitLevel=1") as doc:
        doc.write(np.ascontiguousarray(image[..., ::-1]), location=(0, 0), scene=0)
        doc.write_metadata(scale_x=MPP.x * 1e-6, scale_y=MPP.y * 1e-6)
    return path


@pytest.fixture
def czi(tmp_path: Path) -> Path:
    return write_czi(tmp_path / "patient-name.czi", smear())


@pytest.fixture
def slide(client: TestClient, czi: Path) -> store.Slide:
    """A slide that has passed its check, as the service leaves it."""
    row = store.add_slide(czi, size_bytes=czi.stat().st_size, imported_in_place=True, name="Smear 1")
    info = probe(czi)
    store.update_slide(row.id, facts=info_to_json(info), format=info.format, status="ready")
    return store.get_slide(row.id)


def cell_rows(block: int, count: int, seed: int) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    rows = []
    for k in range(count):
        x, y = rng.uniform((30, 30), (WIDTH - 30, HEIGHT - 30))
        radius = rng.uniform(10, 20)
        outline = np.round(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1) * 8) / 8
        cls = int(rng.integers(3))
        probs = np.full(3, 0.1, np.float32)
        probs[cls] = 0.8
        area = np.pi * radius**2 * MPP.um2_per_px
        low, high = outline.min(0), outline.max(0)
        rows.append(
            {
                "cell_id": block * CELLS_PER_BLOCK + k,
                "block": block,
                "cls": CLASSES[cls],
                "score": float(rng.uniform(0.3, 1)),
                "probs": probs.tolist(),
                **dict(zip(("x_l0", "y_l0"), outline.mean(0), strict=True)),
                **dict(zip(("x0_l0", "y0_l0", "x1_l0", "y1_l0"), (*low, *high), strict=True)),
                "area_um2": area,
                "perimeter_um": 2 * np.pi * radius * MPP.x,
                "circularity": 0.98,
                **dict.fromkeys(("mean_r", "mean_g", "mean_b"), 150.0),
                "outline_l0": outline.ravel().tolist(),
            }
        )
    return rows


def write_cells(run_id: str, block: int, count: int) -> None:
    table = pa.Table.from_pylist(
        cell_rows(block, count, seed=block), schema=with_run_facts(CELL_SCHEMA, CLASSES, MPP)
    )
    write_part(store.run_dir(run_id), block, table)


def add_run(slide: store.Slide, **values: object) -> store.Run:
    return store.add_run(
        slide_id=slide.id,
        scene=0,
        rois=None,
        model="type2",
        model_sha256="0" * 64,
        settings={},
        mpp_x=MPP.x,
        mpp_y=MPP.y,
        **values,
    )


@pytest.fixture
def run(slide: store.Slide) -> store.Run:
    """A finished run of 230 cells in two blocks."""
    row = add_run(slide, status="done", stage="finished", blocks_total=2, blocks_done=2, cells=230)
    write_cells(row.id, 0, 150)
    write_cells(row.id, 1, 80)
    store.update_run(row.id, manifest={"run": row.id, "slide": slide.id, "model": "type2"})
    return store.get_run(row.id)
