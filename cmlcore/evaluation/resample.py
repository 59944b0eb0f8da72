"""Figures over images, and how they scatter when other images might have been taken.

The bootstrap (Efron 1979) draws as many images as there are, with replacement. An image drawn w times counts
w times; matching is within images, so the figures of a resample are those of the weighted match tables, and
nothing is matched again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cmlcore.evaluation.matching import Flags, Ints, Numbers
from cmlcore.evaluation.result import Estimate

RECALLS = np.linspace(0, 1, 101)  # COCO's
_BLOCK = 1 << 20  # weights held at once


def weights(images: int, resamples: int, seed: int) -> Numbers:
    """How often each image is drawn, ``(R, I)``; every row sums to ``images``. One image does not scatter:
    for it there are no rows.
    """
    if images < 2:
        return np.zeros((0, images))
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), resamples)
    return drawn.astype(np.float64)


def average_precision(hit: Flags, image: Ints, true: Ints, weight: Numbers) -> Numbers:
    """AP (101 recall points, as COCO) under weights of the images.

    Args:
        hit: ``(D,)``, judged cells by falling score: right or false.
        image: ``(D,)``, which image each is in.
        true: ``(I,)``, true cells of each image.
        weight: ``(R, I)``.

    Returns:
        ``(R,)``; nan where no true cell has weight.

    """
    at = np.flatnonzero(hit)
    total = weight @ true
    out = np.full(len(weight), np.nan)
    out[total > 0] = 0.0
    if not len(at):
        return out
    step = max(1, _BLOCK // len(hit))
    for r in range(0, len(weight), step):
        counted = np.cumsum(weight[r : r + step][:, image], axis=1)[:, at]  # right and false so far
        right = np.cumsum(weight[r : r + step][:, image[at]], axis=1)
        # Between two hits precision only falls, so its envelope is known from the hits alone.
        precision = np.divide(right, counted, out=np.zeros_like(right), where=counted > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for k in np.flatnonzero(total[r : r + step]):
            reached = np.searchsorted(right[k] / total[r + k], RECALLS)
            inside = reached < len(at)
            out[r + k] = envelope[k][reached[inside]].sum() / len(RECALLS)
    return out


def sums(values: NDArray[np.floating] | NDArray[np.integer], image: Ints, images: int) -> Numbers:
    """Sum of a value over the cells of each image, ``(I,)``."""
    return np.bincount(image, weights=values.astype(np.float64), minlength=images).astype(np.float64)


def ratio(top: Numbers, bottom: Numbers, weight: Numbers) -> Estimate:
    """Σ top / Σ bottom over images, with its interval."""
    return estimate(_divided(top.sum(), bottom.sum()), _divided(weight @ top, weight @ bottom))


def estimate(value: float | np.floating | Numbers, resampled: Numbers) -> Estimate:
    """A value with the 2.5 and 97.5 percentiles of its resamples; resamples without a value are left out."""
    known = resampled[np.isfinite(resampled)]
    low, high = np.percentile(known, [2.5, 97.5]).tolist() if len(known) > 1 else (None, None)
    plain = float(value)
    return Estimate(plain if np.isfinite(plain) else None, low, high)


def mean_over(classes: Numbers) -> Numbers:
    """Mean over the first axis of what is not nan; nan where all are."""
    known = np.isfinite(classes)
    return _divided(np.where(known, classes, 0).sum(axis=0), known.sum(axis=0))


def _divided(top: Numbers, bottom: Numbers) -> Numbers:
    top, bottom = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0), np.float64)
