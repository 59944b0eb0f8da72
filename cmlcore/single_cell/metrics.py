"""How good a classifier is: figures, their intervals, the table of classes, curves, folds summed up.

All from two arrays: the true class of each image and the probabilities given. A class of which no image
is in the sample has no sensitivity and no AUC (NaN in arrays, None in JSON) and drops out of means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "precision_macro",
    "precision_weighted",
    "sensitivity_macro",
    "sensitivity_weighted",
    "f1_macro",
    "f1_weighted",
    "auc_weighted",
)
_CURVE_POINTS = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its 95 % bootstrap interval; None where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ClassLine:
    """One class: images of it, images called it, and its figures one against the rest."""

    cls: str
    images: int
    called: int
    precision: float | None
    sensitivity: float | None
    specificity: float | None
    f1: float | None
    auc: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a class's curve, at most ``_CURVE_POINTS``: ROC (x false-positive, y true-positive rate) or
    PR (x sensitivity, y precision).
    """

    cls: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that is said about one set of answers; ``confusion`` has a row a true class."""

    classes: tuple[str, ...]
    figures: dict[str, Figure]
    lines: tuple[ClassLine, ...]
    confusion: tuple[tuple[int, ...], ...]
    roc: tuple[Curve, ...]
    pr: tuple[Curve, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)


def judge(
    truth: Sequence[int] | Ints,
    probs: NDArray[np.floating[Any]],
    classes: Sequence[str],
    *,
    groups: Sequence[str | None] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Judge answers.

    Args:
        truth: class index of each of N images.
        probs: ``(N, C)``, rows that sum to one.
        classes: the C keys.
        groups: what is drawn together in the bootstrap (patients); None draws images.
        bootstrap: how often to draw; 0 leaves the intervals out.
        seed: of the draws.

    Raises:
        ValueError: shapes do not fit, or there is no image.

    """
    y, p = np.asarray(truth, np.int64), np.asarray(probs, np.float64)
    if not len(y) or p.shape != (len(y), len(classes)):
        raise ValueError(f"{len(y)} true classes do not fit probabilities of shape {p.shape}")
    values = figures(y, p)
    drawn = [figures(y[i], p[i]) for i in draws(len(y), groups, bootstrap, seed)]
    found = {k: _with_interval(v, [d[k] for d in drawn]) for k, v in values.items()}
    table = confusion(y, p.argmax(axis=1), len(classes))
    auc = _auc_by_class(y, p)
    return Judgement(
        tuple(classes),
        found,
        tuple(_line(c, i, table, auc[i]) for i, c in enumerate(classes)),
        tuple(tuple(int(n) for n in row) for row in table),
        tuple(_roc(c, y == i, p[:, i]) for i, c in enumerate(classes) if 0 < (y == i).sum() < len(y)),
        tuple(_pr(c, y == i, p[:, i]) for i, c in enumerate(classes) if (y == i).any()),
    )


def figures(truth: Ints, probs: Floats) -> dict[str, float]:
    """The numbers of ``FIGURES``; NaN where one is not defined."""
    n_classes = probs.shape[1]
    table = confusion(truth, probs.argmax(axis=1), n_classes)
    hit, real, called = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    there = real > 0
    precision = np.where(called > 0, hit / np.maximum(called, 1), 0.0)  # never called: none of it is right
    sensitivity = hit / np.maximum(real, 1)
    f1 = 2 * hit / np.maximum(real + called, 1)
    weight = real / real.sum()
    out = {"accuracy": hit.sum() / real.sum(), "balanced_accuracy": sensitivity[there].mean()}
    for name, v in (("precision", precision), ("sensitivity", sensitivity), ("f1", f1)):
        out[f"{name}_macro"], out[f"{name}_weighted"] = v[there].mean(), (v * weight).sum()
    auc = _auc_by_class(truth, probs)
    known = ~np.isnan(auc)
    out["auc_weighted"] = (auc[known] * weight[known]).sum() / weight[known].sum() if known.any() else np.nan
    return {k: float(out[k]) for k in FIGURES}


