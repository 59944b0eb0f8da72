"""Names of the classifiers' backbones and of the weights their libraries fetch. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
"""Of files that may hold a backbone's weights."""


@dataclass(frozen=True, slots=True)
class BackboneName:
    """What people read, and by which name pretrained weights are fetched; None where only a file exists."""

    title: str
    weights: str | None


NAMES: dict[str, BackboneName] = {
    "resnet50": BackboneName("ResNet50", "IMAGENET1K_V2"),
    "kimianet": BackboneName("KimiaNet (DenseNet121)", None),
    "vit_b16": BackboneName("ViT-B/16", "vit_base_patch16_224.augreg_in21k_ft_in1k"),
    "vit_b32": BackboneName("ViT-B/32", "vit_base_patch32_224.augreg_in21k_ft_in1k"),
    "vit_l16": BackboneName("ViT-L/16", "vit_large_patch16_224.augreg_in21k_ft_in1k"),
    "vit_l32": BackboneName("ViT-L/32", "vit_large_patch32_384.orig_in21k_ft_in1k"),
    "dinov2_vits14": BackboneName("DINOv2 ViT-S/14", "vit_small_patch14_dinov2.lvd142m"),
    "efficientnet_lite0": BackboneName("EfficientNet-Lite0", "tf_efficientnet_lite0.in1k"),
}
