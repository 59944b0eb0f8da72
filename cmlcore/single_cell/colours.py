"""The colour spaces of the bench, and pixels as a network takes them."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlcore.errors import InputError
from cmlcore.single_cell.raw import unprocess
from cmlcore.training.augment import looks, vary_look
from cmlcore.training.settings import Augmentation
from models.classifiers import Classifier, widen_input

Space = Literal["rgb", "rgb+aug", "raw", "raw-packed"]
SPACES: tuple[Space, ...] = get_args(Space)
TITLES = {
    "rgb": "RGB",
    "rgb+aug": "RGB, augmented",
    "raw": "Raw, linear",
    "raw-packed": "Raw, packed mosaic",
}
_SAMPLE = 512  # images whose colours are measured
_LOOKS = looks(Augmentation())


def space(name: str) -> Space:
    """A colour space by name.

    Raises:
        InputError: there is none of this name.

    """
    if name not in SPACES:
        raise InputError(f"“{name}” is not a colour space; choose one of {', '.join(SPACES)}.")
    return name


def side_of(name: Space, side: int) -> int:
    """Side of the fields to cut: a packed mosaic has half of it, so that networks see ``side`` pixels."""
    return 2 * side if name == "raw-packed" else side


def to_input(fields: NDArray[np.uint8] | Tensor, name: Space, device: torch.device | str = "cpu") -> Tensor:
    """Pixels uint8 ``(B, H, W, 3)`` as float32 ``(B, C, h, w)`` in 0..1, on the device."""
    pixels = torch.as_tensor(np.ascontiguousarray(fields) if isinstance(fields, np.ndarray) else fields)
    x = pixels.to(device).permute(0, 3, 1, 2).float() / 255
    if name == "raw":
        return unprocess(x)
    return unprocess(x, "packed") if name == "raw-packed" else x


def adapt(net: Classifier, name: Space, fields: NDArray[np.uint8]) -> None:
    """Make a pretrained network expect this colour space: channels, and colours as measured on ``fields``.

    Raw light is far darker than the pictures a backbone was trained with; brought to the same means and
    deviations, its first layer finds what it knows.
    """
    if name == "raw-packed":
        widen_input(net)
    if name.startswith("raw"):
        step = max(1, len(fields) // _SAMPLE)
        sample = torch.cat([to_input(fields[i : i + 1], name) for i in range(0, len(fields), step)])
        mean, std = sample.mean(dim=(0, 2, 3)), sample.std(dim=(0, 2, 3)).clamp_min(1e-3)
        net.set_colours(mean.tolist(), std.tolist())


def varied(field: NDArray[np.uint8], rng: np.random.Generator, name: Space) -> NDArray[np.uint8]:
    """A field as training sees it: turned and mirrored; with "rgb+aug" in another look and size too."""
    out = np.rot90(field, int(rng.integers(4)))[:, :: 1 - 2 * int(rng.integers(2))]
    if name == "rgb+aug":
        out = _zoomed(vary_look(np.ascontiguousarray(out), rng, _LOOKS), float(np.exp(rng.normal(0, 0.08))))
    return np.ascontiguousarray(out)


def _zoomed(field: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """The field magnified around its middle: pixel sizes are known to some per cent only."""
    h, w = field.shape[:2]
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), 0, factor)
    out = cv2.warpAffine(field, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)
