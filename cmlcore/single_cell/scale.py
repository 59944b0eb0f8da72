"""The pixel size of a set of single-cell images that does not say it, from the erythrocytes around."""

from __future__ import annotations

import numpy as np

from cmlcore.errors import InputError
from cmlcore.scale import ScaleEstimate, estimate_mpp, settle
from cmlcore.single_cell.data import CellSet
from cmlcore.single_cell.images import read_image

_SAMPLE = 24  # images looked at


def estimate_set_mpp(cells: CellSet, device: str = "auto", model: str = "type2") -> float:
    """Median µm per pixel over a sample of a set that was taken with one microscope.

    Raises:
        InputError: no erythrocyte is found; the cells were cut out too tightly.
        ModelError: the network that finds erythrocytes cannot be loaded.

    """
    from models.registry import load_model

    network = load_model(model, device)
    step = max(1, len(cells.images) // _SAMPLE)
    estimates: list[ScaleEstimate | None] = []
    sizes = []
    for cell in cells.images[::step][:_SAMPLE]:
        try:
            rgb = read_image(cell.path)
        except InputError:
            continue  # the reader of the whole set says so
        estimates.append(estimate_mpp(network, rgb))
        sizes.append((rgb.shape[0], rgb.shape[1]))
    if not any(estimates):
        raise InputError("Too little is seen around the cells to estimate the pixel size; give --mpp.")
    return float(np.median(settle(estimates, sizes)))
