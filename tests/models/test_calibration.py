"""Scores that became probabilities: the map, its inverse, and what both networks do with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from cmlcore.errors import ModelError
from models import registry
from models.base import Instances
from models.calibration import OWN, Calibration, raw
from models.grouping import GroupingSettings, group
from models.mask_rcnn import MaskRcnnConfig, build

CLASSES = ("erythrocyte", "leukocyte", "thrombocyte")
FLAT = {"x": [0.1, 0.3, 0.6, 0.9], "y": [0.0, 0.4, 0.4, 0.8]}


def test_scores_follow_the_knots_of_their_own_class():
    made = Calibration.of({"leukocyte": FLAT}, CLASSES)
    scores = np.array([0.2, 0.2, 0.05, 0.75, 1.0], np.float32)
    out = made.apply(scores, np.array([0, 1, 1, 1, 1]))
    wanted = np.array([0.2, 0.2, 0.0, 0.6, 0.8])
    np.testing.assert_allclose(out, (1 - OWN) * wanted + OWN * scores, atol=1e-7)
    assert np.abs(out - wanted).max() <= OWN


@st.composite
def maps(draw):
    x = sorted(draw(st.sets(st.integers(0, 100), min_size=2, max_size=8)))
    y = sorted(draw(st.lists(st.integers(0, 100), min_size=len(x), max_size=len(x))))
    return {"x": [v / 100 for v in x], "y": [v / 100 for v in y]}


@given(maps(), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_order_stays_and_the_floor_is_the_inverse(given_map, probability):
    made = Calibration.of({"erythrocyte": given_map}, ("erythrocyte",))
    scores = np.linspace(0, 1, 1001)
    out = made.apply(scores, np.zeros(1001, int))
    assert (np.diff(out) > 0).all()
    assert out.min() >= 0
    assert out.max() <= 1
    floor = made.raw_floor(probability)
    far = np.abs(out - probability) > 1e-9  # rounding decides at the floor itself
    np.testing.assert_array_equal((scores >= floor)[far], (out >= probability)[far])


def test_the_floor_is_the_lowest_of_all_classes():
    made = Calibration.of({"leukocyte": {"x": [0.0, 1.0], "y": [0.5, 1.0]}}, CLASSES)
    assert made.raw_floor(0.6) == pytest.approx(0.2, abs=2e-3)  # erythrocytes stay: 0.6
    assert Calibration.of(None, CLASSES).raw_floor(0.37) == 0.37


def test_without_a_map_nothing_changes():
    scores = np.random.default_rng(0).random(50).astype(np.float32)
    out = Calibration.of(None, CLASSES).apply(scores, np.arange(50) % 3)
    np.testing.assert_array_equal(out.astype(np.float32), scores)


@pytest.mark.parametrize(
    "bad",
    [
        {"leukocyte": {"x": [0.0, 1.0]}},
        {"leukocyte": {"x": [0.5, 0.5], "y": [0.0, 1.0]}},
        {"leukocyte": {"x": [0.0, 1.0], "y": [0.9, 0.1]}},
        {"leukocyte": {"x": [0.0, 1.0], "y": [0.0, 1.5]}},
        {"leukocyte": {"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0]}},
        {"leukocyte": {"x": [0.0, "a"], "y": [0.0, 1.0]}},
        {"leukocyte": {"x": [0.0, float("nan")], "y": [0.0, 1.0]}},
        {"leukocyte": 3},
        {"megakaryocyte": FLAT},
        [1, 2],
    ],
)
def test_what_is_no_rising_map_is_refused(bad):
    with pytest.raises(ModelError, match="fit it again"):
        Calibration.of(bad, CLASSES)


def two_cells() -> np.ndarray:
    """Maps of an erythrocyte and a fainter leukocyte, float32 (6, 32, 64)."""
    maps = np.zeros((6, 32, 64), np.float32)
    ys, xs = np.mgrid[:32, :64]
    for c, x, p in ((0, 16, 0.9), (1, 46, 0.7)):
        near = np.hypot(xs - x, ys - 16) <= 9
        maps[c][near] = p
        maps[3] = np.maximum(maps[3], 0.9 * np.exp(-((xs - x) ** 2 + (ys - 16) ** 2) / 8))
        maps[4][near], maps[5][near] = (x - xs)[near] / 4, (16 - ys)[near] / 4
    return maps


def test_type2_calibrates_before_it_leaves_cells_out():
    plain = group(two_cells(), GroupingSettings())
    assert plain.classes.tolist() == [0, 1]
    assert 0.4 < plain.scores[1] < plain.scores[0] < 0.9
    made = Calibration.of({"erythrocyte": {"x": [0.0, 1.0], "y": [0.0, 0.5]}}, CLASSES)
    found = group(two_cells(), GroupingSettings(), 0.0, made)
    np.testing.assert_allclose(found.scores, made.apply(plain.scores, plain.classes), atol=1e-6)
    np.testing.assert_array_equal(found.probs, plain.probs)
    assert found.scores[0] < plain.scores[1]
    kept = group(two_cells(), GroupingSettings(), float(found.scores[0]) + 0.01, made)
    assert kept.classes.tolist() == [1]
    np.testing.assert_array_equal(kept.outlines[0], plain.outlines[1])


def same(a: Instances, b: Instances, keep: np.ndarray) -> bool:
    outlines = all(np.array_equal(a.outlines[i], o) for i, o in zip(keep, b.outlines, strict=True))
    return outlines and np.array_equal(a.classes[keep], b.classes) and np.array_equal(a.probs[keep], b.probs)


def test_type1_calibrates_before_it_leaves_cells_out(cml_home: Path):
    torch.manual_seed(0)
    small = MaskRcnnConfig(fpn=16, box_hidden=32, mask_convs=(16,))
    net = build(small, 3)
    net.rpn.score_thresh = 0.0
    folder = cml_home / "models"
    folder.mkdir()
    save_file(net.state_dict(), folder / "small.safetensors")
    card = {
        "key": "small", "title": "Small", "kind": "type1", "classes": CLASSES, "mpp": 0.2, "tile": 256,
        "margin": 64, "align": 32, "min_score": 0.5, "architecture": small.to_json(),
        "sha256": registry.hashlib.sha256((folder / "small.safetensors").read_bytes()).hexdigest(),
        "calibration": {c: {"x": [0.0, 0.5], "y": [0.1 * i, 0.9]} for i, c in enumerate(CLASSES)},
    }  # fmt: skip
    (folder / "small.json").write_text(json.dumps(card), encoding="utf-8")
    model = registry.load_model("small", "cpu", 1)
    model._net.rpn.score_thresh = 0.0  # an untrained network is sure of nothing
    tile = np.random.default_rng(0).integers(0, 256, (1, 3, 256, 256), dtype=np.uint8)
    own, calibrated = raw(model).predict(tile)[0], model.predict(tile)[0]
    assert len(own) > 20
    wanted = model.calibration.apply(own.scores, own.classes)
    np.testing.assert_allclose(calibrated.scores, wanted, atol=1e-6)
    assert same(own, calibrated, np.arange(len(own)))
    least = float(np.median(wanted))
    above = model.predict(tile, least)[0]
    assert same(own, above, np.flatnonzero(calibrated.scores >= np.float32(least)))
    assert raw(model).predict(tile)[0].scores.tolist() == own.scores.tolist()


def test_cards_refuse_what_cannot_be_a_floor(tmp_path: Path):
    card = {
        "key": "own", "title": "Own", "kind": "type2", "classes": CLASSES, "mpp": 0.2, "tile": 256,
        "margin": 64, "align": 64, "sha256": "0" * 64, "min_score": 0.5, "unidentified_score": 0.2,
    }  # fmt: skip
    path = tmp_path / "own.json"
    path.write_text(json.dumps(card), encoding="utf-8")
    assert registry.read_card(path, tmp_path).unidentified_score == 0.2
    for change in (
        {"unidentified_score": 0.6},
        {"unidentified_score": "low"},
        {"calibration": {"own": FLAT}},
    ):
        path.write_text(json.dumps({**card, **change}), encoding="utf-8")
        with pytest.raises(ModelError):
            registry.read_card(path, tmp_path)
    del card["unidentified_score"]
    path.write_text(json.dumps(card), encoding="utf-8")
    assert registry.read_card(path, tmp_path).unidentified_score is None
