"""A windowed transformer small enough for tests, with its card."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from models.base import Instances
from models.registry import ModelCard
from models.windowed_vit import VitConfig, WindowedVit

TINY = VitConfig(backbone="vit_tiny_patch16_224", window=64, taps=(1, 3, 5), width=64)


def tiny_net() -> WindowedVit:
    """The network, random, with running statistics as a trained one has them."""
    torch.manual_seed(0)
    made = WindowedVit(TINY).eval()
    for m in made.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
    return made


def tiny_card(folder: Path, net: WindowedVit, **changes: object) -> ModelCard:
    """Its card, with the weights written into ``folder``."""
    path = folder / "tiny.safetensors"
    save_file({k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}, path)
    fields: dict[str, object] = {
        "key": "tiny",
        "title": "Tiny",
        "kind": "type2",
        "classes": ("erythrocyte", "leukocyte", "thrombocyte"),
        "mpp": 0.2,
        "tile": 256,
        "margin": 64,
        "align": 64,
        "weights": path,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "min_score": 0.5,
        "extra": {"architecture": TINY.as_dict(), "grouping": {"presence": 0.05, "peak": 0.05}},
    }
    return ModelCard(**{**fields, **changes})  # type: ignore[arg-type]


def noise(h: int, w: int, seed: int = 0) -> torch.Tensor:
    """A tile of noise, uint8 ``(1, 3, H, W)``."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (1, 3, h, w), dtype=np.uint8))


def same(a: Instances, b: Instances) -> bool:
    """Whether two answers are equal to the bit."""
    arrays = ("classes", "scores", "probs", "anchors")
    outlines = all(np.array_equal(x, y) for x, y in zip(a.outlines, b.outlines, strict=True))
    return outlines and all(np.array_equal(getattr(a, k), getattr(b, k)) for k in arrays)
