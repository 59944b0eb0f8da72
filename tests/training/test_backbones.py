"""Networks by name, and where their weights come from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import ResNet50_Weights

from cmlcore.errors import InputError, ModelError
from cmlcore.training import backbones
from cmlcore.training.backbones import TYPE1_ROWS, TYPE2_ROWS, build_recipe, vit_config
from cmlcore.training.package import export
from cmlcore.training.settings import checked
from models.mask_rcnn import MaskRcnnConfig

SIDES = np.array([12, 37, 37, 60], np.float32)
VIT = "vit_tiny_patch16_224"


def recipe(**values):
    return build_recipe(
        checked({"steps": 1, "classes": ("erythrocyte", "leukocyte"), **values}), SIDES, (1, 2)
    )


def test_any_plain_vit_is_tapped_at_half_three_quarters_and_the_end():
    assert vit_config("vit_small_patch14_dinov2", 3).taps == (5, 8, 11)
    assert vit_config("vit_large_patch14_dinov2", 2).taps == (11, 17, 23)
    made = vit_config(VIT, 2)
    assert (made.backbone, made.classes, made.patch, made.window) == (VIT, 2, 16, 256)


@pytest.mark.parametrize("name", ["no_such_network", "resnet18", "swin_tiny_patch4_window7_224"])
def test_what_is_no_plain_vit_is_a_sentence(name):
    with pytest.raises(InputError, match="plain Vision Transformer"):
        recipe(model="type2", backbone=name)


@pytest.mark.parametrize("name", ["no_such_network", VIT])
def test_what_has_no_strides_is_a_sentence(name):
    with pytest.raises(InputError, match="strides 4, 8 and 16"):
        recipe(model="type1", backbone=name)


def test_type_1_takes_the_reference_and_light_ones_and_its_anchors_follow_the_cells():
    light = recipe(model="type1", backbone="resnet18")
    assert light.config.backbone == "resnet18"
    assert light.config.anchors == MaskRcnnConfig().anchors  # cells of the usual sizes
    assert light.config.mean == (0.485, 0.456, 0.406)
    assert light.net.roi_heads.class_weights == (1.0, 1.0, 2.0)
    large = backbones._with_anchors(MaskRcnnConfig(), np.linspace(60, 400, 50, dtype=np.float32))
    sides = [s for stride in large.anchors for s in stride]
    assert sides == sorted(sides)
    assert sides[0] == pytest.approx(66.8, abs=1)
    assert sides[-1] == pytest.approx(393.2, abs=1)
    assert MaskRcnnConfig.from_json(json.loads(json.dumps(large.to_json()))) == large


def test_the_reference_configuration_is_built_by_name():
    config = backbones._mask_rcnn_config(
        checked({"model": "type1", "backbone": "resnet50-fpn-v2"}), SIDES, None
    )
    assert config.backbone == "resnet50-fpn-v2"
    assert config.fpn == 256


def test_a_file_of_a_plain_vit_starts_the_backbone_and_its_lower_blocks_stay(tmp_path):
    whole = timm.create_model(VIT, pretrained=False, num_classes=0)
    save_file({k: v.half() for k, v in whole.state_dict().items()}, tmp_path / "vit.safetensors")
    made = recipe(model="type2", backbone=VIT, backbone_weights=tmp_path / "vit.safetensors")
    got = made.net.vit.state_dict()["blocks.3.mlp.fc1.weight"]
    torch.testing.assert_close(got, whole.state_dict()["blocks.3.mlp.fc1.weight"].half().float())
    learns = {n for n, p in made.net.named_parameters() if p.requires_grad}
    assert "vit.blocks.3.mlp.fc1.weight" not in learns
    assert "vit.blocks.4.mlp.fc1.weight" in learns
    fresh = recipe(model="type2", backbone=VIT)
    assert all(p.requires_grad for p in fresh.net.parameters())


def test_a_file_of_another_network_or_of_none_is_a_sentence(tmp_path):
    (tmp_path / "torn.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        recipe(model="type2", backbone=VIT, backbone_weights=tmp_path / "torn.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    for model, name in (("type2", VIT), ("type1", "resnet18")):
        with pytest.raises(ModelError, match="of another network"):
            recipe(model=model, backbone=name, backbone_weights=tmp_path / "other.safetensors")


def test_a_light_backbone_starts_from_the_file_of_the_whole_network(tmp_path):
    whole = timm.create_model("convnext_atto", pretrained=False)  # its stages are renamed in "features only"
    save_file(dict(whole.state_dict()), tmp_path / "body.safetensors")
    made = recipe(model="type1", backbone="convnext_atto", backbone_weights=tmp_path / "body.safetensors")
    torch.testing.assert_close(
        made.net.backbone.body.state_dict()["stages_1.blocks.0.mlp.fc1.weight"],
        whole.state_dict()["stages.1.blocks.0.mlp.fc1.weight"],
    )


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("no weights"), ValueError("offline")])
def test_a_download_that_fails_is_a_sentence(monkeypatch, error):
    def fails(*_, **words):
        if words.get("pretrained", True):
            raise error
        return real(*_, **words)

    real = timm.create_model
    monkeypatch.setattr(backbones.timm, "create_model", fails)
    with pytest.raises(ModelError, match=f"weights of {VIT} cannot be fetched"):
        recipe(model="type2", backbone=VIT, pretrained=True)
    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", fails)
    with pytest.raises(ModelError, match="resnet50-fpn-v2 cannot be fetched"):
        backbones._fetched("resnet50-fpn-v2")


@pytest.mark.parametrize(("model", "rows"), [("type1", TYPE1_ROWS), ("type2", TYPE2_ROWS)])
def test_going_on_from_an_installed_model_keeps_what_fits_and_carries_classes_by_name(cml_home, model, rows):
    backbone = {"type1": "resnet18", "type2": VIT}[model]
    old = recipe(model=model, backbone=backbone, classes=("leukocyte", "erythrocyte"), seed=1)
    card = {
        "key": "old", "title": "Old", "kind": model, "classes": ["leukocyte", "erythrocyte"], "mpp": 0.2,
        "min_score": 0.5, "architecture": old.architecture(), **old.grid(60),
    }  # fmt: skip
    export(old.net.state_dict(), card, cml_home / "models")
    new = recipe(model=model, start_from="old", classes=("erythrocyte", "net", "thrombocyte"), seed=2)
    fresh = recipe(model=model, backbone=backbone, classes=("erythrocyte", "net", "thrombocyte"), seed=2)
    a, b, untouched = (r.net.state_dict() for r in (old, new, fresh))
    for name, (before, each, after) in rows.items():
        was = a[name].half().float()
        torch.testing.assert_close(b[name][:before], was[:before])
        torch.testing.assert_close(b[name][before : before + each], was[before + each : before + 2 * each])
        # a NET is a leukocyte: it starts as one; a thrombocyte is nothing the old model knew
        torch.testing.assert_close(b[name][before + each : before + 2 * each], was[before : before + each])
        end = len(b[name]) - after
        torch.testing.assert_close(b[name][end - each : end], untouched[name][end - each : end])
        if after:
            torch.testing.assert_close(b[name][end:], was[-after:])
    other = next(k for k in a if k.endswith("weight") and k not in rows)
    torch.testing.assert_close(b[other], a[other].half().float())
    with pytest.raises(InputError, match=f"is a {model}"):
        recipe(model={"type1": "type2", "type2": "type1"}[model], start_from="old")


def test_export_writes_half_precision_and_a_card_that_fits(tmp_path):
    state = {"a": torch.tensor([1.0, 2.5]), "n": torch.tensor(3)}
    path = export(state, {"key": "mine"}, tmp_path / "weights", tmp_path / "cards")
    assert path == tmp_path / "cards" / "mine.json"
    from safetensors.torch import load_file

    kept = load_file(tmp_path / "weights" / "mine.safetensors")
    assert (kept["a"].dtype, kept["n"].dtype) == (torch.float16, torch.int64)
    card = json.loads(path.read_text())
    assert (card["weights"], len(card["sha256"])) == ("mine.safetensors", 64)
    with pytest.raises(ModelError, match="not finite"):
        export({"a": torch.tensor([1e6])}, {"key": "big"}, tmp_path)
