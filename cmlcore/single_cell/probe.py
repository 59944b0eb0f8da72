"""Last layer only: features of the frozen body once, then multinomial logistic regression on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cmlcore.errors import RunCancelledError
from cmlcore.single_cell.colours import Space, to_input
from models import classifier_engine as engine
from models.classifier_engine import OpenVinoBody
from models.classifiers import Classifier
from models.device import autocast

PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
"""L2 penalties tried, strongest first; each fit starts from the one before."""

_VIEWS = (0, 6, 1, 7, 2, 4, 3, 5)  # quarter turns, from 4 on mirrored; the first ones differ most

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


def compile_body(net: Classifier, space: Space, side: int, device: torch.device) -> OpenVinoBody | None:
    """The body by OpenVINO for fields of ``side`` pixels; None where torch does the work."""
    shape = to_input(np.zeros((1, side, side, 3), np.uint8), space).shape
    return engine.compile_body(net.eval(), shape[1], shape[2], device)


def precision(net: Classifier, device: torch.device) -> AbstractContextManager[object]:
    """Half precision where it is faster: on a processor it slows the thin convolutions of small networks."""
    return autocast(device) if net.base.plain or device.type != "cpu" else nullcontext()


@torch.inference_mode()
def features_of(net: Classifier, images: Tensor, body: OpenVinoBody | None = None, turns: int = 1) -> Tensor:
    """What the last layer sees: float32 ``(B, D)`` of images float ``(B, C, H, W)`` in 0..1.

    With ``turns`` the mean over so many ways to turn and mirror them; a mosaic's sites would be mixed up.
    """
    total: Tensor | None = None
    for view in _VIEWS[:turns]:
        turned = torch.rot90(images, view % 4, (2, 3))
        shown = turned.flip(3) if view >= 4 else turned
        if body is not None:
            found = body(shown)
        else:
            with precision(net, images.device):
                found = net.features(shown).float()
        total = found if total is None else total + found
    if total is None:
        raise ValueError("at least one view is needed")
    return total / turns


@torch.inference_mode()
def embed(
    net: Classifier,
    fields: NDArray[np.uint8],
    space: Space,
    device: torch.device,
    *,
    body: OpenVinoBody | None = None,
    turns: int = 1,
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
        out[start : start + len(images)] = features_of(net, images, body, turns).cpu().numpy()
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
    x, mean, std = _standard(features)
    z_val, y_val = (torch.as_tensor(val_features) - mean) / std, torch.as_tensor(val_labels)
    best: tuple[float, float, Tensor, Tensor] | None = None
    for penalty, w, b in _path(x, torch.as_tensor(labels), net.head.out_features, PENALTIES):
        loss = float(F.cross_entropy(z_val @ w.T + b, y_val)) if len(y_val) else penalty
        if best is None or loss < best[0]:
            best = loss, penalty, w, b
    assert best is not None  # noqa: S101
    _, penalty, w, b = best
    _fold_in(net, w, b, mean, std)
    return penalty


def set_last_layer(
    net: Classifier, features: NDArray[np.float32], labels: NDArray[np.int64], penalty: float
) -> None:
    """Set the network's last layer as ``fit_last_layer`` does, with a penalty that is known."""
    x, mean, std = _standard(features)
    path = tuple(p for p in PENALTIES if p >= penalty)
    *_, (_, w, b) = _path(x, torch.as_tensor(labels), net.head.out_features, path)
    _fold_in(net, w, b, mean, std)


def _standard(features: NDArray[np.float32]) -> tuple[Tensor, Tensor, Tensor]:
    """Standardised features, their means and deviations."""
    x = torch.as_tensor(features, dtype=torch.float32)
    mean, std = x.mean(dim=0), x.std(dim=0)
    # a feature that hardly varies would get a weight that blows up when the body is tuned
    std = std.clamp_min(max(1e-6, 0.1 * float(std.median())))
    return (x - mean) / std, mean, std


def _fold_in(net: Classifier, w: Tensor, b: Tensor, mean: Tensor, std: Tensor) -> None:
    """Give the layer the weights of standardised features, to take them as the body gives them."""
    device = net.head.weight.device
    with torch.no_grad():
        net.head.weight.copy_((w / std).to(device))
        net.head.bias.copy_((b - (w / std) @ mean).to(device))


def _path(
    x: Tensor, y: Tensor, classes: int, penalties: Sequence[float]
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Solutions along penalties: mean cross-entropy + penalty · ‖W‖² / 2, by L-BFGS; the bias is free."""
    count = torch.bincount(y, minlength=classes).clamp_min(1)
    weight = (len(y) / (classes * count)).float()
    w = torch.zeros(classes, x.shape[1], requires_grad=True)
    b = torch.zeros(classes, requires_grad=True)
    for penalty in penalties:
        solver = torch.optim.LBFGS([w, b], max_iter=100, line_search_fn="strong_wolfe")

        def loss(penalty: float = penalty, solver: torch.optim.LBFGS = solver) -> Tensor:
            solver.zero_grad()
            value = F.cross_entropy(x @ w.T + b, y, weight) + penalty / 2 * w.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        solver.step(loss)  # type: ignore[no-untyped-call]
        yield penalty, w.detach().clone(), b.detach().clone()