def confusion(truth: Ints, called: Ints, n_classes: int) -> Ints:
    """``(C, C)``, a row a true class, a column an answer."""
    return np.bincount(truth * n_classes + called, minlength=n_classes**2).reshape(n_classes, n_classes)


def summary(parts: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Mean and sample standard deviation of each figure over folds, NaN left out."""
    out = {}
    for k in FIGURES:
        v = np.array([p[k] for p in parts], np.float64)
        v = v[~np.isnan(v)]
        if len(v):
            out[k] = float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else 0.0
    return out


# -- areas and curves -----------------------------------------------------------------------------------


def _auc_by_class(truth: Ints, probs: Floats) -> Floats:
    """Area under each class's ROC curve: the chance that one of it scores higher than one of the rest.

    By mean ranks (Hanley & McNeil 1982), ties counting half. NaN where a class or its rest is empty.
    """
    n, c = probs.shape
    order = np.argsort(probs, axis=0, kind="stable")
    out = np.full(c, np.nan)
    for k in range(c):
        own = truth == k
        a, b = int(own.sum()), n - int(own.sum())
        if not a or not b:
            continue
        s = probs[order[:, k], k]
        first = np.r_[True, s[1:] != s[:-1]]
        start = np.flatnonzero(first)
        stop = np.r_[start[1:], n]
        rank = ((start + stop + 1) / 2)[np.cumsum(first) - 1]
        out[k] = (rank[own[order[:, k]]].sum() - a * (a + 1) / 2) / (a * b)
    return out


def _steps(own: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """True and false positives at each threshold that separates scores, from the highest down."""
    order = np.argsort(-score, kind="stable")
    last = np.r_[score[order][1:] != score[order][:-1], True]
    return np.cumsum(own[order])[last].astype(float), np.cumsum(~own[order])[last].astype(float)


def _roc(cls: str, own: NDArray[np.bool_], score: Floats) -> Curve:
    tp, fp = _steps(own, score)
    return _thinned(cls, np.r_[0.0, fp / (~own).sum()], np.r_[0.0, tp / own.sum()])


def _pr(cls: str, own: NDArray[np.bool_], score: Floats) -> Curve:
    tp, fp = _steps(own, score)
    precision = tp / (tp + fp)
    return _thinned(cls, np.r_[0.0, tp / own.sum()], np.r_[precision[0], precision])


def _thinned(cls: str, x: Floats, y: Floats) -> Curve:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _CURVE_POINTS)).round().astype(int))
    return Curve(cls, tuple(x[keep].round(4).tolist()), tuple(y[keep].round(4).tolist()))


def _line(cls: str, i: int, table: Ints, auc: float) -> ClassLine:
    hit, real, called, n = int(table[i, i]), int(table[i].sum()), int(table[:, i].sum()), int(table.sum())
    rest = n - real
    return ClassLine(
        cls,
        real,
        called,
        hit / called if called else None,
        hit / real if real else None,
        (rest - (called - hit)) / rest if rest else None,
        2 * hit / (real + called) if real + called else None,
        None if math.isnan(auc) else float(auc),
    )


# -- intervals ------------------------------------------------------------------------------------------


def draws(n: int, groups: Sequence[object] | None, times: int, seed: int) -> list[Ints]:
    """Rows of each bootstrap draw: of ``n`` images, or of their groups, whose images come together."""
    rng = np.random.default_rng(seed)
    if groups is None or all(g is None for g in groups):
        return [rng.integers(n, size=n) for _ in range(times)]
    members: dict[object, list[int]] = {}
    for i, g in enumerate(groups):
        members.setdefault(("image", i) if g is None else g, []).append(i)
    blocks = [np.array(m, np.int64) for m in members.values()]
    chosen = [rng.integers(len(blocks), size=len(blocks)) for _ in range(times)]
    return [np.concatenate([blocks[b] for b in draw]) for draw in chosen]


def _with_interval(value: float, drawn: Sequence[float]) -> Figure:
    known = np.array([d for d in drawn if not math.isnan(d)])
    plain = None if math.isnan(value) else value
    if not len(known) or plain is None:
        return Figure(plain)
    low, high = np.percentile(known, [2.5, 97.5])
    return Figure(plain, float(low), float(high))
