"""Splits of a labelled set: folds with equal shares of every class, groups never torn apart, by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError
from cmlcore.single_cell.data import CellImage

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """Which images are trained on, which choose, which judge: indices into the images given."""

    train: Ints
    val: Ints
    test: Ints


def said(unit: str) -> str:
    """The sentence that tells what the split keeps together, and what that means for the figures."""
    if unit == "patient":
        return "Split by patient: no patient is on two sides."
    if unit in ("slide", "group", "original cell"):
        return f"Split by {unit}: none is on two sides, but one patient may be; on new patients expect less."
    return "Split by image: no patient is known, so one may be on two sides; on new patients expect less."


def folds(labels: Sequence[int] | Ints, groups: Sequence[str | None] | None, k: int, seed: int = 0) -> Ints:
    """The fold of each image, 0 … k − 1.

    Without groups every class is spread evenly, fold sizes differ by one at most. With groups, the largest
    go first, each to the fold that then deviates least from equal shares of every class.

    Args:
        labels: class of each image.
        groups: what must stay together; None entries stand alone.
        k: number of folds.
        seed: of the order among equals.

    Raises:
        InputError: there are fewer images or groups than folds.

    """
    y = np.asarray(labels, np.int64)
    unit = _units(len(y), groups)
    n = int(unit.max(initial=-1)) + 1
    if n < k or k < 2:
        raise InputError(f"{n} groups of images cannot be cut into {k} folds; choose 2 to {max(2, n)}.")
    rng = np.random.default_rng(seed)
    if n == len(y):
        return _spread(y, k, rng)
    classes = int(y.max()) + 1
    counts = np.zeros((n, classes))
    np.add.at(counts, (unit, y), 1)
    share = counts.sum(axis=0)
    weight = 1 / np.maximum(share, 1)  # a rare class counts as much as a common one
    order = rng.permutation(n)
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    held = np.zeros((k, classes))
    fold_of = np.empty(n, np.int64)
    for g in order:
        want = share / k
        with_it = held + counts[g]
        worse = (((with_it - want) * weight) ** 2).sum(axis=1) - (((held - want) * weight) ** 2).sum(axis=1)
        fold_of[g] = int(np.argmin(worse + 1e-9 * held.sum(axis=1)))
        held[fold_of[g]] += counts[g]
    return fold_of[unit]


def holdout(labels: Sequence[int] | Ints, groups: Sequence[str | None] | None = None, seed: int = 0) -> Split:
    """80 % to train, 10 % to choose, 10 % to judge; stratified, groups kept together."""
    return _from_folds(folds(labels, groups, 10, seed), (0,), (1,))


def cross_validation(
    labels: Sequence[int] | Ints, groups: Sequence[str | None] | None = None, k: int = 5, seed: int = 0
) -> list[Split]:
    """As many splits as folds; each image judges once, and chooses (early stop, threshold) once."""
    fold = folds(labels, groups, k, seed)
    return [_from_folds(fold, (i,), ((i + 1) % k,) if k > 2 else ()) for i in range(k)]


def by_parts(images: Sequence[CellImage], labels: Sequence[int] | Ints, seed: int = 0) -> Split | None:
    """The split that the set's own folders make, where they name train and val; None where they do not.

    Without a folder ``test``, ``val`` judges, and a tenth of ``train`` chooses in its place: what chose
    cannot judge.
    """
    part = np.array([i.part for i in images])
    train, val, test = (np.flatnonzero(part == p) for p in ("train", "val", "test"))
    if not len(train) or not len(val):
        return None
    if len(test):
        return Split(train, val, test)
    groups = [images[int(i)].group for i in train]
    chooses = folds(np.asarray(labels, np.int64)[train], groups, 10, seed) == 0
    return Split(train[~chooses], train[chooses], val)


def _from_folds(fold: Ints, test: tuple[int, ...], val: tuple[int, ...]) -> Split:
    judges, chooses = np.isin(fold, test), np.isin(fold, val)
    train = ~(judges | chooses)
    return Split(np.flatnonzero(train), np.flatnonzero(chooses), np.flatnonzero(judges))


def _units(n: int, groups: Sequence[str | None] | None) -> Ints:
    """A number for each group; an image without one is a group of its own."""
    seen: dict[object, int] = {}
    named: Sequence[str | None] = groups if groups is not None else [None] * n
    keys = [("image", i) if g is None else ("group", g) for i, g in enumerate(named)]
    return np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)


def _spread(y: Ints, k: int, rng: np.random.Generator) -> Ints:
    """Deal the images out like cards, class by class, each class shuffled."""
    shuffled = rng.permutation(len(y))
    dealt = shuffled[np.argsort(y[shuffled], kind="stable")]
    fold = np.empty(len(y), np.int64)
    fold[dealt] = np.arange(len(y)) % k
    return fold
