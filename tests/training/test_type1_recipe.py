"""How type 1 is taught: rates, norms that stay, weights of classes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from cmlcore.training.type1 import BODY_RATE, Type1Recipe
from models.mask_rcnn import MaskRcnnConfig, build
from models.rois import partial_cross_entropy


@pytest.fixture(scope="module")
def recipe():
    torch.manual_seed(0)
    config = MaskRcnnConfig(backbone="resnet18", fpn=32, box_hidden=64, mask_convs=(32,))
    return Type1Recipe(build(config, 2), config, lr=1e-3, weights=(1.0, 3.0), weight_decay=0.02)


def sample():
    owner = torch.zeros(128, 128, dtype=torch.int32)
    owner[20:60, 30:70] = 1
    return {
        "image": torch.randint(0, 255, (3, 128, 128), dtype=torch.uint8),
        "boxes": torch.tensor([[30.0, 20.0, 70.0, 60.0]]),
        "labels": torch.tensor([1]),
        "owner": owner,
        "has_mask": torch.tensor([True]),
        "ignore": torch.zeros(128, 128, dtype=torch.bool),
        "complete": torch.tensor([True, True]),
    }


def test_the_body_learns_at_half_the_rate_and_only_matrices_decay(recipe):
    rates = {(g["lr"], g["weight_decay"]) for g in recipe.groups()}
    assert rates == {(1e-3, 0.02), (1e-3, 0.0), (1e-3 * BODY_RATE, 0.02), (1e-3 * BODY_RATE, 0.0)}
    assert sum(len(g["params"]) for g in recipe.groups()) == len(list(recipe.net.parameters()))


def test_norms_keep_their_statistics_and_all_five_losses_are_said(recipe):
    norm = next(m for m in recipe.net.modules() if isinstance(m, nn.BatchNorm2d))
    before = norm.running_mean.clone()
    parts = recipe.loss([sample()])
    assert set(parts) == {
        "loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"
    }  # fmt: skip
    assert all(bool(torch.isfinite(v)) for v in parts.values())
    assert torch.equal(norm.running_mean, before)
    recipe.net.eval()
    (found,) = recipe.find([sample()])
    assert found.boxes.shape == (len(found.scores), 4)
    assert bool((found.labels < 2).all())


def test_cells_of_a_rare_class_count_more():
    logits = torch.zeros(3, 3)
    allowed = torch.eye(3, dtype=torch.bool)
    assert float(partial_cross_entropy(logits, allowed)) == pytest.approx(math.log(3))
    sure = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0, 0, 0]])  # only the third is in doubt
    even = float(partial_cross_entropy(sure, allowed))
    weighted = float(partial_cross_entropy(sure, allowed, torch.tensor([1.0, 1.0, 2.0])))
    assert weighted / even == pytest.approx(2 * 3 / 4, rel=1e-3)


def test_a_large_cell_gets_a_larger_margin(recipe):
    assert recipe.grid(60) == {"tile": 1280, "margin": 192, "align": 32}
    assert recipe.grid(250) == {"tile": 896 + 512, "margin": 256, "align": 32}
