"""Whole model: every weight learns, from pretrained ones; what was best on the validation images is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from cmlcore.single_cell.colours import Space, to_input, varied
from cmlcore.single_cell.probe import Progress, check, never
from models.classifiers import Classifier, set_tuning
from models.device import autocast


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """How the whole model is tuned.

    Attributes:
        epochs: passes over as many images as the set has.
        lr: highest step of the last layer; the body's is ``body_lr`` times it.
        patience: epochs without a better validation loss after which it ends.

    """

    epochs: int = 12
    lr: float = 1e-3
    body_lr: float = 0.05
    weight_decay: float = 0.02
    smoothing: float = 0.05
    batch: int = 32
    patience: int = 4
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """Losses after an epoch."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float


def tune(
    net: Classifier,
    fields: NDArray[np.uint8],
    labels: NDArray[np.int64],
    val_fields: NDArray[np.uint8],
    val_labels: NDArray[np.int64],
    space: Space,
    device: torch.device,
    settings: TuneSettings | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> list[Epoch]:
    """Train all weights; the network ends with those of the epoch whose validation loss was least.

    Every class is drawn equally often. AdamW with a warm-up and half a cosine. A last layer that was fitted
    before (``probe.fit_last_layer``) keeps the body from being torn apart by a random one (Kumar et al.,
    "Fine-tuning can distort pretrained features and underperform out-of-distribution", ICLR 2022).

    Args:
        net: with pretrained weights.
        fields: uint8 ``(N, H, W, 3)``; labels int64 ``(N,)``; likewise for validation.
        labels: of ``fields``.
        val_fields: the images that choose the epoch.
        val_labels: of them.
        space: the colour space; "rgb+aug" varies looks too.
        device: to train on.
        settings: see there.
        progress: told (step, steps).
        cancelled: asked before each step.

    Raises:
        RunCancelledError: ``cancelled`` said so.

    """
    s = settings or TuneSettings()
    rng = np.random.default_rng(s.seed)
    net.to(device)
    set_tuning(net, "whole")
    steps = max(1, math.ceil(len(fields) / s.batch))
    optimiser, schedule = _optimiser(net, s, steps * s.epochs)
    chances = _balanced(labels)
    best, history, waited = (math.inf, _state(net)), [], 0
    for epoch in range(s.epochs):
        net.train()
        losses = 0.0
        for step in range(steps):
            check(cancelled)
            picks = rng.choice(len(fields), size=min(s.batch, len(fields)), p=chances)
            images = np.stack([varied(fields[i], rng, space) for i in picks])
            target = torch.as_tensor(labels[picks], device=device)
            with autocast(device):
                logits = net(to_input(images, space, device))
            loss = F.cross_entropy(logits.float(), target, label_smoothing=s.smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses += float(loss.detach())
            if progress is not None:
                progress(epoch * steps + step + 1, s.epochs * steps)
        logits = predict_logits(net, val_fields, space, device, batch=s.batch, cancelled=cancelled)
        target = torch.as_tensor(val_labels)
        val_loss = float(F.cross_entropy(logits, target))
        hit = float((logits.argmax(dim=1) == target).float().mean())
        history.append(Epoch(epoch + 1, losses / steps, val_loss, hit))
        waited += 1
        if val_loss < best[0]:
            best, waited = (val_loss, _state(net)), 0
        if waited >= s.patience:
            break
    net.load_state_dict(best[1])
    net.eval()
    return history


@torch.inference_mode()
def predict_logits(
    net: Classifier,
    fields: NDArray[np.uint8],
    space: Space,
    device: torch.device,
    *,
    batch: int = 32,
    cancelled: Callable[[], bool] = never,
) -> torch.Tensor:
    """Logits float32 ``(N, C)``, on the CPU."""
    net.eval()
    out = []
    for start in range(0, len(fields), batch):
        check(cancelled)
        with autocast(device):
            out.append(net(to_input(fields[start : start + batch], space, device)).float().cpu())
    return torch.cat(out) if out else torch.zeros(0, net.head.out_features)


def _balanced(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    weight = 1 / np.bincount(labels)[labels]
    return np.asarray(weight / weight.sum(), np.float64)


def _optimiser(
    net: Classifier, s: TuneSettings, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Norms and biases are not decayed."""
    body = [p for p in net.body.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in body if p.ndim > 1], "lr": s.lr * s.body_lr, "weight_decay": s.weight_decay},
        {"params": [p for p in body if p.ndim <= 1], "lr": s.lr * s.body_lr, "weight_decay": 0.0},
        {"params": list(net.head.parameters()), "lr": s.lr, "weight_decay": s.weight_decay},
    ]
    optimiser = torch.optim.AdamW(groups)
    warm = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def _state(net: Classifier) -> dict[str, torch.Tensor]:
    return {k: v.detach().cpu().clone() for k, v in net.state_dict().items()}
