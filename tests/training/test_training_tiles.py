from __future__ import annotations

import numpy as np
import pytest
import torch

from cmlcore.training import CellTiles, TileSettings, load_scenes, masks_of, records
from cmlcore.training.scenes import bounds
from cmlcore.training.tiles import _turned


@pytest.fixture
def scenes(sets_root, tmp_path):
    return load_scenes(records(sets_root, "train"), tmp_path / "cache")


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
