from __future__ import annotations

import pytest
import torch

from cmlcore.training import type2
from models.windowed_vit import OFFSET_UNIT, VitConfig, WindowedVit


def sample(complete=(True, True, True), labels=(0, 2), ignore=None):
    owner = torch.zeros(64, 64, dtype=torch.int32)
    owner[10:30, 10:30] = 1
    owner[40:50, 20:32] = 2
    return {
        "image": torch.zeros(3, 64, 64, dtype=torch.uint8),
        "owner": owner,
        "labels": torch.tensor(labels),
        "ignore": torch.zeros(64, 64, dtype=torch.bool) if ignore is None else ignore,
        "complete": torch.tensor(complete),
    }


def gradient(s):
    torch.manual_seed(0)
    maps = torch.randn(1, 6, 32, 32, requires_grad=True)
    torch.stack(list(type2.loss(maps, [type2.targets(s)]).values())).sum().backward()
    return maps.grad[0]


def test_an_unlabelled_class_has_no_gradient_outside_the_labelled_cells():
    g = gradient(sample(complete=(False, True, False), labels=(1, 1)))
    inside = sample()["owner"][::2, ::2] > 0
    assert torch.count_nonzero(g[0][~inside]) == 0
    assert torch.count_nonzero(g[2][~inside]) == 0
    assert torch.count_nonzero(g[3][~inside]) == 0  # nor may a centre be punished there
    assert torch.count_nonzero(g[1][~inside]) == int((~inside).sum())


def test_ignored_pixels_have_no_gradient():
    ignore = torch.zeros(64, 64, dtype=torch.bool)
    ignore[:, 40:] = True
    g = gradient(sample(ignore=ignore))
    assert torch.count_nonzero(g[:4, :, 20:]) == 0
    assert torch.count_nonzero(g[:4, :, :5]) > 0


def test_offsets_end_at_the_centroid_and_small_cells_weigh_more():
    t = type2.targets(sample(), (1.0, 1.0, 2.0))
    assert t.cells == 2
    end_x = torch.arange(32) + t.offset[0] * OFFSET_UNIT / 2
    end_y = torch.arange(32)[:, None] + t.offset[1] * OFFSET_UNIT / 2
    first = sample()["owner"][::2, ::2] == 1
    torch.testing.assert_close(end_x[first], torch.full_like(end_x[first], 9.5))
    torch.testing.assert_close(end_y[first], torch.full_like(end_y[first], 9.5))
    assert float(t.share.sum()) == pytest.approx(2)
    assert float(t.weight[22, 12]) > float(t.weight[8, 8]) > float(t.weight[0, 0]) == 1
    assert float(t.centre.max()) == 1


def test_perfect_maps_cost_almost_nothing():
    t = type2.targets(sample())
    perfect = torch.cat([t.presence * 40 - 20, ((t.centre >= 0.999).float() * 40 - 20)[None], t.offset])[None]
    parts = type2.loss(perfect, [t])
    assert float(parts["presence"] + parts["dice"] + parts["offset"]) < 1e-3
    assert float(parts["centre"]) < 1e-3


def test_frozen_blocks_stay_and_lower_blocks_learn_slower():
    config = VitConfig(backbone="vit_tiny_patch16_224", window=64, taps=(5, 11), width=32)
    recipe = type2.Type2Recipe(WindowedVit(config), lr=1e-3, frozen=4)
    trained = {n for n, p in recipe.net.named_parameters() if p.requires_grad}
    assert not any(n.startswith(("vit.patch_embed", "vit.pos_embed", "vit.blocks.3.")) for n in trained)
    assert any(n.startswith("vit.blocks.4.") for n in trained)
    rates = sorted({g["lr"] for g in recipe.groups()})
    assert rates[-1] == 1e-3
    assert rates[-2] == pytest.approx(2e-4)
    assert rates[0] == pytest.approx(2e-4 * 0.8**7)
