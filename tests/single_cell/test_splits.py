"""Splits: nothing lost, no group torn, classes spread, the same by seed, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmlcore.errors import InputError
from cmlcore.single_cell.data import CellImage
from cmlcore.single_cell.splits import by_parts, cross_validation, folds, holdout, said


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=10, max_size=80), st.integers(2, 6), st.integers(0, 5), st.booleans()
)
def test_folds_keep_groups_and_lose_nothing(y: list[int], k: int, seed: int, grouped: bool) -> None:
    groups = [f"p{i % 9}" if i % 4 else None for i in range(len(y))] if grouped else None
    fold = folds(y, groups, k, seed)
    assert len(fold) == len(y)
    assert set(fold.tolist()) <= set(range(k))
    if groups is None:
        for c in set(y):
            per_fold = np.bincount(fold[np.array(y) == c], minlength=k)
            assert per_fold.max() - per_fold.min() <= 1
        assert np.ptp(np.bincount(fold, minlength=k)) <= 1
    else:
        for g in set(groups) - {None}:
            assert len({int(f) for f, own in zip(fold, groups, strict=True) if own == g}) == 1
    assert np.array_equal(fold, folds(y, groups, k, seed))


def test_groups_are_spread_so_that_classes_stay_near_equal_shares() -> None:
    rng = np.random.default_rng(0)
    groups = [f"p{i}" for i in rng.integers(60, size=1200)]
    y = rng.choice(3, size=1200, p=[0.7, 0.25, 0.05])
    fold = folds(y, groups, 5)
    for c, n in enumerate(np.bincount(y)):
        per_fold = np.bincount(fold[y == c], minlength=5)
        assert np.abs(per_fold - n / 5).max() <= max(3, 0.1 * n / 5)


def test_holdout_is_80_10_10_of_every_class() -> None:
    y = np.repeat([0, 1, 2], [100, 50, 20])
    split = holdout(y, seed=3)
    for part, share in ((split.train, 0.8), (split.val, 0.1), (split.test, 0.1)):
        assert np.bincount(y[part]).tolist() == [round(share * n) for n in (100, 50, 20)]
    assert sorted(np.concatenate([split.train, split.val, split.test])) == list(range(170))


def test_every_image_judges_once_in_a_cross_validation() -> None:
    y = np.repeat(np.arange(4), 25)
    splits = cross_validation(y, None, 5, seed=1)
    assert sorted(np.concatenate([s.test for s in splits])) == list(range(100))
    assert sorted(np.concatenate([s.val for s in splits])) == list(range(100))
    for s in splits:
        assert sorted(np.concatenate([s.train, s.val, s.test])) == list(range(100))


def test_other_seeds_give_other_folds() -> None:
    y = np.repeat([0, 1], 50)
    assert not np.array_equal(folds(y, None, 5, 0), folds(y, None, 5, 1))


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(InputError, match="2 groups of images cannot be cut into 5 folds"):
        folds([0, 1, 0, 1], ["a", "a", "b", "b"], 5)


def images(parts: str) -> list[CellImage]:
    names = {"t": "train", "v": "val", "e": "test", "-": ""}
    return [CellImage(Path(f"{i}.png"), "monocyte", names[p]) for i, p in enumerate(parts)]


def test_own_parts_are_used_and_val_judges_only_what_chose_elsewhere() -> None:
    three = by_parts(images("tvtett"), [0] * 6)
    assert three is not None
    assert (three.train.tolist(), three.val.tolist(), three.test.tolist()) == ([0, 2, 4, 5], [1], [3])
    two = by_parts(images("t" * 40 + "v" * 5), [0, 1] * 20 + [0] * 5)
    assert two is not None
    assert two.test.tolist() == [40, 41, 42, 43, 44]
    assert len(two.val) == 4
    assert sorted([*two.train, *two.val]) == list(range(40))
    assert by_parts(images("----"), [0] * 4) is None


def test_the_unit_is_said() -> None:
    assert said("patient") == "Split by patient: no patient is on two sides."
    assert "original cell" in said("original cell")
    assert "no patient is known" in said("image")
