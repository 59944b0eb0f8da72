"""Last layer only: features of the frozen body once, then multinomial logistic regression on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cmlcore.errors import RunCancelledError
from cmlcore.single_cell.colours import Space, to_input
from models.classifiers import Classifier
from models.device import autocast

PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
"""L2 penalties tried, strongest first; each fit starts from the one before."""

Progress = Callable[[int, int], None]


def never() -> bool:
    """Nobody cancels."""
    return False


def check(cancelled: Callable[[], bool]) -> None:
    """Stop where the caller asks to.

    Raises:
        RunCancelledError: ``cancelled`` said so.

    """
    if cancelled():
        raise RunCancelledError("The classification was cancelled.")


@torch.inference_mode()
def embed(
    net: Classifier,
    fields: NDArray[np.uint8],
    space: Space,
    device: torch.device,
    *,
    batch: int = 32,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> NDArray[np.float32]:
    """What the last layer sees of each field: float32 ``(N, D)`` for uint8 ``(N, H, W, 3)``."""
    net.eval()
    out = np.empty((len(fields), net.base.width), np.float32)
    for start in range(0, len(fields), batch):
        check(cancelled)
        images = to_input(fields[start : start + batch], space, device)
        with autocast(device):
            found = net.features(images)
        out[start : start + len(images)] = found.float().cpu().numpy()
        if progress is not None:
            progress(start + len(images), len(fields))
    return out


def fit_last_layer(
    net: Classifier,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    val_features: NDArray[np.float32],
    val_labels: NDArray[np.int64],
) -> float:
    """Set the network's last layer; returns the penalty that did best on the validation images.

    Classes weigh alike however many images they have. Features are standardised for the fit; that step is
    folded into the layer, which takes them as the body gives them.
    """
    x, y = torch.as_tensor(features, dtype=torch.float32), torch.as_tensor(labels)
    mean, std = x.mean(dim=0), x.std(dim=0).clamp_min(1e-6)
    z, z_val = (x - mean) / std, (torch.as_tensor(val_features) - mean) / std
    y_val = torch.as_tensor(val_labels)
    best: tuple[float, float, Tensor, Tensor] | None = None
    for penalty, w, b in _path(z, y, net.head.out_features):
        loss = float(F.cross_entropy(z_val @ w.T + b, y_val)) if len(y_val) else penalty
        if best is None or loss < best[0]:
            best = loss, penalty, w, b
    assert best is not None  # noqa: S101
    _, penalty, w, b = best
    device = net.head.weight.device
    with torch.no_grad():
        net.head.weight.copy_((w / std).to(device))
        net.head.bias.copy_((b - (w / std) @ mean).to(device))
    return penalty


def _path(x: Tensor, y: Tensor, classes: int) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Solutions along ``PENALTIES``: mean cross-entropy + penalty · ‖W‖² / 2, by L-BFGS; the bias is free."""
    count = torch.bincount(y, minlength=classes).clamp_min(1)
    weight = (len(y) / (classes * count)).float()
    w = torch.zeros(classes, x.shape[1], requires_grad=True)
    b = torch.zeros(classes, requires_grad=True)
    for penalty in PENALTIES:
        solver = torch.optim.LBFGS([w, b], max_iter=100, line_search_fn="strong_wolfe")

        def loss(penalty: float = penalty, solver: torch.optim.LBFGS = solver) -> Tensor:
            solver.zero_grad()
            value = F.cross_entropy(x @ w.T + b, y, weight) + penalty / 2 * w.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        solver.step(loss)  # type: ignore[no-untyped-call]
        yield penalty, w.detach().clone(), b.detach().clone()
