from __future__ import annotations

import numpy as np
import pytest
import torch

from cmlcore.ground_truth import records
from cmlcore.training import CellTiles, TileSettings, load_scenes, masks_of
from cmlcore.training.balance import class_counts, rare_classes, rarity
from cmlcore.training.scenes import bounds
from cmlcore.training.settings import THREE_CELLS, Augmentation
from cmlcore.training.tiles import _turned, _weights


@pytest.fixture
def scenes(sets_root, tmp_path):
    return load_scenes(records(sets_root, "train"), THREE_CELLS, tmp_path / "cache")


def test_a_tile_is_a_function_of_seed_and_index(scenes):
    a, b = CellTiles(scenes, 10, seed=4), CellTiles(scenes, 10, seed=4)
    for i in (3, 0, 7):
        x, y = a[i], b[i]
        assert all(torch.equal(x[k], y[k]) for k in x)
    assert not torch.equal(CellTiles(scenes, 10, seed=5)[0]["image"][:, :9, :9], a[0]["image"][:, :9, :9])
    with pytest.raises(IndexError):
        a[10]


def test_shapes_types_and_agreement(scenes):
    tiles = CellTiles(scenes, 20, seed=1)
    kinds = set()
    for i in range(20):
        s = tiles[i]
        h, w = s["owner"].shape
        n = len(s["labels"])
        kinds.add(tuple(s["complete"].tolist()))
        assert s["image"].shape == (3, h, w)
        assert s["image"].dtype == torch.uint8
        assert s["boxes"].shape == (n, 4)
        assert s["has_mask"].shape == (n,)
        assert int(s["owner"].max()) <= n
        assert not bool((s["ignore"] & (s["owner"] > 0)).any()) or not s["complete"].all()
        b = s["boxes"]
        assert bool((b[:, :2] >= 0).all())
        assert bool((b[:, 2] <= w).all())
        assert bool((b[:, 3] <= h).all())
        assert bool((b[:, 2:] - b[:, :2] >= 4).all())
        drawn = bounds(s["owner"].numpy().astype(np.uint16), n)
        seen = drawn[:, 2] > 0
        inside = (drawn[:, :2] >= b[:, :2].numpy() - 4) & (drawn[:, 2:] <= b[:, 2:].numpy() + 4)
        assert inside[seen].all()
    assert kinds == {(True, True, True), (True, False, False), (False, True, False)}


def test_tiles_of_one_batch_have_one_size(scenes):
    tiles = CellTiles(scenes, 16, settings=TileSettings(same_size=4))
    sizes = [tuple(tiles[i]["owner"].shape) for i in range(16)]
    assert all(len(set(sizes[k : k + 4])) == 1 for k in range(0, 16, 4))
    assert len(set(sizes)) > 1


def test_half_the_tiles_begin_behind_a_strip_mostly_white(scenes):
    tiles = CellTiles(scenes, 160, settings=TileSettings(sizes=((128, 128),), size_weights=(1.0,)))
    first_rows = [tiles[i]["image"][:, 0] for i in range(160)]
    strips = [row[:, 0] for row in first_rows if (row == row[:, :1]).all()]
    assert 0.4 < len(strips) / 160 < 0.65
    assert 0.6 < np.mean([(s == 255).all() for s in strips]) < 0.9


def test_masks_of_expands_the_owner_map():
    owner = torch.tensor([[0, 1, 1], [2, 2, 0]], dtype=torch.int32)
    masks = masks_of(owner, 3)
    assert masks.tolist() == [
        [[False, True, True], [False, False, False]],
        [[False, False, False], [True, True, False]],
        [[False] * 3, [False] * 3],
    ]


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_boxes_turn_with_their_pixels(scenes, turn, mirror):
    seg = next(s for s in scenes if s.source == "bbbc041seg")
    turned = _turned(seg, turn, mirror)
    np.testing.assert_allclose(bounds(turned.owner, 3), turned.boxes, atol=1.0)
    assert turned.image.shape[:2] == turned.owner.shape == turned.ignore.shape


def test_rare_classes_are_drawn_more_often(scenes):
    counts = class_counts(scenes)
    assert counts.tolist() == [7, 2, 1]
    np.testing.assert_allclose(rarity(counts, 0.5), [1, 3.5**0.5, 7**0.5])
    np.testing.assert_allclose(rarity(np.array([9, 0]), 0.5), [1, 1])
    assert rare_classes(np.array([1000, 60, 40, 0])) == [2]


def test_a_person_s_own_sources_share_one_weight():
    yes, no = (True,), (False,)
    groups = {
        ("mine", yes): [None] * 9,
        ("yours", yes): [None] * 16,
        ("PBC", yes): [None],
        ("PBC", no): [None],
    }
    expected = np.array([0.25, 0.25, 0.25 * 3 / 5, 0.25 * 4 / 5])  # 9 and 16 of 25 images
    np.testing.assert_allclose(_weights(groups, {"PBC": 0.25}), expected / expected.sum())


def test_without_variation_a_tile_begins_with_the_image_at_the_model_s_scale(scenes):
    (pbc,) = [s for s in scenes if s.source == "PBC"]
    for mpp, side in ((0.2, 192), (0.4, 96)):
        settings = TileSettings(sizes=((side, side),), size_weights=(1,), mpp=mpp, fixed=True)
        tile = CellTiles([pbc], 1, settings=settings)[0]
        shrink = 0.1 / mpp
        np.testing.assert_allclose(tile["boxes"][:6].numpy(), pbc.boxes * shrink, atol=0.5)
        assert tile["labels"][:6].tolist() == pbc.labels.tolist()


def test_tiles_from_close_by_are_magnified_up_to_the_limit(scenes):
    (pbc,) = [s for s in scenes if s.source == "PBC"]
    near = Augmentation(close=1, closest=3.0, scale=0, turn=False, blank=0, paste=0)
    settings = TileSettings(sizes=((512, 512),), size_weights=(1,), mpp=0.1, augmentation=near)
    stream = CellTiles([pbc], 24, settings=settings)
    side = (pbc.boxes[:, 2:] - pbc.boxes[:, :2]).max()
    factors = [
        float((t["boxes"][:, 2:] - t["boxes"][:, :2]).max()) / side for t in (stream[i] for i in range(24))
    ]
    assert min(factors) < 1.3
    assert max(factors) > 1.9
    assert all(0.9 <= f <= 3.01 for f in factors)


def test_strengths_of_zero_leave_the_colours(scenes, monkeypatch):
    monkeypatch.setattr("cmlcore.training.tiles.GAPS", 0.0)  # or white would be the commonest colour
    (pbc,) = [s for s in scenes if s.source == "PBC"]
    off = Augmentation(
        stain=0, light=0, blur=0, noise=0, jpeg=0, scale=0, close=0, turn=False, blank=0, paste=0
    )
    settings = TileSettings(sizes=((160, 160),), size_weights=(1,), augmentation=off)
    quiet, loud = CellTiles([pbc], 12, settings=settings), CellTiles([pbc], 12)
    ground = np.median(pbc.image.reshape(-1, 3), axis=0)
    off_by = [[np.abs(t[i]["image"].flatten(1).median(1).values.numpy() - ground).max() for i in range(12)]
              for t in (quiet, loud)]  # fmt: skip
    assert max(off_by[0]) <= 2
    assert np.median(off_by[1]) > 4
