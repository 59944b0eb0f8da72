"""A tiny recipe that behaves as the big ones do, and a small set to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from drawn_training_set import draw_set
from torch import nn

from cmlcore.training.recipe import Found
from cmlcore.training.settings import TrainSettings, checked
from cmlcore.training.type2 import Type2Recipe
from models.windowed_vit import VitConfig, WindowedVit

TINY = VitConfig(backbone="vit_tiny_patch16_224", classes=2, window=64, taps=(1, 2), width=16)


def tiny_type2(settings: TrainSettings, *_: Any) -> Type2Recipe:
    """Type 2 with three blocks, whatever the settings say of the backbone."""
    torch.manual_seed(settings.seed)
    net = WindowedVit(VitConfig(**{**vars_of(TINY), "classes": len(settings.classes)}))
    net.vit.blocks = net.vit.blocks[:3]
    return Type2Recipe(net, settings.lr, weight_decay=settings.weight_decay)


def vars_of(config: VitConfig) -> dict[str, Any]:
    return {k: getattr(config, k) for k in config.__dataclass_fields__}


def small_settings(folder: Path, **changes: Any) -> TrainSettings:
    """A few steps on drawn smears."""
    if not (folder / "train").is_dir():
        draw_set(folder)
    values = {
        "model": "type2",
        "classes": ("erythrocyte", "leukocyte"),
        "data": (folder,),
        "image_mpp": 0.2,
        "tile": 128,
        "batch": 1,
        "steps": 6,
        "validate_every": 3,
        "validate_images": 2,
        "workers": 0,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
    }
    return checked({**values, **changes})


class Line:
    """Fits y = 2 x; ``bad`` are the steps whose loss is not a number, ``full`` those without memory."""

    kind = "type2"
    align = 32

    def __init__(self, bad: tuple[int, ...] = (), full: int = -1) -> None:
        torch.manual_seed(0)
        self.net: nn.Module = nn.Sequential(nn.Linear(1, 1, bias=False))
        self.bad, self.full, self.step = bad, full, 0
        self.prepare = _same

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.net.parameters()), "lr": 0.05, "weight_decay": 0.0}]

    def loss(self, samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        if self.net.training:
            self.step += 1
        if self.step == self.full:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        x = torch.stack([s["x"] for s in samples])
        miss = (self.net(x) - 2 * x).abs().mean()
        return {"miss": miss * float("nan") if self.net.training and self.step in self.bad else miss}

    def find(self, samples: list[dict[str, Any]]) -> list[Found]:
        """The box moves onto the true one as the weight comes near 2."""
        off = 40 * (self.net[0].weight.detach().reshape(()) - 2).abs()  # type: ignore[index, operator, union-attr]
        return [Found(s["boxes"] + off, torch.ones(len(s["boxes"])), s["labels"]) for s in samples]

    def architecture(self) -> dict[str, Any]:
        return {}

    def grid(self, largest: float) -> dict[str, int]:
        return {"tile": 256, "margin": 64, "align": 32}


def _same(sample: dict[str, Any]) -> dict[str, Any]:
    return sample


class Numbers(torch.utils.data.Dataset[dict[str, Any]]):
    """Sample ``i``: x = i mod 7, and one cell for the validation."""

    def __init__(self, n: int = 1 << 30) -> None:
        self.n = n
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> dict[str, Any]:
        self.asked.append(i)
        return {
            "x": torch.tensor([float(i % 7)]),
            "boxes": torch.tensor([[10.0, 10.0, 50.0, 50.0]]),
            "labels": torch.tensor([0]),
            "complete": torch.tensor([True]),
            "ignore": torch.zeros(64, 64, dtype=torch.bool),
            "judge": torch.tensor([True]),
        }
