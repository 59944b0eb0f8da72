"""Whatever stands in a label file, a reader answers with records or with one plain sentence."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmlcore.errors import InputError
from cmlcore.ground_truth import load

COCO = {
    "info": {"mpp": 0.1, "complete": ["RBC"]},
    "images": [{"id": 7, "file_name": "a.png", "width": 60, "height": 40, "rois": [[0, 0, 50, 0, 50, 30]]}],
    "categories": [{"id": 3, "name": "RBC"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 3,
            "segmentation": [[5, 5, 15, 5, 15, 20, 5, 20]],
            "iscrowd": 0,
        },
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [30, 10, 12, 8]},
        {
            "id": 3,
            "image_id": 7,
            "category_id": 3,
            "segmentation": {"size": [40, 60], "counts": [5, 9, 2386]},
        },
    ],
}
QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[1, 1], [9, 1], [9, 9], [1, 1]]]},
            "properties": {"objectType": "annotation", "classification": {"name": "NET"}, "name": "x"},
        },
        {
            "type": "Feature",
            "geometry": {"type": "MultiPolygon", "coordinates": [[[[1, 1], [9, 1], [9, 9], [1, 1]]]]},
            "properties": {"classification": {"names": ["a", "b"]}},
        },
    ],
}
FACTS = {
    "mpp": {"a.png": 0.1},
    "source": "Lab",
    "complete": ["NET"],
    "classes": {"x": "NET"},
    "masks": "labels",
}
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.text(max_size=4),
    st.just([]),
    st.just({}),
    st.just([[]]),
    st.just({"a": [1]}),
    st.lists(st.floats(), max_size=7),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every node of a JSON value, the root left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for k, v in inner for p in ((*at, k), *places(v, (*at, k)))]


def spoiled(value: Any, where: tuple[Any, ...], junk: Any) -> Any:
    value = copy.deepcopy(value)
    node = value
    for k in where[:-1]:
        node = node[k]
    node[where[-1]] = junk
    return value


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("junk")
    assert cv2.imwrite(str(path / "a.png"), np.full((40, 60, 3), 230, np.uint8))
    return path


def read(path: Path) -> None:
    """Load; what comes must be sound, and nothing but an ``InputError`` may be raised."""
    try:
        found = load(path, "all")
    except InputError:
        return
    for r in found:
        assert len(r.names) == len(r.boxes)
        assert r.outlines == () or len(r.outlines) == len(r.names)
        assert np.isfinite(r.boxes).all()
        assert (r.boxes >= 0).all()
        assert (r.boxes <= (60, 40, 60, 40)).all()
        assert all(isinstance(n, str) for n in (*r.names, *r.complete, r.source))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(places(COCO)), JUNK)
def test_coco(folder, where, junk):
    path = folder / "labels.json"
    path.write_text(json.dumps(spoiled(COCO, where, junk)))
    read(path)


@pytest.mark.parametrize("key", ["counts", "size"])
@pytest.mark.parametrize("junk", [float("inf"), float("nan")])
def test_infinite_runs_are_left_out(folder, key, junk):
    path = folder / "labels.json"
    path.write_text(json.dumps(spoiled(COCO, ("annotations", 2, "segmentation", key, 0), junk)))
    assert len(load(path, "all")[0].names) == len(COCO["annotations"]) - 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(places(QUPATH)), JUNK)
def test_qupath(folder, where, junk):
    path = folder / "a.geojson"
    path.write_text(json.dumps(spoiled(QUPATH, where, junk)))
    read(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(places(FACTS)), JUNK)
def test_facts(tmp_path, folder, where, junk):
    (tmp_path / "a.geojson").write_text(json.dumps(QUPATH))
    (tmp_path / "a.png").write_bytes((folder / "a.png").read_bytes())
    (tmp_path / "dataset.json").write_text(json.dumps(spoiled(FACTS, where, junk)))
    read(tmp_path)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="0123456789. -einaf\n", max_size=60))
def test_yolo_lines(tmp_path, folder, text):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir(exist_ok=True)
    (tmp_path / "images" / "a.png").write_bytes((folder / "a.png").read_bytes())
    (tmp_path / "labels" / "a.txt").write_text(text)
    (tmp_path / "data.yaml").write_text("train: images\nnames: [WBC, RBC]\n")
    read(tmp_path)
