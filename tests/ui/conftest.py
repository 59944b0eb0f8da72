"""Slides and runs as the service leaves them: real rows, real Parquet parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from cmlcore import store
from cmlcore.cells import CELL_SCHEMA, with_run_facts, write_part
from cmlcore.geometry import Mpp, Size
from cmlcore.slides.base import Scene, SlideInfo
from cmlcore.slides.facts import info_to_json
from cmlcore.store.tables import now

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("erythrocyte", "leukocyte", "thrombocyte")
MPP = Mpp(0.25, 0.25)
SIZE = Size(8000, 6000)  # 2 × 1.5 mm: 3 mm²


def facts(**changes: Any) -> dict[str, Any]:
    """Facts of a brightfield CZI of one scene."""
    values: dict[str, Any] = {
        "format": "Zeiss CZI",
        "scenes": (Scene(0, SIZE, name="Scene 1"),),
        "levels": 4,
        "mpp": MPP,
        "objective": 40.0,
        "kind": "brightfield",
        "channels": 3,
        "bits": 8,
        "compression": "JPEG-XR",
    }
    return info_to_json(SlideInfo(**{**values, **changes}))


@pytest.fixture
def add_slide(cml_home: Path) -> Callable[..., store.Slide]:
    """Add a checked slide; keyword arguments change its row, ``info`` its facts."""
    store.ensure_schema()

    def add(name: str = "Smear 7", info: dict[str, Any] | None = None, **columns: Any) -> store.Slide:
        row = store.add_slide(cml_home / "none.czi", size_bytes=3_420_288, imported_in_place=True, name=name)
        store.update_slide(row.id, **{"status": "ready", "facts": facts(**(info or {})), **columns})
        return store.get_slide(row.id)

    return add


def cells(n: dict[str, int], block: int = 0, seed: int = 7) -> pa.Table:
    """So many cells of each class, squares of 40 px at random places, all scores different."""
    rng = np.random.default_rng(seed)
    rows = []
    for cls, count in n.items():
        for _ in range(count):
            x, y = rng.uniform(100, SIZE.w - 100), rng.uniform(100, SIZE.h - 100)
            score = float(rng.uniform(0.3, 1))
            probs = [score if c == cls else (1 - score) / 2 for c in CLASSES]
            outline = [x - 20, y - 20, x + 20, y - 20, x + 20, y + 20, x - 20, y + 20]
            box = [x - 20, y - 20, x + 20, y + 20]
            measures = [100.0, 40.0, float(np.pi / 4), 200.0, 120.0, 140.0]
            cell_id = block * 100_000 + len(rows)
            rows.append([cell_id, block, cls, score, probs, x, y, *box, *measures, outline])
    columns = zip(*rows, strict=True) if rows else [[] for _ in CELL_SCHEMA]
    schema = with_run_facts(CELL_SCHEMA, CLASSES, MPP, unidentified="unidentified" in n)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, CELL_SCHEMA, strict=True)], schema=schema)


@pytest.fixture
def add_run() -> Callable[..., store.Run]:
    """Add a run of a slide with the cells given by class; keyword arguments change its row."""

    def add(slide: store.Slide, n: dict[str, int] | None = None, **columns: Any) -> store.Run:
        found = n if n is not None else {"erythrocyte": 60, "leukocyte": 10, "thrombocyte": 30}
        asked: dict[str, Any] = {
            "slide_id": slide.id,
            "scene": 0,
            "rois": None,
            "model": "type2",
            "model_sha256": "0" * 64,
            "settings": {"min_score": 0.3},
            "mpp_x": MPP.x,
            "mpp_y": MPP.y,
        }
        done: dict[str, Any] = {
            "status": "done",
            "stage": "finished",
            "blocks_total": 1,
            "blocks_done": 1,
            "cells": sum(found.values()),
            "worked_s": 12.5,
            "mm2_per_s": 0.24,
            "device": "CPU (2 threads)",
            "started_at": now(),
            "finished_at": now(),
            "manifest": {"model": "type2", "settings": {"min_score": 0.3}},
        }
        row = store.add_run(**{k: columns.pop(k, v) for k, v in asked.items()})
        store.update_run(row.id, **{**done, **columns})
        row = store.get_run(row.id)
        if row.blocks_done:
            write_part(store.run_dir(row.id), 0, cells(found))
        return row

    return add


@pytest.fixture
def open_page(cml_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Run a page inside the frame, as the browser would ask for it; keywords are the URL's query."""
    monkeypatch.chdir(ROOT)
    store.ensure_schema()

    def go(page: str, **query: str) -> AppTest:
        test = AppTest.from_file(str(ROOT / "cmlcore" / "ui" / "main.py"), default_timeout=30)
        test.query_params.update(query)
        test.run()
        test.query_params.update(query)
        test.switch_page(f"../../pages/{page}.py").run()
        assert not test.exception, [e.value for e in test.exception]
        return test

    return go
