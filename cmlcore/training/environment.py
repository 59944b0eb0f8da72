"""What a training ran on, so that it can be repeated."""

from __future__ import annotations

import platform
from typing import Any, Literal

import torch

from cmlcore.training.settings import TrainSettings
from cmlcore.versions import versions
from models.device import choose_device, describe, half_type

PACKAGES = ("torch", "torchvision", "timm", "lightning", "torchmetrics", "faster-coco-eval", "numpy")
Precision = Literal["bf16-mixed", "16-mixed", "32-true"]


def environment(settings: TrainSettings) -> dict[str, Any]:
    """Versions, device, threads and precision; nothing that names the machine."""
    packages = versions(*PACKAGES)
    return {
        "cmlscope": packages.pop("cmlscope"),
        "python": platform.python_version(),
        "system": platform.system(),
        "packages": packages,
        "device": describe(choose_device(settings.device)),
        "devices": settings.devices,
        "threads": torch.get_num_threads(),
        "precision": precision_of(settings),
        "seed": settings.seed,
    }


def precision_of(settings: TrainSettings) -> Precision:
    """Lightning's name of the precision; "auto" is the 16-bit type worth computing in on the device."""
    named: dict[str, Precision] = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}
    if settings.precision != "auto":
        return named[settings.precision]
    half = half_type(choose_device(settings.device))
    if half is None:
        return "32-true"
    return "bf16-mixed" if half is torch.bfloat16 else "16-mixed"
