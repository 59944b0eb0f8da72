"""From labelled fields to a classifier: the one road of the bench and of ``classify train``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cmlcore.single_cell.colours import Space, adapt, varied
from cmlcore.single_cell.probe import Progress, compile_body, embed, fit_last_layer, never, set_last_layer
from cmlcore.single_cell.splits import Split
from cmlcore.single_cell.tune import Epoch, TuneSettings, predict_logits, tune
from cmlcore.single_cell.unlike import Unlike, learn
from models.classifier_engine import OpenVinoBody
from models.classifiers import SIDE, Classifier, Tuning, build, fetch_backbone, load_backbone
from models.device import choose_device

Start = Path | Literal["fetch", "random"]
"""Where a backbone's weights come from: a file, its library by name, or nowhere (tests)."""


_WORTH = 500  # images from which on compiling a body saves time
_CHUNK = 64  # fields varied and looked at together


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is fitted.

    Attributes:
        backbone: key of ``models.classifiers.BACKBONES``.
        tuning: "last" or "whole".
        colours: the colour space.
        start: where the backbone's weights come from.
        side: of the fields in pixels.
        copies: last layer only, spaces with "+aug": varied copies of each training image beside itself.
        tune: how the whole model learns.

    """

    backbone: str
    tuning: Tuning
    colours: Space
    start: Start
    side: int = SIDE
    copies: int = 1
    tune: TuneSettings = field(default_factory=TuneSettings)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted network and what it took."""

    net: Classifier
    unlike: Unlike
    seconds: float
    penalty: float  # of the last layer
    epochs: list[Epoch]


def pretrained(recipe: Recipe, classes: int, sample: NDArray[np.uint8]) -> Classifier:
    """A network with the recipe's starting weights, made for its colour space.

    Raises:
        ModelError: the weights cannot be read or fetched.

    """
    torch.manual_seed(recipe.seed)
    net = build(recipe.backbone, classes, side=recipe.side)
    if isinstance(recipe.start, Path):
        load_backbone(net, recipe.start)
    elif recipe.start == "fetch":
        fetch_backbone(net)
    adapt(net, recipe.colours, sample)
    return net


def _body(
    net: Classifier, recipe: Recipe, fields: NDArray[np.uint8], device: torch.device
) -> OpenVinoBody | None:
    """The body compiled, where there are images enough to be worth its seconds."""
    if len(fields) < _WORTH:
        return None
    return compile_body(net, recipe.colours, fields.shape[1], device)


class Frozen:
    """Features of a frozen body, each image looked at once however many folds use it."""

    def __init__(
        self,
        recipe: Recipe,
        fields: NDArray[np.uint8],
        device: str = "auto",
        progress: Progress | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        """Look at all fields, and at varied copies where the recipe augments."""
        self.recipe = recipe
        self.device = choose_device(device)
        start = time.perf_counter()
        self.net = pretrained(recipe, 2, fields).to(self.device)
        body = _body(self.net, recipe, fields, self.device)
        times = 1 + (recipe.copies if recipe.colours.endswith("+aug") else 0)
        self.features = np.empty((times, len(fields), self.net.base.width), np.float32)
        for n in range(times):
            rng = np.random.default_rng((recipe.seed, n))
            for i in range(0, len(fields), _CHUNK):
                shown = fields[i : i + _CHUNK]
                if n:
                    shown = np.stack([varied(f, rng, recipe.colours) for f in shown])
                found = embed(self.net, shown, recipe.colours, self.device, body=body, cancelled=cancelled)
                self.features[n, i : i + len(shown)] = found
                if progress is not None:
                    progress(n * len(fields) + i + len(shown), times * len(fields))
        self.seconds = time.perf_counter() - start

    def fit(self, labels: NDArray[np.int64], split: Split, classes: int, *, refit: bool = False) -> Fitted:
        """A last layer for one split; the body is shared, so use a fit before the next is made.

        Args:
            labels: class of each image.
            split: the layer learns from its train part, its val part chooses the penalty and what is unlike.
            classes: how many there are.
            refit: let it learn from both parts in the end, with the penalty chosen.

        """
        start = time.perf_counter()
        x = np.concatenate([f[split.train] for f in self.features])
        y = np.tile(labels[split.train], len(self.features))
        self.net.head = torch.nn.Linear(self.net.base.width, classes).to(self.device)
        val = self.features[0][split.val]
        penalty = fit_last_layer(self.net, x, y, val, labels[split.val])
        own = self.features[0][split.train]
        seen = torch.as_tensor(val if len(val) else own)
        with torch.inference_mode():
            logits = self.net.head(seen.to(self.device)).cpu()
        unlike = learn(own, labels[split.train], seen.numpy(), logits)
        if refit and len(split.val):
            both = np.concatenate([split.train, split.val])
            x = np.concatenate([f[both] for f in self.features])
            set_last_layer(self.net, x, np.tile(labels[both], len(self.features)), penalty)
        return Fitted(self.net, unlike, self.seconds + time.perf_counter() - start, penalty, [])

    @torch.inference_mode()
    def probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Answers of the last layer just fitted, float32 ``(N, C)``."""
        logits = self.net.head(torch.as_tensor(self.features[0][rows]).to(self.device))
        return np.asarray(logits.softmax(dim=1).cpu().numpy(), np.float32)


def fit_whole(
    frozen: Frozen,
    fields: NDArray[np.uint8],
    labels: NDArray[np.int64],
    split: Split,
    classes: int,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> Fitted:
    """Tune all weights on one split, from the last layer that the frozen body gives."""
    recipe, device = frozen.recipe, frozen.device
    started = time.perf_counter()
    first = frozen.fit(labels, split, classes)
    net = pretrained(recipe, classes, fields[split.train])
    net.head.load_state_dict(first.net.head.state_dict())
    epochs = tune(
        net,
        fields[split.train],
        labels[split.train],
        fields[split.val],
        labels[split.val],
        recipe.colours,
        device,
        recipe.tune,
        progress=progress,
        cancelled=cancelled,
    )
    body = _body(net, recipe, fields, device)
    own = embed(net, fields[split.train], recipe.colours, device, body=body, cancelled=cancelled)
    val = embed(net, fields[split.val], recipe.colours, device, body=body, cancelled=cancelled)
    seen = torch.as_tensor(val if len(val) else own)
    with torch.inference_mode():
        logits = net.head(seen.to(device)).cpu()
    unlike = learn(own, labels[split.train], seen.numpy(), logits)
    return Fitted(net, unlike, time.perf_counter() - started, first.penalty, epochs)


def whole_probabilities(
    fitted: Fitted, fields: NDArray[np.uint8], colours: Space, device: torch.device
) -> NDArray[np.float32]:
    """Answers of a tuned network, float32 ``(N, C)``."""
    logits = predict_logits(fitted.net, fields, colours, device)
    return np.asarray(logits.softmax(dim=1).numpy(), np.float32)
