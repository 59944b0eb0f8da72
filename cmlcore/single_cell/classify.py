"""A trained classifier at work: fields in, class probabilities and an *unknown* answer out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cmlcore.errors import InputError, ModelError
from cmlcore.files import whole_file, write_json
from cmlcore.single_cell import shelf
from cmlcore.single_cell.colours import Space, side_of, space, to_input
from cmlcore.single_cell.probe import compile_body, features_of
from cmlcore.single_cell.shelf import ClassifierCard
from cmlcore.single_cell.unlike import Unlike
from models.classifiers import Classifier, build, widen_input
from models.device import choose_device, describe, set_threads
from models.registry import check_weights

UNKNOWN = "unidentified"
"""Class key of an image unlike the training cells."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a classifier says of N images.

    Attributes:
        classes: keys, in the order of ``probs``' columns.
        probs: float32 ``(N, C)``, rows that sum to one.
        unlike: float32 ``(N,)``, distance from the training cells; above 1 the answer is *unknown*.

    """

    classes: tuple[str, ...]
    probs: NDArray[np.float32]
    unlike: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.probs)

    @property
    def best(self) -> list[str]:
        """The likeliest class of each image, whatever ``unlike`` says."""
        return [self.classes[i] for i in self.probs.argmax(axis=1)]

    @property
    def named(self) -> list[str]:
        """The answer: the likeliest class, or ``UNKNOWN``."""
        return [UNKNOWN if u > 1 else c for c, u in zip(self.best, self.unlike, strict=True)]


class CellClassifier:
    """A classifier on its device, in evaluation mode.

    Attributes:
        card: what it is.
        device: as said to people.
        side: of the fields it takes, in pixels.

    """

    def __init__(
        self, card: ClassifierCard, net: Classifier, unlike: Unlike, device: torch.device, batch: int = 0
    ) -> None:
        self.card = card
        self.colours: Space = space(card.colours)
        self.side = side_of(self.colours, card.side)
        self.batch = batch or (64 if device.type == "cuda" else 16)
        self.torch_device = device
        self.net = net.eval().to(device)
        self._body = compile_body(net, self.colours, self.side, device)
        half = net.base.plain or device.type != "cpu"
        self.device = describe(device, half, engine="OpenVINO" if self._body else "")
        if not net.base.plain:
            self.net.to(memory_format=torch.channels_last)
        self._unlike = replace(unlike, means=unlike.means.to(device), whitening=unlike.whitening.to(device))

    @torch.inference_mode()
    def classify(self, fields: NDArray[np.uint8]) -> Answers:
        """Name the cells in the middle of fields uint8 ``(N, side, side, 3)`` (``images.cut_field``).

        Raises:
            ValueError: the fields have another shape.

        """
        if fields.dtype != np.uint8 or fields.shape[1:] != (self.side, self.side, 3):
            raise ValueError(f"expected uint8 (N, {self.side}, {self.side}, 3), got {fields.shape}")
        probs = np.empty((len(fields), len(self.card.classes)), np.float32)
        unlike = np.empty(len(fields), np.float32)
        for i in range(0, len(fields), self.batch):
            images = to_input(fields[i : i + self.batch], self.colours, self.torch_device)
            features = features_of(self.net, images, self._body, self.card.turns)
            logits = self.net.head(features)
            probs[i : i + self.batch] = logits.softmax(dim=1).cpu().numpy()
            unlike[i : i + self.batch] = self._unlike.score(features, logits)
        return Answers(self.card.classes, probs, unlike)


def save(card: ClassifierCard, net: Classifier, unlike: Unlike, folder: Path | None = None) -> ClassifierCard:
    """Write weights (parameters in fp16, statistics in fp32) and card; returns the card with its hash.

    Raises:
        ModelError: the folder cannot be written.

    """
    folder = folder or shelf.user_folder()
    learnt = {k for k, _ in net.named_parameters()}
    state = {
        f"net.{k}": (v.half() if k in learnt and v.is_floating_point() else v).cpu().contiguous()
        for k, v in net.state_dict().items()
    }
    state |= {
        "unlike.means": unlike.means.cpu().contiguous(),
        "unlike.whitening": unlike.whitening.cpu().contiguous(),
        "unlike.scale": torch.tensor([unlike.limit, *unlike.distance, *unlike.energy]),
    }
    path = folder / f"{card.key}.safetensors"
    try:
        with whole_file(path) as part:
            save_file(state, part)
            digest = hashlib.sha256(part.read_bytes()).hexdigest()
        made = replace(card, weights=path, sha256=digest)
        write_json(folder / f"{card.key}.json", made.to_json())
    except OSError as e:
        raise ModelError(
            f"The classifier “{card.key}” cannot be written to {folder.name}; free space."
        ) from e
    return made


def load(key: str, device: str = "auto", threads: int = 0) -> CellClassifier:
    """Load a classifier from the shelf.

    Raises:
        ModelError: there is none of this key, its file is missing or does not fit, or the device is absent.

    """
    card = shelf.card(key)
    check_weights(card)
    chosen = choose_device(device)
    set_threads(threads)
    return load_from(card, chosen)


def load_from(card: ClassifierCard, device: torch.device) -> CellClassifier:
    """Build the network a card describes and fill it.

    Raises:
        ModelError: the file cannot be read or does not fit the card.

    """
    try:
        state: dict[str, Any] = load_file(card.weights)
    except (OSError, SafetensorError) as e:
        raise ModelError(
            f"The weights of “{card.key}” cannot be read as safetensors; fetch the file again."
        ) from e
    if "unlike.scale" not in state:
        raise ModelError(f"The classifier “{card.key}” was made by an earlier version; train it again.")
    try:
        net = build(card.backbone, len(card.classes), side=card.side)
        if card.colours == "raw-packed":
            widen_input(net)
        own = {k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")}
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in own.items()})
        limit, *scales = state["unlike.scale"].tolist()
        unlike = Unlike(
            state["unlike.means"].float(),
            state["unlike.whitening"].float(),
            limit,
            (scales[0], scales[1]),
            (scales[2], scales[3]),
        )
    except (KeyError, RuntimeError, InputError) as e:
        raise ModelError(
            f"The weights of “{card.key}” do not fit the network its card describes; use the card they "
            "came with."
        ) from e
    return CellClassifier(card, net, unlike, device)
