"""How long a training is, how its learning rate goes, and how its weights are averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cmlcore.training.scenes import Scene
from cmlcore.training.settings import TrainSettings

LOWEST = 0.01  # share of the peak learning rate at the end
MIN_BETWEEN = 50  # steps; epochs of a small set may be shorter than a validation is worth


@dataclass(frozen=True, slots=True)
class Budget:
    """When a training is over.

    Attributes:
        steps: of the optimiser; None where only the time counts.
        seconds: wall time, all sittings together; None where only the steps count.
        epoch: steps of one epoch.
        every: steps between validations.

    """

    steps: int | None
    seconds: float | None
    epoch: int
    every: int

    def progress(self, step: int, seconds: float) -> float:
        """Share of the budget that is spent, from 0; of time and steps whichever is further on."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / self.seconds if self.seconds else 0.0
        return max(by_steps, by_time)

    def left(self, step: int, seconds: float, pace: float) -> float | None:
        """Seconds still to go at ``pace`` seconds a step; None where it cannot be known yet."""
        ends = []
        if self.steps is not None and pace > 0:
            ends.append((self.steps - step) * pace)
        if self.seconds is not None:
            ends.append(self.seconds - seconds)
        return max(0.0, min(ends)) if ends else None


def budget_of(settings: TrainSettings, scenes: Sequence[Scene], store_mpp: float, tile_area: float) -> Budget:
    """The budget in steps and seconds.

    One epoch is one pass over as many tiles as cover the training images once: their area at the model's
    scale divided by the mean area of a tile, in steps of ``batch`` tiles on each device.

    Args:
        settings: the training's.
        scenes: the training images.
        store_mpp: µm per pixel of the scenes.
        tile_area: mean area of a tile in model pixels.

    """
    shrink = (store_mpp / settings.mpp) ** 2
    area = sum(float(s.owner.size) for s in scenes) * shrink
    epoch = max(1, math.ceil(area / tile_area / (settings.batch * settings.devices)))
    limits = [settings.steps] if settings.steps is not None else []
    if settings.epochs is not None:
        limits.append(max(1, round(settings.epochs * epoch)))
    steps = min(limits) if limits else None
    seconds = settings.minutes * 60 if settings.minutes is not None else None
    every = settings.validate_every or epoch * math.ceil(MIN_BETWEEN / epoch)
    return Budget(steps, seconds, epoch, min(every, steps) if steps else every)


def rate(progress: float, warmup: float) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine to 1 %."""
    if progress < warmup:
        return progress / warmup
    fall = min(1.0, (progress - warmup) / max(1e-9, 1 - warmup))
    return LOWEST + (1 - LOWEST) * 0.5 * (1 + math.cos(math.pi * fall))


def averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    """Running average of weights that forgets its start: the decay rises with the steps taken."""

    def average(averaged: list[Tensor], current: list[Tensor], taken: Tensor) -> None:
        n = int(taken)
        share = 1 - min(decay, (1 + n) / (10 + n))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new.to(old.dtype), share)
            else:
                old.copy_(new)

    return average
