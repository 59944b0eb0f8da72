"""Whole model: every weight learns, from pretrained ones; what was best on the validation images is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cmlcore.single_cell.averaged import Averaged
from cmlcore.single_cell.colours import Space, side_of, to_input, varied
from cmlcore.single_cell.probe import Progress, check, never, precision
from models.classifiers import Classifier, set_tuning


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """How the whole model is tuned.

    Attributes:
        epochs: passes over as many images as the set has.
        lr: highest step of the last layer.
        body_lr: the body's, as a share of it; 0 takes ``CONV_LR`` or ``PLAIN_LR``.
        mixup: share of the batches whose images are mixed in pairs (Zhang et al., "mixup: Beyond empirical
            risk minimization", ICLR 2018), with weights from Beta(0.3, 0.3).
        average: how much of the averaged weights stays in each step; they are what is judged and kept.
        small_epochs: share of the epochs, the first ones, that see convolutional networks' images at
            ``small`` times their side (Tan & Le, "EfficientNetV2", ICML 2021, progressive learning).
        patience: epochs without a better validation loss after which it ends.

    """

    epochs: int = 12
    lr: float = 2.4e-3
    body_lr: float = 0.0
    weight_decay: float = 0.03
    smoothing: float = 0.08
    mixup: float = 0.5
    average: float = 0.995
    small_epochs: float = 0.7
    small: float = 0.8
    batch: int = 32
    patience: int = 6
    seed: int = 0


CONV_LR = 0.25
PLAIN_LR = 0.04
_FEW = 1000  # images below which the norms' statistics stay the pretrained ones
_LAYER_DECAY = 0.75  # of a Vision Transformer, a block: the first ones know what to see


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
    """Train all weights; the network ends with the averaged ones of the epoch of least validation loss.

    Every class is drawn equally often. AdamW with a warm-up and half a cosine. A last layer that was fitted
    before (``probe.fit_last_layer``) keeps the body from being torn apart by a random one (Kumar et al.,
    "Fine-tuning can distort pretrained features and underperform out-of-distribution", ICLR 2022).

    Args:
        net: with pretrained weights.
        fields: uint8 ``(N, H, W, 3)``; labels int64 ``(N,)``; likewise for validation.
        labels: of ``fields``.
        val_fields: the images that choose the epoch.
        val_labels: of them.
        space: the colour space; those with "+aug" vary looks too.
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
    if not net.base.plain:
        net.to(memory_format=torch.channels_last)
    steps = max(1, math.ceil(len(fields) / s.batch))
    optimiser, schedule = _optimiser(net, s, steps * s.epochs)
    averaged = Averaged(net, s.average)
    chances = _balanced(labels)
    best, history, waited = (math.inf, _state(averaged.net)), [], 0
    for epoch in range(s.epochs):
        net.train()
        if len(fields) < _FEW:
            _keep_statistics(net)
        losses = 0.0
        side = _side(net, s, epoch, fields.shape[1], space)
        for step in range(steps):
            check(cancelled)
            picks = rng.choice(len(fields), size=min(s.batch, len(fields)), p=chances)
            shown = np.stack([varied(fields[i], rng, space, side) for i in picks])
            truth = torch.as_tensor(labels[picks], device=device)
            images, target = _mixed(to_input(shown, space, device, rng), truth, net, s, rng)
            with precision(net, device):
                logits = net(images)
            loss = F.cross_entropy(logits.float(), target, label_smoothing=s.smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            averaged.update(net)
            losses += float(loss.detach())
            if progress is not None:
                progress(epoch * steps + step + 1, s.epochs * steps)
        found = predict_logits(averaged.net, val_fields, space, device, batch=s.batch, cancelled=cancelled)
        named = torch.as_tensor(val_labels)
        val_loss = float(F.cross_entropy(found, named))
        hit = float((found.argmax(dim=1) == named).float().mean())
        history.append(Epoch(epoch + 1, losses / steps, val_loss, hit))
        waited += 1
        if val_loss < best[0]:
            best, waited = (val_loss, _state(averaged.net)), 0
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
) -> Tensor:
    """Logits float32 ``(N, C)``, on the CPU."""
    net.eval()
    out = []
    for start in range(0, len(fields), batch):
        check(cancelled)
        with precision(net, device):
            out.append(net(to_input(fields[start : start + batch], space, device)).float().cpu())
    return torch.cat(out) if out else torch.zeros(0, net.head.out_features)


def _side(net: Classifier, s: TuneSettings, epoch: int, side: int, space: Space) -> int:
    """Side of an epoch's images; a transformer's positions and a mosaic's sites are of one size."""
    if net.base.plain or side_of(space, 1) > 1 or epoch >= round(s.small_epochs * s.epochs):
        return side
    return max(32, round(s.small * side / 32) * 32)


def _mixed(
    images: Tensor, labels: Tensor, net: Classifier, s: TuneSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A batch and its target as probabilities ``(B, C)``; by chance images are mixed in pairs."""
    target = F.one_hot(labels, net.head.out_features).float()
    if rng.random() < s.mixup:
        share = float(rng.beta(0.3, 0.3))
        other = torch.as_tensor(rng.permutation(len(labels)), device=labels.device)
        images = share * images + (1 - share) * images[other]
        target = share * target + (1 - share) * target[other]
    return images if net.base.plain else images.contiguous(memory_format=torch.channels_last), target


def _balanced(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    weight = 1 / np.bincount(labels)[labels]
    return np.asarray(weight / weight.sum(), np.float64)


def _optimiser(
    net: Classifier, s: TuneSettings, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW; norms and biases are not decayed, a transformer's earlier blocks take smaller steps."""
    body = s.lr * (s.body_lr or (PLAIN_LR if net.base.plain else CONV_LR))
    groups = []
    for name, p in net.named_parameters():
        lr = s.lr if name.startswith("head.") else body * _share(net, name)
        groups.append({"params": [p], "lr": lr, "weight_decay": s.weight_decay if p.ndim > 1 else 0.0})
    optimiser = torch.optim.AdamW(groups)
    warm = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def _share(net: Classifier, name: str) -> float:
    """Of the body's step: less by ``_LAYER_DECAY`` a block below the last (BEiT, Bao et al., ICLR 2022)."""
    if not net.base.plain:
        return 1.0
    blocks = len(net.body.net.blocks)  # type: ignore[arg-type, union-attr]
    part = name.split(".")
    if "blocks" in part:
        return float(_LAYER_DECAY ** (blocks - 1 - int(part[part.index("blocks") + 1])))
    return 1.0 if "norm" in part else float(_LAYER_DECAY**blocks)


def _keep_statistics(net: Classifier) -> None:
    """Norms over a batch keep what pretraining saw: few images tell less, and the last layer expects it."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()


def _state(net: Classifier) -> dict[str, Tensor]:
    return {k: v.detach().cpu().clone() for k, v in net.state_dict().items()}
