"""Rare classes: which they are, and how much more they count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cmlcore.training.scenes import Scene

RARE_SHARE = 0.05  # of all cells; cells of rarer classes are laid into other images too


def class_counts(scenes: Sequence[Scene]) -> NDArray[np.int64]:
    """Labelled cells of each class, int64 ``(C,)``."""
    n = len(scenes[0].complete) if scenes else 0
    counts = np.zeros(n, np.int64)
    for s in scenes:
        counts += np.bincount(s.labels, minlength=n)
    return counts


def rarity(counts: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """``(largest count / count) ** power`` of each class, float64 ``(C,)``; 1 for a class without cells."""
    few = np.where(counts > 0, counts, counts.max(initial=1))
    out: NDArray[np.float64] = (few.max(initial=1) / few) ** power
    return out


def rare_classes(counts: NDArray[np.int64]) -> list[int]:
    """Classes with some cells, but less than ``RARE_SHARE`` of all."""
    return [i for i, n in enumerate(counts.tolist()) if 0 < n < RARE_SHARE * counts.sum()]
