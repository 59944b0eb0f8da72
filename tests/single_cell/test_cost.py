"""The cost table: the published figures, and the counter against a count of its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cmlcore.single_cell.cost import Cost, cost, measure
from models.classifiers import BACKBONES, build

# parameters in millions with 15 classes; KimiaNet is given as 7.00 on the poster, which is 6.97 rounded up
PARAMETERS = {
    "resnet50": 23.54,
    "kimianet": 6.97,
    "vit_b16": 86.58,
    "vit_b32": 88.24,
    "vit_l16": 304.34,
    "vit_l32": 306.55,
}


@pytest.fixture(scope="module")
def costs() -> dict[str, Cost]:
    return {key: cost(key) for key in BACKBONES}


@pytest.mark.parametrize(("key", "millions"), PARAMETERS.items())
def test_parameters_are_the_published_ones(costs: dict[str, Cost], key: str, millions: float) -> None:
    assert round(costs[key].parameters / 1e6, 2) == millions


def test_flops_activations_and_layers_are_the_published_ones(costs: dict[str, Cost]) -> None:
    assert round(costs["resnet50"].flops / 1e9, 2) == 4.12
    assert round(costs["kimianet"].flops / 1e9, 2) == 2.88
    assert round(costs["vit_b16"].flops / 1e9, 1) == 17.6
    assert round(costs["resnet50"].activations / 1e6, 2) == 11.11
    assert round(costs["kimianet"].activations / 1e6, 2) == 6.90
    assert (costs["resnet50"].conv2d, costs["kimianet"].conv2d) == (53, 120)


def test_resnet_equals_a_count_layer_by_layer(costs: dict[str, Cost]) -> None:
    net = build("resnet50", 15, "meta").eval()
    total = [0]

    def count(m: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        if isinstance(m, nn.Conv2d):
            total[0] += out.numel() * m.weight[0].numel()
        elif isinstance(m, nn.Linear):
            total[0] += m.weight.numel()
        elif isinstance(m, nn.BatchNorm2d):
            total[0] += 2 * out.numel()
        elif isinstance(m, nn.ReLU):
            total[0] += out.numel()
        elif isinstance(m, (nn.MaxPool2d, nn.AdaptiveAvgPool2d)):
            total[0] += inputs[0].numel()

    for m in net.modules():
        m.register_forward_hook(count)
    net(torch.empty(1, 3, 224, 224, device="meta"))
    assert costs["resnet50"].flops == total[0]


def test_attention_is_counted(costs: dict[str, Cost]) -> None:
    # by hand: 12 blocks of 197 tokens, width 768; qkv + projection + two layers of the MLP + QKᵀ and AV
    block = 197 * (4 + 8) * 768**2 + 2 * 197**2 * 768
    patches, heads = 196 * 768 * 768, 768 * 1000 + 1000 * 15
    products = 12 * block + patches + heads
    elements = 25 * 2 * 197 * 768 + 12 * 197 * 3072  # norms and GELU
    assert costs["vit_b16"].flops == pytest.approx(products + elements, rel=1e-4)


def test_classes_change_the_last_layer_alone(costs: dict[str, Cost]) -> None:
    other = cost("resnet50", 11)
    assert costs["resnet50"].parameters - other.parameters == 4 * (2048 + 1)


def test_memory_is_the_network_s_own_however_large_the_parent_was() -> None:
    held = torch.ones(2**28)  # 1 GB, more than the measuring process ever has
    del held
    megabytes = measure("efficientnet_lite0", "cpu", batch=1, repeats=1, threads=1).memory_mb
    assert 13 < megabytes < 600  # its weights alone are 13 MB
