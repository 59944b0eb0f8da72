"""Fit a map from a network's score to the probability that the found cell is right, and choose thresholds.

The map of a class is rising and linear between knots: ``{"x": scores, "y": probabilities}``. Two ways are
tried: isotonic regression over bins of equally many cells (Zadrozny and Elkan 2002), which needs many cells,
and beta calibration (Kull et al. 2017), which has three numbers; the one that foretells images it was not
fitted to better (log loss) is taken, and neither where the score as it is does best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, minimize

from cmlcore.evaluation.matching import LOWEST_SCORE, Ints, Numbers

LEAST_CELLS = 50
"""Fewer judged cells of a class fit nothing."""
FOLDS = 5
_BINS, _PER_BIN = 30, 20
_NEVER, _ALWAYS = 1.1 * LOWEST_SCORE, 0.995
"""No finite sample shows that a score is always right, or never; and no cell may fall out of judgement."""
_TINY = 1e-6
FLAT = 0.003
"""Loss of mean F1 that a threshold nearer to a half is worth."""

Map = dict[str, list[float]]


def fit_map(scores: Numbers, right: Ints, image: Ints) -> Map | None:
    """The best map for one class; None where the score as it is is best, or cells are too few.

    Args:
        scores: ``(N,)`` in 0..1.
        right: ``(N,)``, 1 where the cell is right.
        image: ``(N,)``; cells of one image are never on both sides of a test.

    """
    if len(scores) < LEAST_CELLS:
        return None
    ways: tuple[Callable[[Numbers, Ints], Map], ...] = (isotonic, beta)
    losses = [_log_loss(right, held_out(way, scores, right, image)) for way in ways]
    best = int(np.argmin([v.mean() for v in losses]))
    gain = _log_loss(right, scores) - losses[best]
    chance = 2 * gain.std() / np.sqrt(len(gain))  # a gain within two standard errors may be one
    return ways[best](scores, right) if gain.mean() > chance else None


def held_out(
    way: Callable[[Numbers, Ints], Map | None], scores: Numbers, right: Ints, image: Ints
) -> Numbers:
    """The probabilities ``(N,)`` that a way of fitting gives to images it did not see."""
    images, number = np.unique(image, return_inverse=True)
    fold = np.random.default_rng(0).permutation(len(images))[number] % FOLDS
    out = scores.astype(np.float64)
    for k in range(FOLDS):
        seen, held = fold != k, fold == k
        made = way(scores[seen], right[seen]) if seen.any() else None
        if made is not None:
            out[held] = np.interp(scores[held], made["x"], made["y"])
    return out


def isotonic(scores: Numbers, right: Ints) -> Map:
    """The rising map of least squared error, over bins of equally many cells."""
    order = np.argsort(scores, kind="stable")
    parts = int(np.clip(len(scores) // _PER_BIN, 1, _BINS))
    bins = np.array_split(order, parts)
    at = np.array([scores[b].mean() for b in bins])
    # Half a cell more on either side (Jeffreys): twenty right of twenty do not make a certainty.
    share = np.array([(right[b].sum() + 0.5) / (len(b) + 1) for b in bins])
    level = isotonic_regression(share, weights=[len(b) for b in bins]).x
    return _knots(at, np.clip(level, _NEVER, _ALWAYS))


def beta(scores: Numbers, right: Ints) -> Map:
    """P = 1 / (1 + exp(-(a ln s - b ln(1 - s) + c))), a and b not negative, of greatest likelihood."""
    s = np.clip(scores, _TINY, 1 - _TINY)
    terms = np.stack([np.log(s), -np.log1p(-s), np.ones_like(s)])

    def loss(v: Numbers) -> tuple[float, Numbers]:
        z = v @ terms
        p = 1 / (1 + np.exp(-np.clip(z, -60, 60)))
        # A weak pull towards the score as it is keeps the numbers finite where all cells are right.
        pull = v - (1, 1, 0)
        value = np.logaddexp(0, z).sum() - z[right > 0].sum() + 0.5 * (pull**2).sum()
        return float(value), np.asarray(terms @ (p - right) + pull)

    found = minimize(loss, np.array([1.0, 1.0, 0.0]), jac=True, bounds=[(0, None), (0, None), (None, None)])
    x = np.unique(np.concatenate([np.linspace(0.02, 0.98, 25), np.quantile(s, np.linspace(0, 1, 25))]))
    z = found.x @ np.stack([np.log(x), -np.log1p(-x), np.ones_like(x)])
    return _knots(x, np.clip(1 / (1 + np.exp(-np.clip(z, -60, 60))), _NEVER, _ALWAYS))


def _knots(x: Numbers, y: Numbers) -> Map:
    """Knots from 0 to 1, scores strictly rising; of equal scores the mean.

    Below ``LOWEST_SCORE`` no cell was seen: there the map falls to 0, so that who asks a calibrated network
    for cells from that score on is not given all its lesser guesses.
    """
    at, number = np.unique(np.round(x, 6), return_inverse=True)
    level = np.bincount(number, weights=y) / np.bincount(number)
    inside = (at > LOWEST_SCORE) & (at < 1)
    xs = np.concatenate([[0.0, LOWEST_SCORE], at[inside], [1.0]])
    ys = np.maximum.accumulate(np.concatenate([[0.0, level[0]], level[inside], [level[-1]]]))
    return {"x": xs.tolist(), "y": np.round(ys, 6).tolist()}


def _log_loss(right: Ints, p: Numbers) -> Numbers:
    p = np.clip(p, _NEVER, _ALWAYS)
    return -np.where(right > 0, np.log(p), np.log1p(-p))


def best_threshold(classes: Iterable[tuple[Numbers, Ints, int]]) -> float:
    """The score, in whole hundredths, at which the mean F1 over classes is highest.

    Its curve is flat at the top, and where exactly it peaks is chance: of all scores within ``FLAT`` of the
    best it is the one nearest to a half, from which on a cell is rather right than wrong.

    Args:
        classes: of each its judged scores, falling; 1 where a cell is right; number of true cells.

    """
    at = np.arange(1, 100) / 100
    curves = [_f1(s, r, n, at) for s, r, n in classes if n]
    if not curves:
        raise ValueError("no class has true cells")
    mean = np.mean(curves, axis=0)
    good = at[mean >= mean.max() - FLAT]
    return float(good[np.argmin(np.abs(good - 0.5))])


def threshold_for(precision: float, classes: Iterable[tuple[Numbers, Ints, int]]) -> float | None:
    """The lowest score, in whole hundredths, from which on each class has that precision; None if none has.

    Args:
        precision: the share of found cells that must be right.
        classes: as in ``best_threshold``.

    """
    at = np.arange(1, 100) / 100
    good = np.ones(len(at), np.bool_)
    for scores, right, _ in classes:
        n = np.searchsorted(-scores, -at, side="right")
        hits = np.concatenate([[0], np.cumsum(right)])[n]
        good &= hits >= precision * n
        good &= n > 0
    found = np.flatnonzero(good)
    return float(at[found[0]]) if len(found) else None


def _f1(scores: Numbers, right: Ints, true: int, at: Numbers) -> Any:
    n = np.searchsorted(-scores, -at, side="right")
    return 2 * np.concatenate([[0], np.cumsum(right)])[n] / (n + true)
