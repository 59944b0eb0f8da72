"""Backbones of the single-cell classifiers: files of every layout, what learns, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from cmlcore.errors import InputError, ModelError
from models.classifiers import (
    BACKBONES,
    backbone,
    build,
    fetch_backbone,
    load_backbone,
    set_tuning,
    widen_input,
)


@pytest.fixture(scope="module")
def published_kimianet() -> nn.Module:
    """KimiaNet as its authors build it: DenseNet's features, pooled, and fc_4 with 30 outputs."""
    torch.manual_seed(0)
    body = nn.Sequential(torchvision.models.densenet121().features, nn.AdaptiveAvgPool2d((1, 1)))

    class FullyConnected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = body
            self.fc_4 = nn.Linear(1024, 30)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.flatten(self.model(x), 1)

    made = FullyConnected()
    for module in made.modules():  # norms that do something
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return made.eval()


def old_names(key: str) -> str:
    for n in "12":
        key = key.replace(f".norm{n}.", f".norm.{n}.").replace(f".conv{n}.", f".conv.{n}.")
    return key


@pytest.mark.parametrize("layout", ["published", "without the wrapper", "torchvision", "old names", "nested"])
def test_kimianet_loads_from_its_published_file(
    published_kimianet: nn.Module, tmp_path: Path, layout: str
) -> None:
    state = published_kimianet.state_dict()
    path = tmp_path / "KimiaNetPyTorchWeights.pth"
    by_layout = {
        "published": {f"module.{k}": v for k, v in state.items()},
        "without the wrapper": state,
        "torchvision": {k.replace("model.0.", "features."): v for k, v in state.items() if "fc_4" not in k},
        "old names": {old_names(f"module.{k}"): v for k, v in state.items()},
        "nested": {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}},
    }
    torch.save(by_layout[layout], path)
    net = build("kimianet", 15).eval()
    load_backbone(net, path)
    images = torch.rand(2, 3, 64, 64)
    plain = (images - net.mean) / net.std
    with torch.no_grad():
        assert torch.allclose(net.features(images), published_kimianet(plain), atol=1e-5)


def test_a_resnet_file_keeps_its_head_out(tmp_path: Path) -> None:
    whole = torchvision.models.resnet50()
    torch.save(whole.state_dict(), tmp_path / "r.pth")
    net = build("resnet50", 7).eval()
    load_backbone(net, tmp_path / "r.pth")
    whole.fc = nn.Identity()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(net.features(x), whole.eval()((x - net.mean) / net.std), atol=1e-5)
    assert net.head.out_features == 7


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: p.write_bytes(b"no weights"), "cannot be read"),
        (lambda p: torch.save({"a": torch.zeros(3)}, p), "is not a weight file of ResNet50"),
        (lambda p: torch.save([1, 2], p), "holds no table of weights"),
        (lambda p: torch.save({"model": nn.Linear(2, 2)}, p), "cannot be read"),  # a pickled object
        (lambda p: None, "is not there"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, make: object, sentence: str) -> None:
    path = tmp_path / "w.pth"
    make(path)  # type: ignore[operator]
    with pytest.raises(ModelError, match=sentence):
        load_backbone(build("resnet50", 3), path)


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0{not a header at")
    with pytest.raises(ModelError, match="cannot be read"):
        load_backbone(build("efficientnet_lite0", 3), path)


def test_kimianet_cannot_be_fetched_by_name() -> None:
    with pytest.raises(ModelError, match="give the file its authors publish"):
        fetch_backbone(build("kimianet", 3, "meta"))


def test_unknown_backbones_are_refused() -> None:
    with pytest.raises(InputError, match="“resnet5000” is not a backbone"):
        backbone("resnet5000")


def test_the_poster_transformers_keep_their_1000_way_head() -> None:
    for key in ("vit_b16", "vit_b32", "vit_l16", "vit_l32"):
        net = build(key, 15, "meta")
        assert net.body.net.head.out_features == 1000  # type: ignore[union-attr]
        assert (net.head.in_features, net.head.out_features) == (1000, 15)


@pytest.mark.parametrize("key", BACKBONES)
def test_every_backbone_answers_with_one_logit_a_class(key: str) -> None:
    net = build(key, 5, "meta").eval()
    images = torch.empty(2, 3, 224, 224, device="meta")
    assert net.features(images).shape == (2, BACKBONES[key].width)
    assert net(images).shape == (2, 5)


def test_last_layer_only_leaves_the_body_as_it_is() -> None:
    net = build("efficientnet_lite0", 3)
    set_tuning(net, "last")
    assert {n for n, p in net.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    before = {k: v.clone() for k, v in net.body.state_dict().items()}
    net(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in net.body.state_dict().items())  # norms included
    set_tuning(net, "whole")
    assert all(p.requires_grad for p in net.parameters())
    assert net.body.training


def test_a_packed_mosaic_of_equal_greens_looks_like_its_rgb() -> None:
    net = build("efficientnet_lite0", 3).eval()
    rgb = torch.rand(1, 3, 64, 64)
    before = net.features(rgb)
    widen_input(net)
    assert torch.allclose(net.features(rgb[:, [0, 1, 1, 2]]), before, atol=1e-4)
    with pytest.raises(ValueError, match="3 channels"):
        widen_input(net)


def test_transformers_take_files_of_another_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build("dinov2_vits14", 3)
    state = net.body.net.state_dict()  # type: ignore[union-attr]
    large = dict(state)
    large["pos_embed"] = torch.randn(1, 1 + 37 * 37, 384)
    save_file({k: v.contiguous() for k, v in large.items()}, tmp_path / "d.safetensors")
    load_backbone(net, tmp_path / "d.safetensors")
    assert net.body.net.pos_embed.shape == (1, 1 + 16 * 16, 384)  # type: ignore[union-attr]
    assert torch.equal(net.body.net.pos_embed[:, :1], large["pos_embed"][:, :1])  # type: ignore[union-attr, index]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("key", "file", "probe"),
    [
        ("dinov2_vits14", "vit_small_patch14_dinov2_fp16.safetensors", "blocks.3.attn.qkv.weight"),
        ("efficientnet_lite0", "tf_efficientnet_lite0_imagenet_fp16.safetensors", "conv_head.weight"),
    ],
)
def test_the_small_backbones_load_their_real_files(real_data: Path, key: str, file: str, probe: str) -> None:
    path = real_data / "weights" / file
    net = build(key, 4)
    load_backbone(net, path)
    assert torch.equal(net.body.net.state_dict()[probe], load_file(path)[probe].float())  # type: ignore[union-attr]
