"""Estimate an image's pixel size from its cells: erythrocytes are about 7.5 µm wide.

The network is run on the image as if it had been taken at each of a few scales; where the guess is near
the truth it finds erythrocytes of the size it was taught. The best guess is refined by their median width.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError
from models.base import CellModel, Instances

ERYTHROCYTE_UM = 7.5
"""Mean diameter of an erythrocyte in a dry smear."""
HEALTHY_UM = (6.7, 7.7)
"""Between these lies that mean of a healthy person."""
WIDTHS_PX = (25.0, 36.0, 52.0, 75.0, 108.0, 156.0)
"""Erythrocyte widths tried, in image pixels: each 1.44 times the one before."""
SEARCH_SIDE_M, REFINE_SIDE_M = 448, 768  # windows in model pixels: enough cells to choose, and to measure
MIN_SCORE = 0.4
"""Of an erythrocyte, calibrated. On 12 ``val`` images of txl_pbc the mean error of the pixel size is 0.066
(type 1) and 0.050 (type 2); floors from 0.3 to 0.6 change it by less than 0.01, lower ones make it worse."""
ENOUGH_CELLS = 4
FAR_OFF = 1.3
LOWEST, HIGHEST = 0.6, 1.65  # sizes, relative to the one taught, at which the network is to be believed


@dataclass(frozen=True, slots=True)
class ScaleEstimate:
    """A pixel size and how far to trust it.

    Attributes:
        mpp: µm per pixel of the image.
        cells: erythrocytes it rests on.
        spread: standard error of the median width, relative to it.

    """

    mpp: float
    cells: int
    spread: float


def estimate_mpp(model: CellModel, rgb: NDArray[np.uint8], refinements: int = 2) -> ScaleEstimate | None:
    """Estimate µm per pixel of a colour image.

    Args:
        model: a network that knows erythrocytes.
        rgb: uint8 ``(H, W, 3)``.
        refinements: how often the image is looked at again at the scale found.

    Returns:
        None where no erythrocyte is found at any scale.

    """
    best: tuple[float, NDArray[np.float64]] | None = None
    for width in WIDTHS_PX:
        weight, widths = _look(model, rgb, ERYTHROCYTE_UM / width, SEARCH_SIDE_M)
        if len(widths) and (best is None or weight > best[0]):
            best = weight, widths
    if best is None:
        return None
    widths = best[1]
    for _ in range(refinements):
        _, again = _look(model, rgb, ERYTHROCYTE_UM / float(np.median(widths)), REFINE_SIDE_M)
        if not len(again):
            break
        widths = again
    middle = float(np.median(widths))
    spread = float(1.25 * np.std(widths) / np.sqrt(len(widths)) / middle)
    return ScaleEstimate(ERYTHROCYTE_UM / middle, len(widths), spread)


def settle(estimates: list[ScaleEstimate | None], sizes: list[tuple[int, int]]) -> list[float]:
    """One pixel size an image, where some images say little.

    An image with at least ``ENOUGH_CELLS`` erythrocytes speaks for itself, unless it is far off from the
    images of its own pixel dimensions (most likely the same camera) and shows far fewer cells than they do.
    Any other takes the median of those images, or else of all.

    Args:
        estimates: of each image; None where no erythrocyte was found.
        sizes: (H, W) of each image.

    Raises:
        InputError: no image has an estimate.

    """
    if not any(estimates):
        raise InputError(
            "No erythrocytes were found to estimate the pixel size from; give the µm per pixel yourself."
        )
    settled = []
    for own, size in zip(estimates, sizes, strict=True):
        alike = [e for e, s in zip(estimates, sizes, strict=True) if e is not None and s == size]
        alike = alike or [e for e in estimates if e is not None]
        middle = float(np.median([e.mpp for e in alike]))
        few = 0.5 * float(np.median([e.cells for e in alike]))
        if own is None or own.cells < ENOUGH_CELLS:
            settled.append(middle)
            continue
        doubtful = own.cells < few and not 1 / FAR_OFF < own.mpp / middle < FAR_OFF
        settled.append(middle if doubtful else own.mpp)
    return settled


def _look(
    model: CellModel, rgb: NDArray[np.uint8], mpp: float, side_m: int
) -> tuple[float, NDArray[np.float64]]:
    """How much of the image is covered by believable erythrocytes if it has this µm per pixel (score times
    area, relative to the window), and their widths in image pixels.
    """
    to_m = mpp / model.mpp
    window = _middle(rgb, int(side_m / to_m))
    h, w = (max(1, round(s * to_m)) for s in window.shape[:2])
    how = cv2.INTER_AREA if to_m < 1 else cv2.INTER_CUBIC
    align = model.grid.align
    tile = np.full((-(-h // align) * align, -(-w // align) * align, 3), 255, np.uint8)
    tile[:h, :w] = cv2.resize(window, (w, h), interpolation=how)
    found = model.predict(np.ascontiguousarray(tile.transpose(2, 0, 1))[None], MIN_SCORE)[0]
    widths, areas, scores = _whole_erythrocytes(found, model.classes, w, h)
    taught = ERYTHROCYTE_UM / model.mpp
    near = (widths >= LOWEST * taught) & (widths <= HIGHEST * taught)
    return float((areas * scores)[near].sum() / (h * w)), widths[near] / to_m


def _whole_erythrocytes(
    found: Instances, classes: tuple[str, ...], w: int, h: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Widths, areas and scores of erythrocytes that the window's edge does not cut.

    The width is the root of the box's two sides' product: the way the pixel sizes of the training sets were
    measured; an overlap hides less of it than of the area.
    """
    widths, areas, scores = [], [], []
    for outline, cls, score in zip(found.outlines, found.classes, found.scores, strict=True):
        (x0, y0), (x1, y1) = outline.min(0), outline.max(0)
        whole = min(x0, y0, w - x1, h - y1) > 2
        if classes[int(cls)] == "erythrocyte" and score >= MIN_SCORE and whole:
            widths.append(float(np.sqrt((x1 - x0) * (y1 - y0))))
            areas.append(float(cv2.contourArea(outline)))
            scores.append(float(score))
    return np.array(widths, np.float64), np.array(areas, np.float64), np.array(scores, np.float64)


def _middle(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    h, w = rgb.shape[:2]
    y, x = max(0, (h - side) // 2), max(0, (w - side) // 2)
    return rgb[y : y + side, x : x + side]
