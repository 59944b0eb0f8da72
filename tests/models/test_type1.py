"""Type 1: the network's parts against slow references, and the loaded model's promises."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from shapely.geometry import Polygon
from torch.nn import functional as F

from cmlcore.errors import ModelError
from models import registry, type1
from models.mask_rcnn import REFERENCE, MaskRcnnConfig, build
from models.outlines import MAX_VERTICES, box_mask_outline
from models.rois import over_ignored, partial_cross_entropy, voted_boxes

SMALL = MaskRcnnConfig(fpn=16, box_hidden=32, mask_convs=(16,))
CLASSES = ["erythrocyte", "leukocyte", "thrombocyte"]


def disc(side: int = 28, radius: float = 0.42) -> np.ndarray:
    y, x = np.mgrid[:side, :side] + 0.5
    return (1 / (1 + np.exp((np.hypot(x - side / 2, y - side / 2) - radius * side) * 2))).astype(np.float32)


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """Two tiles of drawn discs, uint8 (2, 3, 192, 256)."""
    rng = np.random.default_rng(3)
    tiles = np.full((2, 192, 256, 3), 235, np.uint8)
    for tile in tiles:
        for _ in range(14):
            x, y = rng.integers(10, 246), rng.integers(10, 182)
            cv2.circle(tile, (int(x), int(y)), 18, (205, 140, 150), -1, cv2.LINE_AA)
    return np.ascontiguousarray(tiles.transpose(0, 3, 1, 2))


@pytest.fixture(scope="module")
def shipped() -> Any:
    return registry.load_model("type1", "cpu", 1)


@given(
    st.floats(3, 120), st.floats(3, 120), st.floats(-50, 2000), st.floats(-50, 2000), st.integers(0, 2**31)
)
@settings(max_examples=60, deadline=None)
def test_outlines_are_valid_and_small_whatever_the_mask(
    w: float, h: float, x: float, y: float, seed: int
) -> None:
    noise = np.random.default_rng(seed).normal(0, 1, (28, 28)).astype(np.float32)
    mask = np.clip(cv2.GaussianBlur(noise, (0, 0), 3) * 3 + 0.5, 0, 1)
    outline = box_mask_outline(mask, np.array([x, y, x + w, y + h], np.float32))
    if outline is not None:
        assert 3 <= len(outline) <= MAX_VERTICES
        assert outline.dtype == np.float32
        assert Polygon(outline).is_valid
        assert Polygon(outline).area > 0
        assert (outline >= [x - 0.01, y - 0.01]).all()
        assert (outline <= [x + w + 0.01, y + h + 0.01]).all()


def test_outline_of_a_disc_has_its_area() -> None:
    outline = box_mask_outline(disc(), np.array([10, 20, 50, 60], np.float32))
    assert outline is not None
    true = np.pi * (0.42 * 40) ** 2
    assert abs(Polygon(outline).area - true) / true < 0.02
    assert np.allclose(type1.outline_centroid(outline), [30, 40], atol=0.1)


def test_outline_of_a_full_box_is_the_box() -> None:
    outline = box_mask_outline(np.ones((28, 28), np.float32), np.array([3.5, 7, 23.5, 37], np.float32))
    assert outline is not None
    assert {tuple(p) for p in outline.tolist()} == {(3.5, 7), (23.5, 7), (23.5, 37), (3.5, 37)}


def test_outline_moves_with_its_box() -> None:
    near = box_mask_outline(disc(), np.array([0, 0, 33, 41], np.float32))
    far = box_mask_outline(disc(), np.array([768, 512, 801, 553], np.float32))
    assert near is not None
    assert far is not None
    assert np.abs(far - near - [768, 512]).max() < 1e-3


def test_empty_mask_has_no_outline() -> None:
    assert box_mask_outline(np.zeros((28, 28), np.float32), np.array([0, 0, 9, 9], np.float32)) is None


def test_centroid_agrees_with_shapely() -> None:
    shape = np.array([[0, 0], [10, 0], [10, 4], [3, 9]], np.float32) + 1000
    c = Polygon(shape).centroid
    assert np.allclose(type1.outline_centroid(shape), [c.x, c.y], atol=1e-3)


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_over_ignored_equals_counting_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ignore = rng.random((30, 40)) < 0.3
    at = rng.integers(0, 30, (12, 2))
    boxes = np.hstack([at, at + rng.integers(1, 14, (12, 2))])
    slow = [
        ignore[y0:y1, x0:x1].mean() >= 0.3 - 1e-9 if ignore[y0:y1, x0:x1].size else False
        for x0, y0, x1, y1 in np.clip(boxes, 0, [40, 30, 40, 30])
    ]
    fast = over_ignored(torch.from_numpy(boxes).float(), torch.from_numpy(ignore), 0.3)
    assert fast.tolist() == slow


def test_partial_cross_entropy_is_the_plain_one_for_one_class_and_zero_for_all() -> None:
    logits = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(7) % 4
    one = F.one_hot(labels, 4).bool()
    assert torch.allclose(partial_cross_entropy(logits, one), F.cross_entropy(logits, labels))
    assert torch.allclose(partial_cross_entropy(logits, torch.ones_like(one)), torch.tensor(0.0), atol=1e-6)
    two = one.clone()
    two[:, 0] = True  # either of two: the probabilities add up
    p = logits.softmax(1)
    assert torch.allclose(partial_cross_entropy(logits, two), -(p * two).sum(1).log().mean(), atol=1e-6)


def test_votes_pull_to_the_mean_and_leave_neighbours_alone() -> None:
    boxes = torch.tensor([[0.0, 0, 40, 40], [2, 0, 42, 40], [500, 500, 540, 540]])
    scores = torch.tensor([0.9, 0.9, 0.8])
    voted = voted_boxes(boxes[[0, 2]], boxes, scores)
    assert torch.allclose(voted[0], torch.tensor([1.0, 0, 41, 40]), atol=0.05)
    assert torch.equal(voted[1], boxes[2])
    swapped = voted_boxes(boxes[[1]], boxes, scores)  # which of the two won must not matter
    assert torch.allclose(swapped[0], voted[0], atol=0.05)
    assert voted_boxes(boxes[:0], boxes, scores).shape == (0, 4)


@pytest.mark.parametrize("square", [20.0, 96.0, 1e6])
def test_votes_in_squares_equal_votes_of_all_against_all(square: float) -> None:
    rng = np.random.default_rng(4)
    corner = rng.uniform(0, 400, (60, 2))
    size = rng.uniform(8, 130, (60, 2))
    cells = np.hstack([corner, corner + size])
    boxes = torch.from_numpy(np.repeat(cells, 20, axis=0) + rng.normal(0, 2, (1200, 4))).float()
    boxes[:, :2] = boxes[:, :2].clamp(min=0)
    scores = torch.from_numpy(rng.uniform(0.05, 1, 1200)).float()
    kept = boxes[torch.from_numpy(rng.permutation(1200)[:150].copy())]
    slow = voted_boxes(kept, boxes, scores, square=None)
    assert (slow - kept).abs().max() > 1
    torch.testing.assert_close(voted_boxes(kept, boxes, scores, square=square), slow, atol=1e-3, rtol=0)


def target(complete: list[bool], ignore: bool = False) -> dict[str, torch.Tensor]:
    owner = torch.zeros(128, 128, dtype=torch.int32)
    owner[40:76, 30:66] = 1
    return {
        "boxes": torch.tensor([[30.0, 40, 66, 76]]),
        "labels": torch.tensor([2]),
        "owner": owner,
        "has_mask": torch.tensor([True]),
        "ignore": torch.full((128, 128), ignore),
        "complete": torch.tensor(complete),
    }


@pytest.mark.parametrize(
    ("complete", "ignore", "asked"),
    [([True] * 3, False, True), ([True, False, True], False, False), ([True] * 3, True, False)],
)
def test_background_is_asked_only_where_labels_are_complete(
    complete: list[bool], ignore: bool, asked: bool
) -> None:
    net = build(SMALL, 3)
    boxes = torch.tensor([[30.0, 40, 66, 76], [90, 90, 120, 120], [0, 0, 20, 20]])
    labels, _ = net.rpn.assign_targets_to_anchors([boxes], [target(complete, ignore)])
    assert labels[0].tolist() == ([1, 0, 0] if asked else [1, -1, -1])


def test_unlabelled_classes_are_not_pushed_down() -> None:
    """A detection that matches nothing must lose its probability for complete classes alone."""
    torch.manual_seed(0)
    net = build(SMALL, 3).train()
    features = net.backbone(torch.zeros(1, 3, 128, 128))
    proposals = [torch.tensor([[90.0, 90, 120, 120]])]
    grad = {}
    for complete in ([True, True, True], [True, False, True]):
        net.zero_grad()
        t = target(complete)
        t["boxes"], t["labels"] = t["boxes"][:0], t["labels"][:0]
        _, losses = net.roi_heads(features, proposals, [(128, 128)], [t])
        losses["loss_classifier"].backward(retain_graph=True)
        grad[complete[1]] = net.roi_heads.box_predictor.cls_score.bias.grad.clone()
    assert (grad[True][1:] > 0).all()  # every class falls
    assert grad[False][2] < 0  # the open one does not
    assert grad[False][1] > 0
    assert grad[False][3] > 0


def test_training_gives_finite_losses_and_a_box_without_mask_has_no_mask_loss() -> None:
    torch.manual_seed(0)
    net = build(SMALL, 3).train()
    t = target([True] * 3)
    tile = torch.randint(0, 255, (3, 128, 128), dtype=torch.uint8)
    losses = net([tile], [t])
    assert set(losses) == {
        "loss_classifier",
        "loss_box_reg",
        "loss_mask",
        "loss_objectness",
        "loss_rpn_box_reg",
    }
    assert all(bool(torch.isfinite(v)) for v in losses.values())
    assert losses["loss_mask"].item() > 0
    t["has_mask"] = torch.tensor([False])
    assert net([tile], [t])["loss_mask"].item() == 0


def test_a_tile_without_cells_or_proposals_teaches_nothing_and_finds_none() -> None:
    net = build(SMALL, 3).train()
    t = target([True] * 3)
    t["boxes"], t["labels"], t["has_mask"] = t["boxes"][:0], t["labels"][:0], t["has_mask"][:0]
    features = net.backbone(torch.zeros(1, 3, 128, 128))
    _, losses = net.roi_heads(features, [torch.zeros(0, 4)], [(128, 128)], [t])
    assert {k: v.item() for k, v in losses.items()} == {
        "loss_classifier": 0, "loss_box_reg": 0, "loss_mask": 0
    }  # fmt: skip
    sum(losses.values()).backward()  # type: ignore[union-attr]
    (found,), _ = net.eval().roi_heads(features, [torch.zeros(0, 4)], [(128, 128)])
    assert found["boxes"].shape == (0, 4)
    assert found["masks"].shape == (0, 28, 28)


def test_reference_configuration_builds_by_name_and_runs() -> None:
    net = build(REFERENCE, 3).eval()
    assert {k.split(".")[1] for k in net.backbone.state_dict()} >= {"conv1", "layer4", "inner_blocks"}
    with torch.inference_mode():
        found = net([torch.zeros(3, 64, 96, dtype=torch.uint8)])[0]
    assert found["probs"].shape[1] == 3
    assert found["masks"].shape[1:] == (28, 28)


def test_configuration_survives_the_card() -> None:
    assert MaskRcnnConfig.from_json(json.loads(json.dumps(REFERENCE.to_json()))) == REFERENCE


def write_model(folder: Path, config: MaskRcnnConfig, state: dict[str, torch.Tensor] | None) -> None:
    folder.mkdir(exist_ok=True)
    weights = folder / "small.safetensors"
    if state is None:
        weights.write_bytes(b"not tensors at all")
    else:
        save_file(state, weights)
    card = {
        "key": "small", "title": "Small", "kind": "type1", "classes": CLASSES, "mpp": 0.2, "tile": 256,
        "margin": 64, "align": 32, "min_score": 0.5, "architecture": config.to_json(),
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }  # fmt: skip
    (folder / "small.json").write_text(json.dumps(card), encoding="utf-8")


def test_weights_that_do_not_fit_are_refused(cml_home: Path) -> None:
    write_model(cml_home / "models", SMALL, {"x": torch.zeros(2)})
    with pytest.raises(ModelError, match="do not fit"):
        registry.load_model("small", "cpu", 1)


def test_a_file_that_is_no_safetensors_is_refused(cml_home: Path) -> None:
    write_model(cml_home / "models", SMALL, None)
    with pytest.raises(ModelError, match="cannot be read as a safetensors file"):
        registry.load_model("small", "cpu", 1)


def test_a_users_own_network_loads_and_predicts(cml_home: Path, drawn: np.ndarray) -> None:
    torch.manual_seed(0)
    state = {k: v.half() if v.is_floating_point() else v for k, v in build(SMALL, 3).state_dict().items()}
    write_model(cml_home / "models", SMALL, state)
    model = registry.load_model("small", "cpu", 1)
    assert model.classes == tuple(CLASSES)
    assert all(c.probs.shape[1] == 3 for c in model.predict(drawn))


@pytest.mark.weights
def test_prediction_keeps_the_contract(shipped: Any, drawn: np.ndarray) -> None:
    for cells in shipped.predict(drawn, 0.3):
        assert 8 <= len(cells) <= 16  # 14 discs were drawn; some lie on one another
        assert cells.classes.dtype == np.int64
        assert cells.scores.dtype == cells.probs.dtype == cells.anchors.dtype == np.float32
        assert (cells.scores >= 0.3).all()
        assert np.allclose(cells.probs.sum(1), 1, atol=1e-5)
        assert (cells.probs.argmax(1) == cells.classes).all()
        for outline, anchor in zip(cells.outlines, cells.anchors, strict=True):
            assert Polygon(outline).is_valid
            assert np.allclose(anchor, type1.outline_centroid(outline))


@pytest.mark.weights
def test_a_tiles_answer_does_not_depend_on_its_batch_or_the_threshold(
    shipped: Any, drawn: np.ndarray
) -> None:
    both, alone = shipped.predict(drawn, 0.05), shipped.predict(drawn[1:], 0.05)[0]
    high = shipped.predict(drawn[1:], 0.6)[0]
    assert np.array_equal(both[1].scores, alone.scores)
    assert all(np.array_equal(a, b) for a, b in zip(both[1].outlines, alone.outlines, strict=True))
    kept = alone.scores >= 0.6
    assert np.array_equal(high.scores, alone.scores[kept])
    assert np.array_equal(high.anchors, alone.anchors[kept])


@pytest.mark.weights
def test_no_cell_is_given_twice(shipped: Any, drawn: np.ndarray) -> None:
    for cells in shipped.predict(drawn, 0.05):
        shapes = [Polygon(o) for o in cells.outlines]
        for i, a in enumerate(shapes):
            for b in shapes[:i]:
                assert a.intersection(b).area / a.union(b).area < 0.7


@pytest.mark.parametrize("shape", [(1, 3, 100, 128), (1, 1, 128, 128), (3, 128, 128)])
def test_odd_tiles_are_refused(shipped: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected uint8|multiples"):
        shipped.predict(np.zeros(shape, np.uint8))
