"""The colour spaces of the bench, and pixels as a network takes them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlcore.single_cell.raw import unprocess
from cmlcore.single_cell.spaces import SPACES as SPACES
from cmlcore.single_cell.spaces import TITLES as TITLES
from cmlcore.single_cell.spaces import Space as Space
from cmlcore.single_cell.spaces import space as space
from cmlcore.single_cell.stain import evened, ring
from cmlcore.training.augment import looks, vary_look
from cmlcore.training.settings import Augmentation
from models.classifiers import Classifier, widen_input

_SAMPLE = 512  # images whose colours are measured
_LOOKS = looks(Augmentation())
_STRANGE = 0.5  # share of "stain+aug" fields in a look of another microscope; the rest keep their own
_PALE = 0.15  # share of those that lose colour besides
_ALONE = 0.25  # share of fields whose cell is shown without its neighbours


def side_of(name: Space, side: int) -> int:
    """Side of the fields to cut: a packed mosaic has half of it, so that networks see ``side`` pixels."""
    return 2 * side if name == "raw-packed" else side


def to_input(
    fields: NDArray[np.uint8] | Tensor,
    name: Space,
    device: torch.device | str = "cpu",
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Pixels uint8 ``(B, H, W, 3)`` as float32 ``(B, C, h, w)`` in 0..1, on the device.

    With ``rng``, as training sees them: what "stain+aug" evens out is varied once more.
    """
    pixels = torch.as_tensor(np.ascontiguousarray(fields) if isinstance(fields, np.ndarray) else fields)
    x = pixels.to(device).permute(0, 3, 1, 2).float() / 255
    if name == "raw":
        return unprocess(x)
    if name == "stain+aug":
        return evened(x, rng)
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


def varied(
    field: NDArray[np.uint8], rng: np.random.Generator, name: Space, side: int = 0
) -> NDArray[np.uint8]:
    """A field as training sees it: turned, mirrored; in spaces with "+aug" in another look and size too.

    Args:
        field: uint8 ``(H, W, 3)``.
        rng: from which all of it follows.
        name: the colour space.
        side: of the result in pixels; 0 keeps the field's.

    """
    if name == "stain+aug":
        return _strange(field, rng, side or len(field))
    out = np.rot90(field, int(rng.integers(4)))[:, :: 1 - 2 * int(rng.integers(2))]
    if name == "rgb+aug":
        out = _zoomed(vary_look(np.ascontiguousarray(out), rng, _LOOKS), float(np.exp(rng.normal(0, 0.08))))
    if side and side != len(field):
        out = np.asarray(cv2.resize(out, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(out)


def _strange(field: NDArray[np.uint8], rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Turned by any angle, magnified, shifted; often in a strange look, sometimes without its neighbours."""
    middle = (len(field) - 1) / 2
    zoom = side / len(field) * float(np.exp(rng.normal(0, 0.1)))
    matrix = cv2.getRotationMatrix2D((middle, middle), float(rng.uniform(0, 360)), zoom)
    shift = (side - 1) / 2 - middle + rng.normal(0, 0.02 * side, 2)
    matrix = np.column_stack([matrix[:, :2], matrix[:, 2] + shift])
    if rng.random() < 0.5:
        field = np.ascontiguousarray(field[:, ::-1])
    out: NDArray[np.uint8] = np.asarray(
        cv2.warpAffine(field, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    )
    if rng.random() < _STRANGE:
        out = vary_look(out, rng, _LOOKS)
        if rng.random() < _PALE:
            grey, share = out.mean(axis=2, keepdims=True), rng.uniform(0.2, 0.8)
            out = (out * (1 - share) + grey * share).astype(np.uint8)
    return ring(out, float(rng.uniform(0.36, 0.52))) if rng.random() < _ALONE else out


def _zoomed(field: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """The field magnified around its middle: pixel sizes are known to some per cent only."""
    h, w = field.shape[:2]
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), 0, factor)
    out = cv2.warpAffine(field, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)
